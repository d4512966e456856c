"""One item's way through its stages: cache, permit, attempt, artifact, settle."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from headrace import routing, settlement
from headrace.attempting import Attempts
from headrace.beginnings import may_be_shown, may_be_told
from headrace.cache import CacheHit, CacheMode
from headrace.charging import charge_hit
from headrace.continuing import Continuing
from headrace.course import Made
from headrace.event import EventKind
from headrace.gate import LaneShutError
from headrace.held import HeldItem
from headrace.judging import is_of_item, marked
from headrace.lane_share import LaneShares
from headrace.lifecycle import ITEM_FINAL, BatchState, ItemState
from headrace.live_text import LiveText
from headrace.named_artifacts import no_such_artifact
from headrace.order import Option, Order
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.stage import Stage
from headrace.store.writes import Settle, StartEnd
from headrace.surroundings import Released, Surroundings
from headrace.telemetry import at_work_on

CRASHES_MAX = 3
"""An item whose worker died this many times during its attempts is dead (a poison item)."""

_OVER = (BatchState.FINALIZING, BatchState.CANCELLED, BatchState.EXPIRED, BatchState.FAILED)


class Executor:
    """Walks items; every durable step goes through the writer."""

    def __init__(self, around: Surroundings, stopping: asyncio.Event) -> None:
        self._around = around
        self._attempts = Attempts(around, stopping)
        self._continuing = Continuing(around, self._attempts.end)
        self._stopping = stopping
        self._lane_shares = LaneShares(around.clock, around.gate.lanes)

    async def run(self, item: HeldItem) -> None:
        """Walk ``item`` until it ends, waits, or leaves this worker; raises ``FenceLostError``."""
        traces = self._around.traces
        try:
            with at_work_on(item), traces.item(item):
                if item.crashes >= CRASHES_MAX:
                    await self._around.settle(item, settlement.buried(item))
                while item.state not in ITEM_FINAL and not self._stopping.is_set():
                    with traces.stage(item):
                        await self._next_stage(item)
        except Released:
            return

    async def _next_stage(self, item: HeldItem) -> None:
        try:
            await self._load_texts(item)
            if settlement.pass_free_stages(item):
                await self._around.settle(item, settlement.moved_on(item, through=True))
                return
            if item.stage != item.stage_saved:
                # What came from the cache must be durable before an attempt builds on it.
                await self._around.settle(item, settlement.moved_on(item, through=False))
            order = routing.order_of(item, self._around.clock.now())
            await self._around.judging.before(order)
        except CallFailed as failure:
            await self._around.settle(item, self._around.fallen(item, failure.outcome))
            return
        if not await self._may_read(order):
            return
        if item.open_attempt is not None:
            order.again = await self._continuing.recover(order, item.open_attempt)
            if order.again.goes_on and await self._is_over(item):
                await self._continuing.call_off(order)
                return
        # Before it leads: nobody who wants the same now waits for the share of another.
        async with self._lane_shares.place(order, self._stopping):
            if item.batch.cache_mode is CacheMode.OFF or not order.stage.cacheable:
                self._listen(order, LiveText())
                await self._lead(order, claim=False)
            else:
                await self._share(order)

    async def _load_texts(self, item: HeldItem) -> None:
        for name in item.unread():
            item.texts[name] = await self._around.read_text(item.outputs[name])

    async def _may_read(self, order: Order) -> bool:
        """Tell whether an item may read its sources; one that names another's artifact fails."""
        item = order.item
        named = {
            bytes.fromhex(digest)
            for option in order.options
            for digest in option.request.sources
            if digest not in option.request.files
        }
        named -= {artifact.sha256 for artifact in item.outputs.values()}
        foreign = await self._around.foreign(item.batch.tenant_id, named) if named else set()
        if foreign:
            outcome = no_such_artifact(min(foreign).hex(), item.idx + 1)
            await self._around.settle(item, self._around.fallen(item, outcome))
        return not foreign

    # -- single-flight ---------------------------------------------------------------------

    async def _share(self, order: Order) -> None:
        """Buy, or wait for whoever in this process is buying the same."""
        if order.again is not None:
            await self._go_on(order)
            return
        key = (order.item.batch.tenant_id, b"".join(order.fingerprints))
        future = self._around.flights.board(key)
        landed: CacheHit | None = None
        self._listen(order, self._around.flights.text(key))
        if future is not None:
            # A follower that is woken without a result leads from here on.
            landed = await self._around.flights.follow(key, future)
            if landed is not None:
                await self._take(order, landed)
                return
        try:
            if future is not None:
                if await self._heard_in_vain(order):
                    return
                self._listen(order, self._around.flights.text(key))
                # What came may have been forbidden: then it is not bought once more.
                await self._around.judging.before(order)
            landed = await self._lead(order, claim=True)
        except CallFailed as failure:
            settle = self._around.fallen(order.item, failure.outcome)
            await self._around.settle(order.item, settle)
        finally:
            self._around.flights.land(key, landed)

    async def _go_on(self, order: Order) -> None:
        """Go on with what was begun: nobody is waited for, for all others wait for its claim."""
        self._listen(order, LiveText())
        try:
            await self._lead(order, claim=True)
        except CallFailed as failure:
            settle = self._around.fallen(order.item, failure.outcome)
            await self._around.settle(order.item, settle)

    def _listen(self, order: Order, text: LiveText) -> None:
        """Let who listens to an order hear ``text``, unless it has to be judged first."""
        order.text, batch = text, order.item.batch
        listener = self._around.listeners.of(batch.id)
        if listener is not None and may_be_told(batch.policy):
            listener.attach(text, sees=may_be_shown(order.item))

    async def _heard_in_vain(self, order: Order) -> bool:
        """Settle a follower who has heard a part of what its leader could not finish."""
        item, listener = order.item, self._around.listeners.of(order.item.batch.id)
        if listener is None or listener.cut_off is None:
            return False
        ended = listener.cut_off
        settle = settlement.ended(item, ended, ItemState.FAILED, EventKind.ITEM_FAILED)
        await self._around.settle(item, settle)
        return True

    async def _lead(self, order: Order, *, claim: bool) -> CacheHit | None:
        """Make an attempt, or take what another bought meanwhile."""
        wait_s, waits = 0.05, False
        # A claim sees only its own fingerprint; another model may have made it by now.
        looks = claim and order.again is None and (len(order.options) > 1 or order.item.found)
        while True:
            hit = await self._lookup(order) if looks else None
            if hit is not None:
                return await self._take(order, hit)
            if waits:
                await self._around.clock.sleep(wait_s)
                wait_s = min(1.0, wait_s * 1.5)
            end, hit = await self._make(order, claim)
            if end is StartEnd.GRANTED:
                return hit
            if end is StartEnd.GONE:
                await self._leave(order)
                return None
            if order.option.batches is not None and order.again is not None:
                # It has been bought in a provider batch; that another has it, too, changes nothing.
                claim = False
                continue
            looks = waits = True

    async def _make(self, order: Order, claim: bool) -> tuple[StartEnd, CacheHit | None]:
        """Make an attempt at the first lane that is open; where none is, settle the item."""
        while True:
            try:
                return await self._attempts.make(order, claim)
            except LaneShutError as shut:
                if not await self._turned(order, shut):
                    return StartEnd.GRANTED, None

    async def _turned(self, order: Order, shut: LaneShutError) -> bool:
        """Turn to another model when a lane is shut; where there is none, let the item wait."""
        now = self._around.clock.now()
        if order.may_turn:
            outcome = routing.turn(order, routing.passed_shut(order, shut, now), now)
            if outcome is None:
                return True
        else:
            outcome = routing.shut_outcome(shut, now)
        settle = self._around.fallen(order.item, outcome, order.provider.name)
        await self._around.settle(order.item, settle)
        return False

    async def _lookup(self, order: Order) -> CacheHit | None:
        batch = order.item.batch
        newer = batch.created_at if batch.cache_mode is CacheMode.REFRESH else None
        found = await self._around.cache.get_many(batch.tenant_id, order.fingerprints, newer)
        return routing.best_hit(order.options, found)

    async def _take(self, order: Order, hit: CacheHit) -> CacheHit:
        """Settle an item whose stage another has made; return what it made."""
        item = order.item
        if not self.serves(item, order.stage, order.options, hit):
            outcome = await self._around.judging.after(order, hit.artifact)
            if outcome is not None:
                await self._around.settle(item, self._around.fallen(item, outcome))
                return hit
            hit = replace(hit, facts=marked(hit.facts, item.batch.policy))
            await self._around.cache.note(item.batch.tenant_id, hit)
        made = routing.made_before(order.options, hit)
        await self._around.settle(order.item, self.taken(order.item, order.stage, hit, made))
        return hit

    def serves(self, item: HeldItem, stage: Stage, options: list[Option], hit: CacheHit) -> bool:
        """Tell whether a cached result may be served to an item without being judged first."""
        requests = [option.request for option in options]
        return self._around.judging.serves(item.batch.policy, stage, requests, hit)

    def taken(self, item: HeldItem, stage: Stage, hit: CacheHit, made: Made) -> Settle:
        """Return the settle of an item whose stage is served from the cache: nobody is called."""
        item.take(stage.name, hit.artifact)
        is_own = is_of_item(hit.facts, item)
        if not is_own:
            charge_hit(item, made)
            self._around.meter.result(made.provider, made.model, "cache")
        if stage.models is not None:
            item.made[stage.name] = made
        item.cached_stages += not is_own
        item.stage += 1
        try:
            settle = settlement.moved_on(item, settlement.pass_free_stages(item))
        except CallFailed as failure:
            settle = self._around.fallen(item, failure.outcome)
        if item.open_attempt is not None:
            settle.attempt = settlement.given_up(item.open_attempt.number)
            item.open_attempt = None
        return settle

    # -- leaving ---------------------------------------------------------------------------

    async def _is_over(self, item: HeldItem) -> bool:
        return await self._around.batch_state(item.batch.id) in _OVER

    async def _leave(self, order: Order) -> None:
        """Let go of an item that may not start: its batch is paused, cancelled or over.

        What runs for it at a provider is stopped first, or else followed to its end.
        """
        item = order.item
        if not await self._is_over(item):
            raise Released
        if order.again is not None and order.again.goes_on:
            await self._continuing.call_off(order)
            return
        if item.state is ItemState.RUNNING or item.open_attempt is not None:
            outcome = Outcome(OutcomeKind.CANCELLED, "the batch was cancelled")
            settle = self._around.fallen(item, outcome)
            if item.open_attempt is not None:
                settle.attempt = settlement.given_up(item.open_attempt.number)
                item.open_attempt = None
            await self._around.settle(item, settle)
        raise Released
