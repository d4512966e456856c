"""What came back from a provider, in one shape: headers, body, the words and codes in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.waits import dig, read_number

TEXT_CHARS_MAX = 8192
"""No more of a text is looked at: an explanation is short, and patterns stay quick."""
CODE_CHARS_MAX = 100
LIST_ITEMS_MAX = 20
HEADERS_MAX = 256
EACH = "*"
"""Stands in a path for every element of a list."""

# Where providers put words for people, the most telling first.
TEXT_PATHS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("body.error.metadata.raw", ("error", "metadata", "raw")),
    ("body.error.message", ("error", "message")),
    ("body.error.error", ("error", "error")),
    ("body.error", ("error",)),
    ("body.message", ("message",)),
    ("body.detail", ("detail",)),
    ("body.detail.message", ("detail", "message")),
    ("body.detail[].msg", ("detail", EACH, "msg")),
    ("body.errors[]", ("errors", EACH)),
    ("body.errors[].message", ("errors", EACH, "message")),
    ("body.error_description", ("error_description",)),
    ("body.msg", ("msg",)),
    ("body.reason", ("reason",)),
    ("body.title", ("title",)),
)
# Where they put codes: single words that programs compare.
CODE_PATHS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("error.code", ("error", "code")),
    ("error.type", ("error", "type")),
    ("error.status", ("error", "status")),
    ("error.error_code", ("error", "error_code")),
    ("error.details.error_code", ("error", "details", "error_code")),
    ("error.details[].reason", ("error", "details", EACH, "reason")),
    ("error.innererror.code", ("error", "innererror", "code")),
    ("error.metadata.error_type", ("error", "metadata", "error_type")),
    ("detail[].type", ("detail", EACH, "type")),
    ("detail.status", ("detail", "status")),
    ("detail.type", ("detail", "type")),
    ("error_type", ("error_type",)),
    ("error_code", ("error_code",)),
    ("code", ("code",)),
    ("type", ("type",)),
    ("name", ("name",)),
    ("reason", ("reason",)),
    ("error", ("error",)),
)
CODE_HEADERS = ("x-fal-error-type",)

_MARKUP = re.compile(r"<[^<>]{1,512}>")
_SCRIPTS = re.compile(r"<(script|style)\b[^<]{0,4096}</\1>", re.I)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer whose parts can be relied on, whatever was sent.

    ``headers`` have names in lower case; ``body`` is the JSON object, empty where there
    was none; ``page`` is the start of a body that is no JSON. ``is_json``: it was a
    JSON object, ``is_empty``: it had no bytes at all. ``texts`` are (place,
    text), white space collapsed; ``codes`` are lower case, each with its place.
    """

    provider: str
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    page: str = ""
    is_json: bool = False
    is_empty: bool = False
    texts: tuple[tuple[str, str], ...] = ()
    codes: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All words of the answer, as far as patterns may look."""
        return "\n".join(text for _, text in self.texts)[:TEXT_CHARS_MAX]


def read_answer(
    provider: str, status: int, headers: Mapping[str, str], body: object | bytes | str | None
) -> Answer:
    """Bring an answer into shape; never raises, whatever the parts are."""
    known = _headers(headers)
    value, page = _value(body)
    if isinstance(value, list):
        # Google's OpenAI-compatible route wraps its error in a list.
        value = next((item for item in value[:LIST_ITEMS_MAX] if isinstance(item, dict)), None)
    found = value if isinstance(value, dict) else {}
    texts = [(place, words) for place, path in TEXT_PATHS for words in _words(found, path)]
    if page:
        texts = [("body", _plain(page))]
    return Answer(
        provider=str(provider)[:CODE_CHARS_MAX].strip().lower(),
        status=_status(status),
        headers=known,
        body=found,
        page=page,
        is_json=isinstance(value, dict),
        is_empty=isinstance(body, bytes | str) and not body,
        texts=_within_cap(texts),
        codes=_codes(found, known),
    )


def _within_cap(texts: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """As many texts as may be looked at, counted together, the last one cut."""
    kept, room = [], TEXT_CHARS_MAX
    for place, text in texts[:LIST_ITEMS_MAX]:
        if room > 0:
            kept.append((place, text[:room]))
            room -= len(text)
    return tuple(kept)


def _status(status: object) -> int:
    return int(status) if isinstance(status, int) and 0 <= status <= 999 else 0


def _headers(headers: object) -> dict[str, str]:
    """Names in lower case, values as text; what is neither text nor number is left out."""
    known: dict[str, str] = {}
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        text = _header(value[0] if isinstance(value, list | tuple) and value else value)
        if text is not None and len(known) < HEADERS_MAX:
            known.setdefault(str(name).lower(), text[:TEXT_CHARS_MAX])
    return known


def _header(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    number = read_number(value)
    return None if number is None else f"{number:.15g}"


def _value(body: object) -> tuple[object, str]:
    """The JSON value of a body and, where it is none, the start of its text."""
    if isinstance(body, bytes | bytearray | memoryview):
        body = bytes(body)
        start = body[:64].lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
        if start in (b"{", b"["):
            body = body.decode("utf-8-sig", "replace")
        else:
            return None, _page(body[:TEXT_CHARS_MAX])
    if not isinstance(body, str):
        return body, ""
    if body.lstrip("\ufeff \t\r\n")[:1] in ("{", "["):
        try:
            return json.loads(body.lstrip("\ufeff")), ""
        except (ValueError, RecursionError):
            pass
    return None, body[:TEXT_CHARS_MAX]


def _page(start: bytes) -> str:
    """Text, or nothing where the bytes are no text (an image, say)."""
    text = start.decode("utf-8", "replace")
    return "" if "\0" in text or text.count("\ufffd") > len(text) // 10 else text


def _plain(page: str) -> str:
    return collapsed(_MARKUP.sub(" ", _SCRIPTS.sub(" ", page)) if "<" in page else page)


def collapsed(text: str) -> str:
    """Return the start of a text on one line, without characters that do not print."""
    words = " ".join(text[:TEXT_CHARS_MAX].split())
    return words if words.isprintable() else "".join(c if c.isprintable() else " " for c in words)


def gather(value: object, path: tuple[str, ...]) -> Iterator[Any]:
    """Yield what lies under a path, in which ``EACH`` stands for the elements of a list."""
    if EACH not in path:
        yield dig(value, *path)
        return
    at = path.index(EACH)
    items = dig(value, *path[:at])
    for item in items[:LIST_ITEMS_MAX] if isinstance(items, list) else ():
        yield from gather(item, path[at + 1 :])


def _words(body: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    for value in gather(body, path):
        if isinstance(value, str) and (text := collapsed(value)):
            yield text


def _codes(body: Mapping[str, Any], headers: Mapping[str, str]) -> dict[str, str]:
    codes: dict[str, str] = {}
    for place, path in CODE_PATHS:
        for value in gather(body, path):
            if isinstance(value, str) and len(value) <= CODE_CHARS_MAX and " " not in value:
                codes.setdefault(value.strip().lower(), place)
    for name in CODE_HEADERS:
        if name in headers:
            codes.setdefault(headers[name].strip().lower()[:CODE_CHARS_MAX], name)
    return codes
