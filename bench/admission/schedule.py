"""How many runs go side by side: each takes some units of the machine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator


class Places:
    """``total`` units; who wants more than there are gets the machine alone. First come, first."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._line = asyncio.Lock()
        self._freed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def taken(self, units: int) -> AsyncIterator[None]:
        """Hold so many units while the block runs."""
        wanted = min(units, self._total)
        async with self._line, self._freed:
            await self._freed.wait_for(lambda: self._free >= wanted)
            self._free -= wanted
        try:
            yield
        finally:
            async with self._freed:
                self._free += wanted
                self._freed.notify_all()
