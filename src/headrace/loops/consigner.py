"""The consigner: gathers lines into provider batches and takes each through its steps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

from headrace.clock import Clock
from headrace.consigning import Consignment, is_ripe
from headrace.identity import new_uuid
from headrace.loops.loop import Loop
from headrace.provider_batch import BatchApi
from headrace.store import provider_batches
from headrace.store.database import Database
from headrace.store.provider_batches import Held
from headrace.telemetry import crash_point, log

IDLE_S = 5.0
AT_ONCE = 8
"""Provider batches that one process works on at a time."""

Find = Callable[[str], Awaitable[BatchApi | None]]


class Consigner(Loop):
    """Looks for lines to hand in, for batches of dead workers, and for steps that are due.

    ``find`` returns the batch API of a provider by name; ``moved`` is called when items
    may go on.
    """

    name = "consigner"

    def __init__(
        self,
        database: Database,
        clock: Clock,
        worker_id: Callable[[], int],
        find: Find,
        moved: Callable[[], None],
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._worker_id = worker_id
        self._find = find
        self._moved = moved
        self._at_work: dict[UUID, asyncio.Task[None]] = {}

    async def tick(self) -> float:
        """Do what is due; the steps themselves go on beside the loop."""
        now, own = self._clock.now(), self._worker_id()
        async with self._database.transaction() as connection:
            adopted = await provider_batches.adopt(connection, own)
            woken, ownerless = await provider_batches.clear(connection, now)
            await self._bill(connection, ownerless)
        if adopted:
            log(loop=self.name).info("provider_batches_taken_over", batches=adopted)
        if woken:
            self._moved()
        await self._gather(own)
        async with self._database.acquire() as connection:
            due = await provider_batches.due(connection, own, now)
        for held in due:
            if held.id not in self._at_work and len(self._at_work) < AT_ONCE:
                self._begin(held, own)
        async with self._database.acquire() as connection:
            next_at = await provider_batches.next_due(connection, own)
        if next_at is None or self._at_work:
            return IDLE_S
        return min(IDLE_S, max(0.05, (next_at - self._clock.now()).total_seconds()))

    async def stop(self) -> None:
        """End: what is under way is left where it is, and gone on with by the next holder."""
        await super().stop()
        tasks = list(self._at_work.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _bill(self, connection: object, ownerless: list[object]) -> None:
        rows: list[object] = []
        costs: list[int | None] = []
        for row in ownerless:
            told: dict[str, object] = dict(row)  # type: ignore[call-overload]
            costs.append(await self._cost(told))
            rows.append(row)
        if rows:
            await provider_batches.bill(connection, rows, costs, self._clock.now())

    async def _cost(self, row: dict[str, object]) -> int | None:
        if row["state"] == "unexecuted":
            return 0
        api = await self._find(str(row["provider"]))
        answer = row["answer"]
        if api is None or not isinstance(answer, bytes):
            return None
        return api.billed(str(row["line_group"]), answer)

    async def _gather(self, own: int) -> None:
        """Make provider batches of lines that are enough, or that no more are coming to."""
        async with self._database.acquire() as connection:
            rows = await provider_batches.free(connection)
        for row in rows:
            api = await self._find(row["provider"])
            if api is None:
                continue
            group, now = row["line_group"], self._clock.now()
            bounds = api.bounds(group)
            if not is_ripe(dict(row), bounds.lines_max, bounds.bytes_max, now):
                continue
            async with self._database.transaction() as connection:
                lines = await provider_batches.gather(
                    connection, new_uuid(now), own, row["provider"], group, bounds, now
                )
            if lines:
                crash_point("lines-gathered")
                log(provider=row["provider"]).info("lines_gathered", lines=lines, group=group)

    def _begin(self, held: Held, own: int) -> None:
        task = asyncio.create_task(self._step(held, own), name=f"provider batch {held.id}")
        self._at_work[held.id] = task
        task.add_done_callback(lambda _: self._over(held.id))

    def _over(self, batch_id: UUID) -> None:
        self._at_work.pop(batch_id, None)
        self.wake()

    async def _step(self, held: Held, own: int) -> None:
        api = await self._find(held.provider)
        if api is None:
            log(provider=held.provider).warning(
                "provider_batch_waits", why="the provider is not configured, or batches are off"
            )
            await self._clock.sleep(IDLE_S)
            return
        try:
            await Consignment(held, api, self._database, self._clock, own, self._moved).step()
        except asyncio.CancelledError:
            raise
        except Exception:  # broad: one provider batch must not stop the others
            log(provider=held.provider).exception("provider_batch_fault")
            await self._clock.sleep(IDLE_S)
