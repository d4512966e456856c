"""The lines of a batch file in OpenAI's shape: read one by one, each good or with its error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import InputError
from headrace.openai_body import model_of, params_of, with_sources

LINES_MAX = 50_000
LINE_BYTES_MAX = 8 * 1024 * 1024
CUSTOM_ID_CHARS_MAX = 512
_BOM = b"\xef\xbb\xbf"
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class LineError:
    """What is wrong with a line, from 1; ``line`` is ``None`` for the file as a whole."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the error as OpenAI's API lists it."""
        return {
            "code": self.code,
            "line": self.line,
            "message": self.message,
            "param": self.param,
        }


@dataclass(frozen=True, slots=True)
class RequestLine:
    """A line that can be used: ``body`` asks ``model``, which is ``provider:model``."""

    line: int
    custom_id: str
    model: str
    body: dict[str, Any]
    size_bytes: int

    def row(self) -> dict[str, Any]:
        """Return the line as the row of a batch."""
        return {"custom_id": self.custom_id, "body": self.body}


class _UnfitError(Exception):
    """A line that cannot be used."""

    def __init__(self, code: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param


def raw_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines that are not blank, with their numbers from 1; ``None`` for an endless one.

    No line is ever held that is longer than it may be.
    """
    with path.open("rb") as file:
        number, endless = 1, False
        for piece in iter(lambda: file.readline(LINE_BYTES_MAX + 1), b""):
            ends = piece.endswith(b"\n")
            if endless or len(piece) > LINE_BYTES_MAX:
                if not endless:
                    yield number, None
                endless = not ends
            else:
                text = (piece.removeprefix(_BOM) if number == 1 else piece).strip()
                if text:
                    yield number, text
            number += ends


def rows_again(path: Path, pictures: Mapping[str, str] | None = None) -> Iterator[bytes]:
    """Yield the rows of a file that was looked through and found good, as JSON.

    ``pictures`` has the hashes of those that edits name.
    """
    for _, text in raw_lines(path):
        value = _decode(text or b"")
        body = value["body"]
        if pictures is not None:
            body = with_sources(body, pictures)
        yield _encode({"custom_id": value["custom_id"], "body": body})


class LineReader:
    """Looks at each line of one file, all of which must ask for the same ``endpoint``."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._seen: dict[str, int] = {}

    def read(self, path: Path) -> Iterator[RequestLine | LineError]:
        """Yield every line; ends behind an error of the file as a whole."""
        count = 0
        for number, text in raw_lines(path):
            count += 1
            if count > LINES_MAX:
                yield LineError("too_many_tasks", f"the file has more than {LINES_MAX:,} lines")
                return
            try:
                yield self._line(number, text)
            except _UnfitError as unfit:
                yield LineError(unfit.code, unfit.message, number, unfit.param)
        if count == 0:
            yield LineError("empty_file", "the file has no lines")

    def _line(self, number: int, text: bytes | None) -> RequestLine:
        value = _object(text)
        custom_id, body = value.get("custom_id"), value.get("body")
        for name in ("custom_id", "method", "url", "body"):
            if value.get(name) is None:
                raise _UnfitError("missing_required_parameter", f"{name!r} is missing", name)
        if not isinstance(custom_id, str) or not 0 < len(custom_id) <= CUSTOM_ID_CHARS_MAX:
            why = f"'custom_id' must be a text of 1 to {CUSTOM_ID_CHARS_MAX} characters"
            raise _UnfitError("invalid_custom_id", why, "custom_id")
        if value["method"] != "POST":
            raise _UnfitError("invalid_method", "'method' must be POST", "method")
        if value["url"] != self._endpoint:
            why = f"'url' must be the batch's endpoint, {self._endpoint}"
            raise _UnfitError("invalid_url", why, "url")
        if not isinstance(body, dict):
            raise _UnfitError("invalid_request", "'body' must be an object", "body")
        before = self._seen.setdefault(custom_id, number)
        if before != number:
            why = f"custom_id {custom_id[:80]!r} stands in line {before} already"
            raise _UnfitError("duplicate_custom_id", why, "custom_id")
        return RequestLine(number, custom_id, self._model(body), body, len(text or b""))

    def _model(self, body: dict[str, Any]) -> str:
        if body.get("stream"):
            raise _UnfitError("invalid_request", "a batch cannot stream", "body.stream")
        try:
            params_of(self._endpoint, body)
            return model_of(body)
        except InputError as error:
            why = f"{error.message} {error.remedy}".strip()
            param = "body" if error.param is None else f"body.{error.param}"
            raise _UnfitError("invalid_request", why, param) from error


def _object(text: bytes | None) -> dict[str, Any]:
    if text is None:
        why = f"the line has more than {LINE_BYTES_MAX:,} bytes"
        raise _UnfitError("line_too_long", why)
    try:
        value = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _UnfitError("invalid_json_line", f"the line is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _UnfitError("invalid_json_line", "the line is not a JSON object")
    # No database holds it; the search is a second look at those few lines that have escapes.
    if b"\\u0000" in text and "\0" in _texts(value):
        raise _UnfitError("invalid_json_line", "the line holds a NUL character")
    return value


def _texts(value: Any) -> str:
    """Return all texts of a JSON value, one behind the other."""
    found: list[str] = []
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            left += one.keys()
            left += one.values()
        elif isinstance(one, list):
            left += one
    return "".join(found)
