"""The gate of many workers: a lane's state is one row, stepped by whoever holds its lock.

A step takes the row's lock, lets all that this worker heard of happen to the shared
pacer, takes permits for those who stand in its line, each with its own moment up to a
few hundredths of a second ahead, and writes the row back. Nobody owns a lane. In
between, a worker sleeps until the moment that the pacer named, or until another one
tells that a place is free.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any

import asyncpg

from headrace.clock import Clock
from headrace.gate import Ask, LaneNow, Permit, PermitEnd
from headrace.gates.caps import Seat
from headrace.gates.local import LocalGate
from headrace.gates.packing import shape
from headrace.gates.shared import pack_lane
from headrace.gates.side import Ahead, End, Given, LaneSide, Waiter
from headrace.learned import Remembered
from headrace.outcome import Outcome
from headrace.pacing import Ticket
from headrace.store.database import Database
from headrace.store.lanes import LaneSession
from headrace.telemetry import log

LOST = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
LEAD_S, LEAD_S_MAX = 0.01, 0.1
"""How long before its moment a permit is handed out, so that the attempt is written by then."""
AHEAD_S, AHEAD_S_MAX = 0.01, 0.25
"""Permits are taken so much farther ahead for each two workers, so that steps are few."""
SWEEP_S = 1.0
"""How often a worker that waits looks for others that are gone."""
AGAIN_S, AGAIN_S_MAX = 0.1, 2.0


class PostgresPermit:
    """The right to start one call now, of one lane of a ``PostgresGate``."""

    __slots__ = ("_at_s", "_gate", "_given_s", "_seat", "_side", "_ticket", "probe")

    def __init__(self, gate: PostgresGate, side: LaneSide, given: Given) -> None:
        self._gate = gate
        self._side: LaneSide | None = side
        self._ticket = given.ticket
        self._at_s, self._given_s = given.at_s, given.given_s
        self._seat = given.seat
        self.probe = given.ticket.probe

    async def ready(self) -> None:
        """Wait for the moment that the permit is for."""
        await self._gate._ready(self._at_s, self._given_s)

    def end(
        self, how: PermitEnd, outcome: Outcome | None = None, call_s: float | None = None
    ) -> None:
        """Give the permit back; a second end raises ``RuntimeError``."""
        side, self._side = self._side, None
        if side is None:
            raise RuntimeError(
                f"this permit was ended twice (now with {how.value!r}): "
                "end it once, in one finally block"
            )
        now_s = self._gate._clock.monotonic_s()
        took_s = now_s - self._given_s if call_s is None else call_s
        self._gate._ended(side, self._ticket, how, outcome, took_s, self._seat)


class PostgresGate:
    """Hands out permits of lanes that other processes use too; ``start`` comes first.

    It belongs to one event loop. Lanes that do not learn (a computation on this machine)
    are this process's own.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._local = LocalGate(clock)
        self._sides: dict[str, LaneSide] = {}
        self._remembered: Mapping[str, Remembered] = {}
        self._session: LaneSession | None = None
        self._member_id = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._reopened = 0
        self._task: asyncio.Task[None] | None = None
        self._joining: asyncio.Task[None] | None = None
        self._lead_s, self._step_s = LEAD_S, 0.001
        self._swept_s = -math.inf

    # -- what the engine asks ------------------------------------------------------------------

    def remember(self, learned: Mapping[str, Remembered]) -> None:
        """Take what lanes learned before; each that nobody uses now begins near it."""
        self._remembered = learned

    async def start(self) -> None:
        """Sign in and start stepping; raises what the database raises."""
        if self._task is None:
            self._session = await self._sign_in()
            self._task = asyncio.create_task(self._run(), name="gate")

    def dismiss(self) -> None:
        """Send everybody in line away: their waiting is cancelled."""
        for side in self._sides.values():
            side.cancel()
        self._local.dismiss()

    async def close(self) -> None:
        """Cancel everybody in line, report what has ended, sign out."""
        self._closing = True
        for side in self._sides.values():
            side.cancel()
        await self._local.close()
        self._wake.set()
        if self._task is not None:
            await self._task

    def reopen(self) -> None:
        """Let lanes that are shut for want of funds or of a key be tried at once."""
        self._local.reopen()
        self._reopened += 1
        now_s = self._clock.monotonic_s()
        for side in self._sides.values():
            side.due(now_s)
        self._wake.set()

    def lanes(self) -> list[LaneNow]:
        """Return how the lanes met so far are doing, as this process saw them last."""
        now_s = self._clock.monotonic_s()
        seen = [side.now(now_s) for side in self._sides.values()]
        return self._local.lanes() + [one for one in seen if one is not None]

    def waiting(self, lane: str) -> int:
        """Return how many callers of this process stand in line for ``lane``."""
        side = self._sides.get(lane)
        return len(side.line) if side is not None else self._local.waiting(lane)

    # -- permits -------------------------------------------------------------------------------

    async def acquire(self, ask: Ask) -> Permit:
        """Wait in line for a permit; raises ``LaneShutError``, ``ValueError`` for no width."""
        if not ask.quota.learns:
            return await self._local.acquire(ask)
        side = self._side(ask)
        now_s = self._clock.monotonic_s()
        shut = side.shut_to(now_s, elsewhere=ask.elsewhere)
        if shut is not None and side.reopened == self._reopened:
            raise shut
        future: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        seat, wanted = side.sit(ask)
        if side.asked_by(ask.items) or wanted:
            side.due(max(now_s, side.rests_until_s))
            self._wake.set()
        waiter = Waiter(ask.load, future, ask.elsewhere, seat)
        place = side.line.push(waiter, ask.tenant_id, ask.class_name, ask.weight, ask.cost)
        side.movable |= ask.elsewhere
        try:
            return PostgresPermit(self, side, await future)
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                # The permit was handed over in the same tick: it goes to the next in line.
                given = future.result()
                self._ended(side, given.ticket, PermitEnd.IGNORED, None, given.given_s, given.seat)
            elif place.waiting:
                side.line.remove(place)
            raise

    def _side(self, ask: Ask) -> LaneSide:
        side = self._sides.get(ask.lane)
        if side is None:
            ask.check_width()
            side = self._sides[ask.lane] = LaneSide(ask.lane, ask.quota)
            before = self._remembered.get(ask.lane)
            if before is not None:
                side.before, side.before_age_s = before.learned, before.age_s(self._clock.now())
        return side

    async def _ready(self, at_s: float, given_s: float) -> None:
        """Wait until a call's own moment; learn how long it takes to get ready for it."""
        now_s = self._clock.monotonic_s()
        took_s = now_s - given_s
        self._lead_s += 0.05 * (min(LEAD_S_MAX, 1.5 * took_s) - self._lead_s)
        if took_s > self._lead_s:
            self._lead_s = min(LEAD_S_MAX, 1.2 * took_s)
        if at_s > now_s:
            await self._clock.sleep(at_s - now_s)

    def _ended(
        self,
        side: LaneSide,
        ticket: Ticket,
        how: PermitEnd,
        outcome: Outcome | None,
        took_s: float,
        seat: Seat | None,
    ) -> None:
        call_s = took_s if how is PermitEnd.SUCCESS else None
        said = None if how is PermitEnd.IGNORED else outcome
        if side.ended(End(ticket, said, call_s, seat), self._clock.monotonic_s()):
            self._wake.set()

    # -- steps ---------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Step lanes as they fall due, until the gate is closed."""
        while not self._closing:
            try:
                await self._turn()
            except Exception as error:  # broad: who waits is told, and the others go on
                log(worker=self._member_id).exception("gate_fault")
                for side in self._sides.values():
                    side.fail(error)
                await self._pause(AGAIN_S)
        await self._farewell()

    async def _turn(self) -> None:
        """Step the lane that is due, or wait for it; while the session is lost, drift."""
        session, now_s = self._session, self._clock.monotonic_s()
        if session is None:
            again_s = [side.go_on(now_s) for side in self._sides.values()]
            await self._pause(min(again_s, default=math.inf) - now_s)
            return
        if session.is_lost:
            self._lose("it was ended")
            return
        side = min(self._sides.values(), key=lambda one: one.due_s, default=None)
        if side is None or side.due_s > now_s:
            await self._pause(math.inf if side is None else side.due_s - now_s)
            return
        await self._look(side, session, now_s)

    async def _look(self, side: LaneSide, session: LaneSession, now_s: float) -> None:
        try:
            if now_s >= self._swept_s + SWEEP_S:
                await self._sweep(session, now_s)
            await self._step(side, session)
        except LOST as error:
            self._lose(repr(error))
        except Exception as error:  # broad: a fault must reach those who wait, not hang them
            log(lane=side.name).exception("gate_fault")
            side.fail(error)

    async def _step(self, side: LaneSide, session: LaneSession) -> None:
        began_s = self._clock.monotonic_s()
        side.due_s = math.inf
        given: list[tuple[Waiter, Given]] = []
        try:
            async with session.transaction():
                version, state, database_s = await session.hold(side.name, shape())
                ends = list(side.ends)
                shared = side.read(version, state, database_s, self._clock.monotonic_s())
                if side.reopened < self._reopened:
                    side.reopened = self._reopened
                    shared.pacer.reopen(shared.at_s)
                sharing = 0.5 * max(2, len(shared.members))
                span_s = min(AHEAD_S_MAX, max(AHEAD_S, 2.0 * self._step_s) * sharing)
                ahead = Ahead(self._lead_s, span_s)
                wake, given = side.let_happen(shared, self._member_id, ends, ahead)
                version = await session.step(side.name, shape(), pack_lane(shared), wake)
            side.keep(version, len(ends))
        finally:
            # Also of a step that was lost: they were taken at their moments, under the lock.
            now_s = self._clock.monotonic_s()
            side.hand_out(given, now_s)
            took_s = min(1.0, now_s - began_s)
            self._step_s += 0.1 * (took_s - self._step_s)
            side.rests_until_s = now_s + min(3.0 * took_s, AHEAD_S)

    async def _sweep(self, session: LaneSession, now_s: float) -> None:
        """Look which of the workers seen in lanes are gone."""
        self._swept_s = now_s
        others = {
            member_id
            for side in self._sides.values()
            if side.shared is not None
            for member_id in side.shared.members
        } - {self._member_id}
        gone = await session.gone(others) if others else set()
        for side in self._sides.values():
            side.gone = gone

    async def _pause(self, wait_s: float) -> None:
        """Sleep until something falls due, or somebody wakes the gate."""
        woken = asyncio.ensure_future(self._wake.wait())
        tasks: set[asyncio.Future[Any]] = {woken}
        if math.isfinite(wait_s):
            tasks.add(asyncio.ensure_future(self._clock.sleep(wait_s)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        self._wake.clear()

    # -- the session ---------------------------------------------------------------------------

    async def _sign_in(self) -> LaneSession:
        session = await LaneSession.open(
            self._database, self._woken, self._wake.set, self._member_id
        )
        self._member_id = session.member_id
        return session

    def _woken(self, lane: str) -> None:
        """Hear that a place is free somewhere."""
        side = self._sides.get(lane)
        if side is not None and side.line:
            side.due(self._clock.monotonic_s())
            self._wake.set()

    def _lose(self, why: str) -> None:
        """Go on without the others, at half of what was ours, and try to come back."""
        log(worker=self._member_id).warning("gate_session_lost", why=why)
        if self._session is not None:
            self._session.terminate()
            self._session = None
        now_s = self._clock.monotonic_s()
        for side in self._sides.values():
            side.lose(now_s)
        self._joining = asyncio.create_task(self._rejoin(), name="gate-rejoin")

    async def _rejoin(self) -> None:
        again_s = AGAIN_S
        while True:
            try:
                self._session = await self._sign_in()
                break
            except LOST:
                pass
            except Exception:  # broad: nobody else would try to come back
                log(worker=self._member_id).exception("gate_fault")
            await self._clock.sleep(again_s)
            again_s = min(AGAIN_S_MAX, 2.0 * again_s)
        now_s = self._clock.monotonic_s()
        for side in self._sides.values():
            side.found(now_s)
        self._wake.set()

    async def _farewell(self) -> None:
        """Report what has ended, and sign out."""
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
        if self._session is None:
            return
        for side in self._sides.values():
            if side.ends:
                await self._look(side, self._session, -math.inf)
            if self._session.is_lost:
                return
        await self._session.close()
