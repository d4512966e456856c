"""A quote before anything is bought: rows, cache hits subtracted, the most it costs, how long."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headrace.engine import Engine
from headrace.forecast import UNKNOWN, Forecast, forecast
from headrace.limits import Load
from headrace.outcome import CallFailed
from headrace.price import credits, usd, usd_exact
from headrace.recipe import Recipe
from headrace.request import Request
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
) -> Quote:
    """Return the quote for ``rows``; reads the cache, writes and buys nothing.

    Raises ``RecipeError`` and ``InputError`` as a submit would.
    """
    found = engine.recipe(recipe)
    stages = await engine.stages_of(found)
    used: set[str] = set().union(*(stage.columns() for stage in stages))
    found.check_columns(columns, used, "input")
    buying = next((stage for stage in stages if stage.provider is not None), None)
    total = bad = cached = 0
    seen: set[bytes] = set()
    worst = _Worst()
    loads: dict[str, list[int]] = {}
    duplicates = 0
    for page in _pages(rows):
        prints: list[bytes] = []
        for number, row in page:
            total += 1
            lacks = isinstance(row, Row) and any(
                row.values.get(name) in (None, "") for name in found.required
            )
            request = None if lacks else _request(buying, row, number, folders)
            if request is None:
                bad += 1
            elif request.fingerprint in seen:
                duplicates += 1
            else:
                seen.add(request.fingerprint)
                prints.append(request.fingerprint)
                _load(loads, buying, request)
                worst.add(buying, request)
        hits = await engine.cache.get_many("default", prints) if prints else {}
        cached += len(hits)
        worst.take_off(hits)
    to_buy = len(seen) - cached
    price = price_of(stages)
    share = to_buy / len(seen) if seen else 0.0
    time = await _forecast(engine, buying, loads, share)
    return Quote(
        found.name,
        total,
        bad,
        cached,
        duplicates,
        to_buy,
        worst.total(stages, to_buy),
        price.credits_microcredits * to_buy,
        time.time_s,
        time.words,
    )


def _load(loads: dict[str, list[int]], stage: Stage | None, request: Request) -> None:
    """Add what a call takes to the sums of its lane: requests, tokens, images."""
    if stage is None or stage.provider is None:
        return
    load = stage.provider.load(request)
    sums = loads.setdefault(stage.provider.lane(request), [0, 0, 0])
    for at, amount in enumerate((load.requests, load.tokens, load.images)):
        sums[at] += amount


async def _forecast(
    engine: Engine, stage: Stage | None, loads: dict[str, list[int]], share: float
) -> Forecast:
    """Return the time of the lane that takes longest; of the first stage that calls somebody."""
    if stage is None or stage.provider is None or not loads:
        return Forecast(None, UNKNOWN)
    async with engine.database.acquire() as connection:
        known = await lanes.remembered(connection, engine.clock.now())
    found = []
    for lane, sums in loads.items():
        requests, tokens, images = (round(amount * share) for amount in sums)
        before = known.get(lane)
        learned = None if before is None else before.learned
        total = Load(requests, tokens, images)
        found.append(forecast(requests, total, stage.provider.quota, learned))
    if any(one.time_s is None for one in found):
        return Forecast(None, UNKNOWN)
    return max(found, key=lambda one: one.time_s or 0.0)


class _Worst:
    """Sums up the most that the calls of the first buying stage cost, row by row.

    A longer prompt may cost more. What later stages are asked depends on what comes before
    them, so they count at what a call of theirs costs at most whatever it asks.
    """

    def __init__(self) -> None:
        self._page: dict[bytes, int | None] = {}
        self._sum = 0
        self._unknown = 0

    def add(self, stage: Stage | None, request: Request) -> None:
        """Count a row that may have to be bought."""
        if stage is not None and stage.provider is not None:
            most = stage.provider.price(request).cost_microusd_max
            self._page[request.fingerprint] = most

    def take_off(self, hits: Iterable[bytes]) -> None:
        """End a page of rows, of which these need not be bought."""
        for fingerprint in hits:
            self._page.pop(fingerprint, None)
        self._unknown += sum(most is None for most in self._page.values())
        self._sum += sum(most or 0 for most in self._page.values())
        self._page.clear()

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


def _request(
    stage: Stage | None, row: Row | BadRow, number: int, folders: tuple[Path, ...]
) -> Request | None:
    if isinstance(row, BadRow) or stage is None:
        return None
    try:
        given = StageInput(row.values, {}, {}, None, number, "estimate", folders)
        return stage.request(given)
    except CallFailed:
        return None
