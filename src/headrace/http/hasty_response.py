"""A stream that gives up on a reader who takes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from headrace.telemetry import log

STALL_S = 30.0


class HastyResponse(StreamingResponse):
    """A stream that gives up on a reader who takes nothing, and lets go of its place."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], **how: Any) -> None:
        super().__init__(pieces, **how)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream; who takes nothing for ``STALL_S`` seconds is dropped."""

        async def hasty(message: Message) -> None:
            async with asyncio.timeout(STALL_S):
                await send(message)

        try:
            await super().__call__(scope, receive, hasty)
        except TimeoutError:
            log(path=scope["path"]).info("reader_dropped")
        finally:
            await self._pieces.aclose()
