"""Forms with a file in them (multipart/form-data), read as they arrive: nothing is held whole."""

from __future__ import annotations

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from headrace.errors import InputError

PARTS_MAX = 16
FIELD_BYTES_MAX = 4096
_HOW = "Send it as multipart/form-data: a part for each file, and one for each setting."


class Form:
    """A form that is fed piece by piece; ``fields`` are its short parts, by name.

    Parts called as ``file_parts`` says are files: ``files`` has each one's part and what its
    sender calls it, in the order in which they began, ``feed_files`` gives their bytes.
    """

    def __init__(
        self,
        request: Request,
        file_parts: frozenset[str] = frozenset({"file"}),
        files_max: int = 1,
        *,
        field_bytes_max: int = FIELD_BYTES_MAX,
    ) -> None:
        kind, options = parse_options_header(request.headers.get("content-type", ""))
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise InputError("the body is not a form with a boundary", remedy=_HOW)
        self.fields: dict[str, str] = {}
        self.files: list[tuple[str, str]] = []
        self._file_parts = file_parts
        self._files_max = files_max
        self._field_bytes_max = field_bytes_max
        self._parts_max = PARTS_MAX + files_max
        self._pieces: list[tuple[int, bytes]] = []
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

    @property
    def file_name(self) -> str | None:
        """Return what the sender calls the first file, ``None`` before it has begun."""
        return self.files[0][1] if self.files else None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take bytes of the body in; returns those that are the file's. Raises ``InputError``."""
        return [piece for _, piece in self.feed_files(chunk)]

    def feed_files(self, chunk: bytes) -> list[tuple[int, bytes]]:
        """Take bytes of the body in; returns those of files, each with its place in ``files``."""
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
        if not self.files:
            names = " or ".join(f'"{name}"' for name in sorted(self._file_parts))
            raise InputError(f"the form has no part {names}", remedy=_HOW)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > self._parts_max:
            raise InputError(f"the form has more than {self._parts_max} parts", remedy=_HOW)
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
        self._is_file = self._name in self._file_parts
        if not self._is_file:
            return
        if len(self.files) >= self._files_max:
            many = "one file" if self._files_max == 1 else f"{self._files_max} files"
            raise InputError(f"the form has more than {many}", remedy="Send fewer at a time.")
        name = options.get(b"filename", b"").decode("utf-8", "replace")
        self.files.append((self._name, name))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._pieces.append((len(self.files) - 1, data[start:end]))
            return
        self._field.extend(data[start:end])
        if len(self._field) > self._field_bytes_max:
            raise InputError(f"the part {self._name[:80]!r} is too large", remedy=_HOW)

    def _end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._field.decode("utf-8", "replace")

    def _close(self) -> None:
        self._over = True


def _unreadable(error: FormParserError) -> InputError:
    return InputError(f"the form cannot be read: {error}", remedy=_HOW)
