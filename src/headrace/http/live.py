"""Live: a batch's events as server-sent events; a lost connection goes on where it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from headrace.event import Event
from headrace.http.shapes import batch_json
from headrace.watching import Batch

BEAT_S = 15.0
_encode = msgspec.json.Encoder().encode


async def events(batch: Batch, after_seq: int) -> AsyncIterator[bytes]:
    """Yield a snapshot, then each event after ``after_seq`` and a snapshot when the batch ended.

    Ids are the events' numbers, so that ``Last-Event-ID`` resumes. A comment every
    ``BEAT_S`` seconds keeps proxies from closing a quiet stream.
    """
    yield _said("batch", batch_json(await batch.summary()), None)
    stream = batch.events(after_seq)
    coming: asyncio.Future[Event] = asyncio.ensure_future(anext(stream))
    try:
        while True:
            done, _ = await asyncio.wait({coming}, timeout=BEAT_S)
            if not done:
                yield b": still here\n\n"
                continue
            try:
                event = coming.result()
            except StopAsyncIteration:
                break
            yield _said(event.kind.value, _told(event), event.cursor[0])
            coming = asyncio.ensure_future(anext(stream))
        yield _said("batch", batch_json(await batch.summary()), None)
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)
        await stream.aclose()  # type: ignore[attr-defined]


def _told(event: Event) -> dict[str, Any]:
    row = None if event.item_idx is None else event.item_idx + 1
    return {**event.data, "row_number": row, "at": event.at.isoformat()}


def _said(kind: str, data: dict[str, Any], number: int | None) -> bytes:
    id_line = b"" if number is None else f"id: {number}\n".encode()
    return id_line + f"event: {kind}\ndata: ".encode() + _encode(data) + b"\n\n"
