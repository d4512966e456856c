"""A paused batch for people and scripts: why, what was seen, how to go on, and the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.pause import PauseCode
from headrace.price import MICRO

if TYPE_CHECKING:
    from headrace.pause import Pause
    from headrace.store.batches import Summary
    from headrace.watching import Batch

EXIT_CODES = {
    PauseCode.BUDGET: 4,
    PauseCode.QUOTA_EXHAUSTED: 4,
    PauseCode.AUTH: 5,
    PauseCode.CANARY: 3,
}
"""A pause that somebody asked for is no failure: 0."""

_AFTER_CANARY = (
    PauseCode.LOOK_FIRST,
    PauseCode.CANARY,
    PauseCode.AUTH,
    PauseCode.QUOTA_EXHAUSTED,
)


def pause_code(pause: Pause, minds_failed: bool) -> int:
    """Return the exit code of a paused batch; 3 only for who minds failed rows."""
    code = EXIT_CODES.get(pause.code, 0)
    return 0 if code == 3 and not minds_failed else code


async def pause_lines(batch: Batch, summary: Summary, place: str) -> list[str]:
    """Return why a batch is paused, what was seen of its canary, and which command goes on."""
    pause = summary.pause
    if pause is None:
        return []
    told = [f"paused: {pause.reason}"]
    if pause.remedy:
        told.append(f"    → {pause.remedy}")
    if pause.code in _AFTER_CANARY:
        seen = await batch.canary_seen()
        told += seen.lines(summary.open, summary.cost_microusd + summary.cost_estimate_microusd)
    flag = ""
    if pause.code is PauseCode.BUDGET:
        dollars = _enough_usd(summary)
        flag = f" --max-cost {dollars or 'DOLLARS'}"
        if dollars is not None:
            told.append(f"{summary.open} rows are left; ${dollars} should do for all of them")
    return [*told, f"go on with: headrace resume {batch.id}{flag}{place}"]


def _enough_usd(summary: Summary) -> int | None:
    """Return whole dollars that should do for the rest, judged by the rows bought so far."""
    bought = summary.succeeded - summary.cached
    spent = summary.cost_microusd + summary.cost_estimate_microusd + summary.untold_microusd
    if bought <= 0 or spent <= 0:
        return None
    needed = spent + summary.open * spent / bought
    return int(-(-needed * 1.1 // MICRO))
