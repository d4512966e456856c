"""What settings and answers tell of a lane's limits, sorted for its rates."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.bucket import Bucket, Spent
from headrace.knee import Width
from headrace.limits import LONG_S, RATES, Dimension, Limit, Quota, Said
from headrace.pace import RatePace
from headrace.phases import Mode
from headrace.refunds import Refunds

if TYPE_CHECKING:
    from headrace.pacing import Ticket

MINUTE_S = 60.0
"""Where no window is named it is a minute."""
LONGER_MAX = 4
"""No provider counts by more of them; one whose header counts down would name a new one each."""
ALIKE = 0.1
"""Windows that differ by less are one."""
LOOK_S = 3600.0
"""A long quota that is used up is asked again so often, where nobody says when it begins anew."""


def by_dimension(limits: tuple[Limit, ...]) -> Iterator[tuple[Dimension, list[Limit]]]:
    """Yield the limits of each rate that any are announced of."""
    for dimension in RATES:
        found = [limit for limit in limits if limit.dimension is dimension]
        if found:
            yield dimension, found


def slowest(limits: list[Limit]) -> tuple[float, float] | None:
    """Return amount and window, in seconds, of the limit that lets in the least.

    Of those whose windows are not long; ``None`` where no such is announced.
    """
    told = [
        (limit.amount, limit.window_s)
        for limit in limits
        if limit.amount and limit.window_s and limit.window_s < LONG_S
    ]
    return min(told, key=lambda one: one[0] / one[1], default=None)


def hear_left(rate: RatePace, limit: Limit, in_flight: float, now_s: float, rushing: bool) -> bool:
    """Take what is left of a limit; tells whether it was of the one that the rate is told.

    ``in_flight`` units are under way. What is left of another window says nothing of a rush.
    """
    if limit.window_s is not None and limit.window_s >= LONG_S:
        _hear_long(rate, limit, in_flight, now_s)
        return False
    if limit.remaining is None:
        return False
    told_s = rate.told_window_s
    window_s = told_s if limit.window_s is None else limit.window_s
    if math.isfinite(told_s) and abs(window_s - told_s) > ALIKE * told_s:
        return False
    rate.left(limit.remaining, now_s, rushing=rushing)
    return True


def _hear_long(rate: RatePace, limit: Limit, in_flight: float, now_s: float) -> None:
    window_s = limit.window_s or LONG_S
    for known in rate.longer:
        if abs(known.window_s - window_s) <= ALIKE * window_s:
            if known.heeds:
                known.hear(limit, in_flight, now_s)
            return
    if limit.amount is not None and len(rate.longer) < LONGER_MAX:
        quota = Spent(limit.amount, window_s, look_s=LOOK_S, heeds=True, latest_s=now_s)
        quota.hear(limit, in_flight, now_s)
        rate.longer.append(quota)


class Announcing:
    """The rates of a lane, as somebody tells their limits; times are seconds of its clock."""

    quota: Quota
    rates: dict[Dimension, RatePace]
    width: Width
    refunds: Refunds
    in_flight: int

    def _rate(self, dimension: Dimension, now_s: float, start: float | None) -> RatePace:
        found = self.rates.get(dimension)
        if found is None:
            found = self.rates[dimension] = RatePace(bucket=Bucket(math.inf, 1.0, 1.0, now_s))
            if start is not None:
                found.set_pace(start, Mode.GROW, now_s)
        return found

    def _tell(self, limit: Limit, now_s: float, pinned: bool) -> None:
        """Take a limit that was told before the first call."""
        if limit.amount is None or limit.amount <= 0:
            return
        if limit.dimension is Dimension.CONCURRENCY:
            self.width.pin(max(1.0, limit.amount))
            return
        window_s = limit.window_s or MINUTE_S
        told = limit.amount / window_s
        if window_s >= LONG_S:
            rate = self._rate(limit.dimension, now_s, self.quota.rate_start)
            if all(known.window_s != window_s for known in rate.longer):
                rate.longer.append(Spent(limit.amount, window_s))
            return
        rate = self._rate(limit.dimension, now_s, None)
        if rate.told is None or told < rate.told:
            rate.tell(limit.amount, window_s, now_s, pinned)
            rate.set_pace(max(told, self.quota.rate_start or 2.0 * told), Mode.GROW, now_s)

    def _announced(self, ticket: Ticket, said: Said, now_s: float) -> None:
        """Take limits that an answer announces: told first, told anew, and what is left of them."""
        for dimension, limits in by_dimension(said.limits):
            told = slowest(limits)
            if told is None and dimension not in self.rates:
                continue
            rate = self._rate(dimension, now_s, None)
            if told is not None:
                if rate.is_untold:
                    self._tell(Limit(dimension, *told), now_s, pinned=False)
                    rate.stated, rate.stated_s = True, now_s
                else:
                    rate.state(*told, now_s)
            in_flight, rushing = self.in_flight * rate.mean, rate.mode is Mode.GROW
            for limit in limits:
                ours = hear_left(rate, limit, in_flight, now_s, rushing)
                if ours and dimension is Dimension.TOKENS:
                    self._left_of_tokens(limit, ticket, rate, now_s)

    def _left_of_tokens(self, limit: Limit, ticket: Ticket, rate: RatePace, now_s: float) -> None:
        each = max(rate.mean, float(ticket.load.tokens))
        call = (ticket.sent_s, ticket.left)
        self.refunds.hear(limit, call, (each, self.in_flight * each), now_s)
