"""``schedule`` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_cli_run import RECIPE, Shell


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Shell:
    shell = Shell(tmp_path, database_url)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "cards.toml").write_text(RECIPE)
    return shell


async def test_a_schedule_from_the_beginning_to_its_end(shell: Shell) -> None:
    """Added, listed, shown, paused, resumed, run by hand and removed, by its name or its id."""
    shell.table("1,one", "2,two")
    added = await shell(
        "schedule", "add", "night", "30 2 * * *", "-r", "cards", "--file", "in.csv",
        "--timezone", "Europe/Berlin", "--window", "22:00-06:00=30%", "--key", "sku",
        "--max-cost", "5", "--json",
    )  # fmt: skip
    assert added.code == 0, added.err
    told = added.json
    assert told["file"] == str(shell.folder / "in.csv")
    assert (told["key"], told["windows"], told["max_cost_usd"]) == (
        ["sku"], ["22:00-06:00=30%"], "5.00",
    )  # fmt: skip
    listed = await shell("schedule", "list")
    assert "night" in listed.out
    assert told["id"] in listed.out
    assert "is paused" in (await shell("schedule", "pause", "night")).out
    assert "next tick is" in (await shell("schedule", "resume", told["id"])).out
    assert (await shell("schedule", "run-now", "night")).code == 0
    again = await shell("schedule", "run-now", "night")
    assert (again.code, "due already" in again.err) == (2, True)
    assert "as soon as a worker runs" in (await shell("schedule", "show", "night")).out
    assert (await shell("schedule", "show", "night", "--json")).json["ticks"][0]["by_hand"]
    assert "its batches stay" in (await shell("schedule", "remove", "night")).out
    gone = await shell("schedule", "show", "night")
    assert (gone.code, "schedule list" in gone.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["x", "often", "-r", "cards", "--file", "in.csv"], "cron expression"),
        (["x", "0 2 * * *", "-r", "card", "--file", "in.csv"], "cards"),
        (["x", "0 2 * * *", "-r", "cards"], "one of a file, a folder, or a query"),
        (["x", "0 2 * * *", "-r", "cards", "--file", "a", "--folder", "b"], "one of a file"),
        (["x", "0 2 * * *", "-r", "cards", "--query", "SELECT 1", "--database", "d"], "'d'"),
        (["x", "0 2 * * *", "-r", "cards", "--file", "a", "--share", "0%"], "no share"),
        (["x", "0 2 * * *", "-r", "cards", "--file", "a", "--tenant", "who"], "'who'"),
    ],
)
async def test_what_cannot_be_meant_is_two_with_the_remedy(
    shell: Shell, words: list[str], said: str
) -> None:
    """A wrong schedule is refused when it is added, not at night."""
    told = await shell("schedule", "add", *words)
    assert (told.code, said in told.err) == (2, True), told.err
    assert "Traceback" not in told.err
