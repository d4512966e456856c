"""What providers' batch APIs are asked alike: lists by pages, cancels, the ends of lines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import aiohttp
import msgspec

from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.provider_batch import LineEnd
from headrace.providers.remote.adapter import ID_CHARS_MAX, RemoteProvider
from headrace.providers.remote.http_calls import read_object, read_whole
from headrace.providers.remote.letters import FileLetter, Parcel
from headrace.providers.remote.result_files import result_lines
from headrace.providers.remote.words import decode_words, lettered

ASK_S = 60.0
PAGE = 100
PAGES_MAX = 50


class BatchCalls:
    """Calls of a batch API under a provider's key; all raise ``CallFailed``."""

    def __init__(self, owner: RemoteProvider) -> None:
        self._owner = owner

    async def get(self, path: str) -> dict[str, Any]:
        """Return a batch or a list."""
        name, _, query = path.partition("?")
        url = self._owner.http.url(name)
        return await self._owner.http.get(
            url.with_query(query) if query else url, ASK_S, self._told
        )

    async def post(
        self,
        path: str,
        body: bytes | Parcel | FileLetter,
        deadline_s: float = ASK_S,
        *,
        paid: bool = True,
    ) -> dict[str, Any]:
        """Return what was made, within ``deadline_s``."""
        url = self._owner.http.url(path)
        return await self._owner.http.post(url, body, deadline_s, self._told, paid=paid)

    async def pages(self, path: str, after: str) -> AsyncIterator[list[dict[str, Any]]]:
        """Yield the rows of a list, none of the pages empty; ``after`` names where one begins.

        Raises ``CallFailed`` (transient) for a list of too many pages.
        """
        place = ""
        for _ in range(PAGES_MAX):
            page = await self.get(f"{path}?limit={PAGE}{place}")
            data = page.get("data")
            rows = [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []
            if rows:
                yield rows
            if not page.get("has_more") or not rows:
                return
            place = f"&{after}={id_of(rows[-1])}"
        raise failed(OutcomeKind.TRANSIENT, f"the list of batches has over {PAGES_MAX} pages")

    async def cancel(self, path: str) -> None:
        """Ask for a batch to be cancelled; one that has ended already is left."""
        try:
            await self.post(path, b"", paid=False)
        except CallFailed as failure:
            if failure.outcome.kind is not OutcomeKind.INVALID:
                raise

    async def ends(
        self, paths: Iterable[str], read: Callable[[bytes], LineEnd]
    ) -> AsyncIterator[LineEnd]:
        """Yield the ends of lines out of files of answers; what ``read`` cannot read goes."""
        for path in paths:
            async for line in result_lines(self._owner, self._owner.http.url(path)):
                end = line_end(line, read)
                if end is not None:
                    yield end

    async def _told(self, response: aiohttp.ClientResponse) -> dict[str, Any]:
        await self._owner.refuse(response, ASK_S)
        body = await read_whole(response)
        told = read_object(body)
        if told is None or (not isinstance(told.get("id"), str) and "data" not in told):
            raise self._owner.failed(response, body)
        return told


def line_end(line: bytes, read: Callable[[bytes], LineEnd]) -> LineEnd | None:
    """Return what ``read`` reads of a line of answers, mended; ``None`` for no such line.

    The line is one of up to 100,000 that are paid: neither a byte that is no letter nor half
    a letter may cost its answer, and what cannot be read not those of the others.
    """
    try:
        # What is left raw by a decoder has been looked into by nobody.
        return decode_words(lettered(line), read)
    except (msgspec.DecodeError, RecursionError):
        return None


def id_of(told: dict[str, Any]) -> str:
    """Return the id of a batch or file, empty where none is told."""
    return str(told.get("id", ""))[:ID_CHARS_MAX]


def executed(told: dict[str, Any], *names: str) -> int | None:
    """Return how many requests of a batch were executed: the counts of these ``names``."""
    counts = told.get("request_counts")
    if not isinstance(counts, dict):
        return None
    numbers = [counts.get(name, 0) for name in names]
    return sum(numbers) if all(type(number) is int for number in numbers) else None
