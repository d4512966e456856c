"""What a batch's results cost its tenant: taken from the price book at the submit, then fixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from headrace.price import MICRO

PRICE_MAX = 100_000 * MICRO
"""The most that one result can cost: ten million of them still fit the ledger's integers."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one result: ``credits_microcredits``, or ``margin_ppm`` over its cost.

    A dollar of cost is ``usd_microcredits``, the margin is parts per million on top, and the
    sum is rounded up to a whole micro-credit, once for each result. ``at_most_microcredits``
    bounds it, and is what is set aside where nobody knows a call's cost beforehand.
    ``cached_microcredits`` is the price of a result that was there already.
    """

    credits_microcredits: int | None = None
    margin_ppm: int = 0
    usd_microcredits: int = MICRO
    at_most_microcredits: int | None = None
    cached_microcredits: int = 0

    def over(self, cost_microusd: int) -> int:
        """Return the price of a result that cost the operator so much."""
        if self.credits_microcredits is not None:
            return self.credits_microcredits
        exact = cost_microusd * self.usd_microcredits * (MICRO + self.margin_ppm)
        price = min(-(-exact // (MICRO * MICRO)), PRICE_MAX)
        return price if self.at_most_microcredits is None else min(price, self.at_most_microcredits)

    def most(self, cost_microusd_max: int | None) -> int | None:
        """Return the most that a bought result can be charged, ``None`` where nobody knows.

        ``cost_microusd_max`` is the most that its call can cost, ``None`` for unknown.
        """
        if self.credits_microcredits is not None:
            return self.credits_microcredits
        if cost_microusd_max is None:
            return self.at_most_microcredits
        return self.over(cost_microusd_max)

    def of_call(self, *costs_microusd: int | None) -> int:
        """Return the price of a bought result by the first of ``costs_microusd`` that is known.

        In their order: what the provider told, the estimate, the worst case. Where none is
        known it is the most that may be charged.
        """
        known = next((cost for cost in costs_microusd if cost is not None), None)
        return self.most(known) or 0

    def to_json(self) -> dict[str, Any]:
        """Return the rate as it is kept."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Tariff:
    """The rates of one batch.

    ``rates`` hold for results of a model (``provider:model``) or of any other model of a
    provider (``provider``). ``item`` is the recipe's fixed price: it is charged once for an
    item, however many of its results have no rate of their own. What neither prices has the
    price that the provider's settings name.
    """

    rates: Mapping[str, Rate] = field(default_factory=dict)
    item: Rate | None = None

    def rate(self, provider: str, model: str) -> Rate | None:
        """Return the rate of results of a model, ``None`` where it has none of its own."""
        return self.rates.get(f"{provider}:{model}") or self.rates.get(provider)

    def rates_of(self, provider: str) -> list[Rate]:
        """Return the rates that results of a provider may have."""
        of_models = [rate for name, rate in self.rates.items() if name.startswith(f"{provider}:")]
        return of_models + [rate for name, rate in self.rates.items() if name == provider]

    def to_json(self) -> dict[str, Any]:
        """Return the tariff as it is kept with its batch."""
        rates = {name: rate.to_json() for name, rate in self.rates.items()}
        return {"rates": rates, "item": None if self.item is None else self.item.to_json()}

    @classmethod
    def from_json(cls, told: dict[str, Any]) -> Tariff:
        """Return what ``to_json`` wrote."""
        item = told["item"]
        rates = {name: Rate(**rate) for name, rate in told["rates"].items()}
        return cls(rates, None if item is None else Rate(**item))


def hits_are_free(tariff: Tariff | None) -> bool:
    """Tell whether results that are there already cost nothing under a tariff."""
    if tariff is None:
        return True
    rates = [*tariff.rates.values(), *([] if tariff.item is None else [tariff.item])]
    return not any(rate.cached_microcredits for rate in rates)
