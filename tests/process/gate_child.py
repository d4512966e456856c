"""A worker of a shared lane as a process: it sends at the pace it is given, and says when."""

from __future__ import annotations

import asyncio
import sys
import time

from headrace.clock import SystemClock
from headrace.gate import Ask, PermitEnd
from headrace.gates.postgres import PostgresGate, PostgresPermit
from headrace.limits import Dimension, Limit, Quota
from headrace.outcome import Outcome, OutcomeKind
from headrace.store.database import connect

SUCCESS = Outcome(OutcomeKind.SUCCESS)


def tell(line: str) -> None:
    """Say a line at once: this process may be killed at any moment."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def main(url: str, per_s: float, width: float, call_s: float, seconds: float) -> None:
    """Keep 40 callers at the gate; tell the moment and the kind of each call's two ends.

    Of its start also the moment that the gate gave it: when its task gets to run says how busy
    the machine is, not what the gate decided.
    """
    database = await connect(url, connections_max=2)
    gate = PostgresGate(database, SystemClock())
    await gate.start()
    limits = (Limit(Dimension.REQUESTS, per_s / 10, 0.1), Limit(Dimension.CONCURRENCY, width))
    ask = Ask("lane", Quota(int(width), limits, pinned=True))
    until_s = time.monotonic() + seconds
    tell("ready")

    async def caller() -> None:
        while time.monotonic() < until_s:
            permit = await gate.acquire(ask)
            assert isinstance(permit, PostgresPermit)
            await permit.ready()
            tell(f"{time.monotonic()} +1 {permit._at_s}")
            await asyncio.sleep(call_s)
            tell(f"{time.monotonic()} -1")
            permit.end(PermitEnd.SUCCESS, SUCCESS)

    async with asyncio.timeout(seconds + 30):
        await asyncio.gather(*(caller() for _ in range(40)))
    await gate.close()
    database.pool.terminate()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *(float(word) for word in sys.argv[2:6])))
