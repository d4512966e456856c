"""What admission costs in process, and how fast lanes run in virtual time.

python -m bench.pacer            the CPU of a permit, of a whole drawn lane, lanes a minute
"""

from __future__ import annotations

import argparse
import asyncio
import time
from statistics import median

from headrace.clock import SystemClock
from headrace.gate import Ask, PermitEnd
from headrace.gates.local import LocalGate
from headrace.limits import Dimension, Limit, Quota
from headrace.outcome import Outcome, OutcomeKind
from tests.unit.lanes_drawn import drawn

SUCCESS = Outcome(OutcomeKind.SUCCESS)


async def permits(count: int, callers: int) -> float:
    """Return the CPU microseconds of one permit: asked for in line, handed out, ended."""
    limit = Limit(Dimension.REQUESTS, 1e9, 60.0)
    width = Limit(Dimension.CONCURRENCY, 32.0)
    gate = LocalGate(SystemClock())
    ask = Ask("lane", Quota(32, (limit, width), pinned=True))

    async def caller() -> None:
        for _ in range(count // callers):
            permit = await gate.acquire(ask)
            await asyncio.sleep(0)
            permit.end(PermitEnd.SUCCESS, SUCCESS)

    began = time.process_time()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return (time.process_time() - began) / count * 1e6


def lanes(count: int, items: int) -> tuple[float, float]:
    """Return the CPU microseconds of a call on drawn hidden lanes, and lanes a minute."""
    began = time.process_time()
    for seed in range(count):
        drawn(seed, items, told=False)[0].run()
    took_s = time.process_time() - began
    return took_s / (count * items) * 1e6, 60.0 * count / took_s


def main() -> None:
    """Print the measurements, the median of five."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    options = parser.parse_args()
    alone = median(asyncio.run(permits(options.count, 16)) for _ in range(5))
    in_line = median(asyncio.run(permits(options.count, 256)) for _ in range(5))
    each, a_minute = lanes(60, 1000)
    print(f"a permit of the local gate: {alone:.0f} us of CPU, {in_line:.0f} us with 256 in line")
    print(f"a call on a hidden lane in virtual time, limiter included: {each:.0f} us of CPU")
    print(f"drawn lanes of 1,000 calls: {a_minute:,.0f} a minute of CPU")


if __name__ == "__main__":
    main()
