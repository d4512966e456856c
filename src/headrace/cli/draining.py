"""The end of a worker: what is in flight finishes, for a while; then others go on with it."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.engine import Engine

HAND_OVER_S_MAX = 5.0
DATABASE_CODE = 6


def checked_limit(drain_timeout: float | None) -> float | None:
    """Return the limit in seconds; raises ``ConfigError`` for one that is none."""
    if drain_timeout is not None and not 0 <= drain_timeout < 1e6:
        raise ConfigError(
            f"{drain_timeout!r} is no time to drain",
            place="--drain-timeout",
            remedy="Give seconds, 0 or more; without it what is in flight finishes.",
        )
    return drain_timeout


_limits: set[asyncio.Task[None]] = set()


def begin_drain(engine: Engine, limit_s: float | None) -> None:
    """Let the process end ``limit_s`` from now, whatever is in flight then.

    Nothing happens if the work has ended by then, and with it the loop.
    """
    if limit_s is not None:
        _limits.add(asyncio.create_task(_end_after(engine, limit_s), name="drain limit"))


async def _end_after(engine: Engine, limit_s: float) -> None:
    await engine.clock.sleep(limit_s)
    code = DATABASE_CODE
    try:
        async with asyncio.timeout(HAND_OVER_S_MAX):
            count = await engine.worker.hand_over()
        print(f"the time to drain is over: others go on with {count} shards", file=sys.stderr)
        code = 0
    except Exception as error:  # broad: it ends now; what is left is found like a dead worker's
        print(f"the time to drain is over, and nothing handed over: {error!r}", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Calls in flight are written ahead; to wait for them is what the limit forbids.
    os._exit(code)
