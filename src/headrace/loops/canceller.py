"""The canceller: asks providers to stop the jobs of batches that were cancelled meanwhile."""

from __future__ import annotations

import asyncio

from headrace.clock import Clock
from headrace.loops.loop import Loop
from headrace.store import statements
from headrace.store.database import Database
from headrace.under_way import JobsUnderWay, JobUnderWay, ask_to_stop

EVERY_S = 1.0
TRIES = 5
AT_ONCE = 8


class Canceller(Loop):
    """Looks at what is written, so that it does not matter which process cancelled a batch.

    Each process asks for the jobs that it follows, and whoever follows a job sees how it
    ended. A job whose follower died is stopped by the next one, see ``Attempts.call_off``.
    """

    name = "canceller"

    def __init__(self, database: Database, clock: Clock, jobs: JobsUnderWay) -> None:
        super().__init__(clock)
        self._database = database
        self._jobs = jobs
        self._asking: set[asyncio.Task[None]] = set()
        self._places = asyncio.Semaphore(AT_ONCE)

    async def tick(self) -> float:
        """Have the jobs of batches that are over stopped; does not wait for the answers."""
        jobs = self._jobs.to_stop()
        if not jobs:
            return EVERY_S
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                statements.load("batches/over.sql"), list({job.batch_id for job in jobs})
            )
        over = {row["id"] for row in rows}
        for job in jobs:
            if job.batch_id in over:
                job.asked = True
                task = asyncio.create_task(self._ask(job), name="stop-job")
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
        return EVERY_S

    async def stop(self) -> None:
        """End; what was not asked by now is asked by whoever follows the job next."""
        for task in list(self._asking):
            task.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)
        await super().stop()

    async def _ask(self, job: JobUnderWay) -> None:
        """Ask until it was heard, or the job has ended; a few times."""
        for number in range(TRIES):
            async with self._places:
                if job.ended or job.id is None:
                    return
                if await ask_to_stop(job.provider, job.id, job.url):
                    return
            await self._clock.sleep(2.0**number)
