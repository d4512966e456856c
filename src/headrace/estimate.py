"""A quote before anything is bought: rows, cache hits already subtracted, the most it can cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from headrace.engine import Engine
from headrace.outcome import CallFailed
from headrace.price import Price, credits, usd, usd_exact
from headrace.recipe import Recipe
from headrace.source import BadRow, Row
from headrace.stage import Stage, StageInput
from headrace.submission import price_of

PAGE = 1000


@dataclass(frozen=True)
class Quote:
    """What a run would be; amounts are worst cases for what is not cached.

    ``cached`` counts rows whose first bought stage is cached, ``duplicates`` further rows
    that ask for the same as an earlier one; ``cost_microusd_max`` is ``None`` if unknown.
    """

    recipe: str
    rows: int
    bad_rows: int
    cached: int
    duplicates: int
    to_buy: int
    cost_microusd_max: int | None
    credits_microcredits_max: int

    def to_json(self) -> dict[str, Any]:
        """Return the quote as a JSON object."""
        return asdict(self)

    def lines(self, cap_microusd: int | None = None) -> list[str]:
        """Return the quote for people, with what a cap on the cost would do."""
        return [
            f"{self.rows} rows under {self.recipe}: {self.cached} cached, "
            f"{self.duplicates} duplicates, {self.to_buy} to make"
            + (f", {self.bad_rows} cannot be used" if self.bad_rows else ""),
            f"cost at most {usd(self.cost_microusd_max)}, "
            f"credits at most {credits(self.credits_microcredits_max)}",
            self._capped(cap_microusd),
            "time: not known before the first run here; limits of a lane are not learned yet",
        ]

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
    duplicates = 0
    for page in _pages(rows):
        prints: list[bytes] = []
        for number, row in page:
            total += 1
            lacks = isinstance(row, Row) and any(
                row.values.get(name) in (None, "") for name in found.required
            )
            print_ = None if lacks else _fingerprint(buying, row, number, folders)
            if print_ is None:
                bad += 1
            elif print_ in seen:
                duplicates += 1
            else:
                seen.add(print_)
                prints.append(print_)
        hits = await engine.cache.get_many("default", prints) if prints else {}
        cached += len(hits)
    to_buy = len(seen) - cached
    price = price_of(stages)
    return Quote(
        found.name,
        total,
        bad,
        cached,
        duplicates,
        to_buy,
        _times(price, to_buy),
        price.credits_microcredits * to_buy,
    )


def _times(price: Price, count: int) -> int | None:
    return None if price.cost_microusd_max is None else price.cost_microusd_max * count


def _pages(rows: Iterable[Row | BadRow]) -> Iterator[list[tuple[int, Row | BadRow]]]:
    page: list[tuple[int, Row | BadRow]] = []
    for number, row in enumerate(rows, 1):
        page.append((number, row))
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _fingerprint(
    stage: Stage | None, row: Row | BadRow, number: int, folders: tuple[Path, ...]
) -> bytes | None:
    if isinstance(row, BadRow) or stage is None:
        return None
    try:
        given = StageInput(row.values, {}, {}, None, number, "estimate", folders)
        return stage.request(given).fingerprint
    except CallFailed:
        return None
