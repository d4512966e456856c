"""A scenario: how the provider limits, what its user knows, and the items that are asked for."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from headrace.limits import DAY_S, Load
from headrace.simulator.makespan import Work, ideal_s
from headrace.simulator.scenario import build_settings
from headrace.simulator.settings import Settings

MARK = "item %07d of seed %d: "
CHARS_PER_TOKEN = 4
ITEMS_MAX = 200_000


@dataclass(frozen=True)
class Item:
    """One row: its prompt, and the most tokens that its answer may have."""

    prompt: str
    max_tokens: int


@dataclass(frozen=True)
class Scenario:
    """One case, the same for every client.

    ``know`` is what a user can know: ``told`` (the limits stand in the configuration),
    ``announced`` (only the answers' headers tell them) or ``hidden``. Refusals state them in
    words, too, except where they are hidden or headers mislead. ``told`` is the ``limits``
    table of ours, and the rates of the client with a token bucket. Items are as many as the
    ideal client needs ``duration_s`` for, unless ``items`` says; what comes in the first
    ``learning_s`` counts as learning. ``units`` is how much of the machine one run takes, in
    runs of a slow lane.
    """

    name: str
    title: str
    situation: str
    settings: dict[str, Any]
    know: str = "hidden"
    told: dict[str, float] = field(default_factory=dict)
    shape: str = "chat"
    duration_s: float = 60.0
    learning_s: float = 10.0
    items: int | None = None
    prompt_chars: tuple[int, int] = (80, 80)
    max_tokens: tuple[int, int] = (64, 64)
    units: int = 1
    kind: str = "plain"
    workers: int = 1
    note: str = ""

    @property
    def tree(self) -> dict[str, Any]:
        """The simulator's settings, with the end of learning, and what refusals may state."""
        misleads = self.settings.get("headers", {}).get("kind") == "misleading"
        plain = {
            "crash_class": "A",
            "seed": 1,
            "snapshots_s": [self.learning_s],
            "states_limits": self.know != "hidden" and not misleads,
        }
        return plain | self.settings

    def built(self) -> Settings:
        """Return the simulator's settings, checked."""
        return build_settings(self.tree, self.name)

    def rows(self, count: int, seed: int) -> Iterator[Item]:
        """Yield the first ``count`` items; they follow from ``seed`` alone."""
        chance = random.Random(seed)
        for number in range(count):
            chars, most = chance.randint(*self.prompt_chars), chance.randint(*self.max_tokens)
            mark = MARK % (number, seed)
            filling = "a quiet river turns the wheel of the mill " * (1 + chars // 42)
            yield Item((mark + filling)[: max(chars, len(mark))], most)

    def works(self, count: int, seed: int) -> list[Work]:
        """Return what the items take of the provider's limits."""
        return [Work(self._load(item)) for item in self.rows(count, seed)]

    def _load(self, item: Item) -> Load:
        tokens = -(-len(item.prompt) // CHARS_PER_TOKEN)
        if self.shape == "images":
            return Load(tokens=tokens, images=1)
        return Load(tokens=tokens + item.max_tokens)

    def count(self, seed: int) -> int:
        """Return how many items the ideal client works on for ``duration_s``."""
        if self.items is not None:
            return self.items
        settings = self.built()
        low, high = 1, 64
        while high < ITEMS_MAX and self._ideal_s(settings, high, seed) < self.duration_s:
            low, high = high, high * 2
        while low < high:
            middle = (low + high) // 2
            if self._ideal_s(settings, middle, seed) < self.duration_s:
                low = middle + 1
            else:
                high = middle
        return low

    def _ideal_s(self, settings: Settings, count: int, seed: int) -> float:
        return ideal_s(settings, [work.load for work in self.works(count, seed)])

    def true_rates(self) -> dict[str, float]:
        """Return the tightest rate of each dimension per second, as the provider limits it."""
        rates: dict[str, float] = {}
        for one in self.built().limits:
            if one.dimension == "concurrency" or one.kind == "day":
                continue
            rate = one.amount / one.span_s
            rates[one.dimension] = min(rate, rates.get(one.dimension, rate))
        return rates


_WINDOWS_S = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": DAY_S}


def told_rates(table: dict[str, float]) -> dict[str, float]:
    """Return the rates per second that a ``limits`` table tells, by dimension."""
    rates = {}
    for name, amount in table.items():
        dimension, per, window = name.partition("_per_")
        if per:
            rates[dimension] = amount / _WINDOWS_S[window]
    return rates
