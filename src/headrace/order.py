"""What one stage of one item wants bought, and from whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from headrace.cache import CacheMode
from headrace.gate import Ask
from headrace.held import HeldItem, OpenAttempt
from headrace.limits import ONE_CALL, Quota
from headrace.live_text import LiveText
from headrace.price import Price
from headrace.provider import CrashClass, Provider
from headrace.provider_batch import BatchApi, batch_cost
from headrace.recovery import Again
from headrace.request import Request
from headrace.stage import Stage
from headrace.store.writes import Start

BATCH_PLACE = 1000
"""Places of the ways through a provider's batch API: behind those that a recipe can name."""

BATCH_LANE = "/batch"
"""How the lane of what goes through a batch API ends."""

_BATCH_QUOTA = Quota(concurrency=200, learns=False)
"""Handing a line in is a write into our own database."""


class Option(NamedTuple):
    """One way in which a stage of one item may be made; ``place`` is its model's in the recipe.

    With ``batches`` it goes through the provider's batch API, and ``place`` is behind all others.
    """

    place: int
    provider: Provider
    model: str
    request: Request
    batches: BatchApi | None = None

    @property
    def name(self) -> str:
        """Return what people are told: provider and model."""
        told = f"{self.provider.name}/{self.model}"
        return told if self.batches is None else f"{told} in a provider batch"

    @property
    def lane(self) -> str:
        """Return the lane that the purchase is made through, as its attempt says."""
        lane = self.provider.lane(self.request)
        return lane if self.batches is None else f"{lane}{BATCH_LANE}"

    @property
    def crash_class(self) -> CrashClass:
        """Return what may be done after a crash: a line is known by its key."""
        return self.provider.crash_class if self.batches is None else CrashClass.KEYED

    @property
    def price(self) -> Price:
        """Return the most that it can cost."""
        price = self.provider.price(self.request)
        most = price.cost_microusd_max
        if self.batches is None or most is None:
            return price
        return Price(price.credits_microcredits, batch_cost(most))


@dataclass(slots=True)
class Order:
    """What one stage of one item wants bought: ``option``, of ``options`` in the route's order.

    ``patient``: it stands in line although the provider is in trouble, for no other is open;
    for ``patience_s`` at most, where another is known to open by then. ``text`` is where what is
    bought may be heard before it is whole.
    """

    item: HeldItem
    stage: Stage
    options: list[Option]
    option: Option
    again: Again | None = None
    patient: bool = False
    patience_s: float | None = None
    text: LiveText | None = None

    @property
    def provider(self) -> Provider:
        """Return whom to buy from."""
        return self.option.provider

    @property
    def request(self) -> Request:
        """Return what to ask for."""
        return self.option.request

    @property
    def fingerprints(self) -> list[bytes]:
        """Return the fingerprints under which a result would serve, the best first."""
        return list(dict.fromkeys(option.request.fingerprint for option in self.options))

    @property
    def is_heard(self) -> bool:
        """Tell whether somebody has heard a part of it: another answer could not follow that."""
        return self.text is not None and self.text.is_heard

    @property
    def may_turn(self) -> bool:
        """Tell whether another model may be asked instead.

        Never while an answer of this one is unseen and its class offers a way to see it.
        """
        return len(self.options) > 1 and (self.again is None or self.again.repeats)


def ask(order: Order) -> Ask:
    """Return what one stage of one item asks of its lane."""
    provider, request, batch = order.provider, order.request, order.item.batch
    is_live = order.option.batches is None
    return Ask(
        lane=order.option.lane,
        quota=provider.quota if is_live else _BATCH_QUOTA,
        load=provider.load(request) if is_live else ONE_CALL,
        tenant_id=batch.tenant_id,
        class_name=batch.class_name,
        weight=batch.weight,
        cost=max(1, order.option.price.credits_microcredits),
        elsewhere=order.may_turn and not order.patient,
        items=batch.items,
        # A batch at a provider is no call in flight, and a computation here is none at all.
        calls_max=batch.calls_max if is_live and provider.quota.learns else None,
    )


def call_key(item: HeldItem, attempt: OpenAttempt) -> str:
    """Return the client key of an attempt: the same when a call is sent again after a crash."""
    return f"hr-{item.batch.id.hex}-{item.idx}-{attempt.key_number}"


def _repeat_price(order: Order, price: Price) -> int:
    """Return the most that the first call could be charged: the operator pays the second.

    Where the recipe prices whole items, a call has no price of its own.
    """
    tariff = order.item.batch.tariff
    if tariff is None:
        return price.credits_microcredits
    rate = tariff.rate(order.provider.name, order.option.model)
    if rate is not None:
        return rate.most(price.cost_microusd_max) or 0
    return 0 if tariff.item is not None else price.credits_microcredits


def start_of(order: Order, *, claim: bool) -> Start:
    """Return the attempt to write ahead; ``claim``: the fingerprint is to be bought by it."""
    item, batch, again = order.item, order.item.batch, order.again
    price = order.option.price
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
        lane=order.option.lane,
        fingerprint=order.request.fingerprint,
        cost_max_microusd=price.cost_microusd_max,
        claim=claim,
        refresh_before=batch.created_at if batch.cache_mode is CacheMode.REFRESH else None,
        course=item.course_json(),
    )
    if again is not None:
        start.supersedes = again.supersedes
        start.repeats = again.repeats
        start.overrun_microcredits = _repeat_price(order, price) if again.repeats else 0
        if again.resume is not None:
            start.provider_request_id, start.provider_url = again.resume
    return start
