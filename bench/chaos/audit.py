"""What must hold at the end: items, ledger, what the providers were paid for, and every body."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import asyncpg

from bench.admission.simulation import Simulation
from bench.chaos.trouble import Seen
from bench.chaos.workers import Crew
from headrace.blob import open_blobs
from headrace.errors import HeadraceError
from headrace.lifecycle import BATCH_FINAL
from headrace.store.audit import verify

AMBIGUOUS = frozenset({"D"})
TELL_S = 10.0
_TROUBLES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError)
_ENDED = ("succeeded", "failed", "refused", "cancelled", "dead")


async def counts(url: str) -> dict[str, int]:
    """Return the items by state, and the batches that are open."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        rows = await connection.fetch("SELECT state, count(*) AS n FROM item GROUP BY 1")
        states = [row["state"] for row in await connection.fetch("SELECT state FROM batch")]
    finally:
        await connection.close(timeout=5)
    found = {row["state"]: row["n"] for row in rows}
    return found | {"open batches": sum(state not in BATCH_FINAL for state in states)}


async def watched(url: str, crew: Crew, until_s: float, *, to_the_end: bool) -> None:
    """Say how far it is, until the moment has come, or the work is done."""
    told_s = 0.0
    while (now_s := time.monotonic()) < until_s:
        await asyncio.sleep(1.0)
        await crew.replace_dead()
        if now_s - told_s < TELL_S:
            continue
        try:
            found = await counts(url)
        except _TROUBLES as error:
            print(f"  database away: {type(error).__name__}", flush=True)
            continue
        told_s = now_s
        print("  " + " · ".join(f"{name} {n}" for name, n in sorted(found.items())), flush=True)
        if to_the_end and found["open batches"] == 0:
            return


async def audited(
    url: str, blob_url: str, providers: dict[str, Simulation], items: int, seen: Seen
) -> None:
    """Compare what the database says with itself, with the providers' logs, and with the store."""
    connection = await asyncpg.connect(url)
    try:
        states, repeats = await _items(connection)
        held = await connection.fetchval(
            "SELECT coalesce(sum(balance_microcredits), 0) FROM account WHERE kind = 'held'"
        )
        reasons = await connection.fetch(
            "SELECT left(error ->> 'reason', 100) AS reason, count(*) AS n FROM item "
            "WHERE state <> 'succeeded' GROUP BY 1"
        )
        bodies = await connection.fetch("SELECT sha256 FROM artifact ORDER BY sha256")
        seen.findings += [f"audit: {finding}" for finding in await verify(connection)]
    finally:
        await connection.close()
    lost = items - states.total()
    unended = states.total() - sum(states[name] for name in _ENDED)
    print(f"items: {items} accepted, lost {lost}, not ended {unended}; {dict(states)}")
    for row in reasons:
        print(f"  {row['n']} not delivered: {row['reason']}")
    if lost or unended:
        seen.findings.append(f"{lost} items are lost, {unended} have not ended")
    print(f"credits held at the end: {held}")
    if held:
        seen.findings.append(f"held is {held}, not 0")
    for name, simulator in providers.items():
        truth = await simulator.ask("truth")
        print(
            f"provider {name}: {truth['requests']} calls, {truth['paid_calls']} paid, "
            f"paid twice {truth['paid_twice']}, counted {repeats[name]}, faults {truth['faults']}"
        )
        if truth["paid_twice"] > (repeats[name] if name in AMBIGUOUS else 0):
            seen.findings.append(f"provider {name}: paid twice {truth['paid_twice']}")
    unread = await _unread(blob_url, [row["sha256"] for row in bodies])
    print(f"bodies: {len(bodies)} different, unreadable or not what was kept: {unread}")
    if unread:
        seen.findings.append(f"{unread} bodies cannot be read")


async def _items(connection: Any) -> tuple[Counter[str], Counter[str]]:
    """Return the items by state, and the purchases that were repeated by class."""
    states = {
        row["state"]: row["n"]
        for row in await connection.fetch("SELECT state, count(*) AS n FROM item GROUP BY 1")
    }
    rows = await connection.fetch(
        "SELECT right(batch.recipe_name, 1) AS class, sum(progress.repeats)::bigint AS n "
        "FROM batch JOIN batch_progress AS progress ON progress.batch_id = batch.id GROUP BY 1"
    )
    return Counter(states), Counter({row["class"]: row["n"] for row in rows})


async def _unread(blob_url: str, bodies: list[bytes]) -> int:
    blobs, unread = await open_blobs(blob_url), 0
    try:
        for sha256 in bodies:
            try:
                await blobs.read(sha256)
            except HeadraceError as error:
                unread += 1
                print(f"  {sha256.hex()}: {error}")
    finally:
        await blobs.close()
    return unread
