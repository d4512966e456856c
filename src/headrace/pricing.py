"""Submits a batch under the prices of the moment: its tariff, and what is set aside for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from headrace.clock import Clock
from headrace.complaint import rounds_of
from headrace.errors import UsageError
from headrace.held import decode_json, encode_json
from headrace.outcome import CallFailed
from headrace.price_book import Rule, tariff_of
from headrace.provider import CrashClass, Provider
from headrace.request import Request
from headrace.stage import Stage, StageInput
from headrace.store import batches, price_book
from headrace.store.batches import NewBatch
from headrace.store.database import Database
from headrace.store.ledger import Accounts
from headrace.store.new_items import NewItem
from headrace.submission import asked_by
from headrace.tariff import PRICE_MAX, Rate, Tariff, hits_are_free

KNOWN_S = 5.0
"""So old may be what is known of the prices of hits on demand; a submit reads the book itself."""


async def submit_priced(
    connection: Any,
    accounts: Accounts,
    new: NewBatch,
    stages: Sequence[Stage],
    items: Iterable[NewItem],
    now: datetime,
) -> tuple[UUID, bool]:
    """Write a batch under the price book as it stands, as ``batches.submit`` does.

    Raises what that raises, and ``UsageError`` where nobody can say what a result that is
    priced by its cost costs at most.
    """
    rules = await price_book.in_force(connection, now)
    tariff = tariff_for(rules, new.recipe_name, stages)
    if tariff is None:
        return await batches.submit(connection, accounts, new, items, now)
    pricing = Pricing(tariff, stages, decode_json(new.source).get("folders", ()))
    kept = encode_json(tariff.to_json()).decode()
    priced = replace(new, tariff=kept, reserve_microcredits=pricing.least)
    return await batches.submit(connection, accounts, priced, pricing.of_items(items), now)


async def pricing_of(
    database: Database,
    clock: Clock,
    recipe: str,
    stages: Sequence[Stage],
    folders: Iterable[Path] = (),
) -> Pricing | None:
    """Return what rows would be priced at now, ``None`` where the price book says nothing."""
    async with database.acquire() as connection:
        rules = await price_book.in_force(connection, clock.now())
    tariff = tariff_for(rules, recipe, stages)
    return None if tariff is None else Pricing(tariff, stages, map(str, folders))


def tariff_for(rules: Sequence[Rule], recipe: str, stages: Sequence[Stage]) -> Tariff | None:
    """Return the tariff of a recipe with these stages, ``None`` where no rule prices any."""
    if not rules:
        return None
    asked = [
        (provider.name, model, provider.crash_class is CrashClass.PURE)
        for stage in stages
        for provider, model in asked_by(stage)
    ]
    return tariff_of(rules, recipe, asked)


class KnownPrices:
    """The price book as this process knows it: read again when it is older than ``KNOWN_S``."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._rules: list[Rule] = []
        self._read_s: float | None = None

    async def hits_are_free(self, recipe: str, stages: Sequence[Stage]) -> bool:
        """Tell whether results that are there already cost nothing."""
        now_s = self._clock.monotonic_s()
        if self._read_s is None or now_s - self._read_s >= KNOWN_S:
            async with self._database.acquire() as connection:
                self._rules = await price_book.in_force(connection, self._clock.now())
            self._read_s = now_s
        return hits_are_free(tariff_for(self._rules, recipe, stages))


class Pricing:
    """The most that items can be charged: what all have in common, and what each row adds.

    Rows are looked at only where a result is priced by its cost and its stage is the first
    that calls somebody: what later ones ask depends on what comes before them, so they count
    at what their calls cost at most whatever they ask.
    """

    def __init__(
        self, tariff: Tariff, stages: Sequence[Stage], folders: Iterable[str] = ()
    ) -> None:
        self._tariff = tariff
        self._folders = tuple(map(Path, folders))
        self._first: Stage | None = None
        self._rounds = 1
        self.least = 0 if tariff.item is None else _dearest(tariff.item)
        """What is set aside for each item whatever its row says, in micro-credits."""
        is_first = True
        for stage, rounds in zip(stages, rounds_of(stages), strict=True):
            if stage.provider is None:
                continue
            if is_first and self._by_cost(stage):
                self._first, self._rounds = stage, rounds
            else:
                self.least += self._most_of(stage) * rounds
            is_first = False
        _check(self.least)

    def of_items(self, items: Iterable[NewItem]) -> Iterator[NewItem]:
        """Yield ``items``, each with the most that it can be charged; raises ``UsageError``."""
        if self._first is None:
            yield from items
            return
        for number, item in enumerate(items, 1):
            if item.error is None:
                more = self.of_row(decode_json(item.inputs), number)
                item = replace(item, reserve_microcredits=more)  # noqa: PLW2901
            yield item

    def of_row(self, row: dict[str, Any], number: int) -> int:
        """Return the most that the item of a row can be charged; raises ``UsageError``.

        A row whose request cannot be built fails, and then costs nothing.
        """
        if self._first is None:
            return self.least
        given = StageInput(row, {}, {}, None, number, "", self._folders)
        try:
            requests = _requests(self._first, given)
        except CallFailed:
            return self.least
        most = max(self._most(provider, request.model, request) for provider, request in requests)
        total = self.least + most * self._rounds
        _check(total)
        return total

    def _by_cost(self, stage: Stage) -> bool:
        return any(
            rate.credits_microcredits is None
            for provider, _ in asked_by(stage)
            for rate in self._tariff.rates_of(provider.name)
        )

    def _most_of(self, stage: Stage) -> int:
        asked = [
            (provider, model, Request(provider.name, model, "", {}))
            for provider, model in asked_by(stage)
        ]
        return max((self._most(*one) for one in asked), default=0)

    def _most(self, provider: Provider, model: str, request: Request) -> int:
        """Return the most that a result can be charged, found in the cache or bought."""
        price = provider.price(request)
        own = self._tariff.rate(provider.name, model)
        rates = self._tariff.rates_of(provider.name) if not model else [own] if own else []
        if not rates:
            return 0 if self._tariff.item is not None else price.credits_microcredits
        found = []
        for rate in rates:
            most = rate.most(price.cost_microusd_max)
            if most is None:
                raise _unbounded(provider, model)
            found.append(max(most, rate.cached_microcredits))
        return max(found)


def _requests(stage: Stage, given: StageInput) -> list[tuple[Provider, Request]]:
    if stage.models is None:
        return [] if stage.provider is None else [(stage.provider, stage.request(given))]
    return [(choice.provider, choice.request(given)) for _, choice in stage.models.of(given)]


def _dearest(rate: Rate) -> int:
    return max(rate.credits_microcredits or 0, rate.cached_microcredits)


def _check(amount: int) -> None:
    if amount > PRICE_MAX:
        raise UsageError(
            "one item may cost more than 100,000 credits",
            remedy="Look at the price book: 'headrace ledger prices'.",
        )


def _unbounded(provider: Provider, model: str) -> UsageError:
    name = f"{provider.name}:{model}" if model else provider.name
    return UsageError(
        f"{name} is priced by its cost, and nobody knows beforehand what a call costs at most",
        remedy="Add at_most to its price, a list price for the model, or a most of its output.",
    )
