"""The lane of the simulated provider: lets calls in or turns them away, and writes both down."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from headrace.clock import Clock
from headrace.limits import Dimension, Load
from headrace.simulator.chances import Places, fault_of, outage_until_s
from headrace.simulator.makespan import Snapshot, Work, ideal_from, work_s
from headrace.simulator.rules import Admitted, Refused
from headrace.simulator.settings import STRAY, FaultSettings, Settings
from headrace.simulator.terms import Standing, lane_rules, standing
from headrace.simulator.truth import Entry, Truth

JOB_SLOTS = 8


@dataclass(frozen=True, slots=True)
class Ask:
    """A call that has come: what it takes, who it is (``key``), what it will really use.

    A ``job`` goes into the provider's queue and is never refused for concurrency.
    ``is_keyed``: the key is one that the client sent to be recognised by; ``digest`` is of
    what it sent under it.
    """

    shape: str
    model: str
    load: Load
    key: str
    tokens_used: int | None = None
    job: bool = False
    is_keyed: bool = False
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Turned:
    """A call that was turned away: ``verdict`` as in the log, ``refused`` when by a limit.

    ``standing`` is where that limit stood.
    """

    ask: Ask
    verdict: str
    at_s: float
    in_flight: int
    refused: Refused | None = None
    standing: Standing | None = None

    @property
    def is_stray(self) -> bool:
        """Whether it was refused, and by no limit."""
        return self.verdict == "refused" and self.refused is None


@dataclass(slots=True, eq=False)
class Ticket:
    """A call that was let in: when its work starts and ends, and how it goes wrong."""

    ask: Ask
    number: int
    at_s: float
    start_s: float
    end_s: float
    fault: FaultSettings | None
    admitted: Admitted
    in_flight: int


class Lane:
    """Limits, faults, latency and log of one scenario; its time starts at the first call."""

    def __init__(self, settings: Settings, clock: Clock, truth: Truth) -> None:
        self.settings, self.truth, self._clock = settings, truth, clock
        self.rules = lane_rules(settings)
        self._fresh = self.rules.copy()
        self._start_s: float | None = None
        self._number = self._paid = 0
        self._open: dict[int, Ticket] = {}
        terms = settings.latency
        self._places = Places(terms.slots, terms.queue_max)
        self._job_places = Places(terms.slots or self._concurrency())
        self.snapshots: list[Snapshot] = []
        self._to_keep_s = sorted(settings.snapshots_s, reverse=True)

    @property
    def in_flight(self) -> int:
        """Return how many calls are being worked on."""
        return len(self._open)

    def now_s(self) -> float:
        """Return the time of the scenario: 0.0 at the first question."""
        now_s = self._clock.monotonic_s()
        if self._start_s is None:
            self._start_s = now_s
        return now_s - self._start_s

    def enter(self, ask: Ask) -> Ticket | Turned:
        """Let a call in or turn it away; what was let in must ``leave``."""
        now_s = self.now_s()
        self._keep_snapshots(now_s)
        if outage_until_s(self.settings, now_s) > now_s:
            return Turned(ask, "outage", now_s, self.in_flight)
        budget = self.settings.budget_calls
        if budget is not None and self._paid >= budget:
            return Turned(ask, "spent", now_s, self.in_flight)
        number, fault = self._number, fault_of(self.settings, self._number, now_s)
        if fault is not None and fault.kind == "reset_before":
            self._number += 1
            return Turned(ask, "reset", now_s, self.in_flight)
        if fault is not None and fault.kind == STRAY:
            self._number += 1
            return Turned(ask, "refused", now_s, self.in_flight)
        verdict = self.rules.admit(ask.load, now_s, holds=not ask.job)
        if isinstance(verdict, Refused):
            limit = standing(self.rules.rules[verdict.number].limiter, now_s)
            return Turned(ask, "refused", now_s, self.in_flight, self._told(verdict), limit)
        places = self._job_places if ask.job else self._places
        placed = places.enter(now_s, work_s(self.settings, number, fault))
        if placed is None:
            self.rules.finish(verdict, now_s, 0)
            return Turned(ask, "queue_full", now_s, self.in_flight)
        self._number += 1
        ticket = Ticket(ask, number, now_s, *placed, fault, verdict, self.in_flight)
        self._open[number] = ticket
        return ticket

    def leave(self, ticket: Ticket, status: int, *, paid: bool, delivered: bool) -> None:
        """Write down the end of a call that was let in; frees its place."""
        now_s = self.now_s()
        self._keep_snapshots(now_s)
        if self._open.get(ticket.number) is ticket:
            del self._open[ticket.number]
        self.rules.finish(ticket.admitted, now_s, ticket.ask.tokens_used if paid else 0)
        self._paid += paid
        fault = "" if ticket.fault is None else ticket.fault.kind
        entry = self._entry(ticket.ask, "admitted", ticket.at_s, status, ticket.in_flight)
        self.truth.note(entry._replace(paid=paid, delivered=delivered), fault)

    def turn(self, turned: Turned, status: int) -> None:
        """Write down a call that was turned away."""
        entry = self._entry(turned.ask, turned.verdict, turned.at_s, status, turned.in_flight)
        if turned.refused is not None:
            limit = turned.refused
            entry = entry._replace(dimension=limit.dimension.value, limiter=limit.kind)
        faults = {"outage": "outage", "reset": "reset_before"}
        fault = STRAY if turned.is_stray else faults.get(turned.verdict, "")
        self.truth.note(entry, fault)

    def replay(self, ask: Ask, status: int, at_s: float) -> None:
        """Write down a call that was answered from an earlier one with the same key."""
        entry = self._entry(ask, "replayed", at_s, status, self.in_flight)
        self.truth.note(entry._replace(delivered=0 < status < 400))

    def standings(self, now_s: float) -> dict[Dimension, Standing]:
        """Return where the first limit of each dimension stands, a day's last."""
        self.rules.advance(now_s)
        found: dict[Dimension, Standing] = {}
        for rule in sorted(self.rules.rules, key=lambda rule: rule.limiter.kind == "day"):
            if rule.dimension not in found:
                found[rule.dimension] = standing(rule.limiter, now_s)
        return found

    def works(self, since_s: float = 0.0) -> list[Work]:
        """Return the items that were delivered and let in at ``since_s`` or later, in order."""
        found = [
            entry
            for entry in self.truth.calls
            if entry.delivered and entry.verdict == "admitted" and entry.arrived_s >= since_s
        ]
        found.sort(key=lambda entry: entry.arrived_s)
        return [Work(Load(one.requests, one.tokens, one.images), one.tokens_used) for one in found]

    def ideal_s(self, works: list[Work]) -> float:
        """Return the ideal makespan of the items, from fresh rules."""
        return ideal_from(self.settings, works, Snapshot(0.0, self._fresh))

    def ideal_after_s(self, at_s: float, works: list[Work] | None = None) -> float | None:
        """Return the ideal time for what was left at a snapshot; ``None`` without one then."""
        for snapshot in self.snapshots:
            if abs(snapshot.at_s - at_s) < 1e-6:
                left = self.works(at_s) if works is None else works
                return ideal_from(self.settings, left, snapshot)
        return None

    def _entry(self, ask: Ask, verdict: str, at_s: float, status: int, in_flight: int) -> Entry:
        load = ask.load
        return Entry(
            at_s, ask.shape, ask.model, load.requests, load.tokens, load.images, verdict, "", "",
            self.now_s(), status, ask.key, False, False, in_flight, ask.tokens_used,
        )  # fmt: skip

    def _told(self, refused: Refused) -> Refused:
        """Return the refusal with the wait that is told where no time alone helps."""
        if refused.dimension is Dimension.CONCURRENCY:
            return replace(refused, wait_s=self.settings.busy_wait_s)
        return refused

    def _keep_snapshots(self, now_s: float) -> None:
        while self._to_keep_s and now_s >= self._to_keep_s[-1]:
            at_s = self._to_keep_s.pop()
            self.rules.advance(at_s)
            busy = [(max(one.end_s, at_s), one.admitted) for one in self._open.values()]
            self.snapshots.append(Snapshot(at_s, self.rules.copy(), self._number, busy))

    def _concurrency(self) -> int:
        held = [one.amount for one in self.settings.limits if one.dimension == "concurrency"]
        return math.floor(min(held)) if held else JOB_SLOTS
