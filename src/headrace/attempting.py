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
from headrace.beginnings import Beginnings
from headrace.cache import CacheHit
from headrace.charging import charge_bought
from headrace.course import Passed
from headrace.event import EventKind
from headrace.gate import LaneShutError, Permit, PermitEnd, permit_end
from headrace.held import HeldItem, OpenAttempt, encode_json
from headrace.judging import marked, of_item
from headrace.lifecycle import ItemState
from headrace.order import BATCH_LANE, Order, ask, call_key, start_of
from headrace.outcome import CallFailed, Decision, Outcome, OutcomeKind
from headrace.provider import CrashClass
from headrace.purchase import Bought, Seller
from headrace.quiet import is_suspect
from headrace.recovery import Again, Way, again, leaves_open, way_on
from headrace.store.writes import Accept, Settle, Start, StartEnd
from headrace.surroundings import Released, Surroundings
from headrace.tracing import origin_of
from headrace.under_way import JobUnderWay, ask_to_stop

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
        around, alone = self._around, is_suspect(order.item)
        if self._stopping.is_set():
            raise Released
        try:
            permit = await self._permit(order, alone)
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
            if order.item.tries + order.item.course.tries_at(order.option.place) == 0:
                around.budgets[order.provider.name].first_try()
            _started(order.item, start)
            await permit.ready()
            return end, await self._call(order, permit, claim)
        finally:
            around.quiet.leave(alone)

    async def _permit(self, order: Order, alone: bool) -> Permit:
        """Stand in line for a permit, for as long as the order has patience."""
        around = self._around
        if order.patience_s is None:
            return await around.quiet.enter(around.gate, ask(order), alone)
        entering = asyncio.ensure_future(around.quiet.enter(around.gate, ask(order), alone))
        sleeping = asyncio.ensure_future(around.clock.sleep(order.patience_s))
        try:
            await asyncio.wait({entering, sleeping}, return_when=asyncio.FIRST_COMPLETED)
            if not entering.done():
                entering.cancel()
                await asyncio.wait({entering})
                if entering.cancelled():
                    lane = order.option.lane
                    raise LaneShutError(lane, 0.0, "it is in trouble still", briefly=True)
        except asyncio.CancelledError:
            entering.cancel()
            await asyncio.wait({entering})
            if not entering.cancelled() and entering.exception() is None:
                entering.result().end(PermitEnd.IGNORED)
                around.quiet.leave(alone)
            raise
        finally:
            sleeping.cancel()
        return entering.result()

    # -- the call --------------------------------------------------------------------------

    async def _call(self, order: Order, permit: Permit, claim: bool) -> CacheHit | None:
        with self._around.jobs.call(order.item.batch.id, order.provider) as job:
            return await self._followed(order, permit, claim, job)

    async def _followed(
        self, order: Order, permit: Permit, claim: bool, job: JobUnderWay
    ) -> CacheHit | None:
        item = order.item
        attempt = item.open_attempt
        assert attempt is not None
        call = self._around.purchaser.call(
            order.request,
            call_key(item, attempt),
            item.batch.folders,
            self._accepted(item, attempt, job),
            _said_to(order),
        )
        resume = order.again.resume if order.again is not None else None
        if resume is not None:
            job.id, job.url = resume
        how, outcome, call_s = PermitEnd.IGNORED, None, None
        try:
            bought = await self._around.purchaser.buy(_seller_of(order, self._around), call, resume)
            if order.option.batches is None:
                how, outcome = permit_end(bought.outcome), bought.outcome
                call_s = bought.latency_s
        finally:
            permit.end(how, outcome, call_s)
        return await self._end(order, bought, attempt, claim, lane_fault=permit.probe)

    async def call_off(self, order: Order) -> None:
        """Stop the job of an item whose batch was cancelled, and settle at how it ended.

        Nothing is begun for that: no permit, no other attempt. Where its provider cannot stop
        it, or it has ended by then, it is delivered and billed.
        """
        around, item, attempt = self._around, order.item, order.item.open_attempt
        assert attempt is not None
        assert order.again is not None
        assert order.again.resume is not None
        if item.state is not ItemState.RUNNING:
            await around.settle(item, settlement.turned(item))
        await ask_to_stop(order.provider, *order.again.resume)
        folders = item.batch.folders
        key = call_key(item, attempt)
        call = around.purchaser.call(order.request, key, folders, _not_accepted)
        bought = await around.purchaser.buy(order.provider, call, order.again.resume)
        await self._end(order, bought, attempt, False, lane_fault=False)

    async def _end(
        self, order: Order, bought: Bought, attempt: OpenAttempt, claim: bool, *, lane_fault: bool
    ) -> CacheHit | None:
        """Settle how a call ended."""
        if bought.artifact is None:
            await self._fell(order, bought, attempt, claim, lane_fault=lane_fault)
            return None
        judging = self._around.judging
        judged = await (judging.after if claim else judging.insisting)(order, bought.artifact)
        if judged is not None:
            await self._withhold(order, bought, judged, claim)
            return None
        return await self._deliver(order, bought, bought.artifact, claim)

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
        end = settlement.attempt_end(item.attempts, bought.outcome, bought.latency_s, bought.facts)
        origin = origin_of(order, bought.facts or {}, now)
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
        self._fill(settle, artifact, facts, claim)
        await self._around.settle(item, settle)
        return CacheHit(artifact, facts, now, order.request.fingerprint)

    async def _withhold(self, order: Order, bought: Bought, judged: Outcome, claim: bool) -> None:
        """Settle an item whose artifact may not be delivered: it was paid, and is not charged.

        Where nobody could be asked yet the artifact goes into the cache, to be judged when
        the item comes again; nothing is bought twice.
        """
        item, around = order.item, self._around
        origin = origin_of(order, bought.facts or {}, around.clock.now())
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
        if kept and bought.artifact is not None:
            facts = {**(bought.facts or {}), "origin": origin.to_json()}
            self._fill(settle, bought.artifact, of_item(facts, item), claim)
        await around.settle(item, settle)

    def _fill(self, settle: Settle, artifact: Artifact, facts: dict[str, Any], claim: bool) -> None:
        """Let a settle record an artifact and, under the claim of its order, fill the cache."""
        settle.artifact = artifact
        settle.fill = claim
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
        _tell_end(order, outcome, way, is_open)
        if is_open:
            settlement.keep_open(end)
        else:
            item.open_attempt = None
        # Not the order's: it may have turned to another model by now.
        settlement.attach(settle, end, attempt.fingerprint if claim else None)
        await self._around.settle(item, settle)

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
            return settlement.in_line(item)
        if (order.may_turn or order.option.batches is not None) and not is_open:
            return self._moved(order, outcome, probe=lane_fault)
        item.tries -= lane_fault
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

    async def recover(self, order: Order, attempt: OpenAttempt) -> Again:
        """Decide how an attempt of a dead worker, or one never answered, is continued."""
        item, provider = order.item, order.provider
        crash_class = order.option.crash_class
        if attempt.lane.endswith(BATCH_LANE) and order.option.batches is None:
            # Its line is lost, and a call of its own would be a second purchase.
            crash_class = CrashClass.BLIND
        way = way_on(crash_class, attempt, item.batch.unknown_policy)
        if way is Way.HOLD and item.state is ItemState.PENDING:
            # It was held, and a person has said that it is to be bought again.
            way = Way.REPEAT
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
            settle = settlement.asked(item, outcome, way, self._fallen_of(order))
            settle.attempt = settlement.attempt_end(attempt.number, outcome, 0.0)
            await self._around.settle(item, settle)
            raise Released
        return again(way, attempt, item.attempts + 1)


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
        provider=start.provider,
        lane=start.lane,
        fingerprint=start.fingerprint,
    )


def _said_to(order: Order) -> Callable[[str], None] | None:
    """Return where a call may say its text as it comes, ``None`` where nobody listens."""
    text = order.text
    if text is None or not text.is_wanted or order.option.batches is not None:
        return None
    return Beginnings(order, text).say


def _tell_end(order: Order, outcome: Outcome, way: Way | None, is_open: bool) -> None:
    """Tell who listens how the call ended, unless the same answer may still be seen."""
    if order.text is not None and way not in _SEEN_LATER and not is_open:
        order.text.break_off(outcome)


async def _not_accepted(provider_request_id: str, url: str | None) -> None:
    """Ignore what is known: it is written already, or by the attempt that adopts it."""


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
