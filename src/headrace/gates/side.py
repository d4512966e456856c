"""One worker's side of a shared lane: who stands in its line, what it has out, when it steps."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from headrace.fairness import FairLine
from headrace.gate import PARK_S, Ask, LaneNow, LaneShutError, shut_for, shut_to
from headrace.gates.caps import Caps, Seat, frees
from headrace.gates.drift import Drift, Lately
from headrace.gates.leaving import fail_line, send_away
from headrace.gates.shared import CLOCK_DRIFT, CLOCK_SLACK_S, SharedLane, settings_of, unpack_lane
from headrace.gates.turns import LOOK_S
from headrace.learned import Learned, learned_of, warm
from headrace.limits import Load, Quota
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer, Ticket

REPORT_S = 0.05
"""How long ends that are no refusals may wait for the next step."""
NUDGE_S = 0.02
"""After waking others for a place, a worker looks so soon whether they took it."""
ENDS_MAX = 10_000
CLOCK_LATE_S, CLOCK_DECAY = 0.25, 0.0002
"""Answers are on their way for less than this; clocks part by no more than this share."""
URGENT = (OutcomeKind.RATE_LIMITED, OutcomeKind.QUOTA_EXHAUSTED, OutcomeKind.AUTH)


@dataclass(frozen=True, slots=True)
class Given:
    """A permit: the moment that it is for and the one at which it was given, by this clock."""

    ticket: Ticket
    at_s: float
    given_s: float
    seat: Seat | None = None


@dataclass(slots=True)
class Waiter:
    """Somebody in line."""

    load: Load
    future: asyncio.Future[Given]
    elsewhere: bool = False
    seat: Seat | None = None


@dataclass(frozen=True, slots=True)
class End:
    """How a call ended; ``call_s`` is how long it took, where that says something."""

    ticket: Ticket
    outcome: Outcome | None
    call_s: float | None
    seat: Seat | None = None


@dataclass(frozen=True, slots=True)
class Ahead:
    """How far ahead permits are taken: to get ready, and further so that steps are few."""

    lead_s: float
    span_s: float


@dataclass(slots=True)
class LaneSide:
    """What one worker knows and wants of a lane. Times are its own clock's.

    ``out`` counts permits, those included whose ends are not reported yet; ``shared`` is
    the lane as it was last seen, at ``seen_s``; ``tight``: somebody waits for a place;
    ``movable``: somebody in line may be able to go elsewhere; ``items`` are those of the
    largest batch that has asked.
    """

    name: str
    quota: Quota
    line: FairLine[Waiter] = field(default_factory=FairLine)
    caps: Caps[Waiter] = field(init=False)
    ends: list[End] = field(default_factory=list)
    out: int = 0
    due_s: float = math.inf
    rests_until_s: float = -math.inf
    shared: SharedLane | None = None
    version: int = -1
    seen_s: float = -math.inf
    offset_s: float = 0.0
    tight: bool = False
    movable: bool = False
    items: int = 1
    reopened: int = 0
    gone: set[int] = field(default_factory=set)
    before: Learned | None = None
    before_age_s: float = 0.0
    share: Lately = field(default_factory=Lately)
    drift: Drift | None = None

    def __post_init__(self) -> None:
        self.caps = Caps(self.line)

    @property
    def running(self) -> int:
        """Return how many permits are out whose calls have not ended."""
        return self.out - len(self.ends)

    def due(self, at_s: float) -> None:
        """See to it that the lane is stepped at ``at_s`` or before."""
        self.due_s = min(self.due_s, at_s)

    def asked_by(self, items: int) -> bool:
        """Hear how large a batch asks; tells whether a lane at its start is wider by it."""
        if items <= self.items:
            return False
        self.items = items
        return self.shared is not None and self.shared.pacer.width.untried

    def sit(self, ask: Ask) -> tuple[Seat | None, bool]:
        """Return the seat of who comes to stand in line, and whether a step is wanted for it."""
        ready = self.line.ready
        seat = self.caps.seat(ask)
        if not self.line or self.line.ready > ready:  # it is the first, or its cap was raised
            return seat, True
        return seat, ready == 0 and (seat is None or not seat.is_full)

    def ended(self, end: End, now_s: float) -> bool:
        """Take note of an end; tells whether the next step has become due earlier."""
        if len(self.ends) >= ENDS_MAX:
            del self.ends[0]
            self.out -= 1
        self.ends.append(end)
        self.caps.end(end.seat)
        before_s = self.due_s
        bad = end.outcome is not None and end.outcome.kind in URGENT
        urgent = bad or self.tight or self._is_wanted(end.seat)
        self.due(now_s if urgent else now_s + REPORT_S)
        if self.drift is not None and end.outcome is not None and bad:
            self.drift.pause(now_s + (end.outcome.wait_s or 1.0))
        return self.due_s < before_s

    def shut_to(self, now_s: float, *, elsewhere: bool) -> LaneShutError | None:
        """Return why nobody should stand in line; ``None`` also where that is old news."""
        if self.shared is None or now_s > self.seen_s + LOOK_S:
            return None
        return shut_to(self.name, self.shared.pacer, now_s + self.offset_s, elsewhere=elsewhere)

    def now(self, now_s: float) -> LaneNow | None:
        """Return how the lane is doing, as it was last seen."""
        if self.shared is None:
            return None
        workers = sum(1 for member in self.shared.members.values() if member.out)
        at_s, waiting = now_s + self.offset_s, len(self.line)
        return LaneNow(
            self.name, self.shared.pacer, at_s, waiting, self.shared.call_s, max(1, workers),
            waiting - self.line.ready,
        )  # fmt: skip

    def _is_wanted(self, seat: Seat | None) -> bool:
        """Tell whether somebody waits, at a cap, for a place that has become free."""
        if seat is None or self.shared is None:
            return False
        others = self.shared.members.values()
        return self.line.len_of(seat.tenant_id) > 0 or any(
            seat.key in one.caps.waits for one in others
        )

    # -- a step --------------------------------------------------------------------------------

    def read(self, version: int, state: bytes, database_s: float, here_s: float) -> SharedLane:
        """Return the lane at this moment: as seen before, as others wrote it, or begun anew."""
        first = self.shared is None
        shared = self.shared if self.version == version else None
        if shared is None and state:
            shared = unpack_lane(state, self.quota)
        if shared is None:
            shared = self._begun(database_s)
        elif first and shared.settings != settings_of(self.quota):
            self._settle(shared)
        expected_s = None
        if not first:
            slack_s = CLOCK_SLACK_S + CLOCK_DRIFT * (here_s - self.seen_s)
            expected_s = here_s + self.offset_s + slack_s
        self._set_clock(shared.now(database_s, expected_s) - here_s, here_s, first)
        self.seen_s, self.version, self.shared = here_s, -1, shared
        return shared

    def _set_clock(self, offset_s: float, here_s: float, first: bool) -> None:
        """Take the lane's time less ours, as the answer that was on its way for least shows it."""
        before_s = self.offset_s - CLOCK_DECAY * (here_s - self.seen_s)
        late_s = before_s - offset_s
        self.offset_s = before_s if not first and 0 < late_s < CLOCK_LATE_S else offset_s

    def _begun(self, database_s: float) -> SharedLane:
        # Where the state was lost or forgotten while we look, nothing may go back in time.
        at_s = 0.0 if self.shared is None else self.shared.at_s
        pacer = Pacer(self.quota, at_s)
        shared = SharedLane(pacer, settings_of(self.quota), at_s - database_s, at_s, at_s)
        before, self.before = self.before, None
        if before is not None:
            warm(pacer, before, at_s, self.before_age_s)
            shared.call_s = before.call_s
        return shared

    def _settle(self, shared: SharedLane) -> None:
        """Take over a lane under changed settings: what was learned stays, what was told goes."""
        before = learned_of(shared.pacer, shared.at_s, shared.call_s)
        shared.pacer, shared.settings = Pacer(self.quota, shared.at_s), settings_of(self.quota)
        warm(shared.pacer, before, shared.at_s)
        shared.pacer.in_flight = sum(member.out for member in shared.members.values())

    def let_happen(
        self, shared: SharedLane, member_id: int, ends: list[End], ahead: Ahead
    ) -> tuple[bool, list[tuple[Waiter, Given]]]:
        """Let what was heard happen, and take permits; tells whether others are to be woken."""
        now_s = shared.at_s
        member = shared.present(member_id, self.out)
        for end in ends:
            shared.end(member, end.ticket, end.outcome, now_s, end.call_s)
            if end.call_s is not None:
                shared.took(end.call_s)
        shared.missing(self.gone - {member_id}, now_s)
        shared.pacer.width.advise(self.items)
        given: list[tuple[Waiter, Given]] = []

        def ask(waiter: Waiter) -> Given | float:
            until_s = now_s + ahead.lead_s + ahead.span_s
            found = shared.give(member, waiter.load, now_s, until_s)
            if isinstance(found, float):
                return found
            at_s = found.sent_s - self.offset_s
            return Given(found, at_s, now_s - self.offset_s, waiter.seat)

        others = [one.caps for one in shared.members.values() if one is not member]
        self.caps.see(others, now_s)
        wait_s = self._serve(shared, ask, given)
        if self.movable:
            self.movable = not send_away(self.line, self.name, shared.pacer, now_s)
        member.wants = self.line.ready
        member.held = self.line.ready > 0 and math.isinf(wait_s)
        before, member.caps = member.caps, self.caps.told(now_s)
        wake = shared.call(member) or frees(before, member.caps, others)
        self.tight = shared.is_tight
        if self.line:
            look_s = NUDGE_S if wake else LOOK_S
            self.due(now_s - self.offset_s + min(look_s, max(0.0, wait_s - ahead.lead_s)))
        shared.leave(member_id)
        return wake, given

    def _serve(
        self,
        shared: SharedLane,
        ask: Callable[[Waiter], Given | float],
        given: list[tuple[Waiter, Given]],
    ) -> float:
        """Let those in line go whose turn it is; return the seconds until the next may."""
        shut_s = shared.pacer.shut_s(shared.at_s)
        while (first := self.line.peek()) is not None:
            waiter, place = first
            if waiter.future.done():
                self.line.remove(place)
            elif shut_s > PARK_S:
                self.line.remove(place)
                why = shut_for(self.name, shared.pacer, shared.at_s, shut_s)
                waiter.future.set_exception(why)
            else:
                found = ask(waiter)
                if isinstance(found, float):
                    return found
                self.line.take(place)
                self.caps.take(waiter.seat)
                given.append((waiter, found))
        return math.inf

    def keep(self, version: int, reported: int) -> None:
        """Hear that the step was written."""
        self.version = version
        del self.ends[:reported]
        self.out -= reported

    def hand_out(self, given: list[tuple[Waiter, Given]], now_s: float) -> None:
        """Give permits to those for whom they were taken."""
        for waiter, one in given:
            self.out += 1
            self.share.note(now_s, self.running)
            if waiter.future.done():
                self.ended(End(one.ticket, None, None, one.seat), now_s)
            else:
                waiter.future.set_result(one)

    # -- without the others --------------------------------------------------------------------

    def lose(self, now_s: float) -> Drift:
        """Hear that the database is away: go on with half of what was ours, if there was any."""
        if self.drift is None:
            self.drift = self.share.drift(now_s, self.running)
            self.caps.alone()
            if self.shared is not None:
                at_s = now_s + self.offset_s
                self.before = learned_of(self.shared.pacer, at_s, self.shared.call_s)
                self.before_age_s = 0.0
            self.version = -1
        return self.drift

    def found(self, now_s: float) -> None:
        """Hear that the database is back."""
        self.drift = None
        if self.line or self.ends or self.out:
            self.due(now_s)

    def go_on(self, now_s: float) -> float:
        """Let those go whom half a share allows; return when to look again."""
        drift = self.drift or self.lose(now_s)
        again_s = math.inf
        while (first := self.line.peek()) is not None:
            waiter, place = first
            if waiter.future.done():
                self.line.remove(place)
                continue
            wait_s = drift.wait_s(self.running, now_s)
            if wait_s is None or wait_s > 0 or self._is_shut(now_s):
                again_s = now_s + (LOOK_S if wait_s is None else max(wait_s, 0.001))
                break
            self.line.take(place)
            self.caps.take(waiter.seat)
            drift.send(now_s)
            ticket = Ticket(now_s + self.offset_s, waiter.load, self.running + 1, ())
            given = [(waiter, Given(ticket, now_s, now_s, waiter.seat))]
            self.hand_out(given, now_s)
        return again_s

    def _is_shut(self, now_s: float) -> bool:
        return self.shared is not None and self.shared.pacer.shut_s(now_s + self.offset_s) > 0

    # -- the end -------------------------------------------------------------------------------

    def fail(self, error: Exception) -> None:
        """Let everybody in line fail with ``error``."""
        self.version = -1
        fail_line(self.line, error)

    def cancel(self) -> None:
        """Cancel everybody in line."""
        for waiter in self.line.drain():
            waiter.future.cancel()
