"""The gate contract: a permit is the right to start one call now, ended exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from headrace.circuit import PROBE_S_MAX
from headrace.limits import ONE_CALL, Load, Quota
from headrace.outcome import STORE_AWAY, Outcome, OutcomeKind
from headrace.pacing import Pacer


class PermitEnd(StrEnum):
    """The three ways in which a permit ends."""

    SUCCESS = "success"
    IGNORED = "ignored"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Ask:
    """Who asks for a permit, of which lane, for how much.

    ``cost`` (micro-credits, at least 1) is what the tenant's turn is charged with;
    ``weight`` is its plan's. Who can go ``elsewhere`` does not stand in line at a lane whose
    provider is out of funds, key or order. ``items`` is the size of its batch.
    ``calls_max`` is how many calls its tenant may have in flight in the lane, ``None``: any.
    """

    lane: str
    quota: Quota
    load: Load = ONE_CALL
    tenant_id: str = "default"
    class_name: str = "batch"
    weight: int = 1
    cost: int = 1
    elsewhere: bool = False
    items: int = 1
    calls_max: int | None = None

    def check_width(self) -> None:
        """Raise ``ValueError`` for a lane that no call could ever pass."""
        width = self.quota.concurrency
        if width < 1:
            raise ValueError(f"concurrency of lane {self.lane!r} must be 1 or more, not {width}")


class Permit(Protocol):
    """The right to start one call now.

    A ``probe`` is sent to see whether a lane in trouble works again: its failure is
    the lane's fault, not the item's.
    """

    probe: bool

    async def ready(self) -> None:
        """Wait for the moment that the permit is for; call right before the first byte."""
        ...

    def end(
        self, how: PermitEnd, outcome: Outcome | None = None, call_s: float | None = None
    ) -> None:
        """Give the permit back, with what the call's outcome says about the lane.

        ``call_s`` is how long the provider took, without what we did before and after it.

        ``SUCCESS``: the call was served. ``IGNORED``: it says nothing about the lane
        (never sent, cancelled, failed by its own content). ``DROPPED``: refused for rate,
        load or funds, or the provider failed. A second end raises ``RuntimeError``.
        """
        ...


class LaneShutError(Exception):
    """A lane is shut for so long that nobody should stand in line for it.

    ``wait_s`` are the seconds until it is worth another try, ``reason`` tells people why.
    ``briefly``: its provider is in trouble, which may be over at any moment. ``renews``: it
    opens by itself then, while a key or funds need a person.
    """

    def __init__(
        self, lane: str, wait_s: float, reason: str, *, briefly: bool = False, renews: bool = False
    ) -> None:
        super().__init__(f"{lane}: {reason}")
        self.lane = lane
        self.wait_s = wait_s
        self.reason = reason
        self.briefly = briefly
        self.renews = renews


PARK_S = 60.0
"""Nobody stands in line at a lane that stays shut for longer."""


def shut_for(lane: str, pacer: Pacer, now_s: float, shut_s: float) -> LaneShutError:
    """Return what a lane that is shut for ``shut_s`` is told to be shut for."""
    # Whatever keeps it shut for longest is what there is to wait for.
    renews = pacer.shut_renews or pacer.shut_until_s - now_s < pacer.shut_s(now_s)
    return LaneShutError(
        lane, shut_s, pacer.why_shut() if renews else pacer.shut_reason, renews=renews
    )


def shut_to(lane: str, pacer: Pacer, now_s: float, *, elsewhere: bool) -> LaneShutError | None:
    """Return why nobody should stand in line at a lane now, or nobody who can go elsewhere."""
    shut_s = pacer.shut_s(now_s)
    if shut_s > PARK_S:
        return shut_for(lane, pacer, now_s, shut_s)
    if not elsewhere:
        return None
    if (shut_s := pacer.shut_until_s - now_s) > 0:
        return shut_for(lane, pacer, now_s, shut_s)
    if (held_s := pacer.circuit.wait_s(now_s)) > 0:
        return LaneShutError(lane, min(held_s, PROBE_S_MAX), pacer.circuit.why_open(), briefly=True)
    return None


_DROPPED = frozenset(
    {
        OutcomeKind.RATE_LIMITED,
        OutcomeKind.OVERLOADED,
        OutcomeKind.TRANSIENT,
        OutcomeKind.TIMEOUT,
        OutcomeKind.UNKNOWN,
        OutcomeKind.QUOTA_EXHAUSTED,
        OutcomeKind.AUTH,
    }
)


def permit_end(outcome: Outcome) -> PermitEnd:
    """Return how a call that ended with ``outcome`` ends its permit.

    A refusal of the content, or an answer without its fruit, was served all the same.
    """
    if outcome.kind is OutcomeKind.CANCELLED or STORE_AWAY in outcome.facts:
        return PermitEnd.IGNORED
    return PermitEnd.DROPPED if outcome.kind in _DROPPED else PermitEnd.SUCCESS


@dataclass(frozen=True, slots=True)
class LaneNow:
    """How a lane is doing: ``now_s`` is the time by its pacer's clock.

    ``waiting`` callers of this process stand in line; ``call_s`` is how long calls take
    on average, ``None`` before the first; ``workers`` processes have calls in flight.
    ``at_cap`` of those in line wait because their tenant has as many calls in flight as it may.
    """

    name: str
    pacer: Pacer
    now_s: float
    waiting: int
    call_s: float | None
    workers: int = 1
    at_cap: int = 0


class Gate(Protocol):
    """Hands out permits of lanes."""

    async def acquire(self, ask: Ask) -> Permit:
        """Wait in line for a permit; raises ``LaneShutError`` when the lane stays shut."""
        ...

    def lanes(self) -> list[LaneNow]:
        """Return how the lanes met so far are doing."""
        ...
