"""A ZIP file written to something that cannot seek, entry by entry, in memory that stays flat.

What entries were written waits in a temporary file, since it goes to the end of the ZIP.
Bodies are stored as they are: pictures and films do not get smaller. Their sizes and sums
follow them (APPNOTE.TXT, 4.3.9), so nothing has to be known beforehand.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from datetime import datetime
from tempfile import SpooledTemporaryFile

BIG = 0xFFFFFFFF
_MANY = 0xFFFF
_FLAGS = 0x0808  # sizes behind the body, names in UTF-8
_STORED = 0
_VERSION = 45
_UNIX = 3 << 8
_FILE_RIGHTS = 0o100644 << 16
_SPOOL_BYTES = 256 * 1024
_CHUNK_BYTES = 64 * 1024


class ZipStream:
    """Call ``begin``, ``data`` and ``end`` for each entry, then ``finish``; send what they return.

    Names are taken as they are: whoever calls sees to it that they are safe and differ.
    """

    def __init__(self, at: datetime) -> None:
        years = min(max(at.year - 1980, 0), 127)
        self._date = years << 9 | at.month << 5 | at.day
        self._time = at.hour << 11 | at.minute << 5 | at.second // 2
        self._directory = SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115
        self._directory_bytes = self._count = self._offset = 0
        self._name, self._begun, self._big = b"", 0, False
        self._crc = self._size = 0

    def begin(self, name: str, size_bytes: int | None) -> bytes:
        """Return what stands before an entry's body; ``None`` where its size is not known."""
        self._name, self._begun = name.encode("utf-8", "replace"), self._offset
        self._big = size_bytes is None or size_bytes >= BIG
        self._crc = self._size = 0
        extra = struct.pack("<HHQQ", 1, 16, 0, 0) if self._big else b""
        sizes = BIG if self._big else 0
        head = struct.pack(
            "<4sHHHHHIIIHH", b"PK\3\4", _VERSION, _FLAGS, _STORED, self._time, self._date,
            0, sizes, sizes, len(self._name), len(extra),
        )  # fmt: skip
        return self._sent(head + self._name + extra)

    def data(self, piece: bytes) -> bytes:
        """Return a piece of the body as it is sent."""
        self._crc = zlib.crc32(piece, self._crc)
        self._size += len(piece)
        return self._sent(piece)

    def end(self) -> bytes:
        """Return what stands behind an entry's body."""
        form = "<4sIQQ" if self._big else "<4sIII"
        self._note()
        return self._sent(struct.pack(form, b"PK\7\x08", self._crc, self._size, self._size))

    def finish(self) -> Iterator[bytes]:
        """Yield the directory, which ends the file."""
        self._directory.seek(0)
        while piece := self._directory.read(_CHUNK_BYTES):
            yield piece
        begun, size, count = self._offset, self._directory_bytes, self._count
        if begun >= BIG or size >= BIG or count >= _MANY:
            yield struct.pack(
                "<4sQHHIIQQQQ", b"PK\6\6", 44, _UNIX | _VERSION, _VERSION, 0, 0,
                count, count, size, begun,
            )  # fmt: skip
            yield struct.pack("<4sIQI", b"PK\6\7", 0, begun + size, 1)
        yield struct.pack(
            "<4sHHHHIIH", b"PK\5\6", 0, 0, min(count, _MANY), min(count, _MANY),
            min(size, BIG), min(begun, BIG), 0,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of the temporary file; may be called again."""
        self._directory.close()

    def _sent(self, piece: bytes) -> bytes:
        self._offset += len(piece)
        return piece

    def _note(self) -> None:
        """Keep the entry for the directory."""
        wide = [one for one in (self._size, self._size, self._begun) if one >= BIG]
        extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
        size, begun = min(self._size, BIG), min(self._begun, BIG)
        entry = struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\1\2", _UNIX | _VERSION, _VERSION, _FLAGS, _STORED,
            self._time, self._date, self._crc, size, size, len(self._name), len(extra),
            0, 0, 0, _FILE_RIGHTS, begun,
        )  # fmt: skip
        self._directory.write(entry + self._name + extra)
        self._directory_bytes += len(entry) + len(self._name) + len(extra)
        self._count += 1
