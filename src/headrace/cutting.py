"""What is cut next: some of every tenant for the gates, and whole shards where there is room.

Pure: the store gathers what there is, ``plan`` decides, the store writes it. Whoever fills the
queue, a tenant with nothing at a gate gets an express shard of a few items, which no room
can refuse; at the gate the fair line decides. Order is by a virtual counter for each tenant
(see ``fairness``), here of items cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from uuid import UUID

from headrace.fairness import CLASS_SHARES

SHARDS_AHEAD = 2
"""Shards open for each that the workers can hold: urgent work stands behind no wall of bulk."""
EXPRESS_PER_WORKER = 64
"""Express shards that a worker holds, and as many are open: a bound on memory."""
BESIDE_MAX = 8
"""So many recipes of a tenant go on side by side in a class: each has express shards of its own."""
EXPRESS_ITEMS_MAX = 10
ITEMS_MIN = 10
FIRST_ITEMS = 25
"""The size of the first shards of a batch, of which nobody knows yet how fast it goes."""
GROWTH_MAX = 20
"""By how much a shard may be larger than the batch's last ones, whose calls may have been lucky."""
SHARD_S = 30.0
"""How long a shard should keep its worker: short enough to pause, to share, to lose."""


@dataclass(slots=True)
class Line:
    """What one tenant has to be cut in one class, of the batches of one recipe.

    Those stand behind the same gates, one after the other; batches of other recipes may find
    theirs idle, so they go beside them. ``present``: some of it is at a gate, or on the fast way
    there; ``thin``: that is one express shard and no more, which may end before the next arrives;
    ``open`` are its whole shards that have not ended. Items from ``cut_idx`` to
    ``end_idx``, not included, of ``batch_id`` were never cut; ``due`` are rows of batches
    whose wait is over, and go first. Of a tenant that may have ``calls_max`` calls in flight
    ``shards`` shards of ``items`` items are open.
    """

    tenant_id: str
    class_name: str
    weight: int
    present: bool
    batch_id: UUID | None = None
    cut_idx: int = 0
    end_idx: int = 0
    due: list[tuple[UUID, list[int]]] = field(default_factory=list)
    thin: bool = False
    open: int = 0
    calls_max: int | None = None
    shards: int = 0
    items: int = 0

    @property
    def is_fed(self) -> bool:
        """Whether as much is open as keeps the tenant at its cap; more would keep others out."""
        if self.calls_max is None or not self.present:
            return False
        return self.shards >= SHARDS_AHEAD and self.items >= SHARDS_AHEAD * self.calls_max

    @property
    def next_batch(self) -> UUID | None:
        """Return the batch of which the next items are, ``None`` when enough is cut."""
        if self.is_fed:
            return None
        if self.due:
            return self.due[0][0]
        return self.batch_id if self.cut_idx < self.end_idx else None


@dataclass(frozen=True, slots=True)
class Room:
    """How many shards the workers hold (``appetite``), may be cut, and express ones.

    ``all_shards`` may be cut of this class and the others that have a room of their own.
    """

    appetite: int
    shards: int
    express: int
    all_shards: int = 0


@dataclass(frozen=True, slots=True)
class Pace:
    """How the latest shards of a batch went: items in all, and in the largest; seconds in all."""

    items: int
    items_max: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A shard to be cut; ``idxs`` where it is no range."""

    batch_id: UUID
    idx_from: int
    idx_to: int
    idxs: list[int] | None
    express: bool


def worth(pace: Pace | None) -> int:
    """Return how many items keep a worker for ``SHARD_S``, by how the last ones went."""
    if pace is None:
        return FIRST_ITEMS
    in_time = int(SHARD_S * pace.items / max(0.001, pace.seconds))
    return max(1, min(in_time, GROWTH_MAX * pace.items_max))


def shard_size(items_left: int, items_max: int, appetite: int, items_worth: int) -> int:
    """Return how many items the next shard gets: all workers busy, none for too long."""
    even = -(-items_left // max(1, appetite))
    most = max(ITEMS_MIN, min(items_max, items_worth))
    return max(1, min(items_left, items_max, most, max(even, ITEMS_MIN)))


def charged(served_cost: int, items: int, weight: int, class_name: str) -> int:
    """Return the counter after ``items``: heavier plans and classes pay less for them."""
    return served_cost + max(1, 24 * items // (weight * CLASS_SHARES[class_name]))


class Plan:
    """The next shards, in fair order; ``pieces`` is the answer and ``counters`` what they cost.

    ``counters`` are by tenant and were lifted to ``level``, the least counter of those that
    had work at the last cut: to have had none earns no credit. ``level`` is this cut's.
    """

    def __init__(
        self,
        lines: list[Line],
        counters: dict[str, int],
        level: int,
        room: Room,
        items_max: int,
        paces: dict[UUID, Pace],
    ) -> None:
        self._room = room
        self._items_max = items_max
        self._paces = paces
        self.pieces: list[Piece] = []
        self.counters = {tenant_id: max(level, count) for tenant_id, count in counters.items()}
        self.level = min((self.counters[line.tenant_id] for line in lines), default=level)
        # With more tenants than places each gets fewer items, so that all come round soon.
        self._express_items = max(
            1, min(EXPRESS_ITEMS_MAX, EXPRESS_ITEMS_MAX * room.express // max(1, len(lines)))
        )
        self._cut(lines)

    def _cut(self, lines: list[Line]) -> None:
        absent = [line for line in lines if not line.present]
        places = self._room.express - self._serve(absent, self._room.express, True, once=True)
        # What follows leaves places for those who come next.
        places -= self._room.express // 2
        thin = [line for line in lines if line.present and line.thin]
        places -= self._serve(thin, places, True, once=True)
        # Interactive work never stands behind whole shards.
        urgent = [line for line in lines if line.class_name == "interactive"]
        self._serve(urgent, places, True)
        others = [line for line in lines if line.class_name != "interactive"]
        self._serve(others, self._room.shards, False)

    def _serve(self, lines: list[Line], count: int, express: bool, once: bool = False) -> int:
        """Cut up to ``count`` shards, the least served tenant first; return how many.

        Of a tenant's lines in a class that one is first which has the fewest shards open.
        """
        heap = [(self._place(line), at) for at, line in enumerate(lines) if line.next_batch]
        heapify(heap)
        made = 0
        while heap and made < count:
            place, at = heap[0]
            line = lines[at]
            if place == self._place(line):
                self._take(line, express)
                made += 1
                if once or line.next_batch is None:
                    heappop(heap)
                    continue
            heapreplace(heap, (self._place(line), at))
        return made

    def _place(self, line: Line) -> tuple[int, int, str, int]:
        share = CLASS_SHARES[line.class_name]
        return self.counters[line.tenant_id], -share, line.tenant_id, line.open

    def _take(self, line: Line, express: bool) -> None:
        batch_id = line.next_batch
        assert batch_id is not None
        items_worth = worth(self._paces.get(batch_id))
        left = len(line.due[0][1]) if line.due else line.end_idx - line.cut_idx
        if express:
            size = min(left, self._express_items, items_worth)
            line.present = line.present or line.calls_max is not None
        else:
            size = shard_size(left, self._items_max, self._room.appetite, items_worth)
            line.open += 1
        line.shards, line.items = line.shards + 1, line.items + size
        if line.due:
            idxs = line.due[0][1]
            part = sorted(idxs[:size])
            del idxs[:size]
            if not idxs:
                line.due.pop(0)
            self.pieces.append(Piece(batch_id, part[0], part[-1], part, express))
        else:
            first, line.cut_idx = line.cut_idx, line.cut_idx + size
            self.pieces.append(Piece(batch_id, first, line.cut_idx - 1, None, express))
        self.counters[line.tenant_id] = charged(
            self.counters[line.tenant_id], size, line.weight, line.class_name
        )
