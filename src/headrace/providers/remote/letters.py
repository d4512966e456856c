"""Bodies of requests, which know whether any of them was sent: before that, nothing was bought."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from aiohttp.abc import AbstractStreamWriter


class Letter(aiohttp.BytesPayload):
    """A body that remembers whether any of it was handed to a live connection."""

    def __init__(self, body: bytes, content_type: str = "application/json") -> None:
        super().__init__(body, content_type=content_type)
        self.sent = False

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write the whole body; headers go out with its first piece, not before."""
        transport = writer.transport
        self.sent = transport is not None and not transport.is_closing()
        await writer.write(self._value)


class FileLetter(aiohttp.BufferedReaderPayload):
    """A body out of a file, read as it is sent; it remembers whether any of it was sent."""

    def __init__(self, path: Path, content_type: str = "application/json") -> None:
        super().__init__(path.open("rb"), content_type=content_type)
        self.sent = False

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write the whole file."""
        transport = writer.transport
        self.sent = transport is not None and not transport.is_closing()
        await super().write_with_length(writer, content_length)


class Parcel(aiohttp.MultipartWriter):
    """A multipart form that remembers whether any of it was handed to a live connection."""

    def __init__(self) -> None:
        super().__init__("form-data")
        self.sent = False

    def field(self, name: str, value: str) -> None:
        """Add a text field."""
        self._add(name, value.encode("utf-8", "replace"), "text/plain; charset=utf-8", None)

    def file(self, name: str, filename: str, body: bytes, media_type: str) -> None:
        """Add a file."""
        self._add(name, body, media_type, filename)

    def path(self, name: str, path: Path, media_type: str) -> None:
        """Add a file of this machine, read as it is sent; the sending closes it."""
        part = aiohttp.BufferedReaderPayload(path.open("rb"), content_type=media_type)
        part.set_content_disposition("form-data", quote_fields=True, name=name, filename=path.name)
        self.append_payload(part)

    def _add(self, name: str, body: bytes, media_type: str, filename: str | None) -> None:
        part = aiohttp.BytesPayload(body, content_type=media_type)
        named = {"name": name} if filename is None else {"name": name, "filename": filename}
        part.set_content_disposition("form-data", quote_fields=True, **named)
        self.append_payload(part)

    async def write(self, writer: AbstractStreamWriter, close_boundary: bool = True) -> None:
        """Write the form."""
        transport = writer.transport
        self.sent = transport is not None and not transport.is_closing()
        await super().write(writer, close_boundary)
