"""The one place that knows the time and how to wait; tests bring a clock moved by hand."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the engine asks of time."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC: for rows and reports, never for durations."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds that never step back: for durations, leases and pacing."""
        ...

    async def sleep(self, duration_s: float) -> None:
        """Wait for ``duration_s`` seconds; zero or less yields to other tasks once."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the wall time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return seconds of the monotonic clock."""
        return time.monotonic()

    async def sleep(self, duration_s: float) -> None:
        """Wait for ``duration_s`` seconds; zero or less yields once."""
        await asyncio.sleep(max(0.0, duration_s))


async def sleep_unless_set(clock: Clock, wait_s: float, event: asyncio.Event) -> None:
    """Return after ``wait_s`` seconds, or when ``event`` is set before; it stays set."""
    sleeping = asyncio.ensure_future(clock.sleep(wait_s))
    setting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait({sleeping, setting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        sleeping.cancel()
        setting.cancel()


async def give_way() -> None:
    """Let everything that is ready have its turn; no time needs to pass for that."""
    await asyncio.sleep(0)
