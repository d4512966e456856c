"""Rows of a JSONL file: one JSON object a line, also the lines of an OpenAI batch file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from headrace.errors import InputError
from headrace.source import BadRow, Limits, Row, excerpt
from headrace.sources.bytestream import ByteStream
from headrace.sources.openedfile import OpenedFile
from headrace.sources.textlines import TextLines

OPENAI_KEYS = ["custom_id", "method", "url", "body"]
ONE_OBJECT = 'Each line is one object, for example {"name": "Oak table", "price": 120}.'


class _UnfitError(ValueError):
    """A line that is not a usable object: reason, remedy, and the key to blame if any."""

    def __init__(self, reason: str, remedy: str = ONE_OBJECT, key: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.remedy = remedy
        self.key = key


class JsonlSource(OpenedFile):
    """Rows of a JSONL file; nested values are kept, blank lines skipped.

    ``kind`` is ``openai`` where each line is a request of an OpenAI batch file
    (``custom_id``, ``method``, ``url``, ``body``), which are then its columns.
    """

    def __init__(self, stream: ByteStream, lines: TextLines, limits: Limits, kind: str) -> None:
        self.name = stream.name
        self.kind = kind
        self.columns: list[str] | None = list(OPENAI_KEYS) if kind == "openai" else None
        self.rows_good = 0
        self.rows_bad = 0
        super().__init__(stream)
        self._lines = lines
        self._limits = limits
        self._custom_ids: dict[str, int] = {}
        self._decode = json.JSONDecoder(
            object_pairs_hook=_unique, parse_constant=_constant, parse_float=_finite
        ).decode

    def __iter__(self) -> Iterator[Row | BadRow]:
        """Yield every row in order; raises ``InputError`` past a cap, or if there is none."""
        rows_max, number = self._limits.rows_max, 0
        for line_number, line in enumerate(self._lines, start=1):
            if line.isspace():
                continue
            number += 1
            if rows_max and number > rows_max:
                raise InputError(
                    f"more than {rows_max:,} rows",
                    place=self.name,
                    remedy="Split the file, or raise the limit on rows.",
                )
            yield self._row(number, line_number, line)
        if not number:
            raise InputError("the file is empty", place=self.name, remedy=ONE_OBJECT)

    def _row(self, number: int, line_number: int, line: str) -> Row | BadRow:
        try:
            flaw = self._lines.flaws.pop(line_number, None)
            if flaw is not None:
                raise _UnfitError(*flaw)
            values = self._object(line)
            if self.kind == "openai":
                self._check_request(values, number)
        except _UnfitError as unfit:
            self.rows_bad += 1
            raw = excerpt(line[:1000].strip())
            return BadRow(number, line_number, unfit.key, unfit.reason, unfit.remedy, raw)
        self.rows_good += 1
        return Row(number, values, line_number)

    def _object(self, line: str) -> dict[str, Any]:
        self._check_depth(line)
        try:
            value = self._decode(line.strip(" \t\r\n"))
        except json.JSONDecodeError as error:
            raise _UnfitError(f"not valid JSON: {error.msg} at character {error.pos + 1}") from None
        except RecursionError:
            raise _UnfitError("nested too deeply", "Flatten the object.") from None
        except _UnfitError:
            raise
        except ValueError:
            raise _UnfitError("a number has too many digits", "Write it as text.") from None
        if not isinstance(value, dict):
            raise _UnfitError(f"the line is {_spoken(value)}, not an object")
        self._check_texts(line, value)
        return value

    def _check_depth(self, line: str) -> None:
        depth_max = self._limits.depth_max
        if line.count("[") + line.count("{") > depth_max and _depth(line) > depth_max:
            raise _UnfitError(f"nested more than {depth_max} levels deep", "Flatten the object.")

    def _check_texts(self, line: str, value: dict[str, Any]) -> None:
        """Refuse texts that no database or file takes, and those over the cap."""
        escapes = "\\u" in line
        if not escapes and len(line) <= self._limits.field_chars_max:
            return
        for key, item in value.items():
            for text in _texts_in([key, item]):
                if len(text) > self._limits.field_chars_max:
                    raise _UnfitError(
                        f"the text is too large: {len(text):,} characters",
                        "Shorten it, or raise the limit on field size.",
                        key,
                    )
                if "\0" in text:
                    raise _UnfitError(
                        "contains a NUL character", "Remove \\u0000 from the text.", key
                    )
                if escapes and not _is_encodable(text):
                    raise _UnfitError(
                        "contains half of a surrogate pair",
                        "Write the character itself in UTF-8, or both halves of the \\u escape.",
                        excerpt(key) if _is_encodable(key) else None,
                    )

    def _check_request(self, values: dict[str, Any], number: int) -> None:
        for key in OPENAI_KEYS:
            if key not in values:
                raise _UnfitError(
                    f"{key!r} is missing", f"A request has {', '.join(OPENAI_KEYS)}.", key
                )
        for key in OPENAI_KEYS[:3]:
            if not isinstance(values[key], str) or not values[key]:
                raise _UnfitError(f"{key!r} is {_spoken(values[key])}", f"{key!r} is a text.", key)
        if not isinstance(values["body"], dict):
            raise _UnfitError(
                f"'body' is {_spoken(values['body'])}", "'body' is an object.", "body"
            )
        before = self._custom_ids.setdefault(values["custom_id"], number)
        if before != number:
            raise _UnfitError(
                f"custom_id {excerpt(values['custom_id'])!r} was used in row {before}",
                "Give every request a custom_id of its own.",
                "custom_id",
            )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _UnfitError(
            f"the key {excerpt(twice)!r} stands twice", "Keep one of them.", excerpt(twice)
        )
    return built


def _constant(word: str) -> NoReturn:
    raise _UnfitError(f"{word} is not a JSON number", "Use null, or a number.")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise _UnfitError(f"the number {excerpt(digits)} is too large", "Write it as text.")
    return number


def _depth(line: str) -> int:
    """Return how deep brackets nest, those inside texts not counted."""
    deepest = depth = 0
    inside = escaped = False
    for char in line:
        if inside:
            inside = escaped or char != '"'
            escaped = char == "\\" and not escaped
        elif char == '"':
            inside = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts_in(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _texts_in(item)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _spoken(value: Any) -> str:
    if value is None:
        return "null"
    words = {bool: "true or false", int: "a number", float: "a number", str: "a text"}
    return words.get(type(value), "a list" if isinstance(value, list) else "an object")
