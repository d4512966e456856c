"""What one stage of one item wants bought, and from whom."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.cache import CacheMode
from headrace.gate import Ask
from headrace.held import HeldItem, OpenAttempt
from headrace.provider import Provider
from headrace.recovery import Again
from headrace.request import Request
from headrace.stage import Stage
from headrace.store.writes import Start


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


def start_of(order: Order, *, claim: bool) -> Start:
    """Return the attempt to write ahead; ``claim``: the fingerprint is to be bought by it."""
    item, batch, again = order.item, order.item.batch, order.again
    price = order.provider.price(order.request)
    number = item.attempts + 1
    start = Start(
        batch_id=batch.id,
        idx=item.idx,
        version=item.version,
        from_state=item.state,
        tenant_id=batch.tenant_id,
        shard_id=item.shard_id,
        fence=item.fence,
        number=number,
        key_number=again.key_number if again is not None else number,
        round=item.round,
        stage=item.stage,
        tries=item.tries,
        provider=order.provider.name,
        lane=order.provider.lane(order.request),
        fingerprint=order.request.fingerprint,
        cost_max_microusd=price.cost_microusd_max,
        claim=claim,
        refresh_before=batch.created_at if batch.cache_mode is CacheMode.REFRESH else None,
    )
    if again is not None:
        start.supersedes = again.supersedes
        start.repeats = again.repeats
        start.overrun_microcredits = price.credits_microcredits if again.repeats else 0
        if again.resume is not None:
            start.provider_request_id, start.provider_url = again.resume
    return start
