"""The cap on what a batch's calls cost, kept at every start, as it is written ahead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from headrace.store import statements
from headrace.store.progress import Deltas
from headrace.store.writes import Start

UNPRICED_MICROUSD = 1
"""What a call without a known worst case must find free: it starts while anything is left."""


@dataclass(slots=True)
class _Purse:
    """What one batch has left: ``gone`` cannot come back, ``in_flight`` may turn out cheaper."""

    cap: int
    gone: int
    in_flight: int

    def take(self, needed: int) -> bool:
        """Set ``needed`` micro-USD aside, if they fit beside all that is spent or at risk."""
        if self.gone + self.in_flight + needed > self.cap:
            return False
        self.in_flight += needed
        return True

    def is_short_of(self, needed: int) -> bool:
        """Tell whether ``needed`` will not fit even if the calls under way turn out free."""
        return self.gone + needed > self.cap


def needed_microusd(start: Start) -> int:
    """Return what a start must find free under its batch's cap.

    A call that is followed up, or sent again under its key, is the purchase that the
    attempt before it has counted already.
    """
    if start.supersedes is not None and not start.repeats:
        return 0
    return UNPRICED_MICROUSD if start.cost_max_microusd is None else start.cost_max_microusd


async def admit(
    connection: Any, starts: list[Start], caps: dict[UUID, int]
) -> tuple[list[Start], list[Start]]:
    """Part starts into those that fit under their batches' caps and those that do not.

    Holds the batches' counts until commit, so that starts which race for the last of a
    budget stand in line. Where a start can never fit, that is noted with the batch; where
    it may, once calls under way have told their cost, it is merely refused for now.
    """
    rows = await connection.fetch(
        statements.load("progress/lock.sql"), list({start.batch_id for start in starts})
    )
    purses = {
        row["batch_id"]: _Purse(
            caps[row["batch_id"]],
            row["cost_microusd"] + row["cost_estimate_microusd"] + row["untold_microusd"],
            row["in_flight_microusd"],
        )
        for row in rows
        if row["batch_id"] in caps
    }
    fitting: list[Start] = []
    refused: list[Start] = []
    short: dict[UUID, int] = {}
    for start in starts:
        purse, needed = purses.get(start.batch_id), needed_microusd(start)
        if purse is None or purse.take(needed):
            fitting.append(start)
            continue
        refused.append(start)
        if purse.is_short_of(needed):
            short[start.batch_id] = min(needed, short.get(start.batch_id, needed))
    if short:
        await connection.execute(
            statements.load("progress/short.sql"), list(short), list(short.values())
        )
    return fitting, refused


def count_landed(deltas: Deltas, rows: list[Any]) -> None:
    """Count what attempts that ended have no longer, or still, at risk (``attempts/end.sql``)."""
    for row in rows:
        delta = deltas.of(row["batch_id"])
        delta.add("in_flight_microusd", -row["landed_microusd"])
        delta.add("untold_microusd", row["untold_microusd"])
