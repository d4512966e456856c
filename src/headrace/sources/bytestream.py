"""Bytes of an input in blocks: counted, hashed, unpacked from gzip, and under caps."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from headrace.errors import InputError
from headrace.source import Limits

BLOCK_BYTES = 256 * 1024
HEAD_BYTES = 64 * 1024
GZIP_MAGIC = b"\x1f\x8b"
# A ratio says nothing about a small file; a bomb shows itself only later.
RATIO_CHECKED_FROM_BYTES = 16 * 1024 * 1024


class ByteStream:
    """The bytes of one input, once, from the start; ``name`` is what messages call it.

    ``head`` holds up to 64 KiB of the (unpacked) beginning, to tell the kind of the input
    by; ``blocks`` yields the whole of it, the beginning included.
    """

    def __init__(self, file: BinaryIO, name: str, limits: Limits) -> None:
        self.name = name
        self.bytes_read = 0
        self._file = file
        self._limits = limits
        self._digest = hashlib.sha256()
        raw = self._raw_blocks()
        first = next(raw, b"")
        self.packed = first.startswith(GZIP_MAGIC)
        self._blocks = self._unpacked(first, raw) if self.packed else _chained(first, raw)
        self._held: list[bytes] = []
        self.head = self._peek()

    @property
    def sha256(self) -> str:
        """Return the hexadecimal SHA-256 of the file's bytes consumed so far."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def blocks(self) -> Iterator[bytes]:
        """Yield the bytes in blocks of up to 256 KiB.

        Raises ``InputError`` past ``bytes_max`` or the gzip ratio, and when the file
        cannot be read to its end.
        """
        total, cap = 0, self._limits.bytes_max
        for block in _chained(b"", iter(self._held), self._blocks):
            total += len(block)
            if cap and total > cap:
                raise InputError(
                    f"more than {cap:,} bytes",
                    place=self.name,
                    remedy="Split the file, or raise the limit on input bytes.",
                )
            yield block

    def _peek(self) -> bytes:
        head = b""
        while len(head) < HEAD_BYTES and (block := next(self._blocks, b"")):
            self._held.append(block)
            head += block
        return head[:HEAD_BYTES]

    def _raw_blocks(self) -> Iterator[bytes]:
        while True:
            try:
                block = self._file.read(BLOCK_BYTES)
            except OSError as error:
                raise InputError(
                    f"cannot be read after byte {self.bytes_read:,}: {error.strerror or error}",
                    place=self.name,
                    remedy="Check the disk or the network share, then try again.",
                ) from error
            if not block:
                return
            self.bytes_read += len(block)
            self._digest.update(block)
            yield block

    def _unpacked(self, first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
        """Unpack gzip, members one after another, never more than a block at a time."""
        member, inside, produced = zlib.decompressobj(wbits=31), False, 0
        for packed in _chained(first, rest):
            data, more = packed, True
            while more:
                block = self._inflate(member, data)
                inside, data = not member.eof, member.unconsumed_tail
                if member.eof:
                    data, member = member.unused_data.lstrip(b"\0"), zlib.decompressobj(wbits=31)
                more = bool(data) or (inside and len(block) == BLOCK_BYTES)
                produced += len(block)
                self._check_ratio(produced)
                if block:
                    yield block
        if inside:
            raise InputError(
                "the gzip file ends early",
                place=self.name,
                remedy="It was cut off: download or pack it again.",
            )

    def _inflate(self, member: zlib._Decompress, data: bytes) -> bytes:
        try:
            return member.decompress(data, BLOCK_BYTES)
        except zlib.error as error:
            raise InputError(
                f"the gzip file is damaged near byte {self.bytes_read:,}: {error}",
                place=self.name,
                remedy="Download or pack it again; check it with: gzip -t FILE",
            ) from error

    def _check_ratio(self, produced: int) -> None:
        ratio_max = self._limits.gzip_ratio_max
        if produced > RATIO_CHECKED_FROM_BYTES and produced > ratio_max * self.bytes_read:
            raise InputError(
                f"unpacks to more than {ratio_max} times its size, like a decompression bomb",
                place=self.name,
                remedy="Unpack it yourself (gunzip), look at it, and give the plain file.",
            )


def _chained(first: bytes, *rest: Iterator[bytes]) -> Iterator[bytes]:
    if first:
        yield first
    for blocks in rest:
        yield from blocks
