"""What is told of the whole database: a handful of small reads, none over items or transfers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from headrace.store import statements

COUNTED_MAX = 100_000
"""What waits is counted so far; more is told as that."""
LANES_MAX = 200
FRESH_S = 10.0
"""A lane whose summary is older has nobody who works on it."""
READ_S_MAX = 5.0
_STATES = ("running", "waiting", "unknown")


@dataclass
class Observed:
    """The database at one moment.

    ``batches`` that are not over, by state; ``items`` by class and state, those that a paused
    batch holds back as ``paused``; ``oldest_s`` by class: how long ago the oldest batch came
    that has items to be worked on. ``accounts`` are balances in micro-credits by kind;
    ``mismatch_microcredits`` is how far the ledger is from its invariants. ``waiting`` by what
    waits. ``lanes`` are summaries by name, as ``standing.LaneLive``.
    """

    batches: Counter[str] = field(default_factory=Counter)
    items: Counter[tuple[str, str]] = field(default_factory=Counter)
    oldest_s: dict[str, float] = field(default_factory=dict)
    accounts: dict[str, int] = field(default_factory=dict)
    mismatch_microcredits: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    lanes: dict[str, dict[str, Any]] = field(default_factory=dict)


async def read(connection: Any, now: datetime) -> Observed:
    """Return the database as it is ``now``, in one snapshot; waits for no lock."""
    found = Observed()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await _queue(connection, found, now)
        for row in await _rows(connection, "credits"):
            found.accounts[row["kind"]] = row["balance"]
        mismatch = (await _rows(connection, "mismatch"))[0]
        found.mismatch_microcredits = mismatch["held"] + mismatch["sides"]
        found.waiting = dict((await _rows(connection, "waiting", COUNTED_MAX))[0])
        since = now - timedelta(seconds=FRESH_S)
        for row in await _rows(connection, "lanes", since, LANES_MAX):
            found.lanes[row["name"]] = msgspec.json.decode(row["live"])
    return found


async def _queue(connection: Any, found: Observed, now: datetime) -> None:
    for row in await _rows(connection, "queue"):
        held, name = row["state"] == "paused", row["class"]
        found.batches[row["state"]] += row["batches"]
        found.items[name, "paused"] += row["pending"] if held else 0
        found.items[name, "pending"] += 0 if held else row["pending"]
        for state in _STATES:
            found.items[name, state] += row[state]
        if row["oldest"] is not None:
            age_s = max(0.0, (now - row["oldest"]).total_seconds())
            found.oldest_s[name] = max(age_s, found.oldest_s.get(name, 0.0))


async def _rows(connection: Any, name: str, *given: Any) -> list[Any]:
    rows: list[Any] = await connection.fetch(
        statements.load(f"observed/{name}.sql"), *given, timeout=READ_S_MAX
    )
    return rows
