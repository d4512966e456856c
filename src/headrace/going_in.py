"""The sources of one call: read once there is room in memory, counted until they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from headrace.bytes_budget import Hold
from headrace.errors import HeadraceError, StorageError
from headrace.outcome import STORE_AWAY, CallFailed, OutcomeKind, failed
from headrace.photo import find_photo, photo_body
from headrace.request import Request

COPIES = 4
"""A source is in memory as it is, as base64 in the body, and once more while that is written."""
NOMINAL_BYTES = 1024 * 1024
"""What is kept free for a source whose size is known only when it is there."""


class Sources:
    """Reads the sources of a call; what they take is held until ``sent``."""

    def __init__(
        self,
        request: Request,
        folders: tuple[Path, ...],
        hold: Hold,
        stored: Callable[[str], Awaitable[bytes]],
        path: Callable[[str], Path | None],
        wait_s: float,
    ) -> None:
        self._request = request
        self._folders = folders
        self._hold = hold
        self._stored = stored
        self._path = path
        self._wait_s = wait_s
        self._size_bytes = 0

    async def read(self, sha256_hex: str) -> bytes:
        """Return the bytes of a source; that they cannot be had ends the call unsent."""
        name = self._request.files.get(sha256_hex)
        try:
            likely = await asyncio.to_thread(self._likely_bytes, sha256_hex, name)
            await self._room(likely)
            if name is None:
                body = await self._stored(sha256_hex)
            else:
                found = await asyncio.to_thread(photo_body, name, sha256_hex, self._folders)
                if found is None:
                    # The next try sees the new photo, as another request.
                    reason = f"the photo {name!r} was replaced while it was waiting"
                    raise failed(OutcomeKind.TRANSIENT, reason, cost_microusd=0)
                body = found
        except StorageError as error:
            facts = {STORE_AWAY: True} if error.retryable else {}
            raise _unreadable(OutcomeKind.TRANSIENT, error, facts) from error
        except HeadraceError as error:
            raise _unreadable(OutcomeKind.INVALID, error) from error
        self._size_bytes += len(body)
        await self._room(0)
        return body

    def sent(self) -> None:
        """Give back the room: the body has been sent, or never will be. Again does nothing."""
        self._size_bytes = 0
        self._hold.release()

    def _likely_bytes(self, sha256_hex: str, name: str | None) -> int:
        path = find_photo(name, self._folders) if name is not None else self._path(sha256_hex)
        try:
            return NOMINAL_BYTES if path is None else path.stat().st_size
        except OSError:
            return NOMINAL_BYTES

    async def _room(self, more_bytes: int) -> None:
        """Hold what the sources read so far take, and so many bytes more; waits for room."""
        wanted = COPIES * (self._size_bytes + more_bytes)
        if wanted <= self._hold.size_bytes:
            self._hold.shrink(wanted)
            return
        try:
            async with asyncio.timeout(self._wait_s):
                await self._hold.grow(wanted - self._hold.size_bytes)
        except TimeoutError:
            raise failed(
                OutcomeKind.TRANSIENT,
                f"no room in memory for its pictures within {self._wait_s:g} s",
                remedy="Fewer calls in flight, or a larger [limits] bodies_bytes_max.",
                cost_microusd=0,
            ) from None


def _unreadable(
    kind: OutcomeKind, error: HeadraceError, facts: dict[str, Any] | None = None
) -> CallFailed:
    told = facts or {}
    return failed(kind, error.message, remedy=error.remedy, cost_microusd=0, facts=told)
