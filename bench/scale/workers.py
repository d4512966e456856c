"""Items a second with 1, 2 and 4 workers on one PostgreSQL, and what each item costs it."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from bench.scale.books import Figures, Table, Waits, figures, reader, sampled, tables
from bench.scale.place import Child, Place, opened
from bench.scale.work import followed, provider_lines, submitted

IDLE_S = 10.0
LIMIT_S = 1800.0
FLUSHES = 30
MEASURED = Path(__file__).with_name("measured.json")


@dataclass
class Point:
    """One run. Times in seconds; commits and rows are those of the whole run, per item.

    ``machine_share``: how much of the cores others left to it. ``flush_s``: a flush of the disk.
    ``groups``: group commits per item, each of which moves a batch's counts once.
    """

    workers: int
    wide: int
    items: int
    submit_s: float
    run_s: float
    worker_cpu_s: float
    database_cpu_s: float
    commits: float
    rows: float
    wal_bytes: float
    size_bytes: float
    idle_commits_per_s: float
    idle_worker_cpu: float
    idle_database_cpu: float
    load_average: float
    machine_share: float
    flush_s: float
    groups: float

    @property
    def items_per_s(self) -> float:
        """The rate from the batch being there to its last item's end."""
        return self.items / self.run_s


@dataclass
class Run:
    """A point, with what explains it."""

    point: Point
    tables: list[Table]
    waits: Waits
    peaks_mib: list[float]


class Others:
    """What other programs take of the machine, from now on."""

    def __init__(self) -> None:
        self._busy_s, self._began_s = self._busy(), time.perf_counter()
        self._own_s = time.process_time()

    def _busy(self) -> float:
        times = psutil.cpu_times()
        return float(sum(times) - times.idle - times.iowait - times.guest - times.guest_nice)

    def left(self, ours_s: float) -> float:
        """Return the share of all cores that others left; ``ours_s`` of CPU were ours."""
        ours_s += time.process_time() - self._own_s
        all_s = (time.perf_counter() - self._began_s) * (os.cpu_count() or 1)
        return min(1.0, max(0.0, 1.0 - (self._busy() - self._busy_s - ours_s) / all_s))


def flushed_s(folder: Path) -> float:
    """Return the median time of a flush of 8 kB to the disk."""
    took_s = []
    with (folder / "flush").open("wb", buffering=0) as file:
        for _ in range(FLUSHES):
            began_s = time.perf_counter()
            file.write(bytes(8192))
            os.fdatasync(file.fileno())
            took_s.append(time.perf_counter() - began_s)
    return statistics.median(took_s)


async def moved(connection: Any) -> int:
    """Return how often the counts of batches were moved: once in each group commit."""
    return sum(one.updated for one in await tables(connection) if one.name == "batch_progress")


async def idle(place: Place, crew: list[Child], seconds: float) -> tuple[float, float, float]:
    """Return what one idle worker takes: commits a second, cores of its own and of the server."""
    async with reader(place.url) as connection:
        before = await figures(connection)
        cpu_s, database_s = sum(one.usage().cpu_s for one in crew), place.database_cpu_s()
        began_s = time.perf_counter()
        await asyncio.sleep(seconds)
        took_s = (time.perf_counter() - began_s) * len(crew)
        after = await figures(connection)
    cpu_s = sum(one.usage().cpu_s for one in crew) - cpu_s
    commits = after.since(before).commits / took_s
    return commits, cpu_s / took_s, (place.database_cpu_s() - database_s) / took_s


async def measured(workers: int, wide: int, items: int, idle_s: float = IDLE_S) -> Run:
    """Run one batch with so many workers; ``wide`` calls at a time in each."""
    async with opened() as place:
        place.write(provider_lines(wide))
        crew = await place.workers(workers)
        await asyncio.sleep(min(3.0, idle_s))
        resting = await idle(place, crew, idle_s)
        # A first batch, so that statements are prepared and all have met the recipe.
        async with reader(place.url) as connection:
            warm, _ = await submitted(place, 200 * workers, "warm")
            await followed(connection, warm, 200 * workers, LIMIT_S)
            await asyncio.sleep(min(3.0, idle_s))
            before, groups = await figures(connection), await moved(connection)
            batch, submit_s = await submitted(place, items)
            cpu_s, database_s = sum(one.usage().cpu_s for one in crew), place.database_cpu_s()
            flush_s, others = flushed_s(place.folder), Others()
            async with sampled(place.url) as waits:
                run_s = (await followed(connection, batch, items, LIMIT_S))[-1].at_s
            cpu_s = sum(one.usage().cpu_s for one in crew) - cpu_s
            database_s = place.database_cpu_s() - database_s
            share = others.left(cpu_s + database_s)
            peaks = [one.usage().peak_mib for one in crew]
            # Sessions tell their counters at the latest when they end.
            await place.close()
            used = (await figures(connection)).since(before)
            told = await tables(connection)
            groups = (await moved(connection) - groups) / items
        point = _point(workers, wide, items, (submit_s, run_s), (cpu_s, database_s), used, resting)
        point = replace(point, machine_share=share, flush_s=flush_s, groups=groups)
        return Run(point, told, waits, peaks)


def _point(
    workers: int,
    wide: int,
    items: int,
    took_s: tuple[float, float],
    cpu_s: tuple[float, float],
    used: Figures,
    resting: tuple[float, float, float],
) -> Point:
    return Point(
        workers, wide, items, *took_s, *cpu_s,
        used.commits / items, used.rows / items, used.wal_bytes / items, used.size_bytes / items,
        *resting, os.getloadavg()[0], 1.0, 0.0, 0.0,
    )  # fmt: skip


def show(run: Run) -> None:
    """Print a row of the table."""
    point = run.point
    cores = (point.worker_cpu_s / point.run_s, point.database_cpu_s / point.run_s)
    print(
        f"| {point.workers} | {point.wide} | {point.items:,} | {point.items_per_s:,.0f} "
        f"| {cores[0]:.2f} | {cores[1]:.2f} | {1e6 * point.worker_cpu_s / point.items:.0f} "
        f"| {1e6 * point.database_cpu_s / point.items:.0f} | {point.commits:.3f} "
        f"| {point.groups:.3f} | {point.rows:.1f} | {point.wal_bytes:,.0f} "
        f"| {point.size_bytes:,.0f} | {max(run.peaks_mib):.0f} | {point.load_average:.1f} "
        f"| {point.machine_share:.0%} |",
        flush=True,
    )


def explain(run: Run) -> None:
    """Print what the sessions waited for, and what each table takes of an item."""
    point = run.point
    waits = ", ".join(f"{name} {mean:.2f}" for name, mean in run.waits.most())
    print(f"\n{point.workers} workers, sessions by what they do: {waits}")
    print(
        f"an idle worker: {point.idle_commits_per_s:.1f} commits/s, {point.idle_worker_cpu:.3f} "
        f"cores of its own, {point.idle_database_cpu:.3f} of the database"
    )
    print("\n| table | bytes/item | of it indexes | rows in/item | updates/item | HOT | scanned |")
    print("|---|---|---|---|---|---|---|")
    for one in run.tables[:9]:
        hot = f"{one.hot / one.updated:.0%}" if one.updated else ""
        print(
            f"| {one.name} | {one.size_bytes / point.items:,.0f} "
            f"| {one.index_bytes / point.items:,.0f} | {one.inserted / point.items:.2f} "
            f"| {one.updated / point.items:.2f} | {hot} | {one.scanned:,} |"
        )


async def main(options: argparse.Namespace) -> None:
    """Measure the points and print them; with ``--keep`` they are what the model is fed with."""
    print(f"{os.cpu_count()} cores for workers, PostgreSQL and this program together\n")
    print(
        "| workers | wide | items | items/s | cores: workers | cores: PostgreSQL "
        "| CPU µs/item: worker | PostgreSQL | commits/item | of it groups | rows/item "
        "| WAL bytes/item | database bytes/item | peak MiB of a worker "
        "| load average | cores left by others |"
    )
    print("|" + "---|" * 16)
    runs = []
    for workers in options.workers:
        runs.append(await measured(workers, options.wide, options.items, options.idle_s))
        show(runs[-1])
    for wide in options.narrow:
        runs.append(await measured(1, wide, max(200, options.items // 20), options.idle_s))
        show(runs[-1])
    for run in runs:
        if run.point.wide == options.wide:
            explain(run)
    if options.keep:
        MEASURED.write_text(json.dumps([asdict(run.point) for run in runs], indent=1) + "\n")
        print(f"\nwritten to {MEASURED}")
