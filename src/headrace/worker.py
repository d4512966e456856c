"""A worker: takes shards from the queue, claims them under a fence, and has their items walked."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any
from uuid import UUID

import asyncpg

from headrace.clock import Clock
from headrace.cutting import EXPRESS_PER_WORKER
from headrace.dispatcher import Dispatcher
from headrace.errors import DatabaseError, FenceLostError
from headrace.held import HeldBatch
from headrace.lifecycle import BatchState
from headrace.plan import CLASSES
from headrace.store import shards, statements, workers
from headrace.store.database import Database, session_may_end
from headrace.store.queue import QueueWorker, enqueue
from headrace.telemetry import crash_point, log

FAULT_WAIT_S = 2.0
AGAIN_S = 0.25
"""When a shard is walked again whose items may not start for now: a budget's last dollars are
at risk in calls under way, which may turn out cheaper."""

OpenBatch = Callable[[UUID], Awaitable[HeldBatch]]
Work = Coroutine[Any, Any, float | None]


class Worker:
    """One process's share of the work.

    Its own session with the database, apart from the pool, listens to the queue and
    holds the lock by which others see that it lives.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        dispatcher: Dispatcher,
        open_batch: OpenBatch,
        stopping: asyncio.Event,
        *,
        shards_held: int,
        heartbeat_s: float,
        version: str,
        shard_done: Callable[[], None],
        classes: Sequence[str] = (),
    ) -> None:
        self._database = database
        self._clock = clock
        self._dispatcher = dispatcher
        self._open_batch = open_batch
        self._stopping = stopping
        self._shards_held = shards_held
        self._heartbeat_s = heartbeat_s
        self._version = version
        self._shard_done = shard_done
        self._classes = list(classes) or None
        self._connection: asyncpg.Connection[Any] | None = None
        self._queue: QueueWorker | None = None
        self._working: dict[int, asyncio.Task[float | None]] = {}
        self._supervisor: asyncio.Task[None] | None = None
        self.id = 0

    async def join(self) -> None:
        """Sign in: a row, and the lock that shows this process to be alive.

        Raises DatabaseError where a migration has left this release behind meanwhile.
        """
        self._connection = await self._database.session()
        with session_may_end():
            await self._database.check(self._connection, waits=True)
            self.id = await self._connection.fetchval(
                statements.load("workers/join.sql"),
                socket.gethostname(),
                os.getpid(),
                self._version,
                self._shards_held,
                self._clock.now(),
                self._classes,
            )
            await self._connection.execute(statements.load("workers/lock.sql"), self.id)

    def start(self) -> None:
        """Start taking shards; ``join`` comes first."""
        if self._connection is None:
            raise RuntimeError("a worker joins before it starts")
        self._listen(self._connection)
        self._supervisor = asyncio.create_task(self._supervise(), name="worker")

    def _listen(self, connection: asyncpg.Connection[Any]) -> None:
        self._queue = QueueWorker(
            connection, self.handle, self._shards_held, EXPRESS_PER_WORKER, self._heartbeat_s,
            self._classes or CLASSES,
        )  # fmt: skip
        self._queue.start()

    async def _supervise(self) -> None:
        """Come back whenever the session is lost; shards in hand go on meanwhile.

        Should others have taken them over by then, the fence refuses what is written.
        """
        while not self._stopping.is_set():
            assert self._queue is not None
            await self._queue.ended()
            if self._stopping.is_set() or self._database.outdated.is_set():
                return
            log(worker=self.id).warning("session_lost", shards=len(self._working))
            await self._queue.abandon()
            await self._rejoin()

    async def _rejoin(self) -> None:
        wait_s = 0.1
        while not self._stopping.is_set():
            try:
                connection = await self._database.session()
                with session_may_end():
                    if not await self._may_come_back(connection):
                        return
                    # First the lock: others sign out whoever does not hold it.
                    await connection.execute(statements.load("workers/lock.sql"), self.id)
                    await connection.execute(statements.load("workers/rejoin.sql"), self.id)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
                log(worker=self.id).warning("rejoin_failed", why=str(error), again_s=wait_s)
                await self._clock.sleep(wait_s)
                wait_s = min(5.0, wait_s * 2)
                continue
            self._connection = connection
            self._listen(connection)
            return

    async def _may_come_back(self, connection: asyncpg.Connection[Any]) -> bool:
        try:
            await self._database.check(connection, waits=True)
        except DatabaseError as error:
            # Left behind while it was away. Whoever runs the process ends it.
            log(worker=self.id).error("outdated", why=error.message, remedy=error.remedy)
            await connection.close()
            return False
        return True

    def take_no_more(self) -> None:
        """Take no more shards; those in hand are worked to their end."""
        if self._queue is not None:
            self._queue.shut()

    async def stop(self) -> None:
        """Take no more, let what is in flight finish, sign out."""
        self._stopping.set()
        if self._queue is not None:
            await self._queue.stop()
        if self._working:
            await asyncio.wait(set(self._working.values()))
        if self._supervisor is not None:
            await self._supervisor
        if self._connection is None:
            return
        try:
            with session_may_end():
                await self._connection.execute(
                    statements.load("workers/leave.sql"), [self.id], self._clock.now()
                )
            await self._connection.close()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log().warning("worker_sign_out_failed", why=str(error))

    async def hand_over(self) -> int:
        """Give the shards in hand to others, who are not to take their items for poison.

        For a process that is about to end with calls in flight. Returns how many shards.
        """
        self._stopping.set()
        async with self._database.transaction() as connection:
            return await workers.hand_over(connection, self.id, self._clock.now())

    async def handle(self, shard_id: int) -> float | None:
        """Work on one shard; see ``queue.Handler`` for what is returned.

        The work is a task of its own: it outlives the queue's session, and a shard that
        the queue hands out to us again while we are at it is joined, not begun anew.
        """
        task = self._working.get(shard_id) or self._begin(shard_id, self._handle(shard_id))
        return await asyncio.shield(task)

    async def take(self, claim: shards.Claim) -> None:
        """Work on a claimed shard that the queue does not know yet; it gets what is left of it.

        That goes on when the caller has left, and is waited for at the end, as all work is.
        """
        await asyncio.shield(self._begin(claim.shard_id, self._take(claim)))

    async def _take(self, claim: shards.Claim) -> None:
        if await self.work(claim) is not None:
            async with self._database.transaction() as connection:
                await enqueue(connection, [claim.shard_id])

    def _begin(self, shard_id: int, work: Work) -> asyncio.Task[float | None]:
        task = self._working[shard_id] = asyncio.create_task(work)
        task.add_done_callback(lambda _: self._working.pop(shard_id, None))
        return task

    async def _handle(self, shard_id: int) -> float | None:
        if self._stopping.is_set():
            return 0.0
        try:
            async with self._database.transaction() as connection:
                if await shards.handed_on(connection, shard_id, self._classes):
                    return None
                claim = await shards.claim(connection, shard_id, self.id, self._clock.now())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log(shard=shard_id).warning("claim_failed", why=str(error))
            return FAULT_WAIT_S
        if claim is None:
            return None
        crash_point("claim-after-commit")
        return await self.work(claim)

    async def work(self, claim: shards.Claim) -> float | None:
        """Work on a claimed shard; see ``queue.Handler`` for what is returned."""
        try:
            return await self._work(claim)
        except FenceLostError:
            log(shard=claim.shard_id).warning("fence_lost")
            return None
        except Exception:  # broad: one shard's fault must not end the worker; it is tried again
            log(shard=claim.shard_id).exception("shard_fault")
            return FAULT_WAIT_S
        finally:
            self._shard_done()

    async def _work(self, claim: shards.Claim) -> float | None:
        batch = await self._open_batch(claim.batch_id)
        while True:
            async with self._database.acquire() as connection:
                items = await shards.load(connection, claim, batch)
            await self._dispatcher.work(batch, items, claim.express)
            wait_s = await self.let_go(claim)
            if wait_s != AGAIN_S:
                return wait_s
            await self._clock.sleep(AGAIN_S)

    async def let_go(self, claim: shards.Claim) -> float | None:
        """Mark the shard done, park it with its paused batch, or give it back when stopping.

        Returns ``AGAIN_S`` where it has items left that nobody else will take.
        """
        if self._stopping.is_set():
            return 0.0
        crash_point("shard-before-done")
        async with self._database.transaction() as connection:
            state = await connection.fetchval(statements.load("batches/state.sql"), claim.batch_id)
            if state != BatchState.PAUSED.value:
                left = await connection.fetchval(
                    statements.load("shards/left.sql"), *shards.span(claim)
                )
                if left:
                    return AGAIN_S
                await shards.finish(connection, claim.shard_id, claim.fence, self._clock.now())
                return None
            parked = await shards.park(connection, claim.shard_id, claim.fence)
        return None if parked else 0.0
