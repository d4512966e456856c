"""How many calls in flight a lane bears: learned from refusals, and without any from latency."""

from __future__ import annotations

import math
from dataclasses import dataclass

GAIN_MIN = 1.2
"""Twice the width must give at least this much throughput, or the server was full before."""
EPOCH_ENDS_MIN = 6


@dataclass(slots=True)
class Width:
    """The cap of calls in flight and how it is found.

    ``cap`` holds now. ``known``: a refusal showed it. ``accepted_at`` is the most that
    were in flight when a call was accepted. Epochs compare throughput before and after
    the cap was doubled: where nothing is gained, the server is full, and more in flight
    would only stand in its queue.
    """

    cap: float
    top: float = math.inf
    known: bool = False
    settled: bool = False
    accepted_at: int = 0
    probing: bool = False
    epoch_from_s: float = 0.0
    epoch_ends: int = 0
    epoch_first_s: float = -1.0
    throughput: float = 0.0
    before: float = 0.0
    bound: int = 0
    patience: int = 0
    shaken: int = 0
    calm: int = 0

    def pin(self, cap: float) -> None:
        """Take a cap that somebody told; it is never exceeded."""
        self.cap = self.top = cap
        self.known = self.settled = True

    def refused(self, cap: int, now_s: float) -> None:
        """Take ``cap`` for the limit: more in flight was refused."""
        self.cap = max(1.0, min(float(cap), self.top))
        self.known, self.probing = True, False
        self._epoch(now_s)

    def doubt(self, in_flight: int, now_s: float) -> None:
        """Hear that fewer in flight were refused too: unless told, the cap was a wrong guess."""
        self.shaken += 1
        if self.known and in_flight >= 0.8 * self.cap and self.shaken <= 3:
            self.cap = max(1.0, in_flight - 1.0)
        elif self.known and self.top == math.inf:
            self.known = self.settled = self.probing = False
            self.shaken = 0
            self.before = 0.0
            self.cap *= 2.0
            self._epoch(now_s)

    def probe(self, now_s: float) -> None:
        """Try one more in flight."""
        self.probing = True
        self.cap = min(self.top, self.cap + max(1.0, self.cap * 0.05 // 1))
        self._epoch(now_s)

    def accepted(self, in_flight: int) -> None:
        """Hear that a call was accepted with so many in flight, itself included."""
        if in_flight > self.accepted_at:
            self.accepted_at = in_flight
        if in_flight >= self.cap:
            self.probing = False
            self.calm += 1
            if self.calm >= 100:
                self.calm = self.shaken = 0

    def ended(self, sent_s: float, now_s: float, bound: bool) -> None:
        """Hear that a call ended well; widen, or find that widening gained nothing.

        ``bound``: the cap held calls back. Only calls sent in this epoch count.
        """
        if self.known or sent_s < self.epoch_from_s:
            return
        if self.epoch_first_s < 0:
            self.epoch_first_s, self.epoch_ends, self.bound = now_s, 0, 0
        self.epoch_ends += 1
        self.bound += bound
        if self.epoch_ends < max(EPOCH_ENDS_MIN, self.cap):
            return
        if self.bound * 2 < self.epoch_ends:
            self._epoch(now_s)
            return
        took_s = now_s - self.epoch_first_s
        self.throughput = (self.epoch_ends - 1) / took_s if took_s > 0 else math.inf
        self._judge(now_s)

    def _judge(self, now_s: float) -> None:
        gained = math.inf if self.before <= 0 else self.throughput / self.before
        if self.settled:
            self.patience += 1
            if self.patience >= 20:
                # Servers change: look again, now and then.
                self.settled, self.patience, self.before = False, 0, self.throughput
                self._widen(1.5)
        elif gained >= GAIN_MIN:
            self.before = self.throughput
            self._widen(2.0)
        else:
            self.settled = True
            self.cap = max(1.0, math.ceil(self.cap / 2 * max(1.0, gained) * 1.1))
        self._epoch(now_s)

    def _widen(self, factor: float) -> None:
        self.cap = min(self.top, math.ceil(self.cap * factor))

    def _epoch(self, now_s: float) -> None:
        self.epoch_from_s, self.epoch_ends, self.epoch_first_s, self.bound = now_s, 0, -1.0, 0
