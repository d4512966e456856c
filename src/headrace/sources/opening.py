"""Opening an input: find the file, refuse what is no table, tell CSV from JSONL."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path
from typing import Any, BinaryIO

from headrace.errors import InputError, UsageError
from headrace.nearest import did_you_mean, nearest
from headrace.source import Limits, Source
from headrace.sources.bytestream import ByteStream
from headrace.sources.csvrows import CsvSource
from headrace.sources.jsonlrows import OPENAI_KEYS, JsonlSource
from headrace.sources.signature import encoding_of, refuse_binary
from headrace.sources.textlines import TextLines

KINDS = ("csv", "jsonl", "openai")
SUFFIXES = {".csv": "csv", ".tsv": "csv", ".tab": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
STDIN_NAME = "<stdin>"


def open_source(
    path: str | Path,
    *,
    name: str = "",
    kind: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    fill_short: bool = False,
    limits: Limits | None = None,
) -> Source:
    """Open an input of rows; ``-`` is standard input, gzip is unpacked on the way.

    ``kind`` is ``csv``, ``jsonl`` or ``openai``, by default told from the name and the
    first bytes. ``name`` is what messages call it, by default its path. ``encoding`` is any
    text codec of Python, by default what the byte order mark says, else UTF-8. ``delimiter``
    is one character, by default told from the header. ``fill_short`` takes missing cells at
    the end of a CSV row for empty ones.

    Raises ``InputError`` when the file is missing, unreadable, not a table, empty or
    without a usable header; ``UsageError`` for an unknown kind or delimiter.
    """
    _check_options(kind, delimiter)
    capped = limits or Limits()
    file, found_name = _open_file(path)
    name = name or found_name
    try:
        stream = ByteStream(file, name, capped)
        refuse_binary(stream.head, name)
        codec = encoding_of(stream.head, encoding, name)
        head = stream.head.decode(codec, "replace")
        found = kind or _kind_of(name, head)
        lines = TextLines(stream, codec, capped)
        if found == "csv":
            return CsvSource(stream, lines, capped, delimiter=delimiter, fill_short=fill_short)
        return JsonlSource(stream, lines, capped, found)
    except BaseException:  # broad: whatever went wrong, the file does not stay open
        file.close()
        raise


def _check_options(kind: str | None, delimiter: str | None) -> None:
    if kind is not None and kind not in KINDS:
        raise UsageError(f"unknown kind of input {kind!r}", remedy=did_you_mean(kind, KINDS))
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n\0'):
        raise UsageError(
            f"the delimiter {delimiter!r} is not one ordinary character",
            remedy="Use one of: , ; | or a tab.",
        )


def _open_file(path: str | Path) -> tuple[BinaryIO, str]:
    if str(path) == "-":
        return sys.stdin.buffer, STDIN_NAME
    place = Path(path)
    try:
        if place.is_dir():
            remedy = _files_within(place) or "Name a file in it."
            raise InputError("this is a folder", place=str(path), remedy=remedy)
        return place.open("rb"), str(path)
    except FileNotFoundError:
        raise InputError("no such file", place=str(path), remedy=_sibling(place)) from None
    except OSError as error:
        remedy = "Check the file's permissions."
        if error.errno not in (errno.EACCES, errno.EPERM):
            remedy = "Check the path and the disk."
        message = f"cannot be opened: {error.strerror or error}"
        raise InputError(message, place=str(path), remedy=remedy) from error
    except ValueError:
        raise InputError("not a path", place=repr(path), remedy="It holds a NUL byte.") from None


def _sibling(place: Path) -> str:
    """Say which file beside the missing one was probably meant."""
    try:
        names = [entry.name for entry in place.parent.iterdir()]
    except OSError:
        return f"The folder {str(place.parent)!r} does not exist either; check the path."
    near = nearest(place.name, names)
    if near is not None:
        return f"Did you mean {str(place.parent / near)!r}?"
    return f"Nothing like it is in {str(place.parent.resolve())!r}; check the path."


def _files_within(place: Path) -> str:
    try:
        names = sorted(e.name for e in place.iterdir() if e.suffix.lower() in SUFFIXES)
    except OSError:
        return ""
    return f"Name a file in it: {', '.join(names[:5])}." if names else ""


def _kind_of(name: str, head: str) -> str:
    """Tell the kind by the file's suffix, else by whether the text begins with an object."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes if suffix.lower() != ".gz"]
    named = SUFFIXES.get(suffixes[-1]) if suffixes else None
    text = head.lstrip("\ufeff \t\r\n")
    if named == "csv":
        return "csv"
    if text.startswith("["):
        _refuse_array(name, text)
    if named == "jsonl" or text.startswith("{"):
        _refuse_one_object(name, text)
        return "openai" if _is_request(text) else "jsonl"
    return "csv"


def _refuse_array(name: str, text: str) -> None:
    after = text[1:].lstrip()
    if after[:1] in ("{", "]", "["):
        raise InputError(
            "this is one JSON array, not one object a line",
            place=name,
            remedy="Convert it to JSONL, for example with: jq -c '.[]' FILE > FILE.jsonl",
        )


def _refuse_one_object(name: str, text: str) -> None:
    """An object spread over many lines is a JSON document, and every line would be bad."""
    first = text.splitlines()[0].strip() if text else ""
    if first == "{":
        raise InputError(
            "this is a JSON document over many lines, not one object a line",
            place=name,
            remedy="Convert it to JSONL, for example with: jq -c . FILE > FILE.jsonl",
        )


def _is_request(text: str) -> bool:
    try:
        first: Any = json.loads(text.splitlines()[0])
    except (ValueError, RecursionError, IndexError):
        return False
    return isinstance(first, dict) and all(key in first for key in OPENAI_KEYS)
