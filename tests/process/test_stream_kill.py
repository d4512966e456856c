"""Streams that are cut midway: by a kill -9, by the provider, by the client; settled once."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import httpx2
import openai
import pytest

from headrace.simulator.scenario import build_settings
from headrace.simulator.server import Simulator
from headrace.store.audit import verify
from tests.integration.conftest import database_url, scratch, server, template
from tests.process.terminal import environment_in

__all__ = ["database_url", "scratch", "server", "template"]
pytestmark = pytest.mark.process
PRICE = 5_000
MODEL = "sim:gpt-4o-mini"
SETTINGS = """
[retry]
base_s = 0.0
cap_s = 0.1
[providers.sim]
kind = "openai"
base_url = "{url}/v1"
models = ["gpt-4o-mini", "gpt-image-2"]
crash_class = "{crash_class}"
price_microcredits = {price}
[providers.sim.prices.gpt-4o-mini]
input_usd_per_million = 1000.0
output_usd_per_million = 2000.0
"""
POINTS = (
    "start-before-commit", "start-after-commit", "before-send", "after-send",
    "settle-before-commit", "settle-after-commit", "shard-before-done", "finish-before-commit",
)  # fmt: skip
"""Where a process dies on the way of one result on demand."""
BEFORE_CALL = POINTS[:3]
UNSEEN_AT = (*POINTS[1:5], POINTS[7])
SAID_S = 1.4
CUT = (openai.APIError, httpx2.HTTPError)
OPEN = "SELECT 1 FROM batch WHERE state NOT IN ('completed', 'cancelled', 'expired', 'failed')"
UNSEEN = """
    SELECT a.state, a.outcome, i.state AS item, i.spent_microcredits AS posted
    FROM attempt a JOIN item i ON i.batch_id = a.batch_id AND i.idx = a.idx
"""
ENDINGS = """
    SELECT batch_id, count(*) FILTER (WHERE kind = 'reserve') AS reserved,
        count(*) FILTER (WHERE kind IN ('post', 'void')) AS ended,
        coalesce(sum(amount_microcredits) FILTER (WHERE kind = 'post'), 0) AS posted
    FROM transfer WHERE batch_id IS NOT NULL GROUP BY 1
"""


class Serving:
    """``headrace serve`` on a database, in front of a simulated provider of one class."""

    def __init__(self, folder: Path, database_url: str, simulator: Simulator, letter: str) -> None:
        told = SETTINGS.format(url=simulator.url, crash_class=letter, price=PRICE)
        (folder / "headrace.toml").write_text(told)
        self._folder, self._database_url = folder, database_url
        self._key = ""
        self._process: asyncio.subprocess.Process | None = None
        self.simulator = simulator
        self.url = ""

    async def start(self, crash_at: str = "", *words: str) -> None:
        """Start it, to die at a crash point where one is named."""
        more = {"HEADRACE_DATABASE_URL": self._database_url, "HEADRACE_CRASH_AT": crash_at}
        with (self._folder / "serve.err").open("ab") as complaints:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "headrace", "serve", "--port", "0", "--json", *words,
                cwd=self._folder, env=environment_in(self._folder, **more),
                stdout=asyncio.subprocess.PIPE, stderr=complaints,
            )  # fmt: skip
        assert self._process.stdout is not None
        told = json.loads(await asyncio.wait_for(self._process.stdout.readline(), 120))
        self.url, self._key = told["url"], told["admin_key"] or self._key

    async def worker(self) -> asyncio.subprocess.Process:
        """Start a worker beside it; returns when it works."""
        more = {"HEADRACE_DATABASE_URL": self._database_url}
        with (self._folder / "worker.err").open("ab") as complaints:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "headrace", "worker",
                cwd=self._folder, env=environment_in(self._folder, **more),
                stdout=asyncio.subprocess.PIPE, stderr=complaints,
            )  # fmt: skip
        assert process.stdout is not None
        assert b"works on" in await asyncio.wait_for(process.stdout.readline(), 120)
        return process

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(signal.SIGKILL)
        await self.died()

    async def died(self) -> None:
        """Wait for its end; it was killed, by us or by itself."""
        assert self._process is not None
        assert await asyncio.wait_for(self._process.wait(), 120) == -signal.SIGKILL

    async def stop(self) -> None:
        """Ask it to end."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(self._process.wait(), 120)

    def client(self) -> openai.AsyncOpenAI:
        """The official client, which asks once."""
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key=self._key, max_retries=0, timeout=120
        )

    async def pieces(self, key: str | None) -> AsyncGenerator[str, None]:
        """Yield a streamed chat as it comes; raises one of ``CUT`` where it has no end."""
        async with self.client() as client:
            said: Any = [{"role": "user", "content": "Hi"}]
            stream = await client.chat.completions.create(
                model=MODEL, messages=said, stream=True,
                extra_headers={} if key is None else {"Idempotency-Key": key},
            )  # fmt: skip
            ended = None
            async for chunk in stream:
                for choice in chunk.choices:
                    ended = choice.finish_reason or ended
                    if choice.delta.content:
                        yield choice.delta.content
            if ended is None:
                raise httpx2.RemoteProtocolError("the stream has no end")

    async def whole(self, key: str | None = None) -> str:
        """Return a streamed chat when it has ended."""
        return "".join([piece async for piece in self.pieces(key)])

    async def ask(self, sql: str) -> list[dict[str, Any]]:
        """Ask the database."""
        connection = await asyncpg.connect(self._database_url)
        try:
            return [dict(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close()

    async def until_over(self) -> None:
        """Wait until nothing is open, here and at the provider."""
        async with asyncio.timeout(120):
            while await self.ask(OPEN) or self.simulator.lane.in_flight:
                await asyncio.sleep(0.05)

    async def is_right(self, *, paid: int) -> None:
        """The provider was paid so often, each hold has ended once, the books add up."""
        await self.until_over()
        assert sum(one.paid for one in self.simulator.truth.calls) == paid
        for batch in await self.ask(ENDINGS):
            assert (batch["reserved"], batch["ended"]) == (1, 1), batch
            assert batch["posted"] in (0, PRICE)
        (held,) = await self.ask("SELECT balance_microcredits FROM account WHERE kind = 'held'")
        assert held["balance_microcredits"] == 0
        connection = await asyncpg.connect(self._database_url)
        try:
            assert await verify(connection) == []
        finally:
            await connection.close()

    async def repeats(self) -> int:
        """Return how many purchases are counted as perhaps second ones."""
        (row,) = await self.ask("SELECT coalesce(sum(repeats), 0) AS count FROM batch_progress")
        return int(row["count"])


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    """Texts that take a good second, told in fourteen pieces."""
    found = Simulator(build_settings({"latency": {"median_s": SAID_S}}))
    await found.start()
    yield found
    await found.close()


@asynccontextmanager
async def in_front_of(
    simulator: Simulator, letter: str, folder: Path, database_url: str, **more: Any
) -> AsyncIterator[Serving]:
    """A server that is not started yet; its provider is of a class, and is known to be."""
    table = {"latency": {"median_s": SAID_S}, "crash_class": letter}
    simulator.reset(build_settings(table | more))
    serving = Serving(folder, database_url, simulator, letter)
    yield serving
    await serving.stop()


async def until_cut(pieces: AsyncIterator[str], then: Callable[[], Awaitable[None]]) -> str:
    """Return what was told; ``then`` is done at the first piece, and the end has to be missing."""
    heard = ""
    try:
        async for piece in pieces:
            if not heard:
                await then()
            heard += piece
    except CUT:
        return heard
    raise AssertionError("the stream has an end")


@pytest.mark.parametrize("key", ["k", None])
@pytest.mark.parametrize("letter", ["A", "D"])
async def test_a_stream_whose_server_is_killed_midway_is_paid_and_settled_once(
    simulator: Simulator, database_url: str, tmp_path: Path, letter: str, key: str | None
) -> None:
    """Killed between two words: asked again, with its idempotency key or without, the caller has
    what was begun; only a provider that makes it impossible is paid again, and that is counted.
    """
    async with in_front_of(simulator, letter, tmp_path, database_url) as serving:
        await serving.start()
        heard = await until_cut(serving.pieces(key), serving.kill)
        await serving.start()
        text = await serving.whole(key)
        assert heard
        assert text.startswith(heard)
        repeats = await serving.repeats()
        assert repeats == (0 if letter == "A" else 1)
        await serving.is_right(paid=1 + repeats)
        assert await serving.whole() == text  # out of the cache
        await serving.is_right(paid=1 + repeats)


@pytest.mark.parametrize("letter", ["A", "D"])
async def test_who_hangs_up_before_the_server_is_killed_finds_it_after_the_restart(
    simulator: Simulator, database_url: str, tmp_path: Path, letter: str
) -> None:
    """Nobody listens any more when it dies: the purchase is gone on with, by nobody's asking."""
    async with in_front_of(simulator, letter, tmp_path, database_url) as serving:
        await serving.start()
        pieces = serving.pieces(None)
        heard = await anext(pieces)
        await pieces.aclose()
        await serving.kill()
        await serving.start()
        repeats = 0 if letter == "A" else 1
        await serving.is_right(paid=1 + repeats)
        assert await serving.repeats() == repeats
        assert (await serving.whole()).startswith(heard)
        await serving.is_right(paid=1 + repeats)


async def test_who_hangs_up_before_the_server_is_asked_to_end_has_paid_once(
    simulator: Simulator, database_url: str, tmp_path: Path
) -> None:
    """What is under way is ended first, heard or not: also where it could not be asked again."""
    async with in_front_of(simulator, "D", tmp_path, database_url) as serving:
        await serving.start()
        pieces = serving.pieces(None)
        heard = await anext(pieces)
        await pieces.aclose()
        await serving.stop()
        await serving.is_right(paid=1)
        await serving.start()
        assert (await serving.whole()).startswith(heard)
        assert await serving.repeats() == 0
        await serving.is_right(paid=1)


async def test_a_provider_that_breaks_off_under_a_key_is_asked_for_the_rest(
    simulator: Simulator, database_url: str, tmp_path: Path
) -> None:
    """The same stream goes on with the same answer, which is paid once."""
    cut = {"faults": [{"kind": "reset_midway", "until_s": 1.0}]}
    async with in_front_of(simulator, "A", tmp_path, database_url, **cut) as serving:
        await serving.start()
        text = await serving.whole()
        await serving.is_right(paid=1)
        assert await serving.whole() == text
        await serving.is_right(paid=1)


async def test_what_a_blind_provider_breaks_off_is_refunded_and_counted_as_unknown(
    simulator: Simulator, database_url: str, tmp_path: Path
) -> None:
    """Killed as soon as the error is told: nobody pays for half a text, it is kept as a call whose
    answer was not seen, and nothing is bought until somebody asks again.
    """
    cut = {"faults": [{"kind": "reset_midway", "until_s": 1.0}]}
    async with in_front_of(simulator, "D", tmp_path, database_url, **cut) as serving:
        await serving.start()
        assert await until_cut(serving.pieces(None), nothing)
        await serving.kill()
        await serving.start()
        await serving.is_right(paid=1)
        (told,) = await serving.ask(UNSEEN)
        assert told == {"state": "unknown", "outcome": "lost_result", "item": "failed", "posted": 0}
        assert await serving.whole()
        await serving.is_right(paid=2)


@pytest.mark.parametrize(
    ("letter", "point"), [("D", one) for one in POINTS] + [("A", one) for one in POINTS[2:5]]
)
async def test_a_stream_whose_server_dies_at_a_named_point_is_settled_once(
    simulator: Simulator, database_url: str, tmp_path: Path, letter: str, point: str
) -> None:
    """Whatever was written by then: asked again it is one answer, paid once where that can be."""
    async with in_front_of(simulator, letter, tmp_path, database_url) as serving:
        await serving.start(f"{point}:1")
        heard = await until_cut(serving.pieces("k"), nothing)
        await serving.died()
        await serving.start()
        assert (await serving.whole("k")).startswith(heard)
        await serving.until_over()
        repeats, again = await serving.repeats(), letter == "D" and point in UNSEEN_AT
        assert repeats == again
        # Whether a call was sent, a blind provider does not tell.
        await serving.is_right(paid=1 if point in BEFORE_CALL else 1 + again)


async def test_a_server_without_a_worker_leaves_it_to_one_and_may_be_killed_meanwhile(
    simulator: Simulator, database_url: str, tmp_path: Path
) -> None:
    """Texts and pictures come from a worker beside it; one that is being made when the server is
    killed is found again under its key. Nobody there to make it is a 503.
    """
    async with in_front_of(simulator, "D", tmp_path, database_url) as serving:
        await serving.start("", "--no-worker")
        with pytest.raises(openai.InternalServerError) as caught:
            await serving.whole()
        assert (caught.value.status_code, caught.value.code) == (503, "no_worker")
        worker = await serving.worker()
        try:
            assert await serving.whole()
            async with serving.client() as client:
                drawn = await client.images.generate(model="sim:gpt-image-2", prompt="a mill")
            assert drawn.data
            assert drawn.data[0].b64_json
            again = asyncio.create_task(client_asks(serving))
            while simulator.lane.in_flight == 0:
                await asyncio.sleep(0.02)
            await serving.kill()
            with pytest.raises(CUT):
                await again
            await serving.start("", "--no-worker")
            assert await client_asks(serving)
            await serving.is_right(paid=3)
            assert await serving.repeats() == 0
        finally:
            worker.terminate()
            assert await asyncio.wait_for(worker.wait(), 120) == 0


async def client_asks(serving: Serving) -> str | None:
    """Ask for a text that is not streamed, under a key."""
    said: Any = [{"role": "user", "content": "Something else"}]
    async with serving.client() as client:
        told = await client.chat.completions.create(
            model=MODEL, messages=said, extra_headers={"Idempotency-Key": "other"}
        )
    return told.choices[0].message.content


async def nothing() -> None:
    """Let a stream go on."""
