"""Clients as people write them: a semaphore, or a token bucket; both with backoff and jitter."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from collections import Counter
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO

import aiohttp

from bench.admission.job import Job, Told, cpu_s, read_job, tell
from bench.admission.scenario import Item
from bench.throughput import loop_run

ATTEMPTS = 6
BACKOFF_S, BACKOFF_S_MAX = 1.0, 60.0
CALL_S_MAX = 600.0
AGAIN = (408, 409, 429, 500, 502, 503, 504, 529)


class Bucket:
    """The usual token bucket: ``rate`` a second, one second's worth at once."""

    def __init__(self, rate: float) -> None:
        self.rate, self.capacity = rate, max(1.0, rate)
        self.level, self.at_s = self.capacity, time.monotonic()

    async def take(self, amount: float) -> None:
        """Wait until ``amount`` may be taken; who comes first is served first."""
        now_s = time.monotonic()
        self.level = min(self.capacity, self.level + (now_s - self.at_s) * self.rate)
        self.at_s = now_s
        self.level -= amount
        if self.level < 0:
            await asyncio.sleep(-self.level / self.rate)


class Client:
    """Makes the calls of one run."""

    def __init__(self, job: Job, session: aiohttp.ClientSession, out: IO[str]) -> None:
        self.case, self.session, self.out = job.case, session, out
        self.folder = Path(job.home)
        self.places = asyncio.Semaphore(job.concurrency)
        self.buckets = {name: Bucket(rate) for name, rate in job.rates.items()}
        self.url = f"{job.url}/v1/" + (
            "images/generations" if self.case.shape == "images" else "chat/completions"
        )
        self.told = Told()
        self.errors: Counter[str] = Counter()

    async def item(self, number: int, item: Item) -> None:
        """Buy one item, in several attempts if need be, and keep its result."""
        async with self.places:
            for attempt in range(1, ATTEMPTS + 1):
                await self._admitted(item)
                wait_s = await self._attempt(number, item)
                if wait_s is None:
                    return
                if attempt < ATTEMPTS:
                    bound_s = min(BACKOFF_S_MAX, BACKOFF_S * 2 ** (attempt - 1))
                    jitter_s = random.uniform(0, 0.25 * wait_s) if wait_s else 0.0
                    await asyncio.sleep(
                        wait_s + jitter_s if wait_s else random.uniform(bound_s / 2, bound_s)
                    )
        self.told.failed += 1

    async def _admitted(self, item: Item) -> None:
        costs = {
            "requests": 1,
            "images": 1,
            "tokens": len(item.prompt) / 4 + item.max_tokens,
        }
        for name, bucket in self.buckets.items():
            await bucket.take(costs[name])

    async def _attempt(self, number: int, item: Item) -> float | None:
        """Return ``None`` when the item has ended, else the wait that was told, or zero."""
        try:
            async with self.session.post(self.url, json=self._body(item)) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.errors[type(error).__name__] += 1
            return 0.0
        if answer.status == 200:
            self._keep(number, body)
            return None
        self.errors[str(answer.status)] += 1
        if answer.status in AGAIN:
            return retry_after_s(answer.headers.get("retry-after", ""))
        self.told.failed += 1
        return None

    def _body(self, item: Item) -> dict[str, object]:
        if self.case.shape == "images":
            return {"model": "gpt-image-simulated", "prompt": item.prompt}
        messages = [{"role": "user", "content": item.prompt}]
        return {"model": "gpt-simulated", "messages": messages, "max_tokens": item.max_tokens}

    def _keep(self, number: int, body: bytes) -> None:
        found = json.loads(body)
        self.told.succeeded += 1
        if self.case.shape == "images":
            picture = base64.b64decode(found["data"][0]["b64_json"])
            (self.folder / f"{number}.png").write_bytes(picture)
            return
        text = found["choices"][0]["message"]["content"]
        self.out.write(json.dumps({"number": number, "text": text}) + "\n")


def retry_after_s(told: str) -> float:
    """Return the wait of a Retry-After header in seconds, zero where there is none."""
    if not told:
        return 0.0
    try:
        return max(0.0, float(told))
    except ValueError:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())


async def run(job: Job) -> Told:
    """Make all calls of a job, or as many as its time allows."""
    before_s = cpu_s()
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=CALL_S_MAX)
    with (Path(job.home) / "results.jsonl").open("w", encoding="utf-8") as out:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            client = Client(job, session, out)
            try:
                async with asyncio.timeout(job.limit_s), asyncio.TaskGroup() as group:
                    for number, item in enumerate(job.case.rows(job.items, job.seed)):
                        group.create_task(client.item(number, item))
            except TimeoutError:
                client.told.timed_out = True
    client.told.cpu_s = cpu_s() - before_s
    client.told.errors = dict(client.errors.most_common(5))
    return client.told


if __name__ == "__main__":
    tell(loop_run(run(read_job())))
