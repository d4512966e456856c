"""A large batch from its rows to its last item, with two workers and an API that answers."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from bisect import bisect_left
from uuid import UUID

from bench.scale.books import Table, figures, reader, tables
from bench.scale.place import Place, opened
from bench.scale.probe import Answers, Prober
from bench.scale.work import Progress, followed, provider_lines, submitted
from headrace.identity import show_batch_id

LIMIT_S = 4 * 3600.0
PARTS = 10
SCANNED_MIN = 2.0
"""A table of which each row was read so many times in whole scans is worth a line."""


async def memory(place: Place, peak: list[float]) -> None:
    """Keep the peak of the database's memory, until cancelled."""
    while True:
        peak[0] = max(peak[0], await asyncio.to_thread(place.database_mib))
        await asyncio.sleep(2.0)


async def main(options: argparse.Namespace) -> None:
    """Run it and print what was seen."""
    items = options.items
    print(f"{items:,} items, {options.workers} workers (one is headrace serve), PostgreSQL and ")
    print(f"this program on {os.cpu_count()} cores; load average {os.getloadavg()[0]:.1f}")
    async with opened() as place:
        place.write(provider_lines(options.wide))
        # It works too: calls on demand are made by the process that was asked.
        serve = await place.start("serve", "--port", "0", say="serve")
        await place.workers(options.workers - 1)
        peak, before = [0.0], time.perf_counter()
        watching = asyncio.create_task(memory(place, peak))
        async with reader(place.url) as connection:
            first = await figures(connection)
            cpu_s = place.database_cpu_s()
            batch, submit_s = await submitted(place, items)
            print(f"submit: {submit_s:.1f} s, {items / submit_s:,.0f} rows/s", flush=True)
            url, key = serve.told["url"], serve.told["admin_key"]
            prober = Prober(url, key, show_batch_id(batch), items)
            async with prober.asking():
                seen = await followed(connection, batch, items, LIMIT_S)
            cpu_s = place.database_cpu_s() - cpu_s
            children = [(one.name, one.usage()) for one in place.children]
            watching.cancel()
            await place.close()
            used = (await figures(connection)).since(first)
            told = await tables(connection)
            await _check(connection, batch, items)
    took_s = time.perf_counter() - before
    print(f"all of it: {took_s:.0f} s; after the submit {seen[-1].at_s:.0f} s, ", end="")
    print(f"{items / seen[-1].at_s:,.0f} items/s")
    _over_time(seen, items, prober)
    _sizes(told, items)
    print(f"\nWAL {used.wal_bytes / items:,.0f} bytes/item, rows {used.rows / items:.1f}/item, ")
    print(f"commits {used.commits / items:.3f}/item, PostgreSQL {1e6 * cpu_s / items:.0f} µs/item")
    print("\n| process | peak memory | CPU |\n|---|---|---|")
    for name, usage in children:
        print(f"| {name} | {usage.peak_mib:.0f} MiB | {usage.cpu_s:.0f} s |")
    print(f"| PostgreSQL | {peak[0]:.0f} MiB, shared pages once | {cpu_s:.0f} s |")


async def _check(connection: object, batch: UUID, items: int) -> None:
    """Raise ``RuntimeError`` where items and ledger do not say that each ended once."""
    row = await connection.fetchrow(  # type: ignore[attr-defined]
        "SELECT count(*) FILTER (WHERE state = 'succeeded') AS succeeded, "
        "(SELECT count(*) FROM transfer WHERE batch_id = $1 AND kind = 'post') AS posts, "
        "(SELECT count(*) FROM attempt WHERE batch_id = $1) AS attempts "
        "FROM item WHERE batch_id = $1",
        batch,
    )
    if {row["succeeded"], row["posts"], row["attempts"]} != {items}:
        raise RuntimeError(f"not each item ended once: {dict(row)} of {items}")


def _over_time(seen: list[Progress], items: int, prober: Prober) -> None:
    kinds = prober.seen
    heads = "".join(f" {name} p50 / p99 ms |" for name in kinds)
    print(f"\n| items ended | items/s |{heads}\n|---|---|" + "---|" * len(kinds))
    counts = [one.ended for one in seen]
    for part in range(PARTS):
        first = seen[max(0, bisect_left(counts, items * part // PARTS))]
        last = seen[bisect_left(counts, items * (part + 1) // PARTS)]
        if last is first:
            continue
        took_s = last.at_s - first.at_s
        rate = (last.ended - first.ended) / took_s if took_s > 0 else 0.0
        cells = "".join(f" {_span(one, first.at_s, last.at_s)} |" for one in kinds.values())
        print(f"| {last.ended:,} | {rate:,.0f} |{cells}")
    cells = "".join(f" {_span(one, 0.0, 1e12)} |" for one in kinds.values())
    print(f"| all | {items / seen[-1].at_s:,.0f} |{cells}")
    print(", ".join(f"{name}: {len(a.took_s)} calls, {a.bad} bad" for name, a in kinds.items()))


def _span(answers: Answers, from_s: float, to_s: float) -> str:
    p50, p99 = (answers.quantile_ms(share, from_s, to_s) for share in (0.5, 0.99))
    return f"{p50:,.0f} / {p99:,.0f}"


def _sizes(told: list[Table], items: int) -> None:
    total = sum(one.size_bytes for one in told)
    print(f"\ndatabase: {total / items:,.0f} bytes/item, {total / 1e9:.2f} GB of tables")
    print("\n| table | bytes/item | of it indexes | HOT updates |\n|---|---|---|---|")
    for one in told[:8]:
        hot = f"{one.hot / one.updated:.0%}" if one.updated else ""
        print(
            f"| {one.name} | {one.size_bytes / items:,.0f} | {one.index_bytes / items:,.0f} "
            f"| {hot} |"
        )
    for one in told:
        if one.scanned > SCANNED_MIN * items:
            print(f"{one.name} was read {one.scanned:,} rows in {one.scans:,} whole scans")
