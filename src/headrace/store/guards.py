"""What the guards of batches look at, and how they move a batch: after its canary, at its cap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.canary import Seen, is_over, verdict
from headrace.held import decode_json
from headrace.lifecycle import BatchState
from headrace.pause import Pause, PauseCode
from headrace.price import usd_exact
from headrace.store import batches, statements
from headrace.store.budgets import UNPRICED_MICROUSD
from headrace.store.ledger import Accounts
from headrace.telemetry import crash_point


@dataclass(frozen=True, slots=True)
class Guarded:
    """A batch in its canary, under a cap, or being cancelled; amounts as in ``batch_progress``.

    ``at_rest`` is how many of its items have not ended and are not under way.
    """

    id: UUID
    state: str
    look_first: bool
    cost_cap_microusd: int | None
    cost_microusd: int
    cost_estimate_microusd: int
    untold_microusd: int
    short_microusd: int | None
    at_rest: int

    def over_budget(self) -> Pause | None:
        """Return why the batch must stop for its cap, ``None`` while it need not."""
        cap, short = self.cost_cap_microusd, self.short_microusd
        gone = self.cost_microusd + self.cost_estimate_microusd + self.untold_microusd
        if cap is None or short is None or gone + short <= cap:
            return None
        priced = f"may cost ${usd_exact(short)}"
        if short <= UNPRICED_MICROUSD:
            priced = "has a cost that is not known beforehand"
        spent = f"${usd_exact(self.cost_microusd)} spent"
        if self.cost_estimate_microusd:
            spent += f", about ${usd_exact(self.cost_estimate_microusd)} more by list prices"
        if self.untold_microusd:
            spent += f", up to ${usd_exact(self.untold_microusd)} more for calls of unknown cost"
        reason = f"the cap of ${usd_exact(cap)} is reached: {spent}; the next call {priced}"
        if gone == 0:
            reason = f"the cap of ${usd_exact(cap)} is below a single call, which {priced}"
        return Pause(PauseCode.BUDGET, reason, "Raise the cap with --max-cost.")


async def guarded(connection: Any) -> list[Guarded]:
    """Return the batches that a guard has to look after."""
    rows = await connection.fetch(statements.load("batches/guarded.sql"))
    return [Guarded(*row.values()) for row in rows]


async def canary_seen(connection: Any, batch_id: UUID) -> Seen:
    """Return what was seen of a batch's canary so far."""
    row = await connection.fetchrow(statements.load("batches/canary_seen.sql"), batch_id)
    told = dict(row)
    return Seen(**told | {"error": decode_json(told["error"]) if told["error"] else None})


async def move(connection: Any, accounts: Accounts, batch: Guarded, now: datetime) -> str | None:
    """Move a guarded batch where it is time to, in the caller's transaction.

    Returns the state it moved to, ``None`` where it stays. Whoever comes second, in this
    process or another, finds it moved already.
    """
    if batch.state == BatchState.FINALIZING.value:
        # A call in flight at the cancel that is to be tried again would be so never.
        if batch.at_rest:
            await batches.cancel_left(connection, accounts, batch.id, now)
        return None
    moved, state = False, BatchState.PAUSED
    broke = batch.over_budget()
    if broke is not None:
        moved = await batches.pause(connection, batch.id, now, broke)
    elif batch.state == BatchState.CANARY.value:
        seen = await canary_seen(connection, batch.id)
        if not is_over(seen):
            return None
        why = verdict(seen, batch.look_first)
        if why is None:
            state = BatchState.RUNNING
            moved = await batches.proceed(connection, batch.id, now)
        else:
            moved = await batches.pause(connection, batch.id, now, why, (BatchState.CANARY,))
    if moved:
        crash_point("guard-before-commit")
    return state.value if moved else None
