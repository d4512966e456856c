"""How many calls in flight a lane bears: learned from refusals, and without any from latency."""

from __future__ import annotations

import math
from dataclasses import dataclass

from headrace.limits import start_width

GAIN_MIN = 1.25
"""Twice the width must give at least this much throughput, or the server was full before."""
SAMPLE_MIN, SAMPLE_SHARE = 6, 0.3
"""Calls of an epoch whose latency is looked at: so many, or this part of the cap."""
ENDED_SHARE, TOLD_SHARE = 0.9, 0.5
"""An epoch ends when so many of these calls have ended; so many of them must have ended well."""
LOST_AFTER = 20
"""When a call has ended that was sent so many samples later, those still missing never will."""
SETTLED_EPOCHS = 20
QUEUED, MILD = 2.0, 1.3
"""So many times the best latency is a queue; it is brought down to a mild one."""
SLOW_EPOCHS = 2
"""So many slow epochs in a row are a queue; one may be a call that hung, or a pause of our own."""
STILL = 1.6
"""Where it is narrower and still so many times the best latency, the width was not the cause."""
SHAKEN_MAX = 3
PROBE_CALLS, PROBES_MAX = 100, 3
"""After so many calls at a known cap it looks above it; after each that failed four times as
many, so that what was found by chance is seen early, and what is true costs little."""


@dataclass(slots=True)
class Width:
    """The cap of calls in flight and how it is found.

    ``cap`` holds now, ``top`` is never exceeded, ``known``: a refusal showed it.
    ``untried``: the cap is a start that nobody told, and nothing was found out yet.
    ``accepted_at`` is the most that were in flight when a call was accepted. Epochs
    compare the latency before and after the cap was doubled: where it doubles too,
    nothing is gained, and more in flight would only stand in the server's queue. ``queued``:
    that was seen once, so that looks above take their time. ``doubted``: an epoch says so, and
    the next one is asked as well; ``narrowed_from`` is the cap before it was narrowed for that,
    and the latency then.
    """

    cap: float
    top: float = math.inf
    known: bool = False
    settled: bool = False
    probing: bool = False
    accepted_at: int = 0
    shaken: int = 0
    calm: int = 0
    epoch: int = 0
    sent: int = 0
    ended_calls: int = 0
    gone_calls: int = 0
    latency_sum_s: float = 0.0
    latency_before_s: float = 0.0
    latency_best_s: float = math.inf
    reached: bool = False
    patience: int = 0
    slow: int = 0
    queued: bool = False
    doubted: bool = False
    narrowed_from: tuple[float, float] | None = None
    borne: int = 0
    probes: int = 0
    untried: bool = False

    @property
    def sample(self) -> float:
        """Return how many calls of an epoch are looked at."""
        return max(SAMPLE_MIN, SAMPLE_SHARE * self.cap)

    def pin(self, cap: float) -> None:
        """Take a cap that somebody told; it is never exceeded."""
        self.cap = self.top = cap
        self.known = self.settled = True
        self.untried = False

    def advise(self, items: int) -> bool:
        """Hear that a batch of ``items`` asks; tells whether the start became wider by it."""
        if not self.untried or start_width(items) <= self.cap:
            return False
        self.cap = float(start_width(items))
        self._next_epoch()
        return True

    @property
    def may_probe(self) -> bool:
        """Whether so many were accepted at the cap that a look above it is worth a refusal."""
        open_above = self.known and not self.probing and self.cap < self.top
        return open_above and self.borne >= PROBE_CALLS << 2 * self.probes

    def send(self, in_flight: int) -> tuple[int, int]:
        """Count a call that is sent; returns its epoch and its number in it."""
        if in_flight >= self.cap and not self.reached:
            if self.queued:
                # Those sent before found room: they say nothing of a queue at this width.
                self._next_epoch()
            self.reached = True
        self.sent += 1
        return self.epoch, self.sent

    def refused(self, cap: int) -> None:
        """Take ``cap`` for the limit: more in flight was refused."""
        if self.probing:
            self.probes = min(self.probes + 1, PROBES_MAX)
        self.borne = 0
        self.cap = max(1.0, min(float(cap), self.top))
        self.known, self.probing, self.untried = True, False, False
        self._next_epoch()

    def doubt(self, in_flight: int) -> None:
        """Hear that fewer in flight were refused too: unless told, the cap was a wrong guess."""
        if not self.known or self.top != math.inf:
            return
        self.shaken += 1
        if in_flight >= 0.8 * self.cap and self.shaken <= SHAKEN_MAX:
            self.cap = max(1.0, in_flight - 1.0)
            return
        self.known = self.settled = self.probing = False
        self.shaken, self.latency_before_s = 0, 0.0
        self.cap *= 2.0
        self._next_epoch()

    def probe(self) -> None:
        """Try a few more in flight."""
        self.probing = True
        self.cap = min(self.top, self.cap + max(1.0, self.cap * 0.05 // 1))
        self._next_epoch()

    def accepted(self, in_flight: int) -> None:
        """Hear that a call was accepted with so many in flight, itself included."""
        if in_flight > self.accepted_at:
            self.accepted_at = in_flight
        if in_flight >= self.cap:
            if self.probing:
                self.probing, self.probes, self.borne = False, 0, 0
            self.borne += 1
            self.calm += 1
            if self.calm >= 100:
                self.calm = self.shaken = 0

    def ended(self, place: tuple[int, int], latency_s: float) -> None:
        """Hear that a call ended well; widen, or find that widening gained nothing."""
        if self._counts(place):
            self.ended_calls += 1
            self.latency_sum_s += latency_s
        self._look(place)

    def gone(self, place: tuple[int, int]) -> None:
        """Hear that a call did not end well: its latency says nothing."""
        if self._counts(place):
            self.gone_calls += 1
        self._look(place)

    def _counts(self, place: tuple[int, int]) -> bool:
        return place[0] == self.epoch and place[1] <= self.sample

    def _look(self, place: tuple[int, int]) -> None:
        """End the epoch where enough of its calls have ended, or some of them never will.

        Calls of a process that was killed end nowhere.
        """
        epoch, number = place
        if self.known or epoch != self.epoch:
            return
        if self.ended_calls + self.gone_calls >= ENDED_SHARE * self.sample:
            if self.reached and self.ended_calls >= TOLD_SHARE * self.sample:
                self._judge(max(1e-6, self.latency_sum_s / self.ended_calls))
            self._next_epoch()
        elif number > LOST_AFTER * self.sample:
            self._next_epoch()

    def _judge(self, latency_s: float) -> None:
        gained = 2.0 * self.latency_before_s / latency_s if self.latency_before_s else math.inf
        self.untried = False
        if self._narrowed_in_vain(latency_s):
            return
        self.latency_best_s = min(self.latency_best_s, latency_s)
        if self.settled:
            self.patience += 1
            self.slow = self.slow + 1 if latency_s > QUEUED * self.latency_best_s else 0
            if self.slow >= SLOW_EPOCHS:
                # What is in flight beyond this stands in the server's queue.
                self.narrowed_from = (self.cap, latency_s)
                self.cap = max(1.0, math.ceil(self.cap * self.latency_best_s * MILD / latency_s))
            elif not self.slow and self.patience >= SETTLED_EPOCHS:
                # Servers change: look again, now and then.
                self.settled, self.patience, self.latency_before_s = False, 0, latency_s
                self._double()
        elif gained >= GAIN_MIN:
            self.latency_before_s, self.doubted = latency_s, False
            self._double()
        elif not self.doubted:
            # Latencies vary: one sample of slow calls by chance is no queue.
            self.doubted = True
        else:
            self.settled = self.queued = True
            self.doubted, self.narrowed_from = False, (self.cap, latency_s)
            self.cap = max(1.0, math.ceil(self.cap / 2.0 * (gained if gained > 1.1 else 1.0)))

    def _double(self) -> None:
        self.cap = min(self.top, self.cap * 2.0)

    def _narrowed_in_vain(self, latency_s: float) -> bool:
        """Take a narrowing back after which it is as slow: calls take that long, nobody queues."""
        if self.narrowed_from is None:
            return False
        (cap, slow_s), self.narrowed_from = self.narrowed_from, None
        # In a queue they would have become quicker as the width became less.
        queue_s = slow_s * math.sqrt(self.cap / cap)
        if latency_s <= max(STILL * self.latency_best_s, queue_s):
            return False
        self.cap = min(self.top, max(self.cap, cap))
        self.latency_best_s = self.latency_before_s = latency_s
        self.settled, self.slow = False, 0
        return True

    def _next_epoch(self) -> None:
        self.epoch += 1
        self.sent = self.ended_calls = self.gone_calls = 0
        self.latency_sum_s, self.reached = 0.0, False
