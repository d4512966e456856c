"""What earlier attempts began: gone on with, waited for, called off, or given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from headrace import settlement
from headrace.held import OpenAttempt
from headrace.lifecycle import ItemState
from headrace.order import BATCH_LANE, Order, call_key
from headrace.outbound import StoppedError
from headrace.outcome import Outcome, OutcomeKind
from headrace.provider import CrashClass
from headrace.purchase import Bought
from headrace.recovery import WITHOUT_IT, Again, Way, again, way_on
from headrace.surroundings import Released, Surroundings
from headrace.under_way import ask_to_stop

End = Callable[..., Awaitable[Any]]


class Continuing:
    """Goes on with attempts of dead workers, or never answered; ``end`` settles them."""

    def __init__(self, around: Surroundings, end: End) -> None:
        self._around = around
        self._end = end

    async def call_off(self, order: Order) -> None:
        """Stop the job of an item whose batch was cancelled, and settle at how it ended.

        Nothing is begun for that: no permit, no other attempt. Where its provider cannot stop
        it, or it has ended by then, it is delivered and billed.
        """
        around, item, attempt = self._around, order.item, order.item.open_attempt
        assert attempt is not None
        assert order.again is not None
        if item.state is not ItemState.RUNNING:
            await around.settle(item, settlement.turned(item))
        try:
            if order.again.bought is not None:
                bought = await around.outbound.resend(order.again.bought)
            else:
                bought = await self._stopped(order, order.again, attempt)
        except StoppedError:
            raise Released from None
        await self._end(order, bought, attempt, False, lane_fault=False)

    async def _stopped(self, order: Order, again: Again, attempt: OpenAttempt) -> Bought:
        """Ask for a job to be stopped, and follow it to its end."""
        around, item, key = self._around, order.item, call_key(order.item, attempt)
        assert again.resume is not None
        await ask_to_stop(order.provider, *again.resume)
        room = await around.outbound.enter()
        try:
            call = around.purchaser.call(
                order.request, key, item.batch.folders, _not_accepted, room
            )
            bought = await around.purchaser.buy(order.provider, call, again.resume, room)
            return await around.outbound.send(item, attempt, bought, room)
        finally:
            if room is not None:
                room.release()

    async def recover(self, order: Order, attempt: OpenAttempt) -> Again:
        """Decide how an attempt of a dead worker, or one never answered, is continued."""
        item, provider = order.item, order.provider
        crash_class = order.option.crash_class
        if attempt.lane.endswith(BATCH_LANE) and order.option.batches is None:
            # Its line is lost, and a call of its own would be a second purchase.
            crash_class = CrashClass.BLIND
        way = way_on(crash_class, attempt, item.batch.unknown_policy)
        found = await self._around.outbound.find(item, attempt)
        if found is not None and found.here:
            return Again(attempt.number, attempt.key_number, bought=found.bought)
        if found is not None and way in WITHOUT_IT and not found.is_lost:
            await self._around.settle(
                item,
                settlement.elsewhere(item, attempt.number, found.place, self._around.clock.now()),
            )
            raise Released
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
            settle = settlement.asked(
                item, outcome, way, partial(self._around.fallen, provider=order.provider.name)
            )
            settle.attempt = settlement.attempt_end(attempt.number, outcome, 0.0)
            await self._around.settle(item, settle)
            raise Released
        return again(way, attempt, item.attempts + 1)


async def _not_accepted(provider_request_id: str, url: str | None) -> None:
    """Ignore what is known: it is written already, or by the attempt that adopts it."""
