"""One attempt of an order: a permit, the write-ahead, the call, and what its end means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

from headrace import routing, settlement
from headrace.artifact import Artifact
from headrace.batch_desk import Counter, Place
from headrace.beginnings import Beginnings, previews_of
from headrace.cache import CacheHit, CacheMode
from headrace.charging import charge_bought
from headrace.course import Passed
from headrace.event import EventKind
from headrace.gate import Permit, PermitEnd, permit_end
from headrace.held import HeldItem, OpenAttempt, encode_json
from headrace.judging import marked, of_item
from headrace.lifecycle import ItemState
from headrace.metering import count_bought, count_end, permit_out
from headrace.order import Order, call_key, start_of
from headrace.outbound import StoppedError
from headrace.outbox import Room
from headrace.outcome import CallFailed, Decision, Outcome, OutcomeKind
from headrace.permits import permit_of
from headrace.provider import CrashClass
from headrace.purchase import Bought, Seller
from headrace.quiet import is_suspect
from headrace.recovery import Way, leaves_open, way_on
from headrace.store.writes import Accept, Settle, Start, StartEnd
from headrace.surroundings import Released, Surroundings
from headrace.tracing import origin_of
from headrace.under_way import JobUnderWay

_SEEN_LATER = (Way.RESEND, Way.RESUME, Way.FIND)
"""Ways on to the very answer that was not seen to its end."""

_AGAIN = (Decision.RETRY, Decision.PARK)


class Attempts:
    """Makes attempts; each is written before its call, and settled after it."""

    def __init__(self, around: Surroundings, stopping: asyncio.Event) -> None:
        self._around = around
        self._stopping = stopping

    async def make(self, order: Order, claim: bool) -> tuple[StartEnd, CacheHit | None]:
        """Get a permit and write the attempt ahead; where that is granted, call and settle.

        Raises ``LaneShutError``.
        """
        if self._stopping.is_set():
            raise Released
        try:
            if order.again is not None and order.again.bought is not None:
                return await self._make_of(order, order.again.bought, claim)
            made = None
            while made is None:
                await self._around.outbound.until_room()
                made = await self._make(order, claim)
            return made
        except StoppedError:
            raise Released from None

    async def _make_of(
        self, order: Order, bought: Bought, claim: bool
    ) -> tuple[StartEnd, CacheHit | None]:
        """Make an attempt of what was bought before: nobody is called, so there is no permit."""
        start = start_of(order, claim=claim)
        end = await self._around.writer.starts.hand_in(start)
        if end is not StartEnd.GRANTED:
            return end, None
        attempt = _started(order.item, start)
        bought = await self._around.outbound.resend(bought)
        return end, await self.end(order, bought, attempt, claim, lane_fault=False)

    async def _make(self, order: Order, claim: bool) -> tuple[StartEnd, CacheHit | None] | None:
        """Make an attempt once there is a permit; ``None`` where the spool is full by then."""
        around, alone, room = self._around, is_suspect(order.item), None
        permit = await permit_of(around, self._stopping, order, alone=alone)
        try:
            try:
                if self._stopping.is_set():
                    raise Released
                if around.outbound.is_full:
                    permit.end(PermitEnd.IGNORED)
                    return None
                room = around.outbound.take()
                start = start_of(order, claim=claim)
                end = await around.writer.starts.hand_in(start)
            except BaseException:  # broad: a permit is ended exactly once, whatever happens
                permit.end(PermitEnd.IGNORED)
                raise
            if end is not StartEnd.GRANTED:
                permit.end(PermitEnd.IGNORED)
                return end, None
            if order.item.tries + order.item.course.tries_at(order.option.place) == 0:
                around.budgets[order.provider.name].first_try()
            _started(order.item, start)
            await permit.ready()
            return end, await self._call(order, permit, claim, room)
        finally:
            if room is not None:
                room.release()
            around.quiet.leave(alone)

    # -- the call --------------------------------------------------------------------------

    async def _call(
        self, order: Order, permit: Permit, claim: bool, room: Room | None
    ) -> CacheHit | None:
        attempt = order.item.open_attempt
        assert attempt is not None
        with self._around.jobs.call(order.item.batch.id, order.provider) as job:
            bought = await self._followed(order, permit, attempt, room, job)
        # Without the permit: a store that is away holds up no lane.
        bought = await self._around.outbound.send(order.item, attempt, bought, room)
        return await self.end(order, bought, attempt, claim, lane_fault=permit.probe)

    async def _followed(
        self,
        order: Order,
        permit: Permit,
        attempt: OpenAttempt,
        room: Room | None,
        job: JobUnderWay,
    ) -> Bought:
        around, item = self._around, order.item
        call = around.purchaser.call(
            order.request,
            call_key(item, attempt),
            item.batch.folders,
            self._accepted(item, attempt, job),
            room,
            _said_to(order),
            previews_of(order, around.clock.now(), around.imprint),
        )
        resume = order.again.resume if order.again is not None else None
        if resume is not None:
            job.id, job.url = resume
        how, outcome, call_s = PermitEnd.IGNORED, None, None
        try:
            seller = _seller_of(order, around)
            with (
                around.traces.attempt(order, attempt.number) as span,
                permit_out(around.meter, order),
            ):
                bought = await around.purchaser.buy(seller, call, resume, room)
                around.traces.bought(span, bought)
            if order.option.batches is None:
                how, outcome = permit_end(bought.outcome), bought.outcome
                call_s = bought.latency_s
        finally:
            permit.end(how, outcome, call_s)
        return bought

    async def end(
        self, order: Order, bought: Bought, attempt: OpenAttempt, claim: bool, *, lane_fault: bool
    ) -> CacheHit | None:
        """Settle how a call ended."""
        count_end(self._around.meter, order, bought)
        if bought.artifact is None:
            await self._fell(order, bought, attempt, claim, lane_fault=lane_fault)
            return None
        judging = self._around.judging
        judged = await (judging.after if claim else judging.insisting)(order, bought.artifact)
        if judged is None or judged.kind is OutcomeKind.TRANSIENT:
            artifact = await self._around.signing.signed(order, bought, bought.artifact)
            bought.artifact = artifact
        if judged is not None:
            await self._withhold(order, bought, judged, claim)
            return None
        return await self._deliver(order, bought, artifact, claim)

    def _accepted(
        self, item: HeldItem, attempt: OpenAttempt, job: JobUnderWay
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
            job.id, job.url = provider_request_id, url

        return accepted

    async def _deliver(
        self, order: Order, bought: Bought, artifact: Artifact, claim: bool
    ) -> CacheHit:
        """Settle a success: artifact, outcome, cache entry and ledger in one transaction."""
        item, now = order.item, self._around.clock.now()
        count_bought(self._around.meter, order, artifact.size_bytes, cached=claim)
        end = settlement.attempt_end(item.attempts, bought.outcome, bought.latency_s, bought.facts)
        origin = artifact.origin or origin_of(order, bought.facts or {}, now)
        artifact = replace(artifact, origin=origin)
        facts = marked({**(bought.facts or {}), "origin": origin.to_json()}, item.batch.policy)
        item.open_attempt = None
        charge_bought(item, order, end)
        item.take(order.stage.name, artifact)
        if len(order.options) > 1 or order.stage.models is not None:
            item.made[order.stage.name] = routing.made_by(order)
        item.stage += 1
        try:
            settle = settlement.moved_on(item, settlement.pass_free_stages(item))
        except CallFailed as failure:
            settle = self._around.fallen(item, failure.outcome)
            settle.outputs, settle.made = item.outputs_json(), item.made_json()
        settlement.attach(settle, end, order.request.fingerprint if claim else None)
        settle.was_spooled = bought.was_spooled
        self._fill(settle, item, artifact, facts, claim)
        await self._around.settle(item, settle)
        return CacheHit(artifact, facts, now, order.request.fingerprint)

    async def _withhold(self, order: Order, bought: Bought, judged: Outcome, claim: bool) -> None:
        """Settle an item whose artifact may not be delivered: it was paid, and is not charged.

        Where nobody could be asked yet the artifact goes into the cache, to be judged when
        the item comes again; nothing is bought twice.
        """
        item, around = order.item, self._around
        told = {**(bought.facts or {}), "withheld": judged.reason}
        end = settlement.attempt_end(item.attempts, bought.outcome, bought.latency_s, told)
        item.open_attempt = None
        kept = judged.kind is OutcomeKind.TRANSIENT
        if kept:
            charge_bought(item, order, end)
        if judged.kind is OutcomeKind.LOST_RESULT:
            settle = settlement.ended(item, judged, ItemState.FAILED, EventKind.ITEM_FAILED)
        else:
            settle = around.fallen(item, judged)
        settlement.attach(settle, end, order.request.fingerprint if claim else None)
        settle.was_spooled = bought.was_spooled
        if kept and bought.artifact is not None:
            origin = bought.artifact.origin
            origin = origin or origin_of(order, bought.facts or {}, around.clock.now())
            facts = {**(bought.facts or {}), "origin": origin.to_json()}
            self._fill(settle, item, bought.artifact, of_item(facts, item), claim)
        await around.settle(item, settle)

    def _fill(
        self,
        settle: Settle,
        item: HeldItem,
        artifact: Artifact,
        facts: dict[str, Any],
        claim: bool,
    ) -> None:
        """Let a settle record an artifact and, under the claim of its order, fill the cache."""
        settle.artifact = artifact
        settle.fill = claim
        settle.renews = claim and item.batch.cache_mode is CacheMode.REFRESH
        settle.facts = encode_json(facts).decode()
        settle.expires_at = self._around.clock.now() + timedelta(seconds=self._around.cache_ttl_s)

    async def _fell(
        self, order: Order, bought: Bought, attempt: OpenAttempt, claim: bool, *, lane_fault: bool
    ) -> None:
        """Settle a failure: retried, moved on, parked, failed, or held when its answer is unknown.

        ``lane_fault``: the call was sent to see whether the lane works again, so that its
        failure is not the item's.
        """
        item, outcome = order.item, bought.outcome
        crash_class = order.option.crash_class
        is_open, way = leaves_open(crash_class, attempt, order.again, outcome), None
        if outcome.decision is Decision.ASK:
            attempt.gone = outcome.kind is OutcomeKind.LOST_RESULT and outcome.ended
            if order.option.batches is not None:
                # Nothing can be asked for again: it is as blind as any call without an answer.
                crash_class = CrashClass.BLIND
                lost = Passed(OutcomeKind.LOST_RESULT, f"{order.option.name}: {outcome.reason}")
                item.course.passed[order.option.place] = lost
            way = way_on(crash_class, attempt, item.batch.unknown_policy)
        told = settlement.of_part(outcome) if is_open or way is Way.RESUME else outcome
        end = settlement.attempt_end(attempt.number, told, bought.latency_s)
        settle = self._settle_of(order, outcome, way, is_open=is_open, lane_fault=lane_fault)
        if is_open:
            settlement.keep_open(end)
        else:
            item.open_attempt = None
        # Not the order's: it may have turned to another model by now.
        settlement.attach(settle, end, attempt.fingerprint if claim else None)
        settle.was_spooled = bought.was_spooled
        await self._around.settle(item, settle)
        # Not before it is written: who dies in between buys again what was told to have failed.
        _tell_end(order, outcome, way, is_open)

    def _settle_of(
        self, order: Order, outcome: Outcome, way: Way | None, *, is_open: bool, lane_fault: bool
    ) -> Settle:
        item = order.item
        # Who has heard a part of this answer could not be told another.
        if order.is_heard and not is_open and (way is Way.REPEAT or outcome.decision in _AGAIN):
            return settlement.ended(item, outcome, ItemState.FAILED, EventKind.ITEM_FAILED)
        if way is not None:
            return settlement.asked(item, outcome, way, self._fallen_of(order))
        if settlement.goes_on(item, outcome):
            return settlement.in_line(item, outcome, self._around.clock.now())
        if (order.may_turn or order.option.batches is not None) and not is_open:
            return self._moved(order, outcome, probe=lane_fault)
        # What parks counts no try that could be taken back.
        item.tries -= lane_fault and settlement.decision_of(outcome) is Decision.RETRY
        return self._fallen_of(order)(item, outcome)

    def _moved(self, order: Order, outcome: Outcome, *, probe: bool) -> Settle:
        """Return the settle after a failure of one of several models."""
        around, item = self._around, order.item
        now, most = around.clock.now(), around.retry.attempts_max
        passed = routing.passed_after(order, outcome, probe=probe, tries_max=most, now=now)
        if passed is None and routing.is_trouble(outcome):
            tries, budget = item.course.tries, around.budgets[order.provider.name]
            return settlement.tried(item, tries, outcome, around.retry, budget, now, around.random)
        fallen: Outcome | None = outcome
        if passed is not None:
            fallen = routing.turn(order, passed, now)
        return settlement.turned(item) if fallen is None else self._fallen_of(order)(item, fallen)

    def _fallen_of(self, order: Order) -> Callable[[HeldItem, Outcome], Settle]:
        return partial(self._around.fallen, provider=order.provider.name)


def _started(item: HeldItem, start: Start) -> OpenAttempt:
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
        provider=start.provider,
        lane=start.lane,
        fingerprint=start.fingerprint,
    )
    return item.open_attempt


def _said_to(order: Order) -> Callable[[str], None] | None:
    """Return where a call may say its text as it comes, ``None`` where it is asked for whole.

    Under a key a call that is sent again has to be the same, whoever listens by then: there what
    is bought on demand is always asked for in pieces, and nothing else is.
    """
    if order.option.batches is not None:
        return None
    is_keyed, text = order.provider.crash_class is CrashClass.KEYED, order.text
    if is_keyed and not order.item.batch.on_demand:
        return None
    if text is not None and text.is_wanted:
        return Beginnings(order, text).say
    return _unheard if is_keyed else None


def _unheard(piece: str) -> None:
    """Stand for a listener where there is none."""


def _tell_end(order: Order, outcome: Outcome, way: Way | None, is_open: bool) -> None:
    """Tell who listens how the call ended, unless the same answer may still be seen."""
    if order.text is not None and way not in _SEEN_LATER and not is_open:
        order.text.break_off(outcome)


def _seller_of(order: Order, around: Surroundings) -> Seller:
    """Return whom the call goes to: the provider, or the desk of its batches."""
    api, item = order.option.batches, order.item
    if api is None:
        return order.provider
    until = routing.rescue_at(item, around.clock.now())
    group = api.group(order.request)
    assert until is not None  # or it would be no option
    assert group is not None
    load = order.provider.load(order.request)
    place = Place(item.batch.tenant_id, item.batch.id, item.idx, group, load.tokens, until)
    return Counter(order.provider.name, around.batch_desk, api, place)
