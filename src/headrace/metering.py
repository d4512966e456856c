"""What is counted of an order: its permit, how its call ended, and what that gave."""

from __future__ import annotations

from collections import Counter

from headrace.meter import Meter, public_lane
from headrace.order import Order
from headrace.outcome import OutcomeKind
from headrace.purchase import Bought


class _Counted:
    """Counts one more under a name while the block runs; cheaper than a generator."""

    __slots__ = ("_counts", "_name")

    def __init__(self, counts: Counter[str], name: str) -> None:
        self._counts = counts
        self._name = name

    def __enter__(self) -> None:
        self._counts[self._name] += 1

    def __exit__(self, *ended: object) -> None:
        self._counts[self._name] -= 1


def permit_out(meter: Meter, order: Order) -> _Counted:
    """Count the permit of an order while the block runs."""
    return _Counted(meter.permits, _lane(meter, order))


def in_line(meter: Meter, order: Order) -> _Counted:
    """Count an order that stands in line for a permit while the block runs."""
    return _Counted(meter.waiters, _lane(meter, order))


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
