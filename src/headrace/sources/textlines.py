"""Lines of text from blocks of bytes: decoded, split as CSV splits them, flaws on record."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from io import StringIO
from itertools import chain

from headrace.errors import InputError
from headrace.source import Limits
from headrace.sources.bytestream import ByteStream
from headrace.sources.signature import likely_encoding

CUT_KEPT_CHARS = 4096


class TextLines:
    """The lines of an input, endings included; only CR, LF and CRLF end a line.

    ``flaws`` says by line number (from 1) what is wrong with a line that a row must not be
    made of; a line over ``row_chars_max`` is cut to its beginning, so that no line is ever
    held whole that is longer. Line separators of Unicode are ordinary characters.
    """

    def __init__(self, stream: ByteStream, encoding: str, limits: Limits) -> None:
        self.flaws: dict[int, tuple[str, str]] = {}
        self._stream = stream
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._chars_max = limits.row_chars_max
        self._lines_split = 0
        self._bytes_decoded = 0

    def __iter__(self) -> Iterator[str]:
        """Yield lines; raises ``InputError`` where the bytes are not of the encoding."""
        return chain.from_iterable(self._split_blocks())

    def _split_blocks(self) -> Iterator[list[str]]:
        rest: list[str] = []
        rest_chars, cutting = 0, False
        for text in self._texts():
            whole, tail = _at_last_line_end(text)
            if whole:
                yield self._lines("".join(rest) + whole, cut=cutting)
                rest, rest_chars, cutting = [tail], len(tail), False
            else:
                rest_chars += len(tail)
                cutting = rest_chars > self._chars_max
                rest = ["".join(rest)[:CUT_KEPT_CHARS]] if cutting else [*rest, tail]
        last = "".join(rest)
        if last:
            yield self._lines(last, cut=cutting)

    def _texts(self) -> Iterator[str]:
        """Decode block by block; a CR at the end may be half of a CRLF and waits for the next."""
        held = ""
        for block in self._stream.blocks():
            text = held + self._decoded(block, final=False)
            self._bytes_decoded += len(block)
            held = "\r" if text.endswith("\r") else ""
            yield text.removesuffix("\r")
        yield held + self._decoded(b"", final=True)

    def _decoded(self, block: bytes, *, final: bool) -> str:
        try:
            return self._decoder.decode(block, final)
        except UnicodeDecodeError as error:
            raise self._encoding_error(error, len(block)) from error
        except UnicodeError as error:  # a codec that wants a mark at the start, for example
            raise InputError(
                f"the file is not {self._encoding}: {error}",
                place=self._stream.name,
                remedy="Save it as UTF-8, or say what it is with --encoding NAME.",
            ) from error

    def _encoding_error(self, error: UnicodeDecodeError, block_bytes: int) -> InputError:
        data = error.object
        offset = self._bytes_decoded + block_bytes - len(data) + error.start
        before = data[: error.start].decode(self._encoding, "ignore")
        line = self._lines_split + len(StringIO(before + "?", newline="").readlines())
        near = data[max(0, error.start - 2000) : error.start + 2000]
        guess = likely_encoding(near) if "utf-8" in self._encoding else None
        advice = (
            f"It looks like {guess}: give --encoding {guess}, or convert it with "
            f"iconv -f {guess} -t utf-8 FILE > FILE.utf8"
            if guess
            else "Save it as UTF-8, or say what it is with --encoding NAME."
        )
        found = data[error.start : error.start + 1].hex()
        return InputError(
            f"byte 0x{found} at offset {offset:,} is not {self._encoding}",
            place=f"{self._stream.name}, line {line}",
            remedy=advice,
        )

    def _lines(self, text: str, *, cut: bool) -> list[str]:
        """Split whole lines; note what is wrong with any of them, shorten the overlong."""
        lines = StringIO(text, newline="").readlines()
        first = self._lines_split + 1
        self._lines_split += len(lines)
        if cut:
            self._cut(lines, 0, first)
        if len(text) > self._chars_max:
            for index, line in enumerate(lines):
                if len(line) > self._chars_max:
                    self._cut(lines, index, first)
        if "\0" in text:
            for number, line in enumerate(lines, start=first):
                if "\0" in line:
                    self.flaws[number] = (
                        "contains a NUL byte",
                        "Remove it, for example with: tr -d '\\000' < FILE > CLEAN",
                    )
        return lines

    def _cut(self, lines: list[str], index: int, first: int) -> None:
        lines[index] = lines[index][:CUT_KEPT_CHARS].rstrip("\r\n") + "\n"
        self.flaws[first + index] = (
            f"the line is longer than {self._chars_max:,} characters",
            "Shorten it, or raise the limit on row size; is a line end missing?",
        )


def _at_last_line_end(text: str) -> tuple[str, str]:
    """Split after the last line end."""
    cut = max(text.rfind("\n"), text.rfind("\r")) + 1
    return text[:cut], text[cut:]
