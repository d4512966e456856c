"""A cap on the bytes in flight: whoever would exceed it waits in line."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class BytesBudget:
    """A fair budget of ``total_bytes``, shared by the tasks of one event loop.

    First come, first served: a small request does not overtake a large one that waits, so
    large ones are never starved. A request above the whole budget is let in when nothing
    else is in flight, and then alone.
    """

    def __init__(self, total_bytes: int) -> None:
        if total_bytes <= 0:
            raise ValueError(f"a budget of {total_bytes} bytes lets nothing through")
        self.total_bytes = total_bytes
        self._held_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def held_bytes(self) -> int:
        """Return how many bytes are in flight."""
        return self._held_bytes

    @asynccontextmanager
    async def hold(self, size_bytes: int) -> AsyncIterator[None]:
        """Wait for ``size_bytes`` of the budget, hold them for the block, give them back."""
        charge = min(max(size_bytes, 0), self.total_bytes)
        await self._acquire(charge)
        try:
            yield
        finally:
            self._release(charge)

    async def _acquire(self, charge: int) -> None:
        if not self._waiting and self._held_bytes + charge <= self.total_bytes:
            self._held_bytes += charge
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((charge, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release(charge)  # let in and cancelled in the same moment
            else:
                self._waiting.remove((charge, turn))
                self._admit()
            raise

    def _release(self, charge: int) -> None:
        self._held_bytes -= charge
        self._admit()

    def _admit(self) -> None:
        while self._waiting:
            charge, turn = self._waiting[0]
            if self._held_bytes + charge > self.total_bytes:
                return
            self._waiting.popleft()
            if not turn.cancelled():
                self._held_bytes += charge
                turn.set_result(None)
