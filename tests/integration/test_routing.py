"""Several models for a stage, on a real PostgreSQL: who makes an item, and that it is paid once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config, Retry
from headrace.engine import Engine, open_engine
from headrace.event import EventKind
from headrace.held import HeldItem
from headrace.lifecycle import ItemState
from headrace.limits import Dimension, Limit, Quota
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.price import Price
from headrace.provider import Call, CrashClass, Reply
from headrace.recipe import Recipe
from headrace.request import Request
from headrace.store import shards
from headrace.store.audit import verify
from headrace.submission import Terms
from headrace.watching import Batch, ItemResult
from tests.integration.scripted import Scripted
from tests.integration.test_engine import CREDIT, balance, one, recipe, rows

NARROW = Quota(1, (Limit(Dimension.CONCURRENCY, 1),), pinned=True)


class Tells(Scripted):
    """Fails with a whole outcome, such as one that names its wait."""

    outcome: Outcome | None = None

    async def call(self, call: Call) -> Reply:
        if self.outcome is not None:
            self.prompts.append(call.request.params["prompt"])
            raise CallFailed(self.outcome)
        return await super().call(call)


class Priced(Scripted):
    """Has a price of its own."""

    most: Price = Price(CREDIT, 40_000)

    def price(self, request: Request) -> Price:
        return self.most


def always(kind: OutcomeKind) -> Callable[[str, int], OutcomeKind]:
    return lambda prompt, nth: kind


def routed(*models: Any, **more: Any) -> Recipe:
    listed = list(models or ("a:m", "b:m"))
    stage = {"name": "make", "kind": "generate", "models": listed, "prompt": "{{ t }}"}
    return recipe(stage | more)


@asynccontextmanager
async def engine_with(
    url: str, home: Path, *providers: Scripted, attempts: int = 3
) -> AsyncIterator[Engine]:
    config = Config(
        home=str(home), database_url=url, retry=Retry(attempts=attempts, base_s=0.0, cap_s=0.0)
    )
    async with open_engine(config, providers={one.name: one for one in providers}) as engine:
        yield engine


async def submit(engine: Engine, given: Any, of: Recipe | None = None, **terms: Any) -> Batch:
    return await engine.submit(given, of or routed(), columns=["t"], terms=Terms(**terms))


async def made(batch: Batch) -> list[ItemResult]:
    return [item async for item in batch.items()]


async def sound(engine: Engine) -> None:
    async with engine.database.acquire() as connection:
        assert await verify(connection) == []
    assert await balance(engine, "held") == 0


# -- moving on -------------------------------------------------------------------------------------


async def test_what_fails_at_the_first_is_made_by_the_second(
    database_url: str, tmp_path: Path
) -> None:
    """After two server errors at the first model the second makes the item, and it is told why."""
    first = Scripted(always(OutcomeKind.TRANSIENT), name="a")
    second = Scripted(name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        batch = await submit(engine, rows(3))
        summary = await batch.done()
        assert (summary.succeeded, summary.spent_microcredits) == (3, 3 * CREDIT)
        assert sorted(first.prompts) == sorted(2 * [row["t"] for row in rows(3)])
        assert sorted(second.prompts) == [row["t"] for row in rows(3)]
        item = (await made(batch))[0]
        assert item.made["make"].provider == "b"
        assert item.made["make"].why == "a/m failed 2 times: scripted transient"
        told = [e.data async for e in batch.events() if e.kind is EventKind.ITEM_SUCCEEDED]
        assert {data["made"]["make"]["provider"] for data in told} == {"b"}
        await sound(engine)


async def test_a_hiccup_does_not_move_an_item(database_url: str, tmp_path: Path) -> None:
    """One server error is tried again where it happened."""
    first = Scripted(lambda prompt, nth: OutcomeKind.OVERLOADED if nth == 1 else None, name="a")
    second = Scripted(name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        batch = await submit(engine, rows(3))
        assert (await batch.done()).succeeded == 3
        assert second.prompts == []
        assert [item.made["make"].why for item in await made(batch)] == [None] * 3


@pytest.mark.parametrize("kind", [OutcomeKind.QUOTA_EXHAUSTED, OutcomeKind.AUTH])
async def test_a_shut_lane_moves_all_at_once(
    database_url: str, tmp_path: Path, kind: OutcomeKind
) -> None:
    """Spent funds or a bad key move the item at once; later ones do not even ask the first."""
    first, second = Scripted(always(kind), name="a"), Scripted(name="b")
    first.quota = NARROW
    async with engine_with(database_url, tmp_path, first, second) as engine:
        batch = await submit(engine, rows(20), canary=0)
        async with asyncio.timeout(60):
            summary = await batch.done()
        assert (summary.succeeded, summary.attempts) == (20, 21)
        assert (len(first.prompts), len(second.prompts)) == (1, 20)
        why = {item.made["make"].why for item in await made(batch)}
        assert all(str(one).startswith("a/m is shut: scripted") for one in why)
        assert all("until 2" in str(one) for one in why)
        await sound(engine)


@pytest.mark.parametrize("kind", [OutcomeKind.REFUSED, OutcomeKind.INVALID])
async def test_what_the_content_is_to_blame_for_does_not_move(
    database_url: str, tmp_path: Path, kind: OutcomeKind
) -> None:
    """Refused content and invalid input end the item where they were met."""
    first, second = Scripted(always(kind), name="a"), Scripted(name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        summary = await (await submit(engine, rows(3))).done()
        assert (summary.succeeded, summary.ended_badly) == (0, 3)
        assert second.prompts == []
        await sound(engine)


async def test_a_rate_limit_waits_in_line_and_a_long_one_moves(
    database_url: str, tmp_path: Path
) -> None:
    """Refused for the rate, an item asks the same model again; told to wait an hour, another."""
    limited = OutcomeKind.RATE_LIMITED
    first = Tells(lambda prompt, nth: limited if nth == 1 else None, name="a")
    second = Scripted(name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        assert (await (await submit(engine, rows(2))).done()).succeeded == 2
        assert second.prompts == []
        first.outcome = Outcome(limited, "come back later", wait_s=3600.0)
        assert (await (await submit(engine, rows(2, "more"))).done()).succeeded == 2
        assert len(second.prompts) == 2


async def test_an_outage_is_not_asked_by_everybody(database_url: str, tmp_path: Path) -> None:
    """While the first model's circuit is open only single calls look whether it works again."""
    first, second = Scripted(always(OutcomeKind.TRANSIENT), name="a"), Scripted(name="b")
    first.quota = NARROW
    async with engine_with(database_url, tmp_path, first, second) as engine:
        batch = await submit(engine, rows(60), canary=0)
        async with asyncio.timeout(60):
            assert (await batch.done()).succeeded == 60
        assert len(first.prompts) < 20
        why = [str(item.made["make"].why) for item in await made(batch)]
        assert sum("in trouble" in one for one in why) > 40


async def test_when_all_fail_the_item_does(database_url: str, tmp_path: Path) -> None:
    """Each model is tried twice in each go; after the goes of the policy the item fails."""
    first = Scripted(always(OutcomeKind.TRANSIENT), name="a")
    second = Scripted(always(OutcomeKind.OVERLOADED), name="b")
    async with engine_with(database_url, tmp_path, first, second, attempts=2) as engine:
        batch = await submit(engine, rows(1))
        summary = await batch.done()
        assert (summary.failed, summary.spent_microcredits) == (1, 0)
        assert (len(first.prompts), len(second.prompts)) == (4, 4)
        error = (await made(batch))[0].error or {}
        assert "a/m failed 2 times" in error["reason"]
        assert "b/m failed 2 times" in error["reason"]
        await sound(engine)


async def test_when_all_are_shut_it_waits_for_the_first_to_open(
    database_url: str, tmp_path: Path
) -> None:
    """An item whose models are all shut is due when the first of them opens, and says why."""
    first, second = Tells(name="a"), Tells(name="b")
    first.outcome = Outcome(OutcomeKind.QUOTA_EXHAUSTED, "month used up", wait_s=86_400.0)
    second.outcome = Outcome(OutcomeKind.QUOTA_EXHAUSTED, "day used up", wait_s=7200.0)
    async with engine_with(database_url, tmp_path, first, second) as engine:
        batch = await submit(engine, rows(3))
        async with asyncio.timeout(60):
            while (await batch.summary()).waiting < 3:
                await batch.changed(0.02)
        waits = await batch.waits()
        left_s = (waits[0].due_at - engine.clock.now()).total_seconds()
        assert 7100 < left_s <= 7200
        assert "month used up" in str(waits[0].reason)
        assert "day used up" in str(waits[0].reason)
        # A person has paid: the first is looked at again, and nobody waits for that look.
        first.outcome = second.outcome = None
        asked = len(first.prompts)
        await batch.pause()
        await batch.resume()
        summary = await batch.done()
        assert summary.succeeded == 3
        assert len(first.prompts) > asked
        await sound(engine)


async def test_a_retry_by_a_person_begins_with_the_first(database_url: str, tmp_path: Path) -> None:
    """A new round forgets which models the last one passed over."""
    broken = True
    first = Scripted(lambda p, nth: OutcomeKind.TRANSIENT if broken else None, name="a")
    second = Scripted(lambda p, nth: OutcomeKind.REFUSED if broken else None, name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        batch = await submit(engine, rows(1))
        assert (await batch.done()).refused == 1
        broken = False
        await batch.retry({ItemState.REFUSED})
        assert (await batch.done()).succeeded == 1
        assert (await made(batch))[0].made["make"].to_json() == {
            "provider": "a",
            "model": "m",
            "why": None,
        }
        await sound(engine)


# -- the order of the models -----------------------------------------------------------------------


async def test_the_cheapest_known_goes_first(database_url: str, tmp_path: Path) -> None:
    """By price: the cheapest known first, an unknown price last; the dearest is reserved."""
    dear, cheap, unknown = Priced(name="a"), Priced(name="b"), Priced(name="c")
    dear.most, cheap.most = Price(5 * CREDIT, 50_000), Price(2 * CREDIT, 20_000)
    unknown.most = Price(CREDIT, None)
    order = routed("c:m", "a:m", "b:m", route="price")
    async with engine_with(database_url, tmp_path, dear, cheap, unknown) as engine:
        batch = await submit(engine, rows(2), order)
        reserve = await one(engine, "SELECT max(reserve_microcredits) FROM batch")
        summary = await batch.done()
        assert (len(cheap.prompts), dear.prompts, unknown.prompts) == (2, [], [])
        assert (reserve, summary.spent_microcredits) == (5 * CREDIT, 4 * CREDIT)
        assert (await made(batch))[0].made["make"].why is None
        await sound(engine)


async def test_a_free_quota_goes_first_while_it_lasts(database_url: str, tmp_path: Path) -> None:
    """By free quota: the lane with one by the day serves what it holds, the others the rest."""
    paid, free = Scripted(name="a"), Scripted(name="b")
    by_day = Limit(Dimension.REQUESTS, 2, 86_400.0)
    free.quota = Quota(1, (Limit(Dimension.CONCURRENCY, 1), by_day), pinned=True)
    async with engine_with(database_url, tmp_path, paid, free) as engine:
        batch = await submit(engine, rows(5), routed(route="free"))
        async with asyncio.timeout(60):
            assert (await batch.done()).succeeded == 5
        assert (len(free.prompts), len(paid.prompts)) == (2, 3)
        why = {item.made["make"].why for item in await made(batch)}
        assert any("b/m is shut: its 2 requests a day are used up" in str(one) for one in why)


async def test_each_model_has_its_own_params(database_url: str, tmp_path: Path) -> None:
    """A model's params stand over those of the stage, for it alone."""
    seen: dict[str, dict[str, Any]] = {}

    class Sees(Scripted):
        async def call(self, call: Call) -> Reply:
            seen[self.name] = call.request.params
            return await super().call(call)

    second = {"model": "b:m", "params": {"quality": "high"}}
    order = routed("a:m", second, params={"quality": "low", "size": 512})
    first = Sees(always(OutcomeKind.QUOTA_EXHAUSTED), name="a")
    async with engine_with(database_url, tmp_path, first, Sees(name="b")) as engine:
        assert (await (await submit(engine, rows(1), order)).done()).succeeded == 1
    assert seen["a"] == {"prompt": "row 0", "quality": "low", "size": 512}
    assert seen["b"] == {"prompt": "row 0", "quality": "high", "size": 512}


# -- the cache -------------------------------------------------------------------------------------


async def test_a_result_of_any_of_the_models_is_taken(database_url: str, tmp_path: Path) -> None:
    """What one of the models made before is taken from the cache; the first listed wins."""
    first, second = Scripted(name="a"), Scripted(name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        await (await submit(engine, rows(2), routed("b:m"))).done()
        batch = await submit(engine, rows(2))
        summary = await batch.done()
        assert (summary.cached, summary.attempts, first.prompts) == (2, 0, [])
        by = [item.made["make"] for item in await made(batch)]
        assert {(one.provider, one.why) for one in by} == {("b", "its result was there already")}
        await (await submit(engine, rows(2), routed("a:m"))).done()
        batch = await submit(engine, rows(2))
        assert (await batch.done()).cached == 2
        assert {item.made["make"].provider for item in await made(batch)} == {"a"}


async def test_identical_rows_are_bought_once_whoever_makes_them(
    database_url: str, tmp_path: Path
) -> None:
    """Fifty identical rows are one purchase, also when it was not the first model's."""
    first = Scripted(always(OutcomeKind.QUOTA_EXHAUSTED), name="a")
    second = Scripted(name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        summary = await (await submit(engine, [{"t": "same"}] * 50, canary=0)).done()
        assert (summary.succeeded, len(second.prompts)) == (50, 1)
        assert summary.spent_microcredits == CREDIT
        await sound(engine)


# -- unseen answers --------------------------------------------------------------------------------


async def test_an_unseen_answer_is_seen_to_where_it_was_asked(
    database_url: str, tmp_path: Path
) -> None:
    """A keyed call without an answer is sent again under its key and goes to nobody else.

    Not even when the second sending is turned away: the first may be paid all the same.
    """
    script = [OutcomeKind.UNKNOWN, OutcomeKind.TRANSIENT, OutcomeKind.RATE_LIMITED]
    first = Scripted(
        lambda prompt, nth: script[nth - 1] if nth <= 3 else None, CrashClass.KEYED, "a"
    )
    second = Scripted(name="b")
    async with engine_with(database_url, tmp_path, first, second, attempts=5) as engine:
        batch = await submit(engine, rows(1))
        summary = await batch.done()
        assert (summary.succeeded, summary.attempts) == (1, 4)
        assert len(set(first.keys)) == 1
        assert second.prompts == []
        states = await one(engine, "SELECT array_agg(state ORDER BY number) FROM attempt")
        assert states == ["resolved", "resolved", "resolved", "succeeded"]
        await sound(engine)


async def test_an_accepted_call_is_followed_and_not_bought_elsewhere(
    database_url: str, tmp_path: Path
) -> None:
    """Once a job is accepted, a key that is rejected at a look moves the item nowhere."""

    class Jobs(Scripted):
        looks = 0

        async def call(self, call: Call) -> Reply:
            self.prompts.append(call.request.params["prompt"])
            await call.accepted("job-1", None)
            raise CallFailed(Outcome(OutcomeKind.AUTH, "no such key", wait_s=0.0))

        async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
            self.looks += 1
            if self.looks == 1:
                raise CallFailed(Outcome(OutcomeKind.AUTH, "no such key", wait_s=0.0))
            return Reply("text/plain", body=provider_request_id.encode(), cost_microusd=40_000)

    first, second = Jobs(crash_class=CrashClass.POLLED, name="a"), Scripted(name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        batch = await submit(engine, rows(1))
        async with asyncio.timeout(60):
            summary = await batch.done()
        assert (summary.succeeded, summary.cost_microusd) == (1, 40_000)
        assert (len(first.prompts), first.looks, second.prompts) == (1, 2, [])
        await sound(engine)


async def test_an_unseen_answer_waits_for_its_own_shut_lane(
    database_url: str, tmp_path: Path
) -> None:
    """When the lane of an unseen call is shut, the item waits for it, whatever else is open."""
    script = {"row 0": OutcomeKind.UNKNOWN, "row 1": OutcomeKind.QUOTA_EXHAUSTED}
    first = Scripted(lambda prompt, nth: script[prompt], CrashClass.KEYED, "a")
    second = Scripted(name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        first.gate.clear()
        batch = await submit(engine, rows(2))
        async with asyncio.timeout(60):
            while len(first.prompts) < 2:
                await batch.changed(0.02)
            first.gate.set()
            while not any(wait.code == "quota_exhausted" for wait in await batch.waits()):
                await batch.changed(0.02)
        assert second.prompts == ["row 1"]
        assert first.prompts.count("row 0") <= 2
        await batch.cancel()
        await batch.done()
        await sound(engine)


async def test_a_blind_call_is_held_and_not_bought_elsewhere(
    database_url: str, tmp_path: Path
) -> None:
    """With the policy hold, an unseen answer waits for a person, whatever else is open."""
    first = Scripted(always(OutcomeKind.UNKNOWN), CrashClass.BLIND, "a")
    second = Scripted(name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        batch = await submit(engine, rows(1), unknown="hold")
        async with asyncio.timeout(60):
            while (await batch.summary()).unknown < 1:
                await batch.changed(0.02)
        assert second.prompts == []
        await batch.cancel()
        await sound(engine)


@pytest.mark.parametrize("crash_class", [CrashClass.KEYED, CrashClass.LISTED])
async def test_a_crash_resumes_with_the_provider_that_was_called(
    database_url: str, tmp_path: Path, crash_class: CrashClass
) -> None:
    """An open attempt of a dead worker goes on at its own provider, though the first is open."""
    first = Scripted(always(OutcomeKind.QUOTA_EXHAUSTED), name="a")
    second = Scripted(crash_class=crash_class, name="b")
    async with engine_with(database_url, tmp_path, first, second) as engine:
        second.gate.clear()
        batch = await submit(engine, rows(1))
        await asyncio.wait_for(second.entered.wait(), 60)
        # As the next holder of the shard sees it, after the first one's death.
        async with engine.database.transaction() as connection:
            shard_id = await connection.fetchval("SELECT id FROM shard")
            claim = await shards.claim(connection, shard_id, engine.worker.id)
        assert claim is not None
        held = await engine.open_batch(batch.uuid)
        async with engine.database.acquire() as connection:
            items: list[HeldItem] = await shards.load(connection, claim, held)
        assert items[0].open_attempt is not None
        assert items[0].open_attempt.provider == "b"
        engine.gate.reopen()
        second.gate.set()
        while engine.writer.settles.written < 2:
            await asyncio.sleep(0)
        await engine.worker._dispatcher.work(held, items)
        assert (await batch.done()).succeeded == 1
        assert len(first.prompts) == 1
        assert len(set(second.keys)) == 1
        why = str((await made(batch))[0].made["make"].why)
        assert why.startswith("a/m is shut")
        await sound(engine)


async def test_an_outage_of_all_costs_no_item_its_tries(database_url: str, tmp_path: Path) -> None:
    """When every provider is down for a while, items stand in line, and none is given up."""
    down = {"a": 12, "b": 12}

    def script(name: str) -> Callable[[str, int], OutcomeKind | None]:
        def fails(prompt: str, nth: int) -> OutcomeKind | None:
            down[name] -= 1
            return OutcomeKind.OVERLOADED if down[name] >= 0 else None

        return fails

    both = [Scripted(script(name), name=name) for name in down]
    for provider in both:
        provider.quota = NARROW
    async with engine_with(database_url, tmp_path, *both, attempts=2) as engine:
        batch = await submit(engine, rows(40), canary=0)
        async with asyncio.timeout(60):
            summary = await batch.done()
        assert (summary.succeeded, summary.failed) == (40, 0)
        await sound(engine)
