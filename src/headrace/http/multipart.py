"""Forms with a file in them (multipart/form-data), read as they arrive: nothing is held whole."""

from __future__ import annotations

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from headrace.errors import InputError

PARTS_MAX = 16
FIELD_BYTES_MAX = 4096
_HOW = 'Send it as multipart/form-data with the parts "purpose" and "file".'


class Form:
    """A form that is fed piece by piece; ``fields`` are its short parts, by name.

    The bytes of the one part that is a file come out of ``feed``; ``file_name`` is what its
    sender calls it, ``None`` before it has begun.
    """

    def __init__(self, request: Request) -> None:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise InputError("the body is not a form with a boundary", remedy=_HOW)
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self._pieces: list[bytes] = []
        self._parts = 0
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._name = ""
        self._is_file = self._over = False
        self._field = bytearray()
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda d, a, b: self._header.extend(d[a:b]),
                    "on_header_value": lambda d, a, b: self._value.extend(d[a:b]),
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._open,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._close,
                },
            )
        except FormParserError as error:
            raise _unreadable(error) from error

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take bytes of the body in; returns those that are the file's. Raises ``InputError``."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise _unreadable(error) from error
        pieces, self._pieces = self._pieces, []
        return pieces

    def finish(self) -> None:
        """Raise ``InputError`` unless the form has come to its end, with a file in it."""
        if not self._over:
            raise InputError("the body ends before the form does", remedy="Send it again.")
        if self.file_name is None:
            raise InputError('the form has no part "file"', remedy=_HOW)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > PARTS_MAX:
            raise InputError(f"the form has more than {PARTS_MAX} parts", remedy=_HOW)
        self._disposition = b""
        self._field.clear()

    def _header_end(self) -> None:
        if bytes(self._header).lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = self._name == "file"
        if not self._is_file:
            return
        if self.file_name is not None:
            raise InputError("the form has more than one file", remedy="Send one at a time.")
        self.file_name = options.get(b"filename", b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append(data[start:end])
            return
        self._field.extend(data[start:end])
        if len(self._field) > FIELD_BYTES_MAX:
            raise InputError(f"the part {self._name[:80]!r} is too large", remedy=_HOW)

    def _end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._field.decode("utf-8", "replace")

    def _close(self) -> None:
        self._over = True


def _unreadable(error: FormParserError) -> InputError:
    return InputError(f"the form cannot be read: {error}", remedy=_HOW)
