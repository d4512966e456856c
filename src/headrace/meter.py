"""What a process counts of its own work: plain numbers, to be read whenever somebody looks.

Nothing here knows who reads it, so that counting costs a few additions and a process that
nobody watches loads nothing for it. Labels are providers, models and lanes, never tenants,
batches or items; of what strangers can name without end only the first are told apart.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from dataclasses import dataclass, field

MODELS_MAX = 200
LANES_MAX = 200
OTHER = "other"
"""Stands for all models, or lanes, behind the first so many."""

LATENCY_BOUNDS_S = (
    0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 30.0,
    60.0, 120.0, 300.0, 600.0,
)  # fmt: skip
"""Upper bounds of the classes of latency: fine around five seconds, up to the longest call."""

Maker = tuple[str, str]
"""Provider and model."""


@dataclass(slots=True)
class Latency:
    """How long calls took: ``counts`` by class, one more than there are bounds, and their sum."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BOUNDS_S) + 1))
    total_s: float = 0.0

    def note(self, took_s: float) -> None:
        """Count a call."""
        self.counts[bisect_left(LATENCY_BOUNDS_S, took_s)] += 1
        self.total_s += took_s


class Meter:
    """The counts of one process since it started.

    ``attempts`` by provider, model, lane and outcome; ``results`` by provider, model and where
    they came from (``cache``, ``bought``, or ``uncached`` where the cache was not asked);
    ``cost_microusd`` by provider, model and whether it was ``told`` or ``estimated``;
    ``artifact_bytes`` bought, by provider and model; ``items`` that were walked to an end, by
    state; ``permits`` that are out now and ``waiters`` for one, by lane; ``fenced``: writes that
    another worker's fence refused.
    """

    def __init__(self) -> None:
        self.attempts: Counter[tuple[str, str, str, str]] = Counter()
        self.latency: defaultdict[Maker, Latency] = defaultdict(Latency)
        self.results: Counter[tuple[str, str, str]] = Counter()
        self.cost_microusd: Counter[tuple[str, str, str]] = Counter()
        self.artifact_bytes: Counter[Maker] = Counter()
        self.items: Counter[str] = Counter()
        self.permits: Counter[str] = Counter()
        self.waiters: Counter[str] = Counter()
        self.charged_microcredits = 0
        self.fenced = 0
        self._makers: set[Maker] = set()
        self._lanes: set[str] = set()

    def ended(
        self, provider: str, model: str, lane: str, outcome: str, took_s: float | None
    ) -> None:
        """Count an attempt that ended; ``took_s`` is ``None`` where nobody waited for it."""
        maker = self.maker(provider, model)
        self.attempts[*maker, self.lane(lane), outcome] += 1
        if took_s is not None:
            self.latency[maker].note(took_s)

    def cost(self, provider: str, model: str, told: int | None, estimated: int | None) -> None:
        """Count what an attempt cost in micro-USD: what was told, or else the estimate."""
        amount = estimated if told is None else told
        if amount:
            how = "estimated" if told is None else "told"
            self.cost_microusd[*self.maker(provider, model), how] += amount

    def result(self, provider: str, model: str, source: str, size_bytes: int = 0) -> None:
        """Count the result of a stage."""
        maker = self.maker(provider, model)
        self.results[*maker, source] += 1
        if size_bytes:
            self.artifact_bytes[maker] += size_bytes

    def maker(self, provider: str, model: str) -> Maker:
        """Return the labels of a model: its own, or ``other`` when there are too many."""
        maker = (provider, model)
        if maker in self._makers:
            return maker
        if len(self._makers) >= MODELS_MAX:
            return provider, OTHER
        self._makers.add(maker)
        return maker

    def lane(self, name: str) -> str:
        """Return the label of a lane: its own, or ``other`` when there are too many."""
        if name in self._lanes:
            return name
        if len(self._lanes) >= LANES_MAX:
            return OTHER
        self._lanes.add(name)
        return name


def public_lane(name: str, tenant_id: str) -> str:
    """Return the name of a lane without that of its tenant: all that buy with own keys are one."""
    if "@" not in name:
        return name
    suffix = f"@{tenant_id}"
    # What goes through a batch API has its mark behind the tenant.
    head, _, tail = name.rpartition(suffix)
    return f"{head}@own-key{tail}" if head and tail in ("", "/batch") else name
