"""The log: one entry a line, with the ids of what is in hand, without keys and inputs."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from headrace.config import load_config
from headrace.errors import ConfigError
from headrace.log_lines import HIDDEN, VALUE_CHARS_MAX, Lines, secrets_in, write_logs
from headrace.telemetry import at_work_on, log
from headrace.testing.manual_clock import ManualClock

PROMPT = "a portrait of my grandmother Edeltraud in her garden in Lindau"
KEY = "sk-proj-AbCdEf0123456789xyz"


class Item:
    """Something in hand."""

    def log_ids(self) -> dict[str, Any]:
        """Its ids."""
        return {"batch": "b_1", "row": 7, "attempt": 2}

    def log_hides(self) -> tuple[Any, ...]:
        """Its inputs, some of them deep inside."""
        return {"t": PROMPT, "more": [{"name": "Zebulon"}], "size": 3}, {}


@pytest.fixture
def lines() -> Lines:
    return Lines(clock=ManualClock())


def entry(lines: Lines, **facts: Any) -> dict[str, Any]:
    """An entry as JSON reads it."""
    told: dict[str, Any] = json.loads(lines.json(None, "warning", {"event": "e", **facts}))
    return told


def test_an_entry_is_one_object_on_one_line(lines: Lines) -> None:
    """Time, level, event and facts; line breaks inside are escaped."""
    text = lines.json(None, "warning", {"event": "tick_failed", "why": "a\nb", "again_s": 0.5})
    assert "\n" not in text
    told = json.loads(text)
    assert told.pop("at").endswith("+00:00")
    assert told == {"level": "warning", "event": "tick_failed", "why": "a\nb", "again_s": 0.5}


def test_an_entry_says_what_is_in_hand(lines: Lines) -> None:
    """Batch, row and attempt come by themselves, inside of the work and not after it."""
    with at_work_on(Item()):
        inside = entry(lines, why="x")
        own = entry(lines, row=9)
    assert (inside["batch"], inside["row"], inside["attempt"]) == ("b_1", 7, 2)
    assert own["row"] == 9
    assert "batch" not in entry(lines)


@pytest.mark.parametrize(
    "words",
    [
        f"bad request: {PROMPT}",
        f"cannot draw '{PROMPT[:40]}…'",
        f"{PROMPT[:17]} and more",
        "by Zebulon himself",
        f"twice {PROMPT} {PROMPT}",
    ],
)
def test_no_input_is_repeated_whole_or_cut_short(lines: Lines, words: str) -> None:
    """What an error quotes of the row it failed at is hidden, the rest of its words stays."""
    with at_work_on(Item()):
        told = lines.hide(words)
    assert HIDDEN in told
    for part in ("grandmother", "portrait of my", "Lindau", "Zebulon"):
        assert part not in told


@pytest.mark.parametrize(
    "words",
    [
        f"401 for {KEY}",
        f"Authorization: Bearer {KEY}",
        "postgresql://me:hunter22@db:5432/x refused",
        "GET https://s3/x?X-Amz-Signature=abcdef0123&a=1",
        "https://api/x?key=AIzaSyA0123456789abcdefghijk",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "the key hr_0123456789abcdefgh is not good",
    ],
)
def test_no_key_is_repeated(lines: Lines, words: str) -> None:
    """Keys are known by their looks, wherever they stand."""
    told = lines.hide(words)
    assert HIDDEN in told
    for part in ("AbCdEf", "hunter22", "abcdef0123", "AIza", "eyJ", "hr_0123"):
        assert part not in told


def test_keys_of_settings_and_environment_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that looks like nothing is hidden, because the settings name it as one."""
    tables = {
        "mine": {"api_key": "plain words", "base_url": "http://x"},
        "deep": {"a": {"token": "wood-en-spoon"}},
    }
    monkeypatch.setenv("SOME_API_KEY", "only-in-environment")
    lines = Lines(secrets_in(tables))
    told = lines.hide("plain words, wood-en-spoon, only-in-environment, http://x")
    assert told == f"{HIDDEN}, {HIDDEN}, {HIDDEN}, http://x"


def test_a_field_with_the_name_of_a_secret_is_hidden(lines: Lines) -> None:
    """By its name alone, whatever it holds."""
    told = entry(lines, api_key="x", prompt="y", body=b"z", keys=["k"], shard=4)
    assert [told[name] for name in ("api_key", "prompt", "body", "keys")] == [HIDDEN] * 4
    assert told["shard"] == 4


def test_an_error_tells_where_and_no_values(lines: Lines) -> None:
    """Type, words without inputs, and frames: file, line and function, never their variables."""
    secret_of_the_frame = "the value of a variable"
    with at_work_on(Item()):
        try:
            raise ValueError(f"no room for {PROMPT}")
        except ValueError:
            told = entry(lines, exc_info=True)
            text = lines.text(None, "exception", {"event": "adapter_fault", "exc_info": True})
    assert told["error"] == "ValueError"
    assert told["why"] == f"no room for {HIDDEN}"
    assert told["frames"][-1].startswith("test_log_lines.py:")
    assert secret_of_the_frame not in json.dumps(told)
    assert text.startswith("error: adapter fault (batch=b_1, row=7, attempt=2): ValueError: no")
    assert "grandmother" not in text


def test_a_value_of_megabytes_is_cut(lines: Lines) -> None:
    """An error may quote a whole body; the line stays short, and is made quickly."""
    told = entry(lines, why="x" * 50_000_000)
    assert len(told["why"]) == VALUE_CHARS_MAX + 1


@pytest.fixture
def restored() -> Iterator[None]:
    """The logging of this process as it was."""
    before, root = structlog.get_config(), logging.getLogger().handlers
    yield
    structlog.configure(**before)
    logging.getLogger().handlers = root


@pytest.mark.usefixtures("restored")
def test_libraries_log_as_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """With ``json`` every line of standard error is an object; a level below is left out."""
    write_logs("json", [KEY])
    log(shard=4).warning("fence_lost")
    log().info("chatter")
    logging.getLogger("uvicorn.error").warning("bad handshake with %s", KEY)
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [one["event"] for one in told] == ["fence_lost", f"bad handshake with {HIDDEN}"]
    assert told[0]["shard"] == 4
    assert told[1]["logger"] == "uvicorn.error"


def test_another_form_is_told_with_its_place_and_the_remedy() -> None:
    """A form that there is not names the setting and those that there are."""
    with pytest.raises(ConfigError, match=r"log\.format = 'xml'") as caught:
        load_config(environment={"HEADRACE_LOG__FORMAT": "xml"})
    assert "text or json" in caught.value.remedy
    with pytest.raises(ConfigError, match=r"metrics\.database_s = 0"):
        load_config(environment={"HEADRACE_METRICS__DATABASE_S": "0"})
