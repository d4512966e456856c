"""What the executors of a process share: writer, cache, gate, purchaser, clock, retry budgets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from uuid import UUID

from headrace import settlement
from headrace.artifact import Artifact
from headrace.backoff import RetryBudget, RetryPolicy
from headrace.batch_desk import BatchDesk
from headrace.cache import Cache
from headrace.clock import Clock
from headrace.flights import Flights
from headrace.gate import Gate
from headrace.held import HeldItem
from headrace.judging import Judging
from headrace.lifecycle import BatchState, ItemState
from headrace.live_text import Listeners
from headrace.meter import Meter
from headrace.outbound import Outbound
from headrace.outcome import Outcome
from headrace.provenance import Origin
from headrace.purchase import Purchaser
from headrace.quiet import Quiet
from headrace.signing import Signing
from headrace.store.writes import Settle
from headrace.traces import Traces, traces_of_process
from headrace.under_way import JobsUnderWay
from headrace.writer import Writer


@dataclass
class Surroundings:
    """What an executor works with; one set for all items of a process."""

    writer: Writer
    cache: Cache
    gate: Gate
    purchaser: Purchaser
    outbound: Outbound
    batch_desk: BatchDesk
    clock: Clock
    retry: RetryPolicy
    cache_ttl_s: float
    batch_state: Callable[[UUID], Awaitable[BatchState]]
    read_text: Callable[[Artifact], Awaitable[str]]
    foreign: Callable[[str, set[bytes]], Awaitable[set[bytes]]]
    judging: Judging
    signing: Signing
    imprint: Callable[[bytes, Origin], Awaitable[bytes]]
    meter: Meter = field(default_factory=Meter)
    traces: Traces = field(default_factory=traces_of_process)
    random: Random = field(default_factory=Random)
    flights: Flights = field(default_factory=Flights)
    listeners: Listeners = field(default_factory=Listeners)
    budgets: dict[str, RetryBudget] = field(default_factory=lambda: defaultdict(RetryBudget))
    quiet: Quiet = field(default_factory=Quiet)
    jobs: JobsUnderWay = field(default_factory=JobsUnderWay)

    async def settle(self, item: HeldItem, settle: Settle) -> None:
        """Make a move of an item durable; raises ``Released`` when it leaves this worker.

        Raises ``FenceLostError`` when another worker holds the shard.
        """
        moved = await self.writer.settles.hand_in(settle)
        if not moved:
            raise Released
        item.version += 1
        item.state = settle.to_state
        item.stage_saved = settle.stage
        item.spent_saved = item.spent_microcredits
        if settle.due_at is not None or settle.to_state is ItemState.UNKNOWN:
            raise Released

    def fallen(self, item: HeldItem, outcome: Outcome, provider: str = "") -> Settle:
        """Return the settle of an item after a failure, of ``provider`` where it was one's."""
        budget = self.budgets[provider]
        return settlement.fallen(item, outcome, self.retry, budget, self.clock.now(), self.random)


class Released(Exception):  # noqa: N818 - not a fault: the item leaves this worker's hands
    """The item is no longer this worker's to move: parked, waiting, cancelled or lost."""
