"""One item's way through its stages: cache, permit, attempt, artifact, settle."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from uuid import UUID

from headrace import settlement
from headrace.artifact import Artifact
from headrace.backoff import RetryBudget, RetryPolicy
from headrace.cache import Cache, CacheHit, CacheMode
from headrace.clock import Clock
from headrace.event import EventKind
from headrace.flights import Flights
from headrace.gate import Gate, LaneShutError, Permit, PermitEnd, permit_end
from headrace.held import HeldItem, OpenAttempt
from headrace.lifecycle import ITEM_FINAL, BatchState, ItemState
from headrace.order import Order, ask, call_key, start_of
from headrace.outcome import CallFailed, Decision, Outcome, OutcomeKind
from headrace.purchase import Bought, Purchaser
from headrace.quiet import Quiet
from headrace.recovery import Again, Way, again, way_on
from headrace.request import Request
from headrace.stage import Stage
from headrace.store.writes import Accept, Settle, Start, StartEnd
from headrace.writer import Writer

CRASHES_MAX = 3
"""An item whose worker died this many times during its attempts is dead (a poison item)."""


_TEXT = ("text/", "application/json")
_OVER = (BatchState.FINALIZING, BatchState.CANCELLED, BatchState.EXPIRED, BatchState.FAILED)


@dataclass
class Surroundings:
    """What an executor works with; one set for all items of a process."""

    writer: Writer
    cache: Cache
    gate: Gate
    purchaser: Purchaser
    clock: Clock
    retry: RetryPolicy
    cache_ttl_s: float
    batch_state: Callable[[UUID], Awaitable[BatchState]]
    read_text: Callable[[Artifact], Awaitable[str]]
    random: Random = field(default_factory=Random)
    flights: Flights = field(default_factory=Flights)
    budgets: dict[str, RetryBudget] = field(default_factory=lambda: defaultdict(RetryBudget))
    quiet: Quiet = field(default_factory=Quiet)


class Released(Exception):  # noqa: N818 - not a fault: the item leaves this worker's hands
    """The item is no longer this worker's to move: parked, waiting, cancelled or lost."""


class Executor:
    """Walks items; every durable step goes through the writer."""

    def __init__(self, around: Surroundings, stopping: asyncio.Event) -> None:
        self._around = around
        self._stopping = stopping

    async def run(self, item: HeldItem) -> None:
        """Walk ``item`` until it ends, waits, or leaves this worker; raises ``FenceLostError``."""
        try:
            if item.crashes >= CRASHES_MAX:
                await self._bury(item)
            while item.state not in ITEM_FINAL and not self._stopping.is_set():
                await self._next_stage(item)
        except Released:
            return

    async def _next_stage(self, item: HeldItem) -> None:
        try:
            if settlement.pass_free_stages(item):
                await self._settle(item, settlement.moved_on(item, through=True))
                return
            if item.stage != item.stage_saved:
                # What came from the cache must be durable before an attempt builds on it.
                await self._settle(item, settlement.moved_on(item, through=False))
            stage = item.batch.stages[item.stage]
            await self._load_texts(item)
            request = stage.request(item.given())
        except CallFailed as failure:
            await self._settle(item, self._fallen(item, failure.outcome))
            return
        provider = stage.provider
        assert provider is not None
        order = Order(item, stage, provider, request)
        if item.open_attempt is not None:
            order.again = await self._recover(order, item.open_attempt)
        if item.batch.cache_mode is CacheMode.OFF or not stage.cacheable:
            await self._lead(order, claim=False)
        else:
            await self._share(order)

    async def _load_texts(self, item: HeldItem) -> None:
        if item.batch.reads_texts:
            for name, artifact in item.outputs.items():
                if name not in item.texts and artifact.media_type.startswith(_TEXT):
                    item.texts[name] = await self._around.read_text(artifact)

    # -- single-flight ---------------------------------------------------------------------

    async def _share(self, order: Order) -> None:
        """Buy, or wait for whoever in this process is buying the same."""
        key = (order.item.batch.tenant_id, order.request.fingerprint)
        future = self._around.flights.board(key)
        landed: CacheHit | None = None
        if future is not None:
            # A follower that is woken without a result leads from here on.
            landed = await future
            if landed is not None:
                await self._settle(order.item, self.taken(order.item, order.stage, landed))
                return
        try:
            landed = await self._lead(order, claim=True)
        finally:
            self._around.flights.land(key, landed)

    async def _lead(self, order: Order, *, claim: bool) -> CacheHit | None:
        """Make an attempt, or take what another bought meanwhile."""
        item, wait_s = order.item, 0.05
        while True:
            try:
                end, hit = await self._attempt(order, claim)
            except LaneShutError as shut:
                await self._park(item, shut)
                raise
            if end is StartEnd.GRANTED:
                return hit
            if end is StartEnd.GONE:
                await self._leave(item)
            hit = await self._lookup(item, order.request)
            if hit is not None:
                await self._settle(item, self.taken(item, order.stage, hit))
                return hit
            await self._around.clock.sleep(wait_s)
            wait_s = min(1.0, wait_s * 1.5)

    async def _park(self, item: HeldItem, shut: LaneShutError) -> None:
        """Let an item wait until its lane is worth another try; raises ``Released``."""
        outcome = Outcome(
            OutcomeKind.QUOTA_EXHAUSTED,
            f"lane {shut.lane} is shut: {shut.reason}",
            remedy="'headrace lanes' shows until when.",
            wait_s=shut.wait_s,
        )
        await self._settle(item, self._fallen(item, outcome))

    async def _attempt(self, order: Order, claim: bool) -> tuple[StartEnd, CacheHit | None]:
        """Get a permit and write the attempt ahead; where that is granted, call and settle."""
        around, alone = self._around, order.item.crashes > 0
        if self._stopping.is_set():
            raise Released
        try:
            permit = await around.quiet.enter(around.gate, ask(order), alone)
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                raise
            # Sent away from the line because this process stops.
            raise Released from None
        try:
            try:
                if self._stopping.is_set():
                    raise Released
                start = start_of(order, claim=claim)
                end = await around.writer.starts.hand_in(start)
            except BaseException:  # broad: a permit is ended exactly once, whatever happens
                permit.end(PermitEnd.IGNORED)
                raise
            if end is not StartEnd.GRANTED:
                permit.end(PermitEnd.IGNORED)
                return end, None
            if order.item.tries == 0:
                around.budgets[order.provider.name].first_try()
            _started(order.item, start)
            await permit.ready()
            return end, await self._call(order, permit, claim)
        finally:
            around.quiet.leave(alone)

    async def _lookup(self, item: HeldItem, request: Request) -> CacheHit | None:
        newer = item.batch.created_at if item.batch.cache_mode is CacheMode.REFRESH else None
        found = await self._around.cache.get_many(
            item.batch.tenant_id, [request.fingerprint], newer
        )
        return found.get(request.fingerprint)

    def taken(self, item: HeldItem, stage: Stage, hit: CacheHit) -> Settle:
        """Return the settle of an item whose stage is served from the cache: nothing is paid."""
        item.take(stage.name, hit.artifact)
        item.cached_stages += 1
        item.stage += 1
        try:
            settle = settlement.moved_on(item, settlement.pass_free_stages(item))
        except CallFailed as failure:
            settle = self._fallen(item, failure.outcome)
        if item.open_attempt is not None:
            settle.attempt = settlement.given_up(item.open_attempt.number)
            item.open_attempt = None
        return settle

    # -- the call --------------------------------------------------------------------------

    async def _call(self, order: Order, permit: Permit, claim: bool) -> CacheHit | None:
        item = order.item
        attempt = item.open_attempt
        assert attempt is not None
        call = self._around.purchaser.call(
            order.request,
            call_key(item, attempt),
            item.batch.folders,
            self._accepted(item, attempt),
        )
        resume = order.again.resume if order.again is not None else None
        how, outcome = PermitEnd.IGNORED, None
        try:
            bought = await self._around.purchaser.buy(order.provider, call, resume)
            how, outcome = permit_end(bought.outcome), bought.outcome
        finally:
            permit.end(how, outcome)
        if bought.artifact is None:
            await self._fell(order, bought, attempt, claim, lane_fault=permit.probe)
            return None
        return await self._deliver(order, bought, bought.artifact, claim)

    def _accepted(
        self, item: HeldItem, attempt: OpenAttempt
    ) -> Callable[[str, str | None], Awaitable[None]]:
        async def accepted(provider_request_id: str, url: str | None) -> None:
            attempt.provider_request_id, attempt.provider_url = provider_request_id, url
            await self._around.writer.accepts.hand_in(
                Accept(
                    batch_id=item.batch.id,
                    idx=item.idx,
                    number=attempt.number,
                    shard_id=item.shard_id,
                    fence=item.fence,
                    provider_request_id=provider_request_id,
                    provider_url=url,
                )
            )

        return accepted

    async def _deliver(
        self, order: Order, bought: Bought, artifact: Artifact, claim: bool
    ) -> CacheHit:
        """Settle a success: artifact, outcome, cache entry and ledger in one transaction."""
        item, now = order.item, self._around.clock.now()
        spent = order.provider.price(order.request).credits_microcredits
        end = settlement.attempt_end(item.attempts, bought.outcome, bought.latency_s, bought.facts)
        item.open_attempt = None
        item.spent_microcredits += spent
        item.take(order.stage.name, artifact)
        item.stage += 1
        try:
            settle = settlement.moved_on(item, settlement.pass_free_stages(item))
        except CallFailed as failure:
            settle = self._fallen(item, failure.outcome)
            settle.outputs = item.outputs_json()
        settlement.attach(settle, end, order.request.fingerprint if claim else None)
        settle.spent_microcredits = spent
        settle.artifact = artifact
        settle.fill = claim
        settle.facts = end.facts
        settle.expires_at = now + timedelta(seconds=self._around.cache_ttl_s)
        await self._settle(item, settle)
        return CacheHit(artifact, bought.facts or {}, now)

    async def _fell(
        self, order: Order, bought: Bought, attempt: OpenAttempt, claim: bool, *, lane_fault: bool
    ) -> None:
        """Settle a failure: retried, parked, failed, or held when its answer is unknown.

        ``lane_fault``: the call was sent to see whether the lane works again, so that its
        failure is not the item's.
        """
        item = order.item
        end = settlement.attempt_end(attempt.number, bought.outcome, bought.latency_s)
        if bought.outcome.decision is Decision.ASK:
            way = way_on(order.provider.crash_class, attempt, item.batch.unknown_policy)
            settle = settlement.asked(item, bought.outcome, way, self._fallen)
        elif settlement.goes_on(item, bought.outcome):
            settle = settlement.in_line(item)
        else:
            item.tries -= lane_fault
            settle = self._fallen(item, bought.outcome)
        item.open_attempt = None
        settlement.attach(settle, end, order.request.fingerprint if claim else None)
        await self._settle(item, settle)

    def _fallen(self, item: HeldItem, outcome: Outcome) -> Settle:
        around = self._around
        budget = around.budgets[_stage_provider(item)]
        return settlement.fallen(
            item, outcome, around.retry, budget, around.clock.now(), around.random
        )

    # -- unseen answers, ends, and leaving ---------------------------------------------------

    async def _recover(self, order: Order, attempt: OpenAttempt) -> Again:
        """Decide how an attempt of a dead worker, or one never answered, is continued."""
        item, provider = order.item, order.provider
        way = way_on(provider.crash_class, attempt, item.batch.unknown_policy)
        if way is Way.FIND:
            call = self._around.purchaser.call(
                order.request, call_key(item, attempt), item.batch.folders, _not_accepted
            )
            attempt.provider_request_id = await provider.find(call)
            way = Way.RESUME if attempt.provider_request_id is not None else Way.RESEND
        if way in (Way.HOLD, Way.REFUND):
            outcome = Outcome(
                OutcomeKind.UNKNOWN,
                "the call was sent and its answer never seen",
                remedy="'headrace retry' buys it again; it may then be paid twice.",
            )
            settle = settlement.asked(item, outcome, way, self._fallen)
            settle.attempt = settlement.attempt_end(attempt.number, outcome, 0.0)
            await self._settle(item, settle)
            raise Released
        return again(way, attempt, item.attempts + 1)

    async def _bury(self, item: HeldItem) -> None:
        """End a poison item, whose worker died at every attempt, and give its credits back."""
        outcome = Outcome(
            OutcomeKind.INVALID,
            f"its worker died {item.crashes} times while working on it",
            remedy="Look at this row's input; 'headrace retry' tries it again.",
        )
        settle = settlement.ended(item, outcome, ItemState.DEAD, EventKind.ITEM_DEAD)
        if item.open_attempt is not None:
            settle.attempt = settlement.given_up(item.open_attempt.number)
        await self._settle(item, settle)

    async def _leave(self, item: HeldItem) -> None:
        """Let go of an item that may not start: its batch is paused, cancelled or over."""
        state = await self._around.batch_state(item.batch.id)
        if state in _OVER and item.state is ItemState.RUNNING:
            outcome = Outcome(OutcomeKind.CANCELLED, "the batch was cancelled")
            await self._settle(item, self._fallen(item, outcome))
        raise Released

    async def _settle(self, item: HeldItem, settle: Settle) -> None:
        moved = await self._around.writer.settles.hand_in(settle)
        if not moved:
            raise Released
        item.version += 1
        item.state = settle.to_state
        item.stage_saved = settle.stage
        if settle.due_at is not None or settle.to_state is ItemState.UNKNOWN:
            raise Released


def _stage_provider(item: HeldItem) -> str:
    """Return the name of the provider that the item's stage buys from."""
    stages = item.batch.stages
    provider = stages[item.stage].provider if item.stage < len(stages) else None
    return provider.name if provider is not None else ""


def _started(item: HeldItem, start: Start) -> None:
    item.version += 1
    item.state = ItemState.RUNNING
    item.attempts = start.number
    repeats = item.open_attempt.repeats if item.open_attempt is not None else 0
    item.open_attempt = OpenAttempt(
        number=start.number,
        key_number=start.key_number,
        provider_request_id=start.provider_request_id,
        provider_url=start.provider_url,
        repeats=repeats + start.repeats,
    )


async def _not_accepted(provider_request_id: str, url: str | None) -> None:
    """Ignore an acceptance during a search: the attempt that adopts it writes it."""
