"""Calls of the API beside a batch, four each second, and how long each kind took."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp

EVERY_S = 1.0
TIMEOUT_S = 60.0
WINDOW = 100


@dataclass
class Answers:
    """When each call was due (seconds from the start), how long it took, and how many failed."""

    took_s: list[tuple[float, float]] = field(default_factory=list)
    bad: int = 0

    def quantile_ms(self, share: float, from_s: float = 0.0, to_s: float = 1e12) -> float:
        """Return the time that ``share`` of the answers due in that span stayed below."""
        ordered = sorted(took for due, took in self.took_s if from_s <= due < to_s)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3 if ordered else 0.0


class Prober:
    """Makes the calls of each second; a call's time counts from the moment it was due."""

    def __init__(self, url: str, key: str, batch_id: str, items: int) -> None:
        self._url, self._headers = url, {"Authorization": f"Bearer {key}"}
        self._batch, self._items = batch_id, items
        self._random = random.Random(1)
        self.began_s = time.perf_counter()
        #: What came of each kind of call.
        self.seen = {name: Answers() for name in ("batch", "window", "failed", "on demand")}

    def _calls(self, number: int) -> list[tuple[str, str, str, dict[str, str] | None]]:
        path, at = f"/api/batches/{self._batch}", self._random.randrange(max(1, self._items))
        return [
            ("batch", "GET", path, None),
            ("window", "GET", f"{path}/items?after={at}&limit={WINDOW}", None),
            ("failed", "GET", f"{path}/items?state=failed&limit={WINDOW}", None),
            ("on demand", "POST", "/api/generate",
             {"model": "simulated:m", "prompt": f"beside {number}"}),
        ]  # fmt: skip

    async def _one(
        self,
        session: aiohttp.ClientSession,
        due_s: float,
        call: tuple[str, str, str, dict[str, str] | None],
    ) -> None:
        kind, method, path, body = call
        answers, good = self.seen[kind], False
        try:
            async with session.request(method, self._url + path, json=body) as answer:
                await answer.read()
                good = answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            pass
        answers.bad += not good
        answers.took_s.append((due_s, time.perf_counter() - self.began_s - due_s))

    @contextlib.asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Ask while the block runs, then wait for the answers that are missing."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._ask(stop))
        try:
            yield
        finally:
            stop.set()
            await task

    async def _ask(self, stop: asyncio.Event) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=64)
        async with (
            aiohttp.ClientSession(
                headers=self._headers, timeout=timeout, connector=connector
            ) as session,
            asyncio.TaskGroup() as group,
        ):
            number = 0
            while not stop.is_set():
                for place, call in enumerate(self._calls(number)):
                    # Spread over the second, so that the kinds do not wait for each other.
                    due_s = number * EVERY_S + place * EVERY_S / 4
                    await asyncio.sleep(max(0.0, self.began_s + due_s - time.perf_counter()))
                    group.create_task(self._one(session, due_s, call))
                number += 1
