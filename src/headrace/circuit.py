"""When a provider itself is in trouble: fewer calls at once, or one probe at a time.

Server errors and overload say nothing about a quota, so they never reach the pace of a
lane; they narrow it, or open the circuit, and one success lets the lane widen again. Errors
that stay as many when the lane is narrow do not come from its width: it may widen all the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

TRIPS_AT = 10
"""Failures in a row, without one success, that open the circuit."""
PROBE_S_MIN, PROBE_S_MAX = 0.5, 5.0
"""The waits between probes: doubling from the first to the last."""
SAMPLE = 50
SHARE_MAX = 0.02
NARROWEST = 0.25
USUAL_MAX, USUAL_UP, USUAL_DOWN = 0.15, 0.5, 0.1
"""A share of failures that stays when the lane is at its narrowest is not of its making: up to so
much of it is usual. Each sample moves what is usual by such a part towards its own share."""
OVER_USUAL = 2.0


@dataclass(slots=True)
class Circuit:
    """Counts how calls end; narrows a lane over 2 % of failures, shuts it at an outage."""

    in_row: int = 0
    sampled: int = 0
    failed_in_sample: int = 0
    factor: float = 1.0
    usual: float = 0.0
    all_narrow: bool = False
    open_until_s: float = -math.inf
    is_open: bool = False
    probes: int = 0
    probing: bool = False
    ramp: float = math.inf

    def width(self, cap: float) -> float:
        """Return how many calls may be in flight where ``cap`` would be allowed."""
        return max(1.0, min(cap * self.factor, self.ramp))

    def wait_s(self, now_s: float) -> float:
        """Return how long to hold back: 0.0 when closed, ``inf`` while a probe is out."""
        if not self.is_open:
            return 0.0
        return math.inf if self.probing else max(0.0, self.open_until_s - now_s)

    def why_open(self) -> str:
        """Return what people are told about a lane that is held back."""
        if self.in_row:
            calls = "call" if self.in_row == 1 else f"{self.in_row} calls"
            return f"its last {calls} failed"
        return "one call looks whether it works again"

    def sent(self) -> bool:
        """Hear that a call was sent; tells whether it is a probe."""
        if self.is_open:
            self.probing = True
        return self.is_open

    def succeeded(self) -> None:
        """Hear of a success: it closes the circuit, and the lane widens with each one."""
        self.in_row = 0
        if self.is_open:
            self.is_open, self.probing, self.probes, self.ramp = False, False, 0, 2.0
        elif self.ramp < math.inf:
            self.ramp += 1.0
            if self.ramp > 4096:
                self.ramp = math.inf
        self._sample(0)

    def failed(self, probe: bool, now_s: float, in_flight: int, wait_s: float | None) -> None:
        """Hear of a failure that is the provider's."""
        self.in_row += 1
        self._sample(1)
        if self.is_open:
            if probe:
                self.probing = False
                self._hold(now_s, wait_s)
        elif self.in_row >= TRIPS_AT or wait_s is not None:
            self.is_open = self.in_row >= TRIPS_AT or in_flight == 0
            if self.is_open:
                self._hold(now_s, wait_s)

    def shut(self, until_s: float) -> None:
        """Open the circuit until then; afterwards one call looks whether it may close."""
        self.is_open, self.probing = True, False
        self.open_until_s = max(self.open_until_s, until_s)

    def ignored(self, probe: bool) -> None:
        """Hear that a call ended without saying anything."""
        if probe:
            self.probing = False

    def _hold(self, now_s: float, wait_s: float | None) -> None:
        hold_s = min(PROBE_S_MAX, PROBE_S_MIN * 2.0**self.probes)
        self.probes = min(self.probes + 1, 16)
        self.open_until_s = now_s + max(hold_s, min(wait_s or 0.0, 60.0))

    @property
    def share_max(self) -> float:
        """Return the share of failures over which the lane narrows."""
        return max(SHARE_MAX, OVER_USUAL * self.usual)

    def _sample(self, failed: int) -> None:
        self.sampled += 1
        self.failed_in_sample += failed
        most = int(SAMPLE * self.share_max)
        if failed and self.failed_in_sample == most + 1:
            # One more than the share allows: at once, not at the sample's end.
            self.factor = max(NARROWEST, self.factor * 0.8)
        if self.sampled >= SAMPLE:
            share = self.failed_in_sample / SAMPLE
            if share < self.usual:
                self.usual += USUAL_DOWN * (share - self.usual)
            elif self.all_narrow:
                self.usual += USUAL_UP * (min(USUAL_MAX, share) - self.usual)
            if self.failed_in_sample <= most:
                self.factor = min(1.0, self.factor * 1.5)
            self.sampled = self.failed_in_sample = 0
            self.all_narrow = self.factor <= NARROWEST
