"""Gets an order its permit: in line, for as long as it has patience and this process works."""

from __future__ import annotations

import asyncio

from headrace.gate import LaneShutError, Permit, PermitEnd
from headrace.metering import in_line
from headrace.order import Order, ask
from headrace.surroundings import Released, Surroundings


async def permit_of(
    around: Surroundings, stopping: asyncio.Event, order: Order, *, alone: bool
) -> Permit:
    """Stand in line for a permit.

    Raises ``LaneShutError``, and ``Released`` when it is sent away because this process stops.
    """
    try:
        with in_line(around.meter, order):
            if order.patience_s is None:
                return await around.quiet.enter(around.gate, ask(order), alone)
            return await _patiently(around, order, order.patience_s, alone=alone)
    except asyncio.CancelledError:
        if not stopping.is_set():
            raise
        raise Released from None


async def _patiently(
    around: Surroundings, order: Order, patience_s: float, *, alone: bool
) -> Permit:
    entering = asyncio.ensure_future(around.quiet.enter(around.gate, ask(order), alone))
    sleeping = asyncio.ensure_future(around.clock.sleep(patience_s))
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
