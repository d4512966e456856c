"""Live: a batch's events as server-sent events and over a WebSocket, the same in both.

A reader that takes nothing for ``STALL_S`` seconds is dropped; it can come back where it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request, WebSocket
from fastapi.responses import StreamingResponse
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketDisconnect

from headrace.access import Scope as KeyScope
from headrace.engine import Engine
from headrace.errors import HeadraceError
from headrace.http.broadcast import Feeds, Frame
from headrace.http.described import described
from headrace.http.entry import Entry
from headrace.http.hasty_response import STALL_S, HastyResponse
from headrace.http.ownership import owned
from headrace.http.problems import answer
from headrace.telemetry import log
from headrace.watching import Batch

PROTOCOL = "headrace"
BEARER = "bearer."
_MESSAGE = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string"},
        "id": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
_BEAT = b": still here\n\n"
_TRY_AGAIN = 1013
_GOING_ON = 1000


class Live:
    """The routes of events."""

    def __init__(self, engine: Engine, entry: Entry, feeds: Feeds) -> None:
        self._engine = engine
        self._entry = entry
        self._feeds = feeds

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/batches/{batch_id}", tags=["live"])
        words = "Events, as long as the batch lasts."
        content = {"text/event-stream": {"schema": _MESSAGE}}
        told = described(s200={"description": words, "content": content})
        router.add_api_route("/events", self.events, methods=["GET"], **told)
        router.add_api_websocket_route("/ws", self.socket)
        return router

    async def events(self, request: Request, batch_id: str) -> StreamingResponse:
        """Stream a batch's events; `Last-Event-ID` goes on behind that one.

        First a `batch` as it stands, then each event under its kind, or a `delta` with many;
        `resync` is a `batch` after events that were left out. The same over a WebSocket at
        `/api/batches/ID/ws?after=EVENT`.
        """
        _, batch, _ = await owned(self._engine, self._entry, request, batch_id, KeyScope.READ)
        self._feeds.check_room()
        after = _number(request.headers.get("last-event-id", "0"))
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        pieces = self._pieces(batch, after)
        return HastyResponse(pieces, headers=headers, media_type="text/event-stream")

    async def _pieces(self, batch: Batch, after: int) -> AsyncGenerator[bytes, None]:
        async with aclosing(self._frames(batch, after)) as frames:
            async for frame in frames:
                yield _BEAT if frame is None else frame.sse()

    async def _frames(self, batch: Batch, after: int) -> AsyncGenerator[Frame | None, None]:
        async with self._feeds.reading(batch) as feed, aclosing(feed.frames(after)) as frames:
            async for frame in frames:
                yield frame

    async def socket(self, websocket: WebSocket, batch_id: str) -> None:
        """Send a batch's events over a WebSocket; what comes in is not looked at."""
        caller = _with_key(websocket)
        try:
            _, batch, _ = await owned(self._engine, self._entry, caller, batch_id, KeyScope.READ)
            self._feeds.check_room()
        except HeadraceError as error:
            await websocket.send_denial_response(answer(websocket, error))
            return
        asked = websocket.scope.get("subprotocols", [])
        await websocket.accept(PROTOCOL if PROTOCOL in asked else None)
        after = _number(websocket.query_params.get("after", "0"))
        sending = asyncio.create_task(self._send(websocket, batch, after))
        hearing = asyncio.create_task(_hear(websocket))
        try:
            await asyncio.wait({sending, hearing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, hearing):
                task.cancel()
            await asyncio.gather(sending, hearing, return_exceptions=True)

    async def _send(self, websocket: WebSocket, batch: Batch, after: int) -> None:
        try:
            async with aclosing(self._frames(batch, after)) as frames:
                async for frame in frames:
                    # Beats are the protocol's own here: the server pings.
                    if frame is not None:
                        async with asyncio.timeout(STALL_S):
                            await websocket.send_text(frame.text())
            async with asyncio.timeout(STALL_S):
                await websocket.close(_GOING_ON, "the batch has ended")
        except TimeoutError:
            _dropped(batch)


def _dropped(batch: Batch) -> None:
    log(batch=batch.id).info("reader_dropped")


async def _hear(websocket: WebSocket) -> None:
    """Take in what a client sends, until it goes."""
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
    except (WebSocketDisconnect, RuntimeError):
        return


def _with_key(websocket: WebSocket) -> HTTPConnection:
    """Return who calls, with the key out of the protocols: a browser can set no header here."""
    for one in websocket.scope.get("subprotocols", []):
        if one.startswith(BEARER):
            header = (b"authorization", f"Bearer {one.removeprefix(BEARER)}".encode())
            headers = [*websocket.scope["headers"], header]
            return HTTPConnection({**websocket.scope, "headers": headers})
    return websocket


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
