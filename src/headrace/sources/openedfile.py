"""What every source on a file has: the tally of what was consumed, and the file to close."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from headrace.sources.bytestream import ByteStream


class OpenedFile:
    """A file being read, through its byte stream."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream

    @property
    def bytes_read(self) -> int:
        """Return how many bytes of the file were consumed."""
        return self._stream.bytes_read

    @property
    def sha256(self) -> str:
        """Return the hexadecimal SHA-256 of the bytes consumed."""
        return self._stream.sha256

    def close(self) -> None:
        """Close the file; may be called again."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
