"""A server on 127.0.0.1 that answers as a test tells it, down to the bytes and the resets."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from socket import SO_LINGER, SOL_SOCKET
from typing import Any


@dataclass
class Heard:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


Answer = Callable[[Heard, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Speaker:
    """Where the server is, what it heard, and when a client has left."""

    port: int = 0
    heard: list[Heard] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def origin(self) -> str:
        """The address without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The base_url that leads here."""
        return f"{self.origin}/v1"


@asynccontextmanager
async def speaking(*answers: Answer) -> AsyncIterator[Speaker]:
    """Serve while the block runs: each answer once, the last for all later requests."""
    speaker = Speaker()
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while heard := await _listen(reader):
                speaker.heard.append(heard)
                await (left.pop(0) if len(left) > 1 else left[0])(heard, writer)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            speaker.left.set()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    speaker.port = server.sockets[0].getsockname()[1]
    try:
        yield speaker
    finally:
        speaker.over.set()
        server.close()


async def _listen(reader: asyncio.StreamReader) -> Heard | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    method, path, _ = first.split(" ")
    return Heard(method, path, headers, body)


def http(
    body: bytes | Mapping[str, Any],
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    claimed_bytes: int | None = None,
) -> bytes:
    """A whole response; ``claimed_bytes`` lies about its length."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(claimed_bytes or len(raw))}
    head = "".join(f"{name}: {value}\r\n" for name, value in {**lines, **(headers or {})}.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + raw


def says(
    body: bytes | Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """Answer with a response."""
    return speaks(http(body, status, headers))


def speaks(raw: bytes) -> Answer:
    """Answer with these very bytes."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return answer


def in_parts(raw: bytes) -> Answer:
    """Answer with these bytes, a part at a time, as fast as they are taken."""
    parts = memoryview(raw)

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(parts), 65536):
            writer.write(parts[start : start + 65536])
            await writer.drain()

    return answer


def resets_after(raw: bytes) -> Answer:
    """Answer with these bytes, then break the connection with a reset."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()
        if raw:
            # Let the client read what was said: a reset may overtake it.
            await _turns()
        writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        raise ConnectionResetError

    return answer


def closes_after(raw: bytes) -> Answer:
    """Answer with these bytes, then close the connection in order."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        raise ConnectionResetError

    return answer


async def _turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def drips(raw: bytes, speaker: Callable[[], Speaker], every_s: float = 0.02) -> Answer:
    """Answer with these bytes, and then for ever with a blank now and then."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        while not speaker().over.is_set():
            await writer.drain()
            try:
                await asyncio.wait_for(speaker().over.wait(), every_s)
            except TimeoutError:
                writer.write(b" ")

    return answer
