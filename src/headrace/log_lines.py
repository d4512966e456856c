"""Entries of the log as lines: for people, or as JSON; with ids, without secrets and inputs.

Whatever goes into the log passes ``safe``: keys are known by their looks, by the settings and
by the environment; inputs by what is in hand when the line is written.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from datetime import UTC
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from headrace.clock import Clock, SystemClock
from headrace.telemetry import InHand, in_hand

VALUE_CHARS_MAX = 1000
FRAMES_MAX = 8
HIDDEN = "[hidden]"
_SHORT = 6
"""Inputs shorter than this are words that anything may hold."""
_BEGINNING = 16
"""Errors quote inputs cut short: so many characters from the start of one are enough to know it."""
_SECRET_CHARS_MIN = 8

_SECRET_NAME = re.compile(
    r"(^|_)(key|keys|token|secret|password|authorization|prompt|inputs|body)$", re.IGNORECASE
)
_SECRETS = (
    re.compile(r"(?i)\b(?:bearer|basic)\s+[\w\-.~+/=]{6,}"),
    re.compile(r"\b(?:sk|pk|rk|hr|r8|whsec|key|ghp|gsk|xai|hf)[-_][\w\-]{10,}"),
    re.compile(r"\bAIza[\w\-]{20,}"),
    re.compile(r"\beyJ[\w\-]{8,}\.[\w\-]{8,}(?:\.[\w\-]*)?"),
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),
    re.compile(
        r"(?i)(?<=[?&\s])(?:x-amz-signature|x-goog-signature|sig|signature|api[-_]?key|key|token|"
        r"access_token|password|secret)=[^&\s\"']+"
    ),
)


class Stderr:
    """Standard error as it is when written to: the live line puts itself in its place."""

    def write(self, text: str) -> int:
        """Write ``text``."""
        return sys.stderr.write(text)

    def flush(self) -> None:
        """Flush what was written."""
        sys.stderr.flush()


def write_logs(form: str = "text", secrets: Iterable[str] = (), clock: Clock | None = None) -> None:
    """Send the log of this process to standard error, warnings and worse, as lines of ``form``.

    ``text`` or ``json``; as JSON also what libraries log. ``secrets`` are hidden wherever they
    stand. The chatter of others is left out.
    """
    # The queue's, and the pool's pages for each try of a database that is away: our loops say it.
    for name in ("pgqueuer", "asyncpg"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    lines = Lines(secrets, clock)
    structlog.configure(
        processors=[lines.json if form == "json" else lines.text],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Stderr())),
    )
    if form == "json":
        handler = logging.StreamHandler(cast("TextIO", Stderr()))
        handler.setFormatter(_AsJson(lines))
        logging.getLogger().handlers = [handler]


class Lines:
    """Writes entries down."""

    def __init__(self, secrets: Iterable[str] = (), clock: Clock | None = None) -> None:
        self._secrets = [one for one in secrets if len(one) >= _SECRET_CHARS_MIN]
        self._clock = clock or SystemClock()

    def text(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        """Return an entry as a line for people; a traceback only when asked for."""
        error = _error_of(event)
        told = self.safe(event)
        words = str(told.pop("event", "")).replace("_", " ")
        facts = [f"{key}={' '.join(str(value).split())}" for key, value in told.items()]
        text = f"{_named(level)}: {words}" + (f" ({', '.join(facts)})" if facts else "")
        if error is None:
            return text
        if os.environ.get("HEADRACE_TRACEBACK"):
            return text + "\n" + "".join(traceback.format_exception(error)).rstrip()
        return f"{text}: {type(error).__name__}: {self.hide(str(error))}"

    def json(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        """Return an entry as one JSON object; of an error its type, its words and its frames."""
        error = _error_of(event)
        now = self._clock.now().astimezone(UTC)
        told: dict[str, Any] = {
            "at": now.isoformat(timespec="milliseconds"),
            "level": _named(level),
        }
        told |= self.safe(event)
        if error is not None:
            told["error"] = type(error).__name__
            told["why"] = self.hide(str(error))
            told |= {"frames": _frames(error)}
        return json.dumps(told, ensure_ascii=False, default=str)

    def safe(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Return an entry with the ids of what is in hand, and without what nobody may read."""
        item = in_hand()
        # What the entry says of itself wins over what is in hand.
        told = {**(item.log_ids() if item is not None else {}), **event}
        return {name: self._safe(name, value) for name, value in told.items()}

    def _safe(self, name: str, value: Any) -> Any:
        if _SECRET_NAME.search(name):
            return HIDDEN
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.hide(str(value))

    def hide(self, text: str) -> str:
        """Return ``text`` without keys and inputs, of ``VALUE_CHARS_MAX`` characters at most."""
        # Bounded first: an error may quote a body of megabytes.
        text = text[: 4 * VALUE_CHARS_MAX]
        for secret in (*self._secrets, *_secrets_of_environment()):
            text = text.replace(secret, HIDDEN)
        for hidden in sorted(_inputs(in_hand()), key=len, reverse=True):
            text = _without(text, hidden)
        for looks in _SECRETS:
            text = looks.sub(HIDDEN, text)
        return text if len(text) <= VALUE_CHARS_MAX else f"{text[:VALUE_CHARS_MAX]}…"


class _AsJson(logging.Formatter):
    """Writes what libraries log as our own lines."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {"event": record.getMessage(), "logger": record.name}
        if record.exc_info and record.exc_info[1] is not None:
            entry["exc_info"] = record.exc_info[1]
        return self._lines.json(None, record.levelname, entry)


def secrets_in(tables: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts in tables of settings that are named like a key or a password."""
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield from secrets_in(value)
        elif isinstance(value, str) and _SECRET_NAME.search(name):
            yield value


def _named(level: str) -> str:
    return {"exception": "error"}.get(level.lower(), level.lower())


def _error_of(event: MutableMapping[str, Any]) -> BaseException | None:
    told = event.pop("exc_info", None)
    if isinstance(told, BaseException):
        return told
    return sys.exc_info()[1] if told else None


def _frames(error: BaseException) -> list[str]:
    """Return where an error came from, the innermost last; places only, no values."""
    found = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    return [f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in found]


def _secrets_of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if len(value) >= _SECRET_CHARS_MIN and _SECRET_NAME.search(name):
            yield value


def _inputs(item: InHand | None) -> Iterator[str]:
    """Yield the texts that an item was given, however deep they lie."""
    left: list[Any] = [] if item is None else list(item.log_hides())
    while left:
        one = left.pop()
        if isinstance(one, Mapping):
            left.extend(one.values())
        elif isinstance(one, list | tuple):
            left.extend(one)
        elif isinstance(one, str) and len(one.strip()) >= _SHORT:
            yield one.strip()


def _without(text: str, hidden: str) -> str:
    """Return ``text`` without an input, whole or cut short."""
    start = hidden[:_BEGINNING]
    at = text.find(start)
    while at >= 0:
        end = at + len(start)
        while end < len(text) and text[at : end + 1] == hidden[: end + 1 - at]:
            end += 1
        text = text[:at] + HIDDEN + text[end:]
        at = text.find(start, at + len(HIDDEN))
    return text
