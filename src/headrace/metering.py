"""What is counted of an order: its permit, how its call ended, and what that gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from headrace.meter import Meter, public_lane
from headrace.order import Order
from headrace.outcome import OutcomeKind
from headrace.purchase import Bought


def permit_out(meter: Meter, order: Order) -> AbstractContextManager[None]:
    """Count the permit of an order while the block runs."""
    return _counted(meter.permits, _lane(meter, order))


def in_line(meter: Meter, order: Order) -> AbstractContextManager[None]:
    """Count an order that stands in line for a permit while the block runs."""
    return _counted(meter.waiters, _lane(meter, order))


@contextmanager
def _counted(counts: Counter[str], name: str) -> Iterator[None]:
    counts[name] += 1
    try:
        yield
    finally:
        counts[name] -= 1


def count_end(meter: Meter, order: Order, bought: Bought) -> None:
    """Count how a call ended; a line that still waits for its provider batch has not."""
    outcome = bought.outcome
    if outcome.kind is OutcomeKind.PENDING:
        return
    provider, model = order.provider.name, order.option.model
    took_s = bought.latency_s if order.option.batches is None else None
    meter.ended(provider, model, _lane(meter, order), outcome.kind.value, took_s)
    meter.cost(provider, model, outcome.cost_microusd, outcome.estimate_microusd)


def count_bought(meter: Meter, order: Order, size_bytes: int, *, cached: bool) -> None:
    """Count what was bought and is delivered; ``cached``: others may be served it."""
    source = "bought" if cached else "uncached"
    meter.result(order.provider.name, order.option.model, source, size_bytes)


def _lane(meter: Meter, order: Order) -> str:
    return meter.lane(public_lane(order.option.lane, order.item.batch.tenant_id))
