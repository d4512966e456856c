"""HTTP/1.1 on a socket, only what a simulator needs: it answers fast, and it can hang up.

Of RFC 9112: keep-alive, pipelined requests (answered in order), bodies by length or in
chunks, ``Expect: 100-continue``. No TLS, no trailers.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import format_datetime
from http import HTTPStatus
from typing import cast
from urllib.parse import parse_qsl

from headrace.clock import Clock

HEAD_BYTES_MAX = 64 * 1024
_PIECE_BYTES = 256 * 1024
_REASONS = {int(one): one.phrase.encode() for one in HTTPStatus}
# Closing with this sends RST and drops what is not sent: a connection reset, as in real life.
_RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Request:
    """A request as it came; header names are in lower case."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def asked(self) -> dict[str, str]:
        """Return the query's parameters; of repeated ones the last."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(slots=True)
class Answer:
    """A response: ``body`` in one piece or several, ``headers`` beyond length, type and date.

    Instead of a body there may be ``pieces``, sent one by one as they come; where they raise
    ``HangUpError`` the connection is reset.
    """

    status: int
    body: bytes | tuple[bytes, ...] = b""
    headers: tuple[tuple[str, str], ...] = ()
    media_type: str = "application/json"
    pieces: AsyncIterator[bytes] | None = None

    @property
    def whole(self) -> bytes:
        """Return the body in one piece."""
        return self.body if isinstance(self.body, bytes) else b"".join(self.body)


class HangUpError(Exception):
    """An answer ends in the middle: the connection is reset."""


Handler = Callable[[Request], Awaitable[Answer | None]]
"""Answers a request; ``None`` means that the connection is reset."""


class BadRequestError(Exception):
    """Bytes that are no HTTP request, or one that is too large; ``status`` says which."""

    def __init__(self, status: int) -> None:
        super().__init__(_REASONS[status].decode())
        self.status = status


class Connection(asyncio.Protocol):
    """One client's connection; requests are answered one after another."""

    def __init__(self, handler: Handler, clock: Clock, body_bytes_max: int, alive: set[Connection]):
        self._handler, self._clock, self._body_bytes_max = handler, clock, body_bytes_max
        self._alive = alive
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._continued = False
        self._writable: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection on."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has its own class
        self._alive.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget the client; what it has asked for is finished nevertheless, as it would be."""
        self._transport = None
        self._alive.discard(self)
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Collect bytes until they are a request."""
        self._buffer += data
        if self.task is None:
            self._next()

    def pause_writing(self) -> None:
        """Hold back: the client reads slower than we write."""
        if self._writable is None:
            self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def close(self) -> None:
        """Close the connection, whatever it is doing."""
        if self.task is not None:
            self.task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def _next(self) -> None:
        """Start to answer the next request when all of it is here."""
        try:
            request = self._parse()
        except BadRequestError as error:
            said = b'{"error":{"message":"%b"}}' % _REASONS[error.status]
            self._head(Answer(error.status), len(said), keep=False, body=said)
            self._end()
            return
        if request is not None:
            self.task = asyncio.get_running_loop().create_task(self._serve(request))

    async def _serve(self, request: Request) -> None:
        try:
            answer = await self._answer(request)
            keep = request.headers.get("connection", "").lower() != "close"
            if answer is None:
                self._reset()
            elif answer.pieces is not None:
                await self._stream(answer, answer.pieces, keep)
            else:
                await self._write(answer, request.method != "HEAD", keep)
        finally:
            self.task = None
        if self._transport is not None and self._buffer:
            self._next()

    async def _answer(self, request: Request) -> Answer | None:
        try:
            return await self._handler(request)
        except Exception as error:  # broad: one request that breaks us must not end the others
            said = f"the simulator broke: {type(error).__name__}: {error}"
            return Answer(500, said.encode("utf-8", "replace"), media_type="text/plain")

    async def _write(self, answer: Answer, with_body: bool, keep: bool) -> None:
        pieces = answer.body if isinstance(answer.body, tuple) else (answer.body,)
        size = sum(map(len, pieces))
        if size <= _PIECE_BYTES:
            self._head(answer, size, keep, b"".join(pieces) if with_body else b"")
        else:
            self._head(answer, size, keep)
            for piece in pieces if with_body else ():
                view = memoryview(piece)
                for at in range(0, len(view), _PIECE_BYTES):
                    if self._writable is not None:
                        await self._writable
                    if self._transport is None:
                        return
                    self._transport.write(view[at : at + _PIECE_BYTES])
        if not keep:
            self._end()

    async def _stream(self, answer: Answer, pieces: AsyncIterator[bytes], keep: bool) -> None:
        """Send pieces in chunks; what the client no longer takes is made nevertheless."""
        self._head(answer, None, keep)
        try:
            async for piece in pieces:
                if self._writable is not None:
                    await self._writable
                if self._transport is not None:
                    self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        except HangUpError:
            self._reset()
            return
        if self._transport is not None:
            self._transport.write(b"0\r\n\r\n")
        if not keep:
            self._end()

    def _head(self, answer: Answer, size: int | None, keep: bool, body: bytes = b"") -> None:
        if self._transport is None:
            return
        reason = _REASONS.get(answer.status, b"Status")
        more = "".join([f"{name}: {value}\r\n" for name, value in answer.headers])
        if not keep:
            more += "connection: close\r\n"
        length = b"content-length: %d" % size if size is not None else b"transfer-encoding: chunked"
        head = b"HTTP/1.1 %d %b\r\ncontent-type: %b\r\n%b\r\ndate: %b\r\n%b\r\n" % (
            answer.status,
            reason,
            answer.media_type.encode(),
            length,
            _date(self._clock),
            more.encode("latin-1", "replace"),
        )
        self._transport.write(head + body)

    def _end(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._buffer.clear()

    def _reset(self) -> None:
        if self._transport is None:
            return
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._transport.abort()
        self._buffer.clear()

    def _parse(self) -> Request | None:
        """Take a whole request off the buffer, or return ``None`` until it is there."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_BYTES_MAX:
            if len(self._buffer) > HEAD_BYTES_MAX:
                raise BadRequestError(431)
            return None
        request = _read_head(bytes(self._buffer[:end]))
        found = self._body(request, end + 4)
        if found is None:
            if not self._continued and "expect" in request.headers and self._transport:
                self._continued = True
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return None
        request.body, after = found
        del self._buffer[:after]
        self._continued = False
        return request

    def _body(self, request: Request, at: int) -> tuple[bytes, int] | None:
        """Return the body and where it ends; ``None`` while some is missing."""
        if "chunked" in request.headers.get("transfer-encoding", "").lower():
            if len(self._buffer) - at > 2 * self._body_bytes_max:
                raise BadRequestError(413)
            return _dechunk(self._buffer, at, self._body_bytes_max)
        told = request.headers.get("content-length", "0")
        if not (told.isascii() and told.isdigit()):
            raise BadRequestError(400)
        size = int(told)
        if size > self._body_bytes_max:
            raise BadRequestError(413)
        if len(self._buffer) < at + size:
            return None
        return bytes(self._buffer[at : at + size]), at + size


def _read_head(head: bytes) -> Request:
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequestError(400)
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequestError(400)
        headers[name.strip().lower()] = value.strip()
    if words[2] == "HTTP/1.0":
        headers.setdefault("connection", "close")
    path, _, query = words[1].partition("?")
    return Request(words[0], path, query, headers)


def _dechunk(buffer: bytearray, at: int, body_bytes_max: int) -> tuple[bytes, int] | None:
    """Return a body that came in chunks, and where it ends; ``None`` while some is missing."""
    body = bytearray()
    while True:
        end = buffer.find(b"\r\n", at)
        if end < 0:
            return None
        try:
            size = int(bytes(buffer[at:end]).split(b";")[0], 16)
        except ValueError:
            raise BadRequestError(400) from None
        if size < 0 or len(body) + size > body_bytes_max:
            raise BadRequestError(413)
        at = end + 2
        if len(buffer) < at + size + 2:
            return None
        body += buffer[at : at + size]
        at += size + 2
        if size == 0:
            return bytes(body), at


_dates: tuple[int, bytes] = (0, b"")


def _date(clock: Clock) -> bytes:
    """Return the time as HTTP tells it, made once a second."""
    global _dates  # noqa: PLW0603 - a cache of one text, the same for all connections
    now = clock.now()
    second = int(now.timestamp())
    if _dates[0] != second:
        _dates = (second, format_datetime(now, usegmt=True).encode())
    return _dates[1]
