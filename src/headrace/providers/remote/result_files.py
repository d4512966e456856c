"""Files of answers, a JSON object a line: fetched to this machine's disk, then read."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from yarl import URL

from headrace.outcome import OutcomeKind, failed
from headrace.providers.remote.adapter import RemoteProvider
from headrace.providers.remote.http_calls import PIECE_BYTES

FETCH_S = 3600.0
LINE_BYTES_MAX = 32 * 1024 * 1024
_AT_ONCE = 64


async def result_lines(owner: RemoteProvider, url: URL) -> AsyncIterator[bytes]:
    """Yield the lines of the file at ``url``, which has to be whole before the first is read.

    Raises ``CallFailed``; lost_result for a line longer than any answer.
    """
    with tempfile.TemporaryDirectory(prefix="headrace-results-") as folder:
        path = Path(folder) / "results.jsonl"

        async def take(response: aiohttp.ClientResponse) -> None:
            await owner.refuse(response, FETCH_S)
            with path.open("wb") as file:
                while piece := await response.content.read(PIECE_BYTES):
                    await asyncio.to_thread(file.write, piece)

        await owner.http.get(url, FETCH_S, take)
        with path.open("rb") as file:

            def some() -> list[bytes]:
                return [file.readline(LINE_BYTES_MAX + 1) for _ in range(_AT_ONCE)]

            while True:
                for line in await asyncio.to_thread(some):
                    if not line:
                        return
                    if len(line) > LINE_BYTES_MAX:
                        raise failed(OutcomeKind.LOST_RESULT, "an answer is longer than 32 MiB")
                    yield line
