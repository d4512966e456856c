"""The gate of one process: per lane a pacer, a fair line of waiters, and one timer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from headrace.clock import Clock
from headrace.fairness import FairLine
from headrace.gate import PARK_S, Ask, LaneNow, PermitEnd, shut_for, shut_to
from headrace.gates.caps import Caps, Seat
from headrace.gates.leaving import fail_line, send_away
from headrace.learned import Remembered, mean_call_s, warm
from headrace.limits import Load
from headrace.outcome import Outcome
from headrace.pacing import Pacer, Ticket
from headrace.telemetry import log

LEAD_S, LEAD_S_MAX = 0.01, 0.1
"""How long before its moment a permit is handed out, so that the attempt is written by then."""
TICK_S = 1e-4
"""No timer is set for less."""


@dataclass(slots=True)
class _Waiter:
    load: Load
    future: asyncio.Future[Ticket]
    seat: Seat | None = None
    elsewhere: bool = False


@dataclass(slots=True)
class _Lane:
    """``movable``: somebody in line may be able to go elsewhere."""

    name: str
    pacer: Pacer
    call_s: float | None = None
    line: FairLine[_Waiter] = field(default_factory=FairLine)
    caps: Caps[_Waiter] = field(init=False)
    timer: asyncio.Task[None] | None = None
    timer_at_s: float = math.inf
    movable: bool = False

    def __post_init__(self) -> None:
        self.caps = Caps(self.line)


class LocalPermit:
    """The right to start one call now, of one lane of a ``LocalGate``."""

    __slots__ = ("_gate", "_lane", "_seat", "_ticket", "probe")

    def __init__(
        self, gate: LocalGate, lane: _Lane, ticket: Ticket, seat: Seat | None = None
    ) -> None:
        self._gate = gate
        self._seat = seat
        self._lane: _Lane | None = lane
        self._ticket = ticket
        self.probe = ticket.probe

    async def ready(self) -> None:
        """Wait for the moment that the permit is for."""
        if self._lane is not None:
            await self._gate._ready(self._lane, self._ticket)

    def end(
        self, how: PermitEnd, outcome: Outcome | None = None, call_s: float | None = None
    ) -> None:
        """Give the permit back; a second end raises ``RuntimeError``."""
        lane, self._lane = self._lane, None
        if lane is None:
            raise RuntimeError(
                f"this permit was ended twice (now with {how.value!r}): "
                "end it once, in one finally block"
            )
        lane.caps.end(self._seat)
        self._gate._ended(lane, self._ticket, how, outcome, call_s)


class LocalGate:
    """Hands out the permits of lanes in fair order, as their pacers allow.

    It belongs to one event loop.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._remembered: Mapping[str, Remembered] = {}
        self._lead_s = LEAD_S
        self._reopened = False

    def remember(self, learned: Mapping[str, Remembered]) -> None:
        """Take what lanes learned before this process; each begins near it."""
        self._remembered = learned

    async def start(self) -> None:
        """Nothing is to be started; for the sake of gates where something is."""

    async def _ready(self, lane: _Lane, ticket: Ticket) -> None:
        """Wait until a call's own moment; calls come late when writing ahead takes long."""
        early_s = ticket.sent_s - self._clock.monotonic_s()
        if ticket.lead_s > 0:
            took_s = ticket.lead_s - early_s
            self._lead_s += 0.05 * (min(LEAD_S_MAX, 1.5 * took_s) - self._lead_s)
            if took_s > self._lead_s:
                self._lead_s = min(LEAD_S_MAX, 1.2 * took_s)
        while early_s > TICK_S:  # timers of whole milliseconds wake too early
            await self._clock.sleep(early_s)
            early_s = ticket.sent_s - self._clock.monotonic_s()
        lane.pacer.left(ticket, self._clock.monotonic_s())

    async def acquire(self, ask: Ask) -> LocalPermit:
        """Wait in line for a permit; at once, without a future, when the lane is free.

        Raises ``LaneShutError`` for a lane that stays shut, ``ValueError`` for no width.
        """
        lane = self._lane(ask)
        if lane.pacer.width.advise(ask.items) and lane.line:
            self._admit(lane)
        now_s = self._clock.monotonic_s()
        ready = lane.line.ready
        seat = lane.caps.seat(ask)
        if lane.line.ready > ready:
            self._admit(lane)  # its cap was raised
        if not lane.line and (seat is None or not seat.is_full):
            wait_s = lane.pacer.wait_s(ask.load, now_s)
            if wait_s <= self._lead_s:
                ticket = lane.pacer.send(ask.load, now_s, wait_s)
                lane.caps.take(seat)
                return LocalPermit(self, lane, ticket, seat)
        if shut := shut_to(lane.name, lane.pacer, now_s, elsewhere=ask.elsewhere):
            raise shut
        return LocalPermit(self, lane, await self._wait(lane, ask, seat), seat)

    def lanes(self) -> list[LaneNow]:
        """Return how the lanes met so far are doing."""
        now_s = self._clock.monotonic_s()
        return [
            LaneNow(
                lane.name,
                lane.pacer,
                now_s,
                len(lane.line),
                lane.call_s,
                at_cap=len(lane.line) - lane.line.ready,
            )
            for lane in self._lanes.values()
        ]

    def in_flight(self, lane: str) -> int:
        """Return how many permits of ``lane`` are out."""
        return self._lanes[lane].pacer.in_flight if lane in self._lanes else 0

    def waiting(self, lane: str) -> int:
        """Return how many callers stand in line for ``lane``."""
        return len(self._lanes[lane].line) if lane in self._lanes else 0

    def reopen(self) -> None:
        """Let lanes that are shut for want of funds or of a key be tried at once."""
        self._reopened = True
        for lane in self._lanes.values():
            lane.pacer.reopen(self._clock.monotonic_s())
            self._admit(lane)

    def dismiss(self) -> None:
        """Send everybody in line away: their waiting is cancelled."""
        for lane in self._lanes.values():
            for waiter in lane.line.drain():
                waiter.future.cancel()

    async def close(self) -> None:
        """Send everybody in line away and stop; permits that are out may still be ended."""
        self.dismiss()
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()

    def _lane(self, ask: Ask) -> _Lane:
        lane = self._lanes.get(ask.lane)
        if lane is None:
            ask.check_width()
            now_s = self._clock.monotonic_s()
            lane = self._lanes[ask.lane] = _Lane(ask.lane, Pacer(ask.quota, now_s))
            before = self._remembered.get(ask.lane)
            if before is not None and ask.quota.learns:
                warm(lane.pacer, before.learned, now_s, before.age_s(self._clock.now()))
                lane.call_s = before.learned.call_s
                if self._reopened:
                    # A person has looked since that was written, before anybody asked here.
                    lane.pacer.reopen(now_s)
        return lane

    async def _wait(self, lane: _Lane, ask: Ask, seat: Seat | None) -> Ticket:
        future: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        waiter = _Waiter(ask.load, future, seat, ask.elsewhere)
        place = lane.line.push(waiter, ask.tenant_id, ask.class_name, ask.weight, ask.cost)
        lane.movable |= ask.elsewhere
        first = lane.line.peek()
        if lane.movable or (first is not None and first[1] is place):
            # Whoever stands in front is looked at already, when its time comes or a call ends.
            self._admit(lane)
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                # The permit was handed over in the same tick: it goes to the next in line.
                lane.caps.end(seat)
                self._ended(lane, future.result(), PermitEnd.IGNORED, None)
            elif place.waiting:
                lane.line.remove(place)
            raise

    def _ended(
        self,
        lane: _Lane,
        ticket: Ticket,
        how: PermitEnd,
        outcome: Outcome | None,
        call_s: float | None = None,
    ) -> None:
        now_s = self._clock.monotonic_s()
        lane.pacer.end(ticket, None if how is PermitEnd.IGNORED else outcome, now_s, call_s)
        if how is PermitEnd.SUCCESS:
            took_s = now_s - ticket.sent_s if call_s is None else call_s
            lane.call_s = mean_call_s(lane.call_s, took_s)
        if lane.line:
            self._admit(lane)

    def _admit(self, lane: _Lane) -> None:
        """Hand permits to those whose turn it is, then sleep until the next may go."""
        now_s = self._clock.monotonic_s()
        self._serve(lane, now_s)
        if lane.movable:
            lane.movable = not send_away(lane.line, lane.name, lane.pacer, now_s)

    def _serve(self, lane: _Lane, now_s: float) -> None:
        while (first := lane.line.peek()) is not None:
            waiter, place = first
            if waiter.future.done():
                lane.line.remove(place)
            elif (wait_s := lane.pacer.wait_s(waiter.load, now_s)) <= self._lead_s:
                lane.line.take(place)
                lane.caps.take(waiter.seat)
                waiter.future.set_result(lane.pacer.send(waiter.load, now_s, wait_s))
            elif (shut_s := lane.pacer.shut_s(now_s)) > PARK_S:
                lane.line.remove(place)
                waiter.future.set_exception(shut_for(lane.name, lane.pacer, now_s, shut_s))
            else:
                self._sleep(lane, now_s, max(TICK_S, wait_s - self._lead_s))
                return

    def _sleep(self, lane: _Lane, now_s: float, wait_s: float) -> None:
        """See to it that the line is looked at again after ``wait_s``."""
        if lane.timer is not None and lane.timer_at_s <= now_s + wait_s + 0.0005:
            return
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        if math.isfinite(wait_s):
            lane.timer_at_s = now_s + wait_s
            lane.timer = asyncio.get_running_loop().create_task(self._later(lane, wait_s))

    async def _later(self, lane: _Lane, wait_s: float) -> None:
        await self._clock.sleep(wait_s)
        lane.timer, lane.timer_at_s = None, math.inf
        try:
            self._admit(lane)
        except Exception as error:  # broad: a fault must reach those who wait, not hang them
            log(lane=lane.name).exception("gate_fault")
            fail_line(lane.line, error)
