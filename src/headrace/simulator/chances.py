"""What is drawn by lot, from the seed and the number of the call: latency, faults, places."""

from __future__ import annotations

import heapq
import math
from statistics import NormalDist

from headrace.simulator.rules import chance
from headrace.simulator.settings import FaultSettings, LatencySettings, Settings

_NORMAL = NormalDist()
_FOR_LATENCY, _FOR_FAULTS = 0x51, 0xFA


def latency_s(settings: Settings, number: int) -> float:
    """Return how long the call with this number (from 0) is worked on."""
    terms: LatencySettings = settings.latency
    took_s = terms.median_s
    if terms.sigma:
        share = chance(settings.seed * 257 + _FOR_LATENCY, number)
        took_s *= math.exp(terms.sigma * _NORMAL.inv_cdf(min(max(share, 1e-9), 1.0 - 1e-9)))
    return took_s + terms.cold_s if number < terms.cold_calls else took_s


def fault_of(settings: Settings, number: int, now_s: float) -> FaultSettings | None:
    """Return how the call with this number goes wrong, ``None`` when it does not.

    Outages are apart: see ``outage_until_s``.
    """
    if not settings.faults:
        return None
    share = chance(settings.seed * 257 + _FOR_FAULTS, number)
    for fault in settings.faults:
        if fault.kind == "outage" or not fault.from_s <= now_s < fault.until_s:
            continue
        if share <= fault.share:
            return fault
        share -= fault.share
    return None


def outage_until_s(settings: Settings, now_s: float) -> float:
    """Return when the outage of this moment ends; ``now_s`` itself when there is none."""
    for fault in settings.faults:
        if fault.kind == "outage" and fault.from_s <= now_s < fault.until_s:
            return outage_until_s(settings, fault.until_s)
    return now_s


class Places:
    """A server that works on ``slots`` calls at once and lets the others stand in line.

    Without slots nobody waits. All by arithmetic: it tells when each call will end.
    """

    def __init__(self, slots: int | None, queue_max: int | None = None) -> None:
        self._slots = slots
        self._queue_max = math.inf if queue_max is None else queue_max
        self._ends_s: list[float] = []
        self._starts_s: list[float] = []

    def enter(self, now_s: float, work_s: float) -> tuple[float, float] | None:
        """Return when a call that comes now starts and ends; ``None`` when the line is full."""
        if self._slots is None:
            return now_s, now_s + work_s
        start_s = now_s
        while self._starts_s and self._starts_s[0] <= now_s:
            heapq.heappop(self._starts_s)
        if len(self._ends_s) >= self._slots:
            start_s = max(now_s, self._ends_s[0])
            if start_s > now_s and len(self._starts_s) >= self._queue_max:
                return None
            heapq.heappop(self._ends_s)
        if start_s > now_s:
            heapq.heappush(self._starts_s, start_s)
        heapq.heappush(self._ends_s, start_s + work_s)
        return start_s, start_s + work_s
