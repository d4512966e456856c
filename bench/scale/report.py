"""What the model says: beside the measured points first, then for a fleet."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace

from bench.scale.model import Costs, Fleet, Seen, closed, opened
from bench.scale.workers import MEASURED, Point

DAY_S = 86_400.0
DAILY = 100_000_000
MEASURED_ON = 2
"""Cores of the machine on which the points were measured."""
LOADS = (0.25, 0.5, 1.0, 2.0, 4.0)
ROWS_KEPT = 7.0
"""Rows of an item that stay: item, attempt, cached result, artifact, owner, transfer, event."""
SESSIONS, POOLED = 2, 10
"""Connections of a worker: its own sessions, and those of its pool at most."""
ITEMS_CLOSED = 20_000


def points() -> list[Point]:
    """Return the points that ``python -m bench.scale workers --keep`` measured last."""
    return [Point(**one) for one in json.loads(MEASURED.read_text(encoding="utf-8"))]


def fitted(known: list[Point]) -> Costs:
    """Return the costs that explain the points best: least squares, weighted by items.

    What idle workers do is taken off first.
    """
    xs, ys = [], []
    for one in known:
        idle_s = one.workers * one.run_s
        xs.append(one.groups)
        ys.append(max(0.0, one.database_cpu_s - one.idle_database_cpu * idle_s) / one.items)
    # A point of many items says more than one of few.
    weights = [one.items / sum(point.items for point in known) for one in known]
    mean_x = sum(weight * x for weight, x in zip(weights, xs, strict=True))
    mean_y = sum(weight * y for weight, y in zip(weights, ys, strict=True))
    told = list(zip(weights, xs, ys, strict=True))
    spread = sum(weight * (x - mean_x) ** 2 for weight, x, _ in told)
    both = sum(weight * (x - mean_x) * (y - mean_y) for weight, x, y in told)
    commit_s = max(0.0, both / spread) if spread else 0.0
    wide = [one for one in known if one.wide >= max(point.wide for point in known)]
    return Costs(
        worker_s=sum(one.worker_cpu_s / one.items for one in wide) / len(wide),
        commit_s=commit_s,
        item_s=max(1e-5, mean_y - commit_s * mean_x),
        idle_cores=sum(one.idle_database_cpu for one in known) / len(known),
    )


def main(options: argparse.Namespace) -> None:
    """Print the check against the points, then the fleet."""
    began_s = time.perf_counter()
    known = points()
    costs = fitted(known)
    print("## Costs, fitted to the measured points\n")
    print(
        f"worker {1e6 * costs.worker_s:.0f} µs an item; database {1e6 * costs.commit_s:.0f} µs a "
    )
    print(f"commit and {1e6 * costs.item_s:.0f} µs an item; idle, a worker takes ")
    print(f"{costs.idle_cores:.4f} cores of the database. Assumed: {1e3 * costs.flush_s:.1f} ms a ")
    print(
        f"flush, {1e3 * costs.trip_s:.1f} ms a round trip, {1e6 * costs.step_s:.0f} µs a step of "
    )
    print(f"a lane, {costs.shared_share:.0%} of a commit behind shared rows.")
    check(known, costs)
    fleet(costs, options.seed, options.seconds)
    variants(costs, options.seed, options.seconds)
    day(known)
    print(f"\ncomputed in {time.perf_counter() - began_s:.0f} s, seed {options.seed}")


def check(known: list[Point], costs: Costs) -> None:
    """Print the model beside the points, for the cores that the run really had."""
    print("\n## The model beside the measurement\n")
    print("| workers | wide | cores left to it | measured items/s | model | error |")
    print("|---|---|---|---|---|---|")
    for one in known:
        items = min(one.items, ITEMS_CLOSED)
        seen = closed(one.workers, one.wide, items, MEASURED_ON, _slowed(costs, one))
        rate = items / seen.ended_s
        print(
            f"| {one.workers} | {one.wide} | {one.machine_share:.0%} "
            f"| {one.items_per_s:,.0f} | {rate:,.0f} | {rate / one.items_per_s - 1:+.0%} |"
        )


def _slowed(costs: Costs, point: Point) -> Costs:
    """Return the costs on a machine of which others had a part: all takes longer alike."""
    share = min(1.0, max(0.05, point.machine_share))
    return replace(
        costs, worker_s=costs.worker_s / share, commit_s=costs.commit_s / share,
        item_s=costs.item_s / share, flush_s=point.flush_s or costs.flush_s,
    )  # fmt: skip


def fleet(costs: Costs, seed: int, seconds: float) -> None:
    """Print a fleet at growing loads."""
    print("\n## 1,000 workers, 10,000 lanes, one primary of 32 cores, calls of 5 s\n")
    head(costs)
    for load in LOADS:
        per_s = load * DAILY / DAY_S
        row(f"{load:g}", per_s, Fleet(), opened(Fleet(), per_s, seconds, costs, seed), costs)
    at = 1.0 * DAILY / DAY_S
    seen = opened(Fleet(), at, seconds, costs, seed)
    each = costs.item_s + (seen.commits * costs.commit_s + seen.steps * costs.step_s) / max(
        1, seen.items_out
    )
    free = 0.7 * Fleet().cores - Fleet().workers * costs.idle_cores
    full = free / each
    print(f"\nAt the groups of load 1 an item takes {1e6 * each:.0f} µs of the database: 70 % of ")
    print(f"32 cores, less what idle workers take, are full at {full:,.0f} items/s, ")
    print(f"{full * DAY_S / 1e6:,.0f} million a day. Sharding by tenant begins there.")


def variants(costs: Costs, seed: int, seconds: float) -> None:
    """Print what other ways would bring, at twice the daily average."""
    per_s = 2.0 * DAILY / DAY_S
    print("\n## At twice the average, other ways\n")
    head(costs)
    for name, one in (
        ("as it is", Fleet()),
        ("lanes held by owners", Fleet(owned=True)),
        ("revenue in 64 rows", Fleet(revenue_rows=64)),
        ("both", Fleet(owned=True, revenue_rows=64)),
        ("both, 200 workers", Fleet(workers=200, owned=True, revenue_rows=64)),
        ("200 workers", Fleet(workers=200)),
    ):
        row(name, per_s, one, opened(one, per_s, seconds, costs, seed), costs)


def head(costs: Costs) -> None:
    """Print the head of a table of fleets."""
    print(
        "| load | items/s | commits/s | writes a commit | lane steps/s | cores: work "
        "| cores: idle looks | shared row held | waiting for it, most | settle p50 / p99 ms |"
    )
    print("|" + "---|" * 10)


def row(name: str, per_s: float, fleet_: Fleet, seen: Seen, costs: Costs) -> None:
    """Print one fleet."""
    seconds = seen.items_in / per_s
    print(
        f"| {name} | {per_s:,.0f} | {seen.commits / seconds:,.0f} | {seen.group:.1f} "
        f"| {seen.steps / seconds:,.0f} | {seen.database_cores:.1f} "
        f"| {fleet_.workers * costs.idle_cores:.1f} | {seen.held_share:.0%} | {seen.waiting_max} "
        f"| {1e3 * seen.quantile_s(0.5):,.0f} / {1e3 * seen.quantile_s(0.99):,.0f} |"
    )


def day(known: list[Point]) -> None:
    """Print what a day of a hundred million items leaves behind: arithmetic, no simulation."""
    widest = [one for one in known if one.wide == max(point.wide for point in known)]
    one = max(widest, key=lambda point: point.items)
    print("\n## A day of 100 million items (arithmetic)\n")
    rows, stay = one.rows * DAILY, ROWS_KEPT * DAILY
    print(f"- rows written: {rows / 1e9:.2f} billion, {rows / DAY_S:,.0f} a second on average")
    print(
        f"- rows that stay: {stay / 1e9:.2f} billion a day; 30 days {30 * stay / 1e9:.0f} billion"
    )
    wal = one.wal_bytes * DAILY
    print(f"- log (WAL): {wal / 1e9:,.0f} GB a day, {wal / DAY_S / 1e6:.1f} MB/s on average")
    size = one.size_bytes * DAILY
    print(f"- disk: {size / 1e9:,.0f} GB a day; kept 7 days {7 * size / 1e12:.1f} TB, ", end="")
    print(f"30 days {30 * size / 1e12:.1f} TB")
    direct, pooled = SESSIONS * Fleet().workers, POOLED * Fleet().workers
    print(f"- connections of 1,000 workers: {direct:,} sessions that no pooler takes, and up to ")
    print(f"  {pooled:,} that one does; {Fleet().cores * 4} behind the pooler keep 32 cores busy")
