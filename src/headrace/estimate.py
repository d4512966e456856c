"""A quote before anything is bought: rows, cache hits subtracted, the most it costs, how long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headrace.engine import Engine
from headrace.forecast import UNKNOWN, Forecast, forecast
from headrace.limits import Load, Quota
from headrace.order import Option
from headrace.outcome import CallFailed
from headrace.price import Price, credits, dearest, usd, usd_exact
from headrace.pricing import Pricing, pricing_of
from headrace.recipe import Recipe
from headrace.routing import best_hit, options_of
from headrace.source import BadRow, Row
from headrace.stage import Stage, StageInput
from headrace.store import lanes
from headrace.submission import price_of

PAGE = 1000


@dataclass(frozen=True)
class Quote:
    """What a run would be; amounts are worst cases for what is not cached.

    ``cached`` counts rows whose first bought stage is cached, ``duplicates`` further rows
    that ask for the same as an earlier one; ``cost_microusd_max`` is ``None`` if unknown.
    Credits are those for what is to be bought, or, under a price book, those that a submit
    sets aside: then what hits do not cost comes back when they settle.
    Of several models for a stage the dearest counts for the cost, the first for the time.
    ``time_s`` is what the limits known today make of it, ``None`` where nothing is known.
    """

    recipe: str
    rows: int
    bad_rows: int
    cached: int
    duplicates: int
    to_buy: int
    cost_microusd_max: int | None
    credits_microcredits_max: int
    time_s: float | None = None
    time_words: str = UNKNOWN

    def to_json(self) -> dict[str, Any]:
        """Return the quote as a JSON object."""
        return asdict(self)

    def lines(self, cap_microusd: int | None = None) -> list[str]:
        """Return the quote for people, with what a cap on the cost would do."""
        return [
            f"{self.rows} rows under {self.recipe}: {self.cached} cached, "
            f"{self.duplicates} duplicates, {self.to_buy} to make"
            + (f", {self.bad_rows} cannot be used" if self.bad_rows else ""),
            f"cost at most {self._most()}, "
            f"credits at most {credits(self.credits_microcredits_max)}",
            self._capped(cap_microusd),
            f"time {self.time_words}",
        ]

    def _most(self) -> str:
        if self.cost_microusd_max is not None:
            return usd(self.cost_microusd_max)
        return "unknown (a model without a list price, or without a most of its output)"

    def _capped(self, cap_microusd: int | None) -> str:
        most = self.cost_microusd_max
        if most is None:
            return "--max-cost would stop it when the costs that are told reach the cap"
        if cap_microusd is None:
            return f"--max-cost {usd_exact(most)} would hold it to that"
        told = f"--max-cost {usd_exact(cap_microusd)}"
        if most <= cap_microusd:
            return f"{told} is enough for all of it"
        enough = self.to_buy * cap_microusd // most
        return f"{told} is enough for {enough} of the {self.to_buy} at least, then it is paused"


async def estimate_rows(
    engine: Engine,
    rows: Iterable[Row | BadRow],
    recipe: str | Recipe,
    columns: list[str] | None,
    folders: tuple[Path, ...] = (),
    tenant_id: str = "default",
) -> Quote:
    """Return the quote for ``rows``; reads the tenant's cache, writes and buys nothing.

    Raises ``RecipeError`` and ``InputError`` as a submit would.
    """
    found = await engine.marks.on(engine.recipe(recipe), tenant_id)
    stages = await engine.stages_of(found, tenant_id)
    used: set[str] = set().union(*(stage.columns() for stage in stages))
    found.check_columns(columns, used, "input")
    buying = next((stage for stage in stages if stage.provider is not None), None)
    total = bad = cached = duplicates = 0
    seen: set[bytes] = set()
    worst = _Worst()
    priced = _Priced(await pricing_of(engine.database, engine.clock, found.name, stages, folders))
    loads: dict[str, _Load] = {}
    for page in _pages(rows):
        asked: list[list[Option]] = []
        for number, row in page:
            total += 1
            options = [] if _lacks(row, found) else _options(buying, row, number, folders)
            same = b"".join(option.request.fingerprint for option in options)
            if not options:
                bad += 1
            elif same in seen:
                duplicates += 1
            else:
                seen.add(same)
                asked.append(options)
                _load(loads, options[0])
            if options and isinstance(row, Row):
                priced.of_row(row.values, number)
        prints = [option.request.fingerprint for options in asked for option in options]
        hits = await engine.cache.get_many(tenant_id, prints) if prints else {}
        to_make = [options for options in asked if best_hit(options, hits) is None]
        cached += len(asked) - len(to_make)
        worst.add(to_make)
    to_buy = len(seen) - cached
    share = to_buy / len(seen) if seen else 0.0
    time = await _forecast(engine, loads, share)
    return Quote(
        found.name,
        total,
        bad,
        cached,
        duplicates,
        to_buy,
        worst.total(stages, to_buy),
        priced.total(price_of(stages), to_buy),
        time.time_s,
        time.words,
    )


@dataclass
class _Load:
    """What a lane is asked for in all: requests, tokens, images."""

    quota: Quota
    sums: list[int]


def _load(loads: dict[str, _Load], option: Option) -> None:
    """Add what a call to the first model takes to the sums of its lane."""
    provider, request = option.provider, option.request
    load = provider.load(request)
    lane = loads.setdefault(provider.lane(request), _Load(provider.quota, [0, 0, 0]))
    for at, amount in enumerate((load.requests, load.tokens, load.images)):
        lane.sums[at] += amount


async def _forecast(engine: Engine, loads: dict[str, _Load], share: float) -> Forecast:
    """Return the time of the lane that takes longest; of the first stage that calls somebody."""
    if not loads:
        return Forecast(None, UNKNOWN)
    async with engine.database.acquire() as connection:
        known = await lanes.remembered(connection, engine.clock.now())
    found = []
    for name, lane in loads.items():
        requests, tokens, images = (round(amount * share) for amount in lane.sums)
        before = known.get(name)
        learned = None if before is None else before.learned
        found.append(forecast(requests, Load(requests, tokens, images), lane.quota, learned))
    if any(one.time_s is None for one in found):
        return Forecast(None, UNKNOWN)
    return max(found, key=lambda one: one.time_s or 0.0)


class _Priced:
    """The most that is charged: under the price book what a submit sets aside for all rows."""

    def __init__(self, pricing: Pricing | None) -> None:
        self._pricing = pricing
        self._rows = 0
        self._most = 0 if pricing is None else pricing.least

    def of_row(self, row: dict[str, Any], number: int) -> None:
        """Count a row that can be used; raises ``UsageError`` as a submit would."""
        if self._pricing is not None:
            self._rows += 1
            self._most = max(self._most, self._pricing.of_row(row, number))

    def total(self, price: Price, to_buy: int) -> int:
        """Return the most in micro-credits; without a book, ``price`` for what is to be bought."""
        if self._pricing is None:
            return price.credits_microcredits * to_buy
        return self._rows * self._most


class _Worst:
    """Sums up the most that the calls of the first buying stage cost, row by row.

    A longer prompt may cost more. What later stages are asked depends on what comes before
    them, so they count at what a call of theirs costs at most whatever it asks.
    """

    def __init__(self) -> None:
        self._sum = 0
        self._unknown = False

    def add(self, to_make: list[list[Option]]) -> None:
        """Count rows that have to be bought, each at the dearest model that may make it."""
        for options in to_make:
            price = dearest(option.provider.price(option.request) for option in options)
            self._sum += price.cost_microusd_max or 0
            self._unknown |= price.cost_microusd_max is None

    def total(self, stages: list[Stage], to_buy: int) -> int | None:
        """Return the most that all of it costs in micro-USD, ``None`` when not known."""
        first = next((at for at, stage in enumerate(stages) if stage.provider is not None), None)
        if first is None or not to_buy:
            return 0
        later = price_of(stages[first + 1 :]).cost_microusd_max
        if self._unknown or later is None:
            return None
        return self._sum + later * to_buy


def _pages(rows: Iterable[Row | BadRow]) -> Iterator[list[tuple[int, Row | BadRow]]]:
    page: list[tuple[int, Row | BadRow]] = []
    for number, row in enumerate(rows, 1):
        page.append((number, row))
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _lacks(row: Row | BadRow, recipe: Recipe) -> bool:
    """Tell whether a row has nothing in a column that it must have."""
    return isinstance(row, Row) and any(
        row.values.get(name) in (None, "") for name in recipe.required
    )


def _options(
    stage: Stage | None, row: Row | BadRow, number: int, folders: tuple[Path, ...]
) -> list[Option]:
    """Return what may be asked for a row, the first choice first; nothing for a bad one."""
    if isinstance(row, BadRow) or stage is None:
        return []
    try:
        return options_of(stage, StageInput(row.values, {}, {}, None, number, "estimate", folders))
    except CallFailed:
        return []
