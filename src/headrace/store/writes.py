"""What an executor wants written: starts, acceptances and settles, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from headrace.artifact import Artifact
from headrace.event import EventKind
from headrace.lifecycle import AttemptState, ItemState
from headrace.outcome import OutcomeKind


class StartEnd(StrEnum):
    """What became of a start: written, another buys the same now, or the item may not start."""

    GRANTED = "granted"
    FLIGHT = "flight"
    GONE = "gone"


@dataclass(slots=True)
class Start:
    """An attempt to be written ahead of its call.

    ``claim`` asks for the right to buy the fingerprint (single-flight); ``refresh_before``
    replaces results made before that instant. ``supersedes`` is the number of an attempt
    whose answer was never seen and that this one replaces; ``repeats`` counts it as a
    second purchase, of which ``overrun_microcredits`` are booked to the operator. A call
    that is followed up rather than made again carries its ``provider_request_id``.
    """

    batch_id: UUID
    idx: int
    version: int
    from_state: ItemState
    tenant_id: str
    shard_id: int
    fence: int
    number: int
    key_number: int
    round: int
    stage: int
    tries: int
    provider: str
    lane: str
    fingerprint: bytes
    cost_max_microusd: int | None
    claim: bool
    refresh_before: datetime | None = None
    supersedes: int | None = None
    repeats: bool = False
    overrun_microcredits: int = 0
    provider_request_id: str | None = None
    provider_url: str | None = None
    course: str | None = None


@dataclass(slots=True)
class Accept:
    """The provider's own id of a call, known before its result."""

    batch_id: UUID
    idx: int
    number: int
    shard_id: int
    fence: int
    provider_request_id: str
    provider_url: str | None


@dataclass(slots=True)
class AttemptEnd:
    """How an attempt ended, as it is written.

    ``cost_estimate_microusd`` is set only where the true cost is not known. ``untold``:
    there is neither, and it may have been billed; a budget then counts the worst case.
    """

    number: int
    state: AttemptState
    outcome: OutcomeKind
    provider_request_id: str | None
    cost_microusd: int | None
    cost_estimate_microusd: int | None
    latency_ms: int
    facts: str | None
    error: str | None
    untold: bool = False


@dataclass(slots=True)
class Settle:
    """One move of one item, with everything that must be true at the same instant.

    JSON fields are text already. Amounts are deltas, but for ``priced_microcredits``;
    ``post_microcredits`` and ``void_microcredits`` split the item's reserve when it ends;
    ``overrun_microcredits`` is what the item cost beyond it, booked to the operator.
    ``renews``: what it fills the cache with may take a live result's place.
    ``was_spooled``: the attempt's result waited for the object store, and is there now.
    """

    batch_id: UUID
    idx: int
    version: int
    from_state: ItemState
    to_state: ItemState
    tenant_id: str
    shard_id: int
    fence: int
    round: int
    stage: int
    tries: int
    cached: bool = False
    attempt: AttemptEnd | None = None
    artifact: Artifact | None = None
    fingerprint: bytes | None = None
    fill: bool = False
    renews: bool = False
    facts: str | None = None
    expires_at: datetime | None = None
    outputs: str | None = None
    file: str | None = None
    course: str | None = None
    made: str | None = None
    error: str | None = None
    due_at: datetime | None = None
    cost_microusd: int = 0
    cost_estimate_microusd: int = 0
    cost_unknown: bool = False
    spent_microcredits: int = 0
    priced_microcredits: int = 0
    post_microcredits: int = 0
    void_microcredits: int = 0
    overrun_microcredits: int = 0
    reason: str = ""
    was_spooled: bool = False
    event: EventKind | None = None
    event_data: str = "{}"
