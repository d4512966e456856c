"""What the workers of a lane share: its pacer, and how many permits each of them has out.

A pure state: whoever holds the lane's lock reads it, lets what happened since happen to
it, takes permits, and writes it back. Times are seconds of the lane's own clock, which
follows the database's and neither steps nor goes back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from headrace.gates.caps import MemberCaps, unpack_caps
from headrace.gates.packing import pack, pack_pacer, unpack, unpack_pacer
from headrace.gates.turns import AGAIN_S, PATIENCE_S, Wish, first_to_go, kept_s, wished
from headrace.learned import mean_call_s
from headrace.limits import Load, Quota
from headrace.outcome import Outcome
from headrace.pacing import Pacer, Ticket

CLOCK_SLACK_S, CLOCK_DRIFT = 1.0, 0.001
"""The database's clock may run ahead of a worker's by so much, and by this part of the time."""
GRACE_S_MIN, GRACE_S_MAX = 1.0, 120.0
"""How long permits of a worker that is gone stay out: its calls may still run there."""


@dataclass(slots=True)
class Member:
    """One worker of a lane: permits out, callers in line, and when it was last served.

    ``held``: it waits for a place in flight, and wants to be woken when there is one.
    ``gone_s`` is since when its session is known to be gone; ``wish`` what the first in its
    line was refused. ``caps`` are its calls of tenants that have a cap.
    """

    out: int = 0
    wants: int = 0
    held: bool = False
    probing: bool = False
    served_s: float = -math.inf
    gone_s: float | None = None
    wish: Wish | None = None
    caps: MemberCaps = field(default_factory=MemberCaps)


@dataclass(slots=True)
class SharedLane:
    """A lane as all its workers see it.

    ``ahead_s`` is the moment of the last permit given, which may lie ahead of now;
    ``shift_s`` what is added to the database's clock; ``settings`` whose quota it has.
    """

    pacer: Pacer
    settings: str = ""
    shift_s: float = 0.0
    at_s: float = 0.0
    ahead_s: float = 0.0
    call_s: float | None = None
    members: dict[int, Member] = field(default_factory=dict)

    # -- time --------------------------------------------------------------------------------

    def now(self, database_s: float, expected_s: float | None) -> float:
        """Return the lane's time when the database's clock shows ``database_s``.

        ``expected_s`` is what the asking worker's own steady clock makes of it. A clock
        that was set back, or far ahead, does not move the lane's time.
        """
        now_s = database_s + self.shift_s
        if expected_s is not None:
            now_s = min(now_s, expected_s)
        now_s = max(now_s, self.at_s)
        self.shift_s, self.at_s = now_s - database_s, now_s
        return now_s

    # -- what happened -------------------------------------------------------------------------

    def present(self, member_id: int, out: int) -> Member:
        """Return a worker's entry, told how many permits it really has out.

        Also after its entry was given back in its absence, or a state was lost.
        """
        member = self.members.setdefault(member_id, Member())
        self.pacer.in_flight += out - member.out
        member.out, member.gone_s = out, None
        return member

    def end(
        self,
        member: Member,
        ticket: Ticket,
        outcome: Outcome | None,
        now_s: float,
        call_s: float | None = None,
    ) -> None:
        """Hear how one of a worker's calls ended; ``None`` when it says nothing."""
        self.pacer.end(ticket, outcome, now_s, call_s)
        member.out -= 1
        if ticket.probe:
            member.probing = False

    def took(self, call_s: float) -> None:
        """Hear how long a call took."""
        self.call_s = mean_call_s(self.call_s, call_s)

    def missing(self, gone: set[int], now_s: float) -> None:
        """Hear whose sessions are gone; what they had is given back after a grace time."""
        grace_s = min(GRACE_S_MAX, max(GRACE_S_MIN, 2.0 * (self.call_s or 0.0)))
        for member_id, member in list(self.members.items()):
            if member_id not in gone:
                member.gone_s = None
            elif member.gone_s is None:
                member.gone_s, member.wants, member.held = now_s, 0, False
                member.wish = None
            elif now_s >= member.gone_s + grace_s:
                self._give_back(member_id, member)

    def _give_back(self, member_id: int, member: Member) -> None:
        del self.members[member_id]
        self.pacer.in_flight -= member.out
        if member.probing:
            self.pacer.circuit.ignored(True)

    def leave(self, member_id: int) -> None:
        """Forget what a worker wished that wants nothing, and the worker if nothing is out."""
        member = self.members.get(member_id)
        if member is None or member.wants:
            return
        member.wish = None
        if not member.out and not member.caps.waits:
            del self.members[member_id]

    # -- permits -------------------------------------------------------------------------------

    def give(self, member: Member, load: Load, now_s: float, until_s: float) -> Ticket | float:
        """Give a worker a permit for a moment up to ``until_s``, or the seconds until there is one.

        Permits follow each other in the order of their moments, each with its own.
        """
        from_s = max(now_s, self.ahead_s)
        kept_s = self._kept_s(member, load, now_s, from_s)
        wait_s = max(self.pacer.wait_s(load, from_s), kept_s)
        if kept_s > 0:
            wait_s = max(wait_s, until_s + AGAIN_S - from_s)
        if from_s + wait_s > until_s:
            wait_s += from_s - now_s
            member.wish = wished(member.wish, load, now_s, wait_s)
            return wait_s
        if not self._is_its_turn(member):
            return math.inf
        self.ahead_s = from_s + wait_s
        ticket = self.pacer.send(load, now_s, self.ahead_s - now_s)
        member.out += 1
        member.served_s, member.wish = now_s, None
        member.probing = member.probing or ticket.probe
        return ticket

    def _kept_s(self, member: Member, load: Load, now_s: float, from_s: float) -> float:
        """Return the seconds until a call takes no room of those whose turn it is; 0.0: now."""
        before_s = now_s - PATIENCE_S
        if member.wish is not None:
            before_s = min(before_s, member.wish.since_s)
        wishes = [
            one.wish for one in self.members.values() if one.wish is not None and one is not member
        ]
        if all(one.since_s >= before_s for one in wishes):
            return 0.0
        wishes = [one for one in wishes if not one.is_late(now_s)]
        sharing = self._sharing(member)
        return max(
            (
                kept_s(self.pacer, one, load, from_s)
                for one in first_to_go(wishes, load, before_s)
                if one.is_due(self.pacer, sharing, now_s)
            ),
            default=0.0,
        )

    def _sharing(self, member: Member) -> int:
        """Return how many workers use the lane now, one of them included in any case."""
        return sum(
            1
            for one in self.members.values()
            if one.out or one.wants or one.wish is not None or one is member
        )

    def _is_its_turn(self, member: Member) -> bool:
        """Tell whether a worker may take a place while others wait for one.

        Up to its share always; where places cannot be shared evenly, they go round.
        """
        held = [one for one in self.members.values() if one.held and one is not member]
        if not held:
            return True
        sharing = self._sharing(member)
        if member.out < self.width // sharing:
            return True
        first = all(member.served_s <= one.served_s for one in held)
        return first and member.out < math.ceil(self.width / sharing)

    @property
    def width(self) -> float:
        """Return how many calls may be in flight now."""
        return self.pacer.circuit.width(self.pacer.width.cap)

    @property
    def is_tight(self) -> bool:
        """Whether all places are taken, or somebody waits for one."""
        if self.pacer.in_flight >= self.width:
            return True
        return any(member.held for member in self.members.values())

    def call(self, member: Member) -> bool:
        """Tell whether others are to be woken because a place is free; each is woken once."""
        held = [one for one in self.members.values() if one.held and one is not member]
        if not held or self.pacer.in_flight >= self.width:
            return False
        for one in held:
            one.held = False
        return True


def settings_of(quota: Quota) -> str:
    """Return what tells quotas apart."""
    return repr(quota)


def pack_lane(lane: SharedLane) -> bytes:
    """Return a lane's state as bytes."""
    members = [
        [i, m.out, m.wants, m.held, m.probing, m.served_s, m.gone_s, _packed(m.wish), m.caps.pack()]
        for i, m in lane.members.items()
    ]
    rest = [lane.settings, lane.shift_s, lane.at_s, lane.ahead_s, lane.call_s]
    return pack(pack_pacer(lane.pacer), rest, members)


def unpack_lane(data: bytes, quota: Quota) -> SharedLane | None:
    """Return the lane; ``None`` when another release wrote it, or it is damaged."""
    found = unpack(data)
    if found is None:
        return None
    try:
        pacer, rest, members = found
        lane = SharedLane(unpack_pacer(pacer, quota), *rest)
        lane.members = {one[0]: _member(*one[1:]) for one in members}
    except (ValueError, TypeError, AttributeError, IndexError):
        return None
    return lane


def _packed(wish: Wish | None) -> list[float] | None:
    if wish is None:
        return None
    load = wish.load
    return [wish.since_s, wish.again_s, load.requests, load.tokens, load.images, load.tokens_in]


def _member(*told: Any) -> Member:
    """Return a worker's entry as it was packed."""
    *plain, wish, caps = told
    member = Member(*plain)
    member.caps = unpack_caps(caps)
    if wish is not None:
        since_s, again_s, *needs = wish
        member.wish = Wish(Load(*needs), since_s, again_s)
    return member
