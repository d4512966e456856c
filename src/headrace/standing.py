"""How a lane is doing: what binds it, how much of its limit is used, in figures for people."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import msgspec

from headrace.gate import LaneNow
from headrace.limits import Dimension

SPAN_S = 300.0
"""Shares are those of the last five minutes."""
BINDS_SHARE = 0.1
"""A limit binds when it held back at least this part of the calls since the last look."""


class LaneLive(msgspec.Struct, frozen=True):
    """A lane at a moment.

    ``binds``: requests, tokens, images, concurrency, circuit, shut, caps (of tenants), nothing.

    ``utilisation`` is what was sent by what the limit would have allowed, ``refused`` the
    share of refused calls, both of the last minutes and ``None`` where nobody can know;
    ``shut_s`` the seconds for which it takes nothing more, and ``why``.
    """

    by: str
    workers: int
    in_flight: int
    width: float
    waiting: int
    binds: str
    sent: int
    utilisation: float | None
    refused: float | None
    shut_s: float
    why: str
    credit: float
    call_s: float | None
    at_cap: int


class _Look(msgspec.Struct, frozen=True):
    at_s: float
    sent: int
    refused: int
    units: dict[Dimension, float]
    paces: dict[Dimension, float]
    filled: float
    bound: dict[str, int]


class Standing:
    """What is remembered of a lane from one look to the next, for five minutes."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()

    def look(self, lane: LaneNow, now_s: float) -> None:
        """Look at a lane at the steady time ``now_s``."""
        pacer = lane.pacer
        here = _Look(
            now_s,
            pacer.tally.sent,
            pacer.tally.refused,
            {name: rate.sent - rate.returned for name, rate in pacer.rates.items()},
            {name: rate.pace for name, rate in pacer.rates.items()},
            min(1.0, pacer.in_flight / pacer.width.cap),
            dict(pacer.tally.bound),
        )
        if self._looks and here.sent < self._looks[-1].sent:
            self._looks.clear()  # the lane was begun anew
        self._looks.append(here)
        while self._looks[0].at_s < now_s - SPAN_S:
            self._looks.popleft()

    def live(self, lane: LaneNow, by: str) -> dict[str, Any]:
        """Return how the lane is doing as of the last look."""
        pacer, first, last = lane.pacer, self._looks[0], self._looks[-1]
        sent = last.sent - first.sent
        shut_s = pacer.shut_s(lane.now_s)
        live = LaneLive(
            by=by,
            workers=lane.workers,
            in_flight=pacer.in_flight,
            width=pacer.circuit.width(pacer.width.cap),
            waiting=lane.waiting,
            binds=self._binds(lane, shut_s),
            sent=sent,
            utilisation=self._utilisation(pacer.width.known),
            refused=(last.refused - first.refused) / sent if sent else None,
            shut_s=shut_s,
            why=pacer.why_shut() if shut_s > 0 else "",
            credit=pacer.credit.left,
            call_s=lane.call_s,
            at_cap=lane.at_cap,
        )
        told: dict[str, Any] = msgspec.to_builtins(live)
        return told

    def _binds(self, lane: LaneNow, shut_s: float) -> str:
        if shut_s > 1.0:
            return "shut"
        if lane.pacer.circuit.is_open:
            return "circuit"
        last = self._looks[-1]
        before = self._looks[-2] if len(self._looks) > 1 else None
        sent = last.sent - (before.sent if before else 0)
        held = {
            name: count - (before.bound.get(name, 0) if before else 0)
            for name, count in last.bound.items()
        }
        most = max(held, key=lambda name: held[name], default="nothing")
        if held.get(most, 0) > BINDS_SHARE * max(1, sent):
            return most
        if 0 < lane.waiting == lane.at_cap:
            return "caps"
        full = lane.waiting > 0 and last.filled >= 1.0
        return Dimension.CONCURRENCY.value if full else "nothing"

    def _utilisation(self, width_known: bool) -> float | None:
        found = []
        for name in self._looks[-1].paces:
            allowed = units = 0.0
            for past, here in zip(self._looks, list(self._looks)[1:], strict=False):
                # A lane may have learned of this limit only later.
                pace = here.paces.get(name, math.inf)
                if math.isfinite(pace) and name in past.units and name in here.units:
                    allowed += pace * (here.at_s - past.at_s)
                    units += here.units[name] - past.units[name]
            if allowed > 0:
                found.append(units / allowed)
        if width_known:
            found.append(sum(look.filled for look in self._looks) / len(self._looks))
        return min(1.0, max(found)) if found else None
