"""The keeper: writes down what lanes have learned, and how they do, every few seconds."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

import asyncpg

from headrace.clock import Clock
from headrace.gate import LaneNow
from headrace.learned import Learned, learned_of
from headrace.loops.loop import Loop
from headrace.standing import Standing
from headrace.store import lanes
from headrace.store.database import Database
from headrace.telemetry import log

TICK_S = 2.0
LEARNED_S = 30.0
"""What has not changed is written again that often, so that its age is true."""
NOTICED = 0.005
"""Changes smaller than this part are none."""


class Keeper(Loop):
    """Keeps what this process's gate knows; ``stop`` writes it a last time."""

    name = "keeper"

    def __init__(
        self, database: Database, clock: Clock, gate_lanes: Callable[[], list[LaneNow]]
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._lanes = gate_lanes
        self._kept: dict[str, tuple[Learned, float]] = {}
        self._standings: dict[str, Standing] = {}
        self._by = f"{socket.gethostname()}:{os.getpid()}"

    async def stop(self) -> None:
        """End, and write what is known a last time, as far as the database is there."""
        await super().stop()
        try:
            await self.tick()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log(loop=self.name).warning("last_note_failed", why=str(error))

    async def tick(self) -> float:
        """Write what has changed since the last time."""
        now_s = self._clock.monotonic_s()
        noted = [self._noted(lane, now_s) for lane in self._lanes() if lane.pacer.tally.sent]
        if noted:
            async with self._database.acquire() as connection:
                await lanes.note(connection, noted, self._clock.now())
        # What could not be written is tried again.
        self._kept |= {one.name: (one.learned, now_s) for one in noted if one.learned is not None}
        return TICK_S

    def _noted(self, lane: LaneNow, now_s: float) -> lanes.Noted:
        standing = self._standings.setdefault(lane.name, Standing())
        standing.look(lane, now_s)
        live = standing.live(lane, self._by)
        if not lane.pacer.quota.learns:
            return lanes.Noted(lane.name, None, live)
        learned = learned_of(lane.pacer, lane.now_s, lane.call_s)
        before, at_s = self._kept.get(lane.name, (None, 0.0))
        if before is None or now_s >= at_s + LEARNED_S:
            return lanes.Noted(lane.name, learned, live)
        same = _is_same(before, learned) and _uses(before, at_s) == _uses(learned, now_s)
        return lanes.Noted(lane.name, None if same else learned, live)


def _uses(learned: Learned, at_s: float) -> list[tuple[float | str, int]]:
    """Return what is used of longer quotas, and why a lane is shut, each with its end."""
    quotas = [quota for rate in learned.rates.values() for quota in rate.longer]
    ends: list[tuple[float | str, float]] = [(quota.used, quota.left_s) for quota in quotas]
    ends.append((learned.shut_why, learned.shut_s))
    return [(what, round(at_s + left_s)) for what, left_s in ends if left_s > 0]


def _is_same(one: Learned, other: Learned) -> bool:
    """Tell whether two differ by so little that nobody would notice."""
    if one.rates.keys() != other.rates.keys() or one.width != other.width:
        return False
    pairs = [(one.rates[name], other.rates[name]) for name in one.rates]
    same = all(
        (a.held, a.told, a.windowed) == (b.held, b.told, b.windowed)
        and abs((a.pace or 0.0) - (b.pace or 0.0)) <= NOTICED * (b.pace or 1.0)
        for a, b in pairs
    )
    return same and abs(one.credit - other.credit) < 1.0
