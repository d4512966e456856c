"""Permits a second through the gate of many workers, and what one costs.

python -m bench.gate                 2, 4 and 8 processes on one lane, 10 seconds each
python -m bench.gate --workers 8 --seconds 30

Each worker is a process with 64 callers that ask for a permit, send nothing, and end it; the
lane is told far more than is possible, so that the gate itself is the limit. ``--per-minute``
tells it a rate instead: what counts then is how much of that is handed out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.throughput import loop_run
from headrace.clock import SystemClock
from headrace.gate import Ask, PermitEnd
from headrace.gates.postgres import PostgresGate
from headrace.limits import Dimension, Limit, Quota
from headrace.outcome import Outcome, OutcomeKind
from headrace.store.database import connect
from headrace.store.embedded import open_embedded
from headrace.store.migrate import migrate

CALLERS, WIDTH, UNLIMITED = 64, 4096.0, 60_000_000.0
CALL_S = 0.02
SUCCESS = Outcome(OutcomeKind.SUCCESS)


async def worker(url: str, seconds: float, per_minute: float) -> dict[str, float]:
    """Ask for permits as fast as they come; return how many, and the CPU seconds they took."""
    database = await connect(url, connections_max=2)
    gate = PostgresGate(database, SystemClock())
    await gate.start()
    limits = (
        Limit(Dimension.REQUESTS, per_minute / 600.0, 0.1),
        Limit(Dimension.CONCURRENCY, WIDTH),
    )
    ask = Ask("bench", Quota(int(WIDTH), limits, pinned=True))
    count, waits_s = 0, 0.0
    until_s = time.monotonic() + seconds
    used = resource.getrusage(resource.RUSAGE_SELF)
    began_cpu_s = used.ru_utime + used.ru_stime

    async def caller() -> None:
        nonlocal count, waits_s
        while (asked_s := time.monotonic()) < until_s:
            permit = await gate.acquire(ask)
            waits_s += time.monotonic() - asked_s
            await permit.ready()
            if time.monotonic() < until_s:
                count += 1
            await asyncio.sleep(CALL_S)
            permit.end(PermitEnd.SUCCESS, SUCCESS)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    used = resource.getrusage(resource.RUSAGE_SELF)
    await gate.close()
    await database.close()
    return {
        "count": count,
        "cpu_s": used.ru_utime + used.ru_stime - began_cpu_s,
        "wait_s": waits_s / max(1, count),
    }


async def measure(url: str, workers: int, options: argparse.Namespace) -> str:
    """Run so many workers together; return a row of the table."""
    command = [sys.executable, "-m", "bench.gate", "--url", url]
    command += ["--seconds", str(options.seconds), "--per-minute", str(options.per_minute)]
    processes = [
        await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        for _ in range(workers)
    ]
    told = [json.loads((await process.communicate())[0]) for process in processes]
    count = sum(one["count"] for one in told)
    rate = count / options.seconds
    share = f"{100 * rate * 60 / options.per_minute:.1f} %" if options.per_minute else ""
    cpu_us = 1e6 * sum(one["cpu_s"] for one in told) / max(1, count)
    wait_ms = 1e3 * sum(one["wait_s"] for one in told) / workers
    return f"| {workers} | {rate:,.0f} | {share} | {cpu_us:.0f} | {wait_ms:.0f} |"


async def main(options: argparse.Namespace) -> None:
    """Open a database, run the workers, print the table."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        server = await open_embedded(Path(folder))
        try:
            database = await connect(server.url, connections_max=2)
            async with database.acquire() as connection:
                await migrate(connection)
            await database.close()
            print("| workers | permits/s | of the rate | CPU µs each | wait ms |")
            print("|---|---|---|---|---|")
            for workers in [options.workers] if options.workers else [1, 2, 4, 8]:
                print(await measure(server.url, workers, options), flush=True)
        finally:
            await server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--per-minute", type=float, default=0.0, help="a rate that is told")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.url:
        rate_per_min = given.per_minute or UNLIMITED
        print(json.dumps(loop_run(worker(given.url, given.seconds, rate_per_min))))
    else:
        loop_run(main(given))
