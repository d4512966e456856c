"""``explain``: what headrace concludes from responses of providers, one JSON object a line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

from cyclopts import Parameter

from headrace.cli.options import Common, line
from headrace.errors import InputError, UsageError

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.limits import Limit
    from headrace.signals import Signal

LINE_BYTES_MAX = 16 * 1024 * 1024
SKIP_BYTES = 64 * 1024
BAD_LINES_EXIT = 3
FORM = '{"provider": "openai", "status": 429, "headers": {"retry-after": "2"}, "body": {}}'


class _UnfitError(ValueError):
    """A line that is no response: the reason, in words."""


@dataclass(frozen=True, slots=True)
class _Response:
    provider: str
    status: int
    headers: dict[str, Any]
    body: Any


def explain(
    *files: Annotated[
        Path,
        Parameter(
            help="JSON Lines of responses; - or none: standard input.", allow_leading_hyphen=True
        ),
    ],
    common: Common | None = None,
) -> int:
    """Say what headrace makes of responses: class, retry, wait, limits learned."""
    from headrace.clock import SystemClock
    from headrace.signals import read_signal

    as_json = common is not None and common.json
    seen = bad = 0
    now = SystemClock().now()
    try:
        with ExitStack() as stack:
            for name, stream in _opened(files, stack):
                for number, text in _lines(stream):
                    seen += 1
                    try:
                        got = _response(text)
                    except _UnfitError as unfit:
                        bad += 1
                        _complain(name, number, unfit)
                        continue
                    signal = read_signal(got.provider, got.status, got.headers, got.body, now)
                    _tell(number, got, signal, as_json, now)
    except BrokenPipeError:
        # The reader has seen enough; what is left in our buffer has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if not seen:
        raise _nothing()
    return BAD_LINES_EXIT if bad else 0


def _nothing() -> UsageError:
    return UsageError(
        "there is no response to explain",
        remedy=f"Name files, or pipe responses in, one a line: {FORM}",
    )


def _opened(files: tuple[Path, ...], stack: ExitStack) -> Iterator[tuple[str, BinaryIO]]:
    """The inputs with the names that messages show; all files are opened before any is read."""
    if not files and (sys.stdin is None or sys.stdin.isatty()):
        raise _nothing()
    inputs: list[tuple[str, BinaryIO]] = []
    for path in files or (Path("-"),):
        if str(path) == "-":
            inputs.append(("standard input", sys.stdin.buffer))
            continue
        try:
            inputs.append((str(path), stack.enter_context(path.open("rb"))))
        except OSError as error:
            if str(path).startswith("-"):
                raise UsageError(
                    f"unknown option {path}", remedy="See 'headrace explain --help'."
                ) from None
            raise InputError(
                f"cannot be read: {error.strerror}",
                place=str(path),
                remedy="Check the path, or pipe the responses in.",
            ) from error
    yield from inputs


def _lines(stream: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Number and bytes of every line that is not blank; ``None`` for one over the cap."""
    number = 0
    while text := stream.readline(LINE_BYTES_MAX + 1):
        number += 1
        if number == 1:
            text = text.removeprefix(b"\xef\xbb\xbf")
        if len(text) > LINE_BYTES_MAX and not text.endswith(b"\n"):
            rest = text
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(SKIP_BYTES)
            yield number, None
        elif not text.isspace() and text:
            yield number, text


def _response(text: bytes | None) -> _Response:
    if text is None:
        raise _UnfitError(f"longer than {LINE_BYTES_MAX // 1024**2} MiB")
    value = _decoded(text)
    if not isinstance(value, dict):
        raise _UnfitError("not a JSON object")
    provider = value.get("provider")
    headers = value.get("headers")
    if not isinstance(provider, str | None):
        raise _UnfitError("'provider' is not a text")
    if not isinstance(headers, dict | None):
        raise _UnfitError("'headers' is not an object")
    return _Response(provider or "generic", _status(value), headers or {}, value.get("body"))


def _decoded(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _UnfitError(f"not UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise _UnfitError(f"not valid JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise _UnfitError("nested too deeply") from None
    except ValueError:
        raise _UnfitError("a number has too many digits") from None


def _status(value: dict[str, Any]) -> int:
    status = value.get("status")
    if isinstance(status, str) and len(status) == 3 and status.isascii() and status.isdigit():
        status = int(status)
    if isinstance(status, bool) or not isinstance(status, int) or not 0 <= status <= 999:
        shown = json.dumps(status)[:40] if "status" in value else "missing"
        raise _UnfitError(f"'status' is {shown}, not an HTTP status")
    return status


def _complain(name: str, number: int, unfit: _UnfitError) -> None:
    print(f"error: {name}, line {number}: {unfit}", file=sys.stderr)
    print(f"  → A line is one response, for example {FORM}", file=sys.stderr, flush=True)


def _tell(number: int, got: _Response, signal: Signal, as_json: bool, now: datetime) -> None:
    if as_json:
        told = {
            "class": signal.word,
            "retry": signal.retry,
            "wait_s": signal.wait_s,
            "wait_from": signal.wait_from,
            "limits": [_limit(limit) for limit in signal.said.limits],
        }
        print(json.dumps(told, ensure_ascii=False), flush=True)
        return
    line(f"line {number} · {_shown(got.provider)} · HTTP {got.status}: {_conclusion(signal)}")
    for text in (signal.reason, *map(_limit_words, signal.said.limits), *_more(signal)):
        if text:
            line(f"  {text}")
    if signal.remedy:
        line(f"  → {signal.remedy}")
    sys.stdout.flush()


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:40])


def _limit(limit: Limit) -> dict[str, Any]:
    known = {
        "dimension": limit.dimension.value,
        "amount": _plain(limit.amount),
        "window_s": _plain(limit.window_s),
        "remaining": _plain(limit.remaining),
        "reset_s": _plain(limit.reset_s),
    }
    return {key: value for key, value in known.items() if value is not None}


def _plain(number: float | None) -> float | int | None:
    """A whole number without its ".0", as the provider wrote it."""
    return int(number) if number is not None and number.is_integer() else number


def _conclusion(signal: Signal) -> str:
    again = "try again" if signal.retry else "do not try again"
    found = f" (found in {signal.wait_from})" if signal.wait_from else ""
    if signal.word == "success":
        return "success"
    wait = f" after {_seconds(signal.wait_s)}" if signal.wait_s is not None else ""
    return f"{signal.word}, {again}{wait}{found}"


def _seconds(duration_s: float) -> str:
    if duration_s < 120.0:
        return f"{duration_s:.3f}".rstrip("0").rstrip(".") + " s"
    minutes, hours = duration_s / 60.0, duration_s / 3600.0
    if hours < 2.0:
        return f"{minutes:.1f} min"
    return f"{hours:.1f} h" if hours < 48.0 else f"{hours / 24.0:.1f} days"


def _limit_words(limit: Limit) -> str:
    words = []
    if limit.amount is not None:
        per = f" per {_seconds(limit.window_s)}" if limit.window_s is not None else ""
        at_once = " at a time" if limit.dimension.value == "concurrency" else ""
        words.append(f"{limit.amount:,.15g}{per}{at_once}")
    if limit.remaining is not None:
        words.append(f"{limit.remaining:,.15g} left")
    if limit.reset_s is not None:
        words.append(f"full again in {_seconds(limit.reset_s)}")
    return f"limit of {limit.dimension.value}: {', '.join(words)}"


def _more(signal: Signal) -> Iterator[str]:
    if signal.said.bucket is not None:
        yield f"the limit of {signal.said.bucket.value} refused"
    if signal.said.ramp:
        yield "the rate rose too fast: go slower, not only later"
    if signal.said.tokens is not None:
        yield f"{signal.said.tokens:,} tokens used"
