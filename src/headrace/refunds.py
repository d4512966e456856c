"""Whether a provider takes back into its limit what a call reserved and did not use.

A call reserves its estimate of tokens. Some providers count that, whatever is used;
others give the rest back when the call ends. Where the settings do not say which, only
what is announced can show it: more is left than could be, had nothing been given back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from headrace.bucket import Bucket
from headrace.limits import LONG_S, Limit

SLACK, SLACK_CALLS = 0.1, 2.0
"""So much of the limit, and so many calls, may be left by mistake: calls overtake each other."""
PARTS = 2
"""A window's opening cuts a span that is no longer than a window into so many parts."""
SHARE_LESS, SHARE_MORE = 0.75, 0.0005
"""A refusal lowers the share of a saving that is believed by this factor, an accepted call raises
it by so much."""
DOUBTS_MAX = 2
"""A finding that was followed by a refusal so often is not believed any more."""


@dataclass(slots=True)
class Refunds:
    """What is known of one lane's tokens; amounts are tokens, times are seconds.

    ``told`` stands in the settings and is not questioned. ``share`` of what is unused is
    given back: less after refusals, for windows forget what came back too late. ``most``
    is what can be left when nothing is given back, however it is counted: a bucket leaves
    no less than a sliding window. A window that begins anew leaves more; but of what was
    sent in a span no longer than it, half at least was counted in one window, and was
    missing at its end.
    """

    told: bool | None = None
    found: bool = False
    doubts: int = 0
    most: Bucket | None = None
    first_s: float = math.inf
    before: float = 0.0
    span_s: float = 0.0
    span_units: float = 0.0
    least: float = math.inf
    share: float = 1.0

    @property
    def given(self) -> bool:
        """Whether unused tokens are given back."""
        return self.found if self.told is None else self.told

    def back(self, unused: float) -> float:
        """Return how much of what an accepted call did not use goes back."""
        if unused <= 0 or not self.given:
            return 0.0
        self.share = min(1.0, self.share + SHARE_MORE)
        return self.share * unused

    def take(self, cost: float, now_s: float) -> float:
        """Count a call that is sent; returns what can be left after it, at most."""
        if self.most is None:
            self.first_s = min(self.first_s, now_s)
            self.before += cost
            return math.inf
        self.most.take(cost, now_s)
        # What was accepted fitted in: nobody owes anything.
        self.most.level = max(0.0, self.most.level)
        self.span_units += cost
        return self.most.level

    def untake(self, cost: float, now_s: float) -> None:
        """Hear that a call was not accepted, so that its tokens may not have been counted."""
        if self.most is None:
            self.before = max(0.0, self.before - cost)
        else:
            self.most.give(cost, now_s)
            self.span_units = max(0.0, self.span_units - cost)

    def hear(
        self, limit: Limit, call: tuple[float, float], units: tuple[float, float], now_s: float
    ) -> None:
        """Hear what the answer of an accepted call announces of the tokens.

        ``call`` is when it was sent and what ``take`` gave for it, ``units`` what a call
        takes and what all that are in flight take.
        """
        if self.told is not None or self.found or self.doubts >= DOUBTS_MAX:
            return
        amount, window_s, left = limit.amount, limit.window_s, limit.remaining
        if amount is None or window_s is None or left is None or window_s >= LONG_S:
            # A long window fills too slowly to show anything.
            return
        if self.most is None or self.most.burst != amount:
            self._begin(amount, window_s, now_s)
            return
        sent_s, most = call
        each, in_flight = units
        slack = SLACK * amount + SLACK_CALLS * each
        if left > amount or left <= most + self.most.rate * (now_s - sent_s) + slack:
            self._span(now_s)
            return
        self.least = min(self.least, left - in_flight)
        if now_s - self.span_s >= window_s:
            self._span(now_s)
        elif self.least > amount - self.span_units / PARTS + slack:
            self.found = True

    def refused(self, now_s: float) -> None:
        """Hear that a call was refused for its tokens: what was found may be wrong."""
        if self.given:
            self.share *= SHARE_LESS
        if self.found:
            self.found = False
            self.doubts += 1
        self._span(now_s)

    def _begin(self, amount: float, window_s: float, now_s: float) -> None:
        rate, left = amount / window_s, amount
        if self.most is None and math.isfinite(self.first_s):
            left = min(amount, amount - self.before + rate * (now_s - self.first_s))
        self.most = Bucket(rate, amount, max(0.0, left), now_s)
        self._span(now_s)

    def _span(self, now_s: float) -> None:
        self.span_s, self.span_units, self.least = now_s, 0.0, math.inf
