"""A deadline that leaves time: items go through a provider's batch API, and none is paid twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config, Retry
from headrace.engine import Engine, open_engine
from headrace.recipe import Recipe
from headrace.simulator.server import Simulator
from headrace.simulator.settings import BatchSettings, LatencySettings, Settings
from headrace.simulator.shapes.openai_errors import error
from headrace.store.audit import verify
from headrace.store.batches import Summary
from headrace.submission import Terms
from headrace.testing import ManualClock
from headrace.watching import Batch
from tests.integration.test_engine import recipe, rows

HOUR = 3600.0
STAGE = {
    "name": "make",
    "kind": "generate",
    "model": "sim:gpt-4o-mini",
    "prompt": "{{ t }}",
    "params": {"max_tokens": 50},
}
PRICES = {"gpt-4o-mini": {"input_usd_per_million": 10.0, "output_usd_per_million": 100.0}}


def told(**more: Any) -> dict[str, Any]:
    return {"prices": PRICES, **more}


@asynccontextmanager
async def world(
    url: str,
    home: Path,
    settings: Settings,
    kind_of: type[Simulator] = Simulator,
    **provider: Any,
) -> AsyncIterator[tuple[Engine, Simulator, ManualClock]]:
    """A simulated provider, an engine that uses it, and the clock of both."""
    clock = ManualClock()
    simulator = kind_of(settings, clock)
    await simulator.start()
    config = Config(
        home=str(home),
        database_url=url,
        retry=Retry(attempts=3, base_s=1.0, cap_s=1.0),
        providers={
            "sim": {
                "kind": "openai",
                "base_url": f"{simulator.url}/v1",
                "api_key": "sk-test",
                "batch_worth_s": 600,
                **told(**provider),
            }
        },
    )
    try:
        async with open_engine(config, clock=clock) as engine:
            yield engine, simulator, clock
    finally:
        await simulator.close()


async def submit(engine: Engine, given: Any, of: Recipe | None = None, **terms: Any) -> Batch:
    terms.setdefault("deadline_s", 24 * HOUR)
    terms.setdefault("canary", 0)
    return await engine.submit(given, of or recipe(STAGE), columns=["t"], terms=Terms(**terms))


async def ended(batch: Batch, clock: ManualClock, step_s: float = 5.0) -> Summary:
    """Move time until the batch has ended."""
    done = asyncio.ensure_future(batch.done())
    for _ in range(3000):
        await asyncio.wait({done}, timeout=0.01)
        if done.done():
            break
        await clock.advance(step_s)
    return await done


async def turn() -> None:
    """Let the database and the sockets come round."""
    await asyncio.wait({asyncio.get_running_loop().create_future()}, timeout=0.01)


async def lanes_of(engine: Engine) -> dict[str, int]:
    async with engine.database.acquire() as connection:
        rows = await connection.fetch(
            "SELECT lane, count(*) AS n FROM attempt WHERE state = 'succeeded' GROUP BY lane"
        )
    return {row["lane"]: row["n"] for row in rows}


async def sound(engine: Engine, simulator: Simulator) -> None:
    async with engine.database.acquire() as connection:
        assert await verify(connection) == []
    assert simulator.truth.summary()["paid_twice"] == 0


CALM = Settings(shapes=("openai",), latency=LatencySettings(median_s=0.01))


def with_batches(**told: Any) -> Settings:
    return Settings(
        shapes=("openai",),
        latency=LatencySettings(median_s=0.01),
        batches=BatchSettings(**told),
    )


async def test_a_far_deadline_buys_all_in_one_provider_batch(
    database_url: str, tmp_path: Path
) -> None:
    """Forty items are handed in together, come back answered, and cost half; no call is made."""
    async with world(database_url, tmp_path, with_batches(duration_s=1800.0)) as (
        engine,
        simulator,
        clock,
    ):
        batch = await submit(engine, rows(40))
        summary = await ended(batch, clock, 20.0)
        assert (summary.succeeded, summary.failed) == (40, 0)
        assert await lanes_of(engine) == {"sim/gpt-4o-mini/batch": 40}
        assert {entry.shape for entry in simulator.truth.calls} == {"openai-batch"}
        assert len(simulator.truth.calls) == 40
        live = await submit(engine, rows(40), cache="off", deadline_s=None)
        dear = await ended(live, clock)
        assert dear.succeeded == 40
        assert summary.cost_estimate_microusd * 2 == dear.cost_estimate_microusd > 0
        item = next(iter([item async for item in batch.items()]))
        assert (item.made["make"].provider, item.made["make"].why) == ("sim", None)
        await sound(engine, simulator)


async def test_a_near_deadline_calls_at_once(database_url: str, tmp_path: Path) -> None:
    """Where the time is too short for a provider batch, calls are made, and it is told why."""
    async with world(database_url, tmp_path, with_batches(duration_s=10.0)) as (engine, sim, clock):
        batch = await submit(engine, rows(5), deadline_s=700.0)
        assert (await ended(batch, clock)).succeeded == 5
        assert await lanes_of(engine) == {"sim/gpt-4o-mini": 5}
        why = {item.made["make"].why async for item in batch.items()}
        assert why == {"sim/gpt-4o-mini in a provider batch: its deadline is too near"}
        await sound(engine, sim)


async def test_a_canary_is_not_made_to_wait(database_url: str, tmp_path: Path) -> None:
    """The first rows are called at once, so that they can be judged; the others wait together."""
    async with world(database_url, tmp_path, with_batches(duration_s=600.0)) as (
        engine,
        sim,
        clock,
    ):
        batch = await submit(engine, rows(20), canary=3)
        assert (await ended(batch, clock)).succeeded == 20
        lanes = await lanes_of(engine)
        assert lanes == {"sim/gpt-4o-mini": 3, "sim/gpt-4o-mini/batch": 17}
        await sound(engine, sim)


async def test_stragglers_are_rescued_before_the_deadline(
    database_url: str, tmp_path: Path
) -> None:
    """A provider batch that is too slow is cancelled in time; what it did not execute is called."""
    settings = with_batches(duration_s=8 * HOUR)
    async with world(database_url, tmp_path, settings) as (engine, sim, clock):
        begun = clock.now()
        batch = await submit(engine, rows(40), deadline_s=4 * HOUR)
        summary = await ended(batch, clock, 60.0)
        assert summary.succeeded == 40
        lanes = await lanes_of(engine)
        assert lanes["sim/gpt-4o-mini/batch"] in range(9, 17), "three of eight hours"
        assert sum(lanes.values()) == 40
        assert len([call for call in sim.truth.calls if call.paid]) == 40, "none is paid twice"
        async with engine.database.acquire() as connection:
            told = await connection.fetch("SELECT rescue_at, cancel_at FROM provider_batch")
        assert all((row["rescue_at"] - begun).total_seconds() < 4 * HOUR for row in told)
        assert all(row["cancel_at"] >= row["rescue_at"] for row in told)
        why = {item.made["make"].why async for item in batch.items()} - {None}
        assert all("in a provider batch: the provider batch ended" in str(one) for one in why)
        await sound(engine, sim)


async def test_lines_that_expire_are_called(database_url: str, tmp_path: Path) -> None:
    """Lines that the provider says it never executed are bought by calls, at once."""
    settings = with_batches(duration_s=600.0, expires_share=0.4)
    async with world(database_url, tmp_path, settings) as (engine, sim, clock):
        batch = await submit(engine, rows(40))
        assert (await ended(batch, clock)).succeeded == 40
        lanes = await lanes_of(engine)
        assert 0 < lanes["sim/gpt-4o-mini"] < 40
        assert len([call for call in sim.truth.calls if call.paid]) == 40
        await sound(engine, sim)


async def test_a_create_that_was_not_seen_is_found(database_url: str, tmp_path: Path) -> None:
    """The provider made the batch and the answer was lost: it is found by its mark."""
    settings = with_batches(duration_s=600.0, reset_creates=1)
    async with world(database_url, tmp_path, settings) as (engine, sim, clock):
        batch = await submit(engine, rows(10))
        assert (await ended(batch, clock)).succeeded == 10
        assert await lanes_of(engine) == {"sim/gpt-4o-mini/batch": 10}
        assert len(sim.truth.calls) == 10
        await sound(engine, sim)


async def test_a_full_queue_is_tried_again_later(database_url: str, tmp_path: Path) -> None:
    """Where too many tokens are queued, the lines are handed in again after a while."""
    settings = with_batches(duration_s=600.0, full_creates=2)
    async with world(database_url, tmp_path, settings) as (engine, sim, clock):
        batch = await submit(engine, rows(10))
        assert (await ended(batch, clock, 20.0)).succeeded == 10
        assert await lanes_of(engine) == {"sim/gpt-4o-mini/batch": 10}
        await sound(engine, sim)


async def test_queued_tokens_are_bounded(database_url: str, tmp_path: Path) -> None:
    """With a limit on queued tokens, one provider batch is made after the other."""
    settings = with_batches(duration_s=600.0)
    async with world(database_url, tmp_path, settings, batch_tokens=600) as (engine, sim, clock):
        batch = await submit(engine, rows(20))
        assert (await ended(batch, clock, 20.0)).succeeded == 20
        async with engine.database.acquire() as connection:
            sizes = await connection.fetch("SELECT lines, tokens FROM provider_batch ORDER BY id")
        assert len(sizes) >= 2
        assert all(row["tokens"] <= 600 for row in sizes)
        await sound(engine, sim)


@pytest.mark.parametrize(
    ("policy", "state"), [("retry", "succeeded"), ("refund", "failed"), ("hold", "unknown")]
)
async def test_a_line_that_is_in_no_file_is_asked_about(
    database_url: str, tmp_path: Path, policy: str, state: str
) -> None:
    """A line that may have been executed is bought again only by the policy that says so."""
    settings = with_batches(duration_s=600.0, silent_share=0.4)
    async with world(database_url, tmp_path, settings) as (engine, sim, clock):
        batch = await submit(engine, rows(20), unknown=policy)
        for _ in range(400):
            await clock.advance(5.0)
            await turn()
            summary = await batch.summary()
            if summary.succeeded + summary.failed + summary.unknown == 20:
                break
        states = [item.state.value async for item in batch.items()]
        assert states.count(state) > 0
        assert set(states) == {"succeeded", state}
        lost = len([call for call in sim.truth.calls if call.shape == "openai-batch"])
        assert lost == 20, "all lines were executed"
        live = len(sim.truth.calls) - lost
        assert summary.repeats == live == (0 if policy != "retry" else live)
        assert (live > 0) == (policy == "retry")
        async with engine.database.acquire() as connection:
            assert await verify(connection) == []


async def test_equal_rows_are_one_line(database_url: str, tmp_path: Path) -> None:
    """Rows that ask for the same are bought once, and wait for that one."""
    async with world(database_url, tmp_path, with_batches(duration_s=600.0)) as (
        engine,
        sim,
        clock,
    ):
        batch = await submit(engine, [{"t": f"text {n % 4}"} for n in range(24)])
        summary = await ended(batch, clock)
        assert (summary.succeeded, summary.cached) == (24, 20)
        assert len(sim.truth.calls) == 4
        await sound(engine, sim)


async def test_refused_lines_are_refused(database_url: str, tmp_path: Path) -> None:
    """A line whose content is refused ends so; no call asks for it a second time."""
    settings = Settings(
        shapes=("openai",), refuse_word="nasty", batches=BatchSettings(duration_s=600.0)
    )
    async with world(database_url, tmp_path, settings) as (engine, sim, clock):
        batch = await submit(engine, [{"t": "nasty"}, {"t": "nice"}])
        summary = await ended(batch, clock)
        assert (summary.succeeded, summary.refused) == (1, 1)
        assert len(sim.truth.calls) == 2
        await sound(engine, sim)


async def test_what_a_cancelled_batch_bought_is_billed(database_url: str, tmp_path: Path) -> None:
    """Cancelled midway, the provider batch is stopped; its executed lines count as cost."""
    async with world(database_url, tmp_path, with_batches(duration_s=HOUR)) as (engine, sim, clock):
        batch = await submit(engine, rows(40))
        for _ in range(200):
            await clock.advance(10.0)
            await turn()
            if len(sim.truth.calls) >= 10:
                break
        await batch.cancel()
        assert (await ended(batch, clock)).cancelled == 40
        for _ in range(300):
            await clock.advance(10.0)
            await turn()
            async with engine.database.acquire() as connection:
                left = await connection.fetchval("SELECT count(*) FROM provider_batch_line")
            if not left:
                break
        executed = len(sim.truth.calls)
        assert 10 <= executed < 40
        async with engine.database.acquire() as connection:
            risk = await connection.fetchval(
                "SELECT in_flight_microusd + untold_microusd FROM batch_progress"
            )
        summary = await batch.summary()
        assert summary.cost_estimate_microusd > 0
        assert risk == 0
        await sound(engine, sim)


async def test_images_come_out_of_a_provider_batch(database_url: str, tmp_path: Path) -> None:
    """Pictures of answers are looked at and kept as those of calls are."""
    stage = {**STAGE, "model": "sim:gpt-image-2", "params": {"size": "256x256"}}
    async with world(database_url, tmp_path, with_batches(duration_s=600.0)) as (
        engine,
        sim,
        clock,
    ):
        batch = await submit(engine, rows(5), recipe(stage))
        assert (await ended(batch, clock)).succeeded == 5
        items = [item async for item in batch.items()]
        kinds = {item.artifact.media_type for item in items if item.artifact is not None}
        assert kinds == {"image/png"}
        assert len({item.artifact.sha256 for item in items if item.artifact is not None}) == 5
        assert await lanes_of(engine) == {"sim/gpt-image-2/batch": 5}
        await sound(engine, sim)


async def test_two_stages_share_the_time(database_url: str, tmp_path: Path) -> None:
    """Each stage of a recipe has its own provider batch, and both are done by the deadline."""
    second = {**STAGE, "name": "again", "prompt": "more of {{ stages.make }}"}
    async with world(database_url, tmp_path, with_batches(duration_s=HOUR)) as (engine, sim, clock):
        batch = await submit(engine, rows(6), recipe(STAGE, second), deadline_s=24 * HOUR)
        assert (await ended(batch, clock, 20.0)).succeeded == 6
        assert await lanes_of(engine) == {"sim/gpt-4o-mini/batch": 12}
        await sound(engine, sim)


async def test_a_server_without_batches_is_called(database_url: str, tmp_path: Path) -> None:
    """Where the provider has no batch API after all, the items are called for, and it is said."""

    class Without(Simulator):
        async def answer(self, request: Any) -> Any:
            if request.path.startswith(("/v1/files", "/v1/batches")):
                return error(404, "Not here.")
            return await super().answer(request)

    async with world(database_url, tmp_path, CALM, kind_of=Without) as (engine, sim, clock):
        batch = await submit(engine, rows(5))
        assert (await ended(batch, clock)).succeeded == 5
        assert await lanes_of(engine) == {"sim/gpt-4o-mini": 5}
        why = {item.made["make"].why async for item in batch.items()}
        assert all("not handed in" in str(one) for one in why)
        await sound(engine, sim)
