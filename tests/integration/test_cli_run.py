"""The command line end to end: an input, a folder of results, an exit code, and what it says."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Folder

CONFIG = """
[retry]
base_s = 0.0
cap_s = 0.0
[providers.simulated]
cost_microusd = 40000
price_microcredits = 1000000
failures = {{ refused = {refused} }}
"""
RECIPE = """
[columns]
required = ["title", "sku"]
[[stages]]
name = "make"
kind = "generate"
model = "simulated:any"
prompt = "{{ title }}"
[[stages]]
name = "save"
kind = "write"
file = "{{ sku }}"
"""


class Told:
    """What a command said, and how it ended."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self) -> Any:
        """The document on standard output; nothing else may be there."""
        return json.loads(self.out)


class Shell(Folder):
    """A folder with settings and a recipe, in which commands are run one after another."""

    def __init__(self, folder: Path, database_url: str) -> None:
        super().__init__(folder, database_url)
        (folder / "recipe.toml").write_text(RECIPE)
        self.refuse(0.0)

    def refuse(self, share: float) -> None:
        """Let the provider refuse that share of prompts."""
        (self.folder / "headrace.toml").write_text(CONFIG.format(refused=share))

    def table(self, *rows: str) -> None:
        """Write the input."""
        (self.folder / "in.csv").write_text("sku,title\n" + "".join(f"{row}\n" for row in rows))

    async def __call__(self, *words: str, given: str | None = None) -> Told:
        """Run ``headrace`` with ``words``."""
        return Told(await self.ran(*words, given=given))

    def results(self, name: str = "in") -> list[dict[str, str]]:
        """The rows of the results file."""
        with (self.folder / "out" / name / "results.csv").open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Shell:
    return Shell(tmp_path, database_url)


RUN = ("run", "in.csv", "--recipe", "recipe.toml", "--out", "out")


async def test_a_run_gives_a_file_for_each_row_and_a_second_run_buys_nothing(shell: Shell) -> None:
    """Each row has its file and its line in the results; run again, all is cached."""
    shell.table("a,One", "b,Two", "c,One")
    first = await shell(*RUN, "--json")
    assert first.code == 0, first.err
    assert first.json["items"]["succeeded"] == 3
    assert first.json["cost_microusd"] == 80_000
    assert {path.stem for path in (shell.folder / "out/in").glob("*.txt")} == {"a", "b", "c"}
    found = shell.results()
    assert [row["sku"] for row in found] == ["a", "b", "c"]
    assert found[0]["headrace_sha256"] == found[2]["headrace_sha256"]
    again = await shell(*RUN, "--json")
    assert again.json["items"]["from_cache"] == 3
    assert again.json["cost_microusd"] == 0


async def test_bad_rows_stand_beside_the_good_ones(shell: Shell) -> None:
    """Exit 3, the good row delivered, the bad one with its reason; --strict submits nothing."""
    shell.table("a,One", "b,")
    told = await shell(*RUN)
    assert told.code == 3
    assert "row 2 failed" in told.out
    assert "1 of 2 delivered" in told.out
    assert [row["headrace_state"] for row in shell.results()] == ["succeeded", "failed"]
    assert "title" in shell.results()[1]["headrace_error"]
    strict = await shell(*RUN, "--strict", "--name", "strict")
    assert strict.code == 2
    assert "row 2" in strict.err
    assert len((await shell("batches", "--json")).json) == 1


async def test_failures_are_retried_into_the_same_folder(shell: Shell) -> None:
    """Refused rows are tried again by one command; the books add up afterwards."""
    shell.table("a,One", "b,Two")
    shell.refuse(1.0)
    told = await shell(*RUN, "--json")
    assert told.code == 3
    batch = told.json["batch"]
    shell.refuse(0.0)
    again = await shell("retry", batch, "--refused", "--json")
    assert again.code == 0, again.err
    assert again.json["items"]["succeeded"] == 2
    assert {row["headrace_file"] for row in shell.results()} == {"a.txt", "b.txt"}
    assert (await shell("ledger", "verify")).code == 0


async def test_fail_on_never_is_content_with_anything(shell: Shell) -> None:
    """Whoever reads the results file may want no exit code."""
    shell.refuse(1.0)
    shell.table("a,One")
    assert (await shell(*RUN, "--fail-on", "never")).code == 0


async def test_moving_a_batch_that_has_ended_is_harmless(shell: Shell) -> None:
    """The look and the moves of a batch that has ended are harmless, and say so."""
    shell.table("a,One")
    batch = (await shell(*RUN, "--json")).json["batch"]
    assert "not running" in (await shell("pause", batch)).out
    assert "had ended" in (await shell("cancel", batch)).out
    assert (await shell("resume", batch)).code == 0
    assert "completed" in (await shell("show", batch)).out


async def test_an_idempotency_key_is_one_batch(shell: Shell) -> None:
    """The same key and input is the same batch; the same key and another input is refused."""
    shell.table("a,One")
    first = await shell(*RUN, "--idempotency-key", "k", "--json")
    again = await shell(*RUN, "--idempotency-key", "k", "--json")
    assert first.json["batch"] == again.json["batch"]
    shell.table("a,Other")
    other = await shell(*RUN, "--idempotency-key", "k")
    assert other.code == 2
    assert "another request" in other.err


async def test_standard_input_is_an_input(shell: Shell) -> None:
    """A dash reads from the pipe."""
    told = await shell(
        "run", "-", "--recipe", "recipe.toml", "--out", "out", given="sku,title\nx,Piped\n"
    )
    assert told.code == 0, told.err
    assert (shell.folder / "out/stdin/x.txt").is_file()


async def test_an_estimate_writes_nothing(shell: Shell) -> None:
    """Rows, duplicates and the most it can cost, before and after a run; no batch is made."""
    shell.table("a,One", "b,One", "c,Two", "d,")
    quote = (await shell("estimate", "in.csv", "--recipe", "recipe.toml", "--json")).json
    assert (quote["rows"], quote["bad_rows"], quote["duplicates"]) == (4, 1, 1)
    assert quote["cost_microusd_max"] == 80_000
    assert (await shell("batches", "--json")).json == []
    await shell(*RUN)
    after = (await shell("estimate", "in.csv", "--recipe", "recipe.toml", "--json")).json
    assert (after["to_buy"], after["cost_microusd_max"]) == (0, 0)


async def test_an_output_folder_that_cannot_be_written_stops_before_anything(shell: Shell) -> None:
    """The folder is tried first: nothing is bought that has no place."""
    shell.table("a,One")
    (shell.folder / "out").write_text("a file, not a folder")
    told = await shell(*RUN)
    assert told.code == 2
    assert "out" in told.err
    assert (await shell("batches", "--json")).json == []


async def test_looking_around(shell: Shell) -> None:
    """Doctor, cache, ledger and recipes answer on an empty database, as words and as JSON."""
    for words in (("doctor",), ("cache", "stats"), ("cache", "prune"), ("ledger", "show")):
        plain = await shell(*words)
        assert plain.code == 0, plain.err
        assert plain.out.strip()
        assert (await shell(*words, "--json")).json is not None
    assert "product-card" in (await shell("recipes")).out
    granted = await shell("ledger", "grant", "2.5")
    assert granted.code == 0
    assert (await shell("ledger", "grant", "-1")).code == 2
    assert ", until 20" in (await shell("ledger", "grant", "1", "--expires", "90d")).out
    assert (await shell("ledger", "grant", "1", "--expires", "soon")).code == 2
    assert (await shell("resume")).out.startswith("Nothing is open")


async def test_another_recipe_does_not_overwrite_results(shell: Shell) -> None:
    """A folder with the results of one recipe is refused to another, with the way out."""
    shell.table("a,One")
    await shell(*RUN)
    (shell.folder / "other.toml").write_text('name = "other"\n' + RECIPE)
    told = await shell("run", "in.csv", "--recipe", "other.toml", "--out", "out")
    assert told.code == 2
    assert "--name" in told.err
    named = await shell("run", "in.csv", "--recipe", "other.toml", "--out", "out", "--name", "b")
    assert named.code == 0
