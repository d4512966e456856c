"""One lane shared by many workers through PostgreSQL: its use, its refusals, everybody's part.

``python -m bench.admission`` has the same with two of eight workers killed.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

from bench.admission.measured import refused_since
from bench.admission.simulation import Simulation, simulation
from bench.scale.books import Waits, reader, sampled
from bench.scale.place import opened
from bench.scale.work import followed, submitted

LEARNING_S = 15.0
TARGET, REFUSED_MAX = 0.96, 0.01
SHAPE = {
    "name": "lane",
    "columns": {"required": ["prompt"]},
    "stages": [
        {
            "name": "make",
            "kind": "generate",
            "model": "openai:gpt-simulated",
            "prompt": "{{ prompt }}",
            "params": {"max_tokens": 64},
        }
    ],
}
_BY_WORKER = """
SELECT shard.worker_id, count(*) AS calls
FROM attempt JOIN shard ON shard.id = attempt.shard_id
WHERE attempt.batch_id = $1 GROUP BY shard.worker_id ORDER BY shard.worker_id
"""


def scenario(per_minute: float) -> dict[str, Any]:
    """Return the provider: a bucket of requests and nothing else."""
    bucket = {
        "dimension": "requests", "kind": "bucket", "amount": per_minute, "window_s": 60.0,
        "burst": 10,
    }  # fmt: skip
    return {"crash_class": "A", "seed": 1, "snapshots_s": [LEARNING_S], "limits": [bucket]}


async def main(options: argparse.Namespace) -> None:
    """Run one batch through the lane and print how it went."""
    items = int(options.per_minute * options.seconds / 60.0)
    async with opened() as place, simulation(scenario(options.per_minute)) as provider:
        place.write(
            [
                "[providers.openai]",
                f'base_url = "{provider.url}/v1"',
                'api_key = "scale"',
                'crash_class = "A"',
                f"limits = {{ requests_per_minute = {options.per_minute:.0f} }}",
            ]
        )
        crew = await place.workers(options.workers)
        batch, _ = await submitted(place, items, shape=SHAPE, cache="off")
        cpu_s, database_s = sum(one.usage().cpu_s for one in crew), place.database_cpu_s()
        began_s = time.perf_counter()
        async with reader(place.url) as connection:
            async with sampled(place.url) as waits:
                await followed(connection, batch, items, 20 * options.seconds + 120)
            took_s = time.perf_counter() - began_s
            cpu_s = (sum(one.usage().cpu_s for one in crew) - cpu_s) / took_s
            database_s = (place.database_cpu_s() - database_s) / took_s
            rows = await connection.fetch(_BY_WORKER, batch)
        _tell(options, waits, (cpu_s, database_s))
        await _judge(provider, [row["calls"] for row in rows], options.workers)


def _tell(options: argparse.Namespace, waits: Waits, cores: tuple[float, float]) -> None:
    print(
        f"{options.workers} workers on a lane of {options.per_minute:,.0f} requests a minute, "
        f"{os.cpu_count()} cores for all, load average {os.getloadavg()[0]:.1f}"
    )
    print(
        f"cores used: workers {cores[0]:.2f}, PostgreSQL {cores[1]:.2f}; sessions by what ", end=""
    )
    print("they do: " + ", ".join(f"{name} {mean:.2f}" for name, mean in waits.most()))


async def _judge(provider: Simulation, calls: list[int], workers: int) -> None:
    """Print the provider's own account: its log, and the ideal makespan for the same items."""
    entries = await provider.log()
    ideal = await provider.ask("ideal", after_s=LEARNING_S)
    used = ideal["ideal_s"] / ideal["achieved_s"] if ideal["achieved_s"] else 0.0
    requests, refused = refused_since(entries, 0.0)
    late, late_refused = refused_since(entries, LEARNING_S)
    share = late_refused / max(1, late)
    calls += [0] * (workers - len(calls))
    fair = sum(calls) ** 2 / (len(calls) * sum(one * one for one in calls)) if any(calls) else 0.0
    print(
        f"utilisation after {LEARNING_S:.0f} s: {min(1.0, used):.1%} (target {TARGET:.0%}); "
        f"refused: {refused} of {requests}, afterwards {share:.2%} (target {REFUSED_MAX:.0%})"
    )
    print(f"calls by worker: {sorted(calls)}; Jain's index of fairness {fair:.3f}")
