"""The model: items through workers, their group commits, and one PostgreSQL.

A worker prepares items, writes each ahead (a start), calls, and writes its end (a settle); what
waits while a group is being committed is the next group, 400 writes at most. A commit takes CPU of
the database for itself and for each write in it; the last part of it holds rows that all share (the
counts of a batch, the revenue account), until the log is flushed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from bench.scale.events import Lock, Log, Servers, Simulation

GROUP_MAX, CROWD = 400, 8
"""As in ``headrace.writer``."""
CHUNK = 64
"""Items that a worker's loop prepares before others have their turn on the core."""


@dataclass(frozen=True)
class Costs:
    """Seconds of CPU: of a worker for an item; of the database for a commit, for an item's two
    writes, for a step of a lane, and of each for an idle worker, in cores.

    ``flush_s``: how long the log's flush takes. ``shared_share``: how much of a commit's work
    comes behind the locks of shared rows. ``trip_s``: a round trip between the two.
    """

    worker_s: float
    commit_s: float
    item_s: float
    step_s: float = 0.0006
    idle_cores: float = 0.0
    flush_s: float = 0.001
    shared_share: float = 0.35
    trip_s: float = 0.0003


@dataclass
class Seen:
    """What came of a run: counts, seconds, and the delays of settles."""

    items_in: int = 0
    items_out: int = 0
    ended_s: float = 0.0
    commits: int = 0
    writes: int = 0
    steps: int = 0
    settle_s: list[float] = field(default_factory=list)
    database_cores: float = 0.0
    held_share: float = 0.0
    waiting_max: int = 0

    @property
    def group(self) -> float:
        """The mean number of writes in a commit."""
        return self.writes / max(1, self.commits)

    def quantile_s(self, share: float) -> float:
        """Return the delay that ``share`` of all settles stayed below."""
        ordered = sorted(self.settle_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


class Database:
    """Cores, the log, and the shared rows."""

    def __init__(
        self, simulation: Simulation, cores: Servers, costs: Costs, seen: Seen, shared_rows: int = 1
    ) -> None:
        self.cores, self.costs, self.seen = cores, costs, seen
        self.simulation = simulation
        self.log = Log(simulation, costs.flush_s)
        self.rows = [Lock(simulation) for _ in range(shared_rows)]
        self.own_s = 0.0
        self.is_one_batch = False

    def commit(self, writes: int, row: int | None, then: Callable[[], None]) -> None:
        """Commit a group; ``row`` is the shared row that it needs, if any."""
        costs = self.costs
        work_s = costs.commit_s + writes * costs.item_s / 2
        self.seen.commits += 1
        self.seen.writes += writes
        self.own_s += work_s
        lock = None if row is None else self.rows[row % len(self.rows)]

        def durable() -> None:
            if lock is not None:
                lock.release()
            then()

        def locked() -> None:
            # The statements behind the lock, each a trip, and the flush.
            self.simulation.after(
                4 * costs.trip_s,
                partial(self.cores.take, work_s * costs.shared_share, flush),
            )

        def flush() -> None:
            self.log.flush(durable)

        def first() -> None:
            if lock is None:
                locked()
            else:
                lock.take(locked)

        self.cores.take(work_s * (1.0 - costs.shared_share), first)

    def step(self, then: Callable[[], None]) -> None:
        """Step a lane; that nobody waits for the flush of a lane's row is how it is kept."""
        self.seen.steps += 1
        self.own_s += self.costs.step_s
        self.cores.take(self.costs.step_s, then)


class Worker:
    """One process: a loop that does one thing at a time, and two group commits."""

    def __init__(self, database: Database, cores: Servers, number: int, settled: Settled) -> None:
        self._database, self._cores, self._number = database, cores, number
        self._settled = settled
        self._tasks: deque[tuple[float, Callable[[], None]]] = deque()
        self._is_busy = False
        self._waiting: dict[str, list[tuple[float, int]]] = {"start": [], "settle": []}
        self._committing: set[str] = set()
        self._groups: dict[str, int] = {"start": 0, "settle": 0}
        self.call: Callable[[Worker, int], None] = lambda worker, item: worker.answered(item)

    def prepare(self, item: int) -> None:
        """Begin with an item: half of its work comes before its start."""
        self._do(self._database.costs.worker_s / 2, partial(self._hand_in, "start", item))

    def answered(self, item: int) -> None:
        """Go on with an item whose call has ended."""
        self._do(self._database.costs.worker_s / 2, partial(self._hand_in, "settle", item))

    def _do(self, seconds: float, then: Callable[[], None]) -> None:
        self._tasks.append((seconds, then))
        if not self._is_busy:
            self._next()

    def _next(self) -> None:
        self._is_busy = bool(self._tasks)
        if not self._tasks:
            return
        chunk = [self._tasks.popleft() for _ in range(min(CHUNK, len(self._tasks)))]

        def done() -> None:
            for _, then in chunk:
                then()
            self._next()

        self._cores.take(sum(seconds for seconds, _ in chunk), done)

    def _hand_in(self, kind: str, item: int) -> None:
        self._waiting[kind].append((self._database.simulation.now_s, item))
        self._commit(kind)

    def _commit(self, kind: str) -> None:
        waiting, other = self._waiting[kind], "settle" if kind == "start" else "start"
        crowd = self._groups[kind] >= CROWD and other in self._committing
        if not waiting or kind in self._committing or crowd:
            return
        group, self._waiting[kind] = waiting[:GROUP_MAX], waiting[GROUP_MAX:]
        self._committing.add(kind)
        self._groups[kind] = len(group)
        # Starts share the counts of their batch alone, settles the revenue of all.
        row = self._number if kind == "settle" or self._database.is_one_batch else None
        self._database.commit(len(group), row, partial(self._durable, kind, group))

    def _durable(self, kind: str, group: list[tuple[float, int]]) -> None:
        self._committing.discard(kind)
        other = "settle" if kind == "start" else "start"
        self._commit(other)
        self._commit(kind)
        for since_s, item in group:
            if kind == "start":
                self.call(self, item)
            else:
                self._settled(self, item, since_s)


Settled = Callable[[Worker, int, float], None]


def closed(workers: int, wide: int, items: int, cores: int, costs: Costs) -> Seen:
    """Run one batch of ``items`` at a provider without latency, workers and database on ``cores``.

    Each worker has ``wide`` items at a time. What comes out as ``ended_s`` is the time.
    """
    simulation, seen = Simulation(), Seen()
    machine = Servers(simulation, cores)
    database = Database(simulation, machine, costs, seen)
    database.is_one_batch = True
    left = items

    def settled(worker: Worker, item: int, since_s: float) -> None:
        nonlocal left
        seen.items_out += 1
        seen.ended_s = simulation.now_s
        seen.settle_s.append(simulation.now_s - since_s)
        if left:
            left -= 1
            seen.items_in += 1
            worker.prepare(item)

    crew = [Worker(database, machine, number, settled) for number in range(workers)]
    for number in range(min(items, workers * wide)):
        left -= 1
        seen.items_in += 1
        crew[number % workers].prepare(number)
    simulation.run()
    return _told(seen, database, seen.ended_s)


@dataclass(frozen=True)
class Fleet:
    """A fleet: how many workers and lanes, cores of the database, and revenue rows.

    ``owned``: a lane belongs to one worker, who steps it in memory.
    """

    workers: int = 1000
    lanes: int = 10_000
    cores: int = 32
    revenue_rows: int = 1
    owned: bool = False
    call_s: float = 5.0


class Traffic:
    """Items that come by chance to a fleet, each for one of its lanes and workers."""

    def __init__(self, fleet: Fleet, costs: Costs, seed: int) -> None:
        self.seen, self._fleet, self._chance = Seen(), fleet, random.Random(seed)
        self._simulation = Simulation()
        machine = Servers(self._simulation, fleet.cores)
        self.database = Database(self._simulation, machine, costs, self.seen, fleet.revenue_rows)
        self._lanes: dict[int, Lock] = {}
        self._crew = []
        for number in range(fleet.workers):
            worker = Worker(self.database, Servers(self._simulation, 1), number, self._settled)
            worker.call = self._call
            self._crew.append(worker)

    def run(self, per_s: float, seconds: float) -> Seen:
        """Let ``per_s`` items a second come for so long, and all of them end."""
        at_s = 0.0
        while (at_s := at_s + self._chance.expovariate(per_s)) < seconds:
            self._simulation.after(at_s, self._arrive)
        self._simulation.run()
        return _told(self.seen, self.database, seconds)

    def _arrive(self) -> None:
        self.seen.items_in += 1
        lane = self._chance.randrange(self._fleet.lanes)
        worker = self._crew[self._chance.randrange(self._fleet.workers)]
        self._step(lane, partial(worker.prepare, lane))

    def _step(self, lane: int, then: Callable[[], None]) -> None:
        """Step a lane's row under its lock; one that has an owner is stepped in memory."""
        if self._fleet.owned:
            then()
            return
        row = self._lanes.setdefault(lane, Lock(self._simulation))
        trips_s = 2 * self.database.costs.trip_s

        def stepped() -> None:
            row.release()
            then()

        row.take(lambda: self._simulation.after(trips_s, self.database.step, stepped))

    def _call(self, worker: Worker, item: int) -> None:
        took_s = self._chance.expovariate(1.0 / self._fleet.call_s)
        self._simulation.after(took_s, self._answered, worker, item)

    def _answered(self, worker: Worker, item: int) -> None:
        worker.answered(item)
        # The end of a call is told to its lane, too.
        self._step(item, lambda: None)

    def _settled(self, worker: Worker, item: int, since_s: float) -> None:
        self.seen.items_out += 1
        self.seen.ended_s = self._simulation.now_s
        self.seen.settle_s.append(self._simulation.now_s - since_s)


def opened(fleet: Fleet, per_s: float, seconds: float, costs: Costs, seed: int) -> Seen:
    """Let items come by chance, ``per_s`` a second for so long, and all of them end."""
    return Traffic(fleet, costs, seed).run(per_s, seconds)


def _told(seen: Seen, database: Database, lasted_s: float) -> Seen:
    seen.database_cores = database.own_s / max(1e-9, lasted_s)
    held_s = max(lock.held_s for lock in database.rows)
    seen.held_share = min(1.0, held_s / max(1e-9, lasted_s))
    seen.waiting_max = max(lock.waiting_max for lock in database.rows)
    return seen
