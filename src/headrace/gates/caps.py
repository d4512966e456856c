"""Caps of tenants at a lane: how many calls each has in flight, and who is passed over for that."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from headrace.fairness import FairLine
from headrace.gate import Ask

FRESH_S = 3.0
"""A worker that waits at a cap looks each second; one not heard of for so long waits no more."""
_SLACK = 64
"""Seats of idle tenants that are kept before a sweep."""

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Seat:
    """A tenant with a cap, at one lane: ``most`` calls in flight, of which ``out`` are ours.

    ``elsewhere`` are those of other workers. ``since_s`` is since when somebody here waits and
    was not served, by the lane's clock; ``yields``: somebody waits longer at another worker.
    """

    tenant_id: str
    most: float
    key: int
    out: int = 0
    elsewhere: int = 0
    since_s: float | None = None
    yields: bool = False

    @property
    def is_full(self) -> bool:
        """Whether the tenant may have no more now."""
        return self.yields or self.out + self.elsewhere >= self.most


@dataclass(slots=True)
class MemberCaps:
    """What a worker tells the others of tenants with caps, by key: calls ``out``, and ``waits``.

    Those are since when somebody waits there at a cap, as of ``at_s``.
    """

    out: dict[int, int] = field(default_factory=dict)
    waits: dict[int, float] = field(default_factory=dict)
    at_s: float = -math.inf

    def pack(self) -> list[Any] | None:
        """Return it as plain values; ``None`` where nobody has a cap."""
        if not self.out and not self.waits:
            return None
        return [list(self.out.items()), list(self.waits.items()), self.at_s]


def unpack_caps(told: list[Any] | None) -> MemberCaps:
    """Return what ``pack`` has packed."""
    if told is None:
        return MemberCaps()
    out, waits, at_s = told
    return MemberCaps(dict(out), dict(waits), at_s)


class Caps(Generic[T]):
    """The seats of tenants with caps at a lane; those whose seats are full are held in line."""

    def __init__(self, line: FairLine[T]) -> None:
        self._line = line
        self._seats: dict[str, Seat] = {}
        self._sweep_at = _SLACK

    def __len__(self) -> int:
        return len(self._seats)

    def seat(self, ask: Ask) -> Seat | None:
        """Return the seat of who asks, as its plan is now; ``None`` where it has no cap."""
        seat = self._seats.get(ask.tenant_id)
        if seat is None:
            if ask.calls_max is None:
                return None
            if len(self._seats) >= self._sweep_at:
                self._forget()
            key = int.from_bytes(hashlib.blake2b(ask.tenant_id.encode(), digest_size=8).digest())
            seat = self._seats[ask.tenant_id] = Seat(ask.tenant_id, ask.calls_max, key)
        seat.most = math.inf if ask.calls_max is None else ask.calls_max
        self._settle(seat)
        return seat

    def take(self, seat: Seat | None) -> None:
        """Count a permit that is given."""
        if seat is not None:
            seat.out += 1
            seat.since_s = None
            self._settle(seat)

    def end(self, seat: Seat | None) -> None:
        """Count a permit's end."""
        if seat is not None:
            seat.out -= 1
            self._settle(seat)

    def _settle(self, seat: Seat) -> None:
        if seat.is_full:
            self._line.hold(seat.tenant_id)
        else:
            self._line.let_on(seat.tenant_id)

    def _forget(self) -> None:
        """Forget tenants that have nothing here: their next ask brings their cap along."""
        self._seats = {
            tenant_id: seat
            for tenant_id, seat in self._seats.items()
            if seat.out or self._line.len_of(tenant_id)
        }
        self._sweep_at = 2 * len(self._seats) + _SLACK

    # -- beside other workers --------------------------------------------------------------------

    def see(self, others: list[MemberCaps], now_s: float) -> None:
        """Hear what other workers have out and wait for: whoever waits longest goes first."""
        if not self._seats:
            return
        out: dict[int, int] = {}
        first: dict[int, float] = {}
        for one in others:
            for key, count in one.out.items():
                out[key] = out.get(key, 0) + count
            for key, since_s in one.waits.items() if now_s <= one.at_s + FRESH_S else ():
                first[key] = min(first.get(key, math.inf), since_s)
        for seat in self._seats.values():
            self._start_waiting(seat, now_s)
            seat.elsewhere = out.get(seat.key, 0)
            since_s = math.inf if seat.since_s is None else seat.since_s
            seat.yields = first.get(seat.key, math.inf) < since_s
            self._settle(seat)

    def _start_waiting(self, seat: Seat, now_s: float) -> None:
        if not self._line.len_of(seat.tenant_id):
            seat.since_s = None
        elif seat.since_s is None:
            seat.since_s = now_s

    def told(self, now_s: float) -> MemberCaps:
        """Return what other workers are to know, after permits were given."""
        told = MemberCaps(at_s=now_s)
        for seat in self._seats.values():
            self._start_waiting(seat, now_s)
            if seat.out:
                told.out[seat.key] = seat.out
            if seat.since_s is not None and seat.is_full:
                told.waits[seat.key] = seat.since_s
        return told

    def alone(self) -> None:
        """Hear that others cannot be seen: nobody is waited for; what they had out counts on."""
        for seat in self._seats.values():
            seat.yields = False
            self._settle(seat)


def frees(before: MemberCaps, told: MemberCaps, others: list[MemberCaps]) -> bool:
    """Tell whether a worker has left a place at a cap at which another waits."""
    left = [key for key, count in before.out.items() if told.out.get(key, 0) < count]
    return any(key in one.waits for key in left for one in others)
