"""Errors at the command line: what was wrong, where, what to do, and an exit code that says how."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from headrace.cli.following import exit_code
from headrace.cli.main import CACHE, COMMANDS, LEDGER, main
from headrace.log_lines import Lines
from headrace.store.reachable import UNREACHED
from tests.unit.test_cli_progress import summary


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test in a folder of its own, without settings from outside."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("HEADRACE_CONFIG", "HEADRACE_HOME", "HEADRACE_DATABASE_URL", "HEADRACE_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["headrace", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runn", "x.csv"], 'Did you mean "run"?'),
        (["run", "x.csv", "--recip", "r"], "Did you mean --recipe"),
        (["run", "x.csv", "-r", "r", "--cache", "reus"], 'Did you mean "reuse"?'),
        (["run", "x.csv"], "--recipe"),
        (["run", "x.csv", "-r", "product-card"], "x.csv: no such file"),
    ],
)
def test_wrong_usage_is_two_and_says_what_was_meant(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing on standard output, the hint on standard error, exit code 2."""
    assert call(monkeypatch, *words) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize("how", [*UNREACHED, asyncpg.ConnectionDoesNotExistError])
def test_a_database_that_goes_away_in_the_middle_is_six(
    how: type[Exception], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever started the command, such as a supervisor, is told that it may be started again."""

    def cut(work: Coroutine[Any, Any, Any]) -> None:
        work.close()
        raise how("closed in the middle")

    monkeypatch.setattr("headrace.cli.working.on_loop", cut)
    assert call(monkeypatch, "worker") == 6
    assert "the database went away: closed in the middle" in capsys.readouterr().err


def test_an_unknown_setting_is_five(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt variable stops the command before anything is done."""
    monkeypatch.setenv("HEADRACE_WORKERS__SHARDS_HELD", "3")
    assert call(monkeypatch, "recipes") == 5
    assert "Did you mean 'worker'?" in capsys.readouterr().err


def test_a_database_that_is_not_there_is_six(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names what was tried, the remedy where to look."""
    monkeypatch.setenv("HEADRACE_DATABASE_URL", "postgresql://localhost:1/none")
    assert call(monkeypatch, "batches") == 6
    assert "cannot be reached" in capsys.readouterr().err


def test_json_errors_are_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json a program finds the error on standard output, with its place and remedy."""
    assert call(monkeypatch, "run", "x.csv", "-r", "product-card", "--json") == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "invalid_input"
    assert error["place"] == "x.csv"
    assert error["remedy"]


def test_init_refuses_to_overwrite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second time the file stays as it is."""
    assert call(monkeypatch, "init") == 0
    Path("headrace.toml").write_text("# mine\n")
    assert call(monkeypatch, "init") == 5
    assert Path("headrace.toml").read_text() == "# mine\n"
    assert "already" in capsys.readouterr().err


def test_help_names_every_command_with_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The list of commands says what each is for."""
    assert call(monkeypatch, "--help") == 0
    told = capsys.readouterr().out
    for name, (_, words) in COMMANDS.items():
        assert re.search(rf"\b{name}\b.*{re.escape(words[:20])}", told), name


@pytest.mark.parametrize(
    "place", [p for group in (COMMANDS, LEDGER, CACHE) for p, _ in group.values()]
)
def test_every_command_is_there(place: str) -> None:
    """No name in the table leads nowhere, and every command is documented."""
    module, _, name = place.partition(":")
    found = getattr(__import__(module, fromlist=[name]), name)
    assert found.__doc__


@pytest.mark.parametrize(
    ("counts", "fail_on", "code"),
    [
        ({"succeeded": 200}, "any", 0),
        ({"succeeded": 199, "failed": 1}, "any", 3),
        ({"succeeded": 199, "failed": 1}, "all", 0),
        ({"failed": 200}, "all", 3),
        ({"failed": 200}, "never", 0),
        ({"succeeded": 100, "cancelled": 100}, "any", 3),
    ],
)
def test_exit_codes_tell_how_a_batch_ended(counts: dict[str, int], fail_on: str, code: int) -> None:
    """0 where all was delivered, 3 where not, as --fail-on minds."""
    assert exit_code(summary(**counts), fail_on) == code  # type: ignore[arg-type]


def test_a_log_entry_is_one_line() -> None:
    """An error in the log shows its message, not the values of its frames."""
    try:
        raise ValueError("the cause")
    except ValueError:
        told = Lines().text(None, "error", {"event": "shard_fault", "shard": 4, "exc_info": True})
    assert told == "error: shard fault (shard=4): ValueError: the cause"
