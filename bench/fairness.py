"""What light tenants wait behind a heavy one, end to end, in item costs, beside FIFO's.

python -m bench.fairness                   100,000 items before ten tenants of 5 each
python -m bench.fairness --latency-s 0.05  a slower lane
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.throughput import RECIPE, loop_run
from headrace.config import Config
from headrace.engine import Engine, open_engine
from headrace.limits import Quota
from headrace.provider import Call, Reply
from headrace.providers.simulated.adapter import SimulatedProvider
from headrace.providers.simulated.settings import SimulatedSettings
from headrace.recipe import parse_recipe
from headrace.submission import Terms
from headrace.watching import Batch

DONE_S_MAX = 120.0


class OneLane(SimulatedProvider):
    """A simulated provider of one call at a time, which remembers whose calls came when."""

    def __init__(self, latency_s: float) -> None:
        super().__init__(SimulatedSettings(latency_s=latency_s, price_microcredits=1_000_000))
        self.quota = Quota(1, learns=False)
        self.tenants: list[str] = []

    async def call(self, call: Call) -> Reply:
        """Answer as the simulated provider does."""
        self.tenants.append(str(call.request.params["prompt"]).rsplit(" ", 1)[0])
        return await super().call(call)


async def submit(engine: Engine, tenant: str, items: int) -> Batch:
    """Submit so many items for a tenant, which is made where it is not there."""
    async with engine.database.acquire() as connection:
        await connection.execute(
            "INSERT INTO tenant (id, name, unlimited) VALUES ($1, $1, true)", tenant
        )
        await connection.execute(
            "INSERT INTO account (tenant_id, kind) VALUES ($1, 'available'), ($1, 'held')", tenant
        )
    rows = ({"prompt": f"{tenant} {number}"} for number in range(items))
    terms = Terms(tenant_id=tenant, cache="off", canary=0)
    recipe = parse_recipe(RECIPE, "bench")
    return await engine.submit(rows, recipe, columns=["prompt"], terms=terms)


async def measure(
    home: Path, heavy: int, light: int, each: int, latency_s: float
) -> dict[str, list[int]]:
    """Return, by light tenant, how many calls the lane made before each of its items.

    They are counted from the moment its submit returned. Stops when the light ones are done.
    """
    lane = OneLane(latency_s)
    config = Config(home=str(home))
    submitted: dict[str, int] = {}
    async with open_engine(config, providers={"simulated": lane}) as engine:
        most = await submit(engine, "heavy", heavy)
        while len(lane.tenants) < 100:
            await asyncio.sleep(0.01)
        batches = []
        for number in range(light):
            batches.append(await submit(engine, f"light {number}", each))
            submitted[f"light {number}"] = len(lane.tenants)
        async with asyncio.timeout(DONE_S_MAX):
            for batch in batches:
                await batch.done()
        await most.cancel()
    return {
        tenant: [at - start for at, name in enumerate(lane.tenants) if name == tenant]
        for tenant, start in submitted.items()
    }


def lines_of(waits: dict[str, list[int]], heavy: int, each: int) -> list[str]:
    """Return the table: first item, median and worst of each tenant, and the same in FIFO."""
    lines = [
        "| tenant | first item | median | worst | FIFO: first item | worst |",
        "|---|---|---|---|---|---|",
    ]
    for number, (tenant, calls) in enumerate(waits.items()):
        ahead = heavy - 100 + number * each
        lines.append(
            f"| {tenant} | {calls[0]} | {statistics.median(calls):.0f} | {max(calls)} "
            f"| {ahead:,} | {ahead + each - 1:,} |"
        )
    return lines


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--heavy", type=int, default=100_000)
    parser.add_argument("--light", type=int, default=10)
    parser.add_argument("--each", type=int, default=5)
    parser.add_argument("--latency-s", type=float, default=0.02)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        work: Any = measure(
            Path(folder), options.heavy, options.light, options.each, options.latency_s
        )
        waits: dict[str, list[int]] = loop_run(work)
    print("## Waits in item costs\n")
    print("\n".join(lines_of(waits, options.heavy, options.each)))
    first = max(calls[0] for calls in waits.values())
    bound = 2 * (options.light + 1)
    print(f"\nThe worst first item waited for {first} item costs; G16 allows {bound}.")
    return 0 if first <= bound else 1


if __name__ == "__main__":
    sys.exit(main())
