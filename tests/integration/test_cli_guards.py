"""Canary, look-first and budget at the command line: what is said, and the exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.test_cli_run import RUN, Shell

CONFIG = """
[retry]
base_s = 0.0
cap_s = 0.0
[providers.simulated]
cost_microusd = 40000
retry_after_share = {named}
failures = {{ {failures} }}
"""


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Shell:
    made = Shell(tmp_path, database_url)
    made.table(*(f"s{number},Title {number}" for number in range(12)))
    return made


def failing(shell: Shell, failures: str = "", named: float = 0.0) -> None:
    """Let the provider fail as told, such as ``auth = 1.0``; ``named`` of its waits are said."""
    (shell.folder / "headrace.toml").write_text(CONFIG.format(failures=failures, named=named))


async def test_a_budget_stops_a_run_with_code_4_and_says_how_to_go_on(shell: Shell) -> None:
    """Five rows fit under 20 cents; a higher cap lets the same batch end well."""
    told = await shell(*RUN, "--max-cost", "0.20")
    assert told.code == 4, told.err
    assert "5 of 12 delivered" in told.out
    assert "the cap of $0.20 is reached: $0.20 spent; the next call may cost $0.04" in told.out
    assert "--max-cost 1" in told.out
    (batch,) = (await shell("batches", "--json")).json
    assert batch["paused"]["code"] == "budget"
    assert batch["cost_cap_microusd"] == 200_000
    assert "paused: budget" in (await shell("batches")).out
    assert "the cap of $0.20" in (await shell("show", batch["batch"])).out
    assert (await shell("watch", batch["batch"])).code == 4
    assert (await shell("resume", batch["batch"])).code == 4
    after = await shell("resume", batch["batch"], "--max-cost", "1", "--json")
    assert (after.code, after.json["items"]["succeeded"]) == (0, 12)
    assert after.json["paused"] is None
    assert after.json["cost_microusd"] == 480_000
    assert (await shell("ledger", "verify")).code == 0


async def test_a_budget_below_one_call_says_so(shell: Shell) -> None:
    """Nothing is bought, and the price of a call is named."""
    told = await shell(*RUN, "--max-cost", "0.01")
    assert told.code == 4
    assert "below a single call, which may cost $0.04" in told.out
    assert "--max-cost DOLLARS" in told.out


@pytest.mark.parametrize("amount", ["much", "-1", "nan", "1e30"])
async def test_a_cap_that_is_no_amount_is_refused(shell: Shell, amount: str) -> None:
    """Exit 2 before anything is written."""
    told = await shell(*RUN, f"--max-cost={amount}")
    assert told.code == 2
    assert "dollars" in told.err
    assert (await shell("batches", "--json")).json == []


async def test_a_cap_in_the_settings_counts_for_runs_that_name_none(shell: Shell) -> None:
    """What stands in headrace.toml holds, until a run says otherwise."""
    with (shell.folder / "headrace.toml").open("a") as file:
        file.write("[run]\nmax_cost_usd = 0.08\n")
    assert (await shell(*RUN)).code == 4
    assert (await shell(*RUN, "--name", "b", "--max-cost", "9")).code == 0


async def test_an_estimate_says_what_a_cap_would_do(shell: Shell) -> None:
    """In rows that it is enough for, in the worst case."""
    words = ("estimate", "in.csv", "--recipe", "recipe.toml")
    assert "--max-cost 0.48 would hold it" in (await shell(*words)).out
    assert "enough for 5 of the 12" in (await shell(*words, "--max-cost", "0.20")).out
    assert "enough for all" in (await shell(*words, "--max-cost", "2")).out


async def test_look_first_shows_the_first_rows_and_waits(shell: Shell) -> None:
    """Three files, their cost, a quote, exit 0; resume makes the rest."""
    told = await shell(*RUN, "--look-first")
    assert told.code == 0, told.err
    assert "look first: 3 of 3 succeeded" in told.out
    assert "$0.04 each" in told.out
    assert "quote: about $0.48 for the whole batch" in told.out
    assert "headrace resume" in told.out
    assert len(list((shell.folder / "out/in").glob("*.txt"))) == 3
    (batch,) = (await shell("batches", "--json")).json
    after = await shell("resume", batch["batch"], "--json")
    assert (after.code, after.json["items"]["succeeded"]) == (0, 12)


async def test_a_rejected_key_stops_after_the_canary_with_code_5(shell: Shell) -> None:
    """The remedy is said; with the key set right, resume delivers everything."""
    failing(shell, "auth = 1.0")
    told = await shell(*RUN, "--canary", "2")
    assert told.code == 5, told.out
    assert "rejects the key: 2 of 2 canary items" in told.out
    assert "Lower failures.auth" in told.out
    (batch,) = (await shell("batches", "--json")).json
    assert batch["items"]["total"] == 12
    failing(shell)
    after = await shell("resume", batch["batch"], "--json")
    assert (after.code, after.json["items"]["succeeded"]) == (0, 12)


async def test_spent_funds_stop_after_the_canary_with_code_4(shell: Shell) -> None:
    """Money is missing, nothing has failed; the items wait, say why, and are tried by resume."""
    failing(shell, "quota_exhausted = 1.0")
    told = await shell(*RUN, "--canary", "1")
    assert told.code == 4, told.out
    assert "no funds or quota left" in told.out
    (batch,) = (await shell("batches", "--json")).json
    assert "1 waiting: quota exhausted" in (await shell("show", batch["batch"])).out
    failing(shell)
    assert (await shell("resume", batch["batch"])).code == 0


async def test_a_canary_that_fails_for_its_content_ends_with_code_3(shell: Shell) -> None:
    """Unless nobody minds failed rows."""
    failing(shell, "refused = 1.0")
    told = await shell(*RUN, "--canary", "2", "--json")
    assert told.code == 3
    assert told.json["paused"]["code"] == "canary"
    again = await shell(*RUN, "--canary", "2", "--name", "b", "--fail-on", "never")
    assert again.code == 0


async def test_one_cap_is_for_one_batch(shell: Shell) -> None:
    """A resume of whatever is open takes no cap."""
    told = await shell("resume", "--max-cost", "3")
    assert told.code == 2
    assert "Name the batch" in told.err
