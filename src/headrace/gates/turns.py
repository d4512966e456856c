"""Whose turn the room of a shared lane is: a call that needs much is not overtaken for ever.

Small calls of other workers find room in a bucket long before a large one does. So a
worker's first caller that has waited for its share of what comes in is waited for: what
would be smaller leaves it its room. As long as its share takes, others go before it.
"""

from __future__ import annotations

from dataclasses import dataclass

from headrace.limits import Load
from headrace.pacing import Pacer, takes_s

PATIENCE_S, PATIENCE_S_MAX = 1.0, 60.0
"""No call is waited for before it has waited so long itself, and each is after the longer time."""
LOOK_S = 1.0
"""A worker with callers in line looks at the lane at least so often."""
LATE_S, STALE_S = 0.1, 2.0
"""Nothing is kept for a worker that looks so much later than it meant to; and one that is later
still has waited for nothing: it stood still, or was gone."""
AGAIN_S = 0.02
"""A call that leaves its room to another asks again no sooner than this after what it asked for."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the first in a worker's line needs, since when it waits, and when it looks again."""

    load: Load
    since_s: float
    again_s: float

    def is_late(self, now_s: float, late_s: float = LATE_S) -> bool:
        """Tell whether its worker has not looked again, though it meant to."""
        return now_s > self.again_s + late_s

    def is_due(self, pacer: Pacer, sharing: int, now_s: float) -> bool:
        """Tell whether each of the workers that share a lane could have had as much by now."""
        share_s = (sharing - 1) * takes_s(pacer, self.load)
        return now_s >= self.since_s + min(max(PATIENCE_S, share_s), PATIENCE_S_MAX)


def wished(before: Wish | None, load: Load, now_s: float, wait_s: float) -> Wish | None:
    """Return the wish of a worker whose first call is refused room for ``wait_s``.

    ``None`` for one request: no call is smaller, and such lanes write nothing more.
    """
    if load.requests <= 1 and not load.tokens and not load.images:
        return None
    since_s = now_s
    if before is not None and not before.is_late(now_s, STALE_S):
        since_s = before.since_s
    return Wish(load, since_s, now_s + min(wait_s, LOOK_S))


def is_smaller(load: Load, other: Load) -> bool:
    """Tell whether a call takes less than another of something that both take."""
    return (
        0 < load.tokens < other.tokens
        or 0 < load.requests < other.requests
        or 0 < load.images < other.images
    )


def first_to_go(wishes: list[Wish], load: Load, before_s: float) -> list[Wish]:
    """Return which of the wishes a call may not overtake, who waits longest first.

    ``before_s`` is since when it waits itself. Of calls that cost the same whoever looks
    first goes first, unless smaller ones wait for the sake of one of them.
    """
    older = [one for one in wishes if one.since_s < before_s]
    if not older:
        return older
    least = _least([one.load for one in wishes])
    kept = [
        one
        for one in older
        if is_smaller(load, one.load)
        or (is_smaller(least, one.load) and not is_smaller(one.load, load))
    ]
    return sorted(kept, key=lambda one: one.since_s)


def _least(loads: list[Load]) -> Load:
    """Return the least that any of the calls takes of each thing, of those that take it."""
    return Load(
        min((one.requests for one in loads if one.requests), default=0),
        min((one.tokens for one in loads if one.tokens), default=0),
        min((one.images for one in loads if one.images), default=0),
    )


def kept_s(pacer: Pacer, wish: Wish, load: Load, now_s: float) -> float:
    """Return the seconds until there is room for both; 0.0 where a call leaves the wish its moment.

    What the wish does not take, or waits for longer than for what both take, is free.
    """
    # The wish first: a bucket fills above its burst only for the sake of whoever asks.
    wait_s = pacer.wait_s(wish.load, now_s)
    both_s = pacer.wait_s(_both(wish.load, load), now_s)
    return both_s if both_s > wait_s else 0.0


def _both(wish: Load, load: Load) -> Load:
    """Return what two calls take together, of what the first takes."""
    tokens = wish.tokens > 0
    return Load(
        wish.requests + load.requests if wish.requests else 0,
        wish.tokens + load.tokens if tokens else 0,
        wish.images + load.images if wish.images else 0,
        wish.tokens_in + load.tokens_in if tokens else 0,
    )
