"""What one stage of one item wants bought, and from whom."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.gate import Ask
from headrace.held import HeldItem, OpenAttempt
from headrace.provider import Provider
from headrace.recovery import Again
from headrace.request import Request
from headrace.stage import Stage


@dataclass(slots=True)
class Order:
    """What one stage of one item wants bought, and from whom."""

    item: HeldItem
    stage: Stage
    provider: Provider
    request: Request
    again: Again | None = None


def ask(order: Order) -> Ask:
    """Return what one stage of one item asks of its lane."""
    provider, request, batch = order.provider, order.request, order.item.batch
    return Ask(
        lane=provider.lane(request),
        quota=provider.quota,
        load=provider.load(request),
        tenant_id=batch.tenant_id,
        class_name=batch.class_name,
        weight=batch.weight,
        cost=max(1, provider.price(request).credits_microcredits),
    )


def call_key(item: HeldItem, attempt: OpenAttempt) -> str:
    """Return the client key of an attempt: the same when a call is sent again after a crash."""
    return f"hr-{item.batch.id.hex}-{item.idx}-{attempt.key_number}"
