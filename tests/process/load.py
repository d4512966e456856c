"""A fleet that is kept at work while releases come and go, and what its processes get done."""

from __future__ import annotations

import threading

from tests.process.fleet import Fleet

ROWS = 500
STEP = 100
OPEN = "SELECT count(*) AS left FROM item WHERE state IN ('pending', 'running', 'waiting')"
ENDED = "SELECT count(*) FROM attempt WHERE state = 'succeeded'"
ENDED_BY = """
    SELECT count(*) FROM attempt
    JOIN shard ON shard.id = attempt.shard_id
    JOIN worker ON worker.id = shard.worker_id
    WHERE worker.pid = {pid} AND attempt.state = 'succeeded'
"""


class Load:
    """Keeps a fleet at work, however long its processes start; ``rows`` were submitted in all."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="load")
        self.rows = 0

    def __enter__(self) -> Load:
        self._submit()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()
        while self.rows < ROWS:
            self._submit()

    def until_more(self, count: int, what: str) -> None:
        """Wait until the fleet has ended so many more calls."""
        until = self._fleet.ask(ENDED)[0]["count"] + count
        self._fleet.until(lambda: self._fleet.ask(ENDED)[0]["count"] >= until, what)

    def until_each_works(self, *pids: int) -> None:
        """Wait until each of the processes has ended one more call."""
        for pid in pids:
            sql = ENDED_BY.format(pid=pid)
            before = self._fleet.ask(sql)[0]["count"]
            self._fleet.until(
                lambda sql=sql, before=before: self._fleet.ask(sql)[0]["count"] > before,
                f"process {pid} works",
            )

    def _submit(self) -> None:
        self._fleet.submit(STEP, self.rows)
        self.rows += STEP

    def _feed(self) -> None:
        while not self._ending.wait(0.2):
            if self._fleet.ask(OPEN)[0]["left"] < STEP:
                self._submit()
