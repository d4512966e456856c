"""What a plan allows, on a real database: counted exactly, at whatever hour, however many race."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.access import ApiKey, Scope
from headrace.clock import Clock
from headrace.config import Config
from headrace.engine import Engine, open_engine
from headrace.errors import ConflictError, InputError, NotFoundError
from headrace.generation import GenerationError
from headrace.lifecycle import ItemState
from headrace.marking import STAGE, marked
from headrace.outcome import OutcomeKind
from headrace.plan import (
    AllowanceError,
    DailyCapError,
    SuspendedError,
    TooManyBatchesError,
    TooManyWaitingError,
)
from headrace.price import Price
from headrace.recipe import Recipe, parse_recipe
from headrace.request import Request
from headrace.store import allowances, keys, plans, tenants
from headrace.store.audit import verify
from headrace.submission import Terms
from headrace.testing import ManualClock
from headrace.watching import Batch
from tests.integration.scripted import Scripted
from tests.integration.test_engine import engine_on, recipe, rows
from tests.integration.test_product_photos import Studio

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Free(Scripted):
    """A provider without a price: no lock of an account lets submits in one by one."""

    def price(self, request: Request) -> Price:
        """Nothing."""
        return Price(0, 0)


@asynccontextmanager
async def looking(url: str, home: Path, clock: Clock) -> AsyncIterator[Engine]:
    """An engine that takes in batches and makes none, at the hour that a test says."""
    config = Config(home=str(home), database_url=url)
    async with open_engine(
        config, providers={"scripted": Free()}, clock=clock, work=False
    ) as engine:
        yield engine


async def tenant(engine: Engine, name: str = "acme", timezone: str = "UTC", **plan: Any) -> None:
    """A tenant with a plan of its own, or with that plan changed."""
    async with engine.database.transaction() as connection:
        now = engine.clock.now()
        await plans.put(connection, f"plan-{name}", plan, now)
        if name not in [one.id for one in await tenants.listed(connection)]:
            await tenants.make(
                connection, name, now, plan=f"plan-{name}", timezone=timezone, unlimited=True
            )


async def submit(engine: Engine, count: int, name: str = "acme", **more: Any) -> Batch:
    terms = Terms(tenant_id=name, canary=0, **more)
    return await engine.submit(rows(count), recipe(), columns=["t"], terms=terms)


async def used(engine: Engine, name: str = "acme") -> int:
    """How many items count on the tenant's day, after an audit that finds nothing."""
    async with engine.database.acquire() as connection:
        assert await verify(connection) == []
        found = await plans.standing(connection, name, engine.clock.now())
        return (await allowances.used_today(connection, found)).items


@pytest.fixture
async def engine(database_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    async with looking(database_url, tmp_path, ManualClock(NOON)) as opened:
        yield opened


@pytest.fixture
def provider() -> Scripted:
    return Scripted()


@pytest.fixture
async def working(database_url: str, tmp_path: Path, provider: Scripted) -> AsyncIterator[Engine]:
    async with engine_on(database_url, tmp_path, provider) as opened:
        yield opened


# -- the day -----------------------------------------------------------------------------------


async def test_fifty_submits_at_once_never_pass_the_daily_cap(engine: Engine) -> None:
    """Of fifty that race for places of three, exactly as many get in as there is room for."""
    await tenant(engine, daily_items_max=40)
    ends = await asyncio.gather(*(submit(engine, 3) for _ in range(50)), return_exceptions=True)
    refused = [end for end in ends if isinstance(end, BaseException)]
    assert all(isinstance(end, DailyCapError) for end in refused), refused
    assert len(ends) - len(refused) == 13
    assert await used(engine) == 39
    await submit(engine, 1)
    with pytest.raises(DailyCapError):
        await submit(engine, 1)
    assert await used(engine) == 40


async def test_what_is_refused_leaves_nothing_and_says_what_is_missing(engine: Engine) -> None:
    """No batch, no reserve, no place; how many are left, and until when to wait."""
    await tenant(engine, daily_items_max=5)
    await submit(engine, 3)
    with pytest.raises(DailyCapError) as caught:
        await submit(engine, 4)
    assert caught.value.facts == {
        "plan": "plan-acme", "limit": 5, "used": 3, "wanted": 4, "missing": 2,
        "resets_at": "2026-03-02T00:00:00+00:00",
    }  # fmt: skip
    assert caught.value.retry_after_s == 12 * 3600 + 1
    assert len(await engine.recent(tenant_id="acme")) == 1
    assert await used(engine) == 3


async def test_rows_that_cannot_be_used_and_other_tenants_count_nothing(engine: Engine) -> None:
    """Only usable rows count, each for its own tenant; one without a cap is not counted."""
    await tenant(engine, daily_items_max=2)
    await tenant(engine, "other", daily_items_max=2)
    given = [{"t": "one"}, {"t": ""}, {"t": "two"}]
    await engine.submit(given, recipe(), columns=["t"], terms=Terms(tenant_id="acme"))
    await submit(engine, 2, "other")
    await submit(engine, 500, "default")
    assert [await used(engine, name) for name in ("acme", "other", "default")] == [2, 2, 0]


async def test_the_same_submit_again_counts_once(engine: Engine) -> None:
    """Under its idempotency key a batch is given again, also when the day is used up."""
    await tenant(engine, daily_items_max=2)
    more = {"idempotency_key": "k"}
    first, again = await submit(engine, 2, **more), await submit(engine, 2, **more)
    assert first.uuid == again.uuid
    assert await used(engine) == 2


@pytest.mark.parametrize(
    ("timezone", "now", "hours"),
    [
        ("Europe/Berlin", "2026-03-28T12:00:00Z", 11),  # the day after has 23 hours
        ("Europe/Berlin", "2026-03-28T23:00:00Z", 23),
        ("Europe/Berlin", "2026-10-24T22:00:00Z", 25),
        ("America/New_York", "2026-03-08T05:00:00Z", 23),
        ("America/New_York", "2026-11-01T04:00:00Z", 25),
        ("Africa/Cairo", "2026-04-23T22:00:00Z", 23),  # that night has no midnight
        ("Asia/Kathmandu", "2026-05-01T18:15:00Z", 24),
        ("UTC", "2026-02-28T23:59:59Z", 1 / 3600),
    ],
)
async def test_a_day_begins_when_the_tenants_clocks_say_so(
    database_url: str, tmp_path: Path, timezone: str, now: str, hours: float
) -> None:
    """A second before its midnight the cap holds, at midnight the day is new, also over DST."""
    clock = ManualClock(datetime.fromisoformat(now))
    async with looking(database_url, tmp_path, clock) as engine:
        await tenant(engine, timezone=timezone, daily_items_max=1)
        await submit(engine, 1)
        with pytest.raises(DailyCapError) as caught:
            await submit(engine, 1)
        assert caught.value.retry_after_s == round(hours * 3600) + 1
        clock.step_wall(hours * 3600 - 0.5)
        with pytest.raises(DailyCapError):
            await submit(engine, 1)
        clock.step_wall(0.5)
        await submit(engine, 1)
        assert await used(engine) == 1


async def test_midnight_under_a_race(engine: Engine) -> None:
    """Submits of both days at once: each day has its own cap, none takes from the other."""
    await tenant(engine, daily_items_max=5)
    assert isinstance(engine.clock, ManualClock)
    engine.clock.step_wall(12 * 3600 - 1)
    before = [asyncio.create_task(submit(engine, 1)) for _ in range(10)]
    await asyncio.gather(*before, return_exceptions=True)
    engine.clock.step_wall(1)
    after = [asyncio.create_task(submit(engine, 1)) for _ in range(10)]
    await asyncio.gather(*after, return_exceptions=True)
    assert [sum(one.exception() is None for one in day) for day in (before, after)] == [5, 5]


async def test_what_ends_without_a_result_counts_no_more(
    working: Engine, provider: Scripted
) -> None:
    """Failed, refused and cancelled items give their place back, delivered and cached ones not."""
    kinds = {"row 0": OutcomeKind.INVALID, "row 1": OutcomeKind.REFUSED}
    provider._script = lambda prompt, nth: kinds.get(prompt)
    await tenant(working, daily_items_max=10)
    await (await submit(working, 4)).done()
    assert await used(working) == 2
    await (await submit(working, 4)).done()
    assert await used(working) == 4
    provider.gate.clear()
    held = await working.submit(
        rows(3, "held"), recipe(), columns=["t"], terms=Terms(tenant_id="acme", canary=0)
    )
    await provider.entered.wait()
    assert await used(working) == 7
    await held.cancel()
    provider.gate.set()
    summary = await held.done()
    assert await used(working) == 4 + summary.succeeded


async def test_a_retry_counts_on_the_day_of_the_retry(engine: Engine) -> None:
    """Items that are opened again need places like new ones; refused, the batch stays as it was."""
    await tenant(engine, daily_items_max=3)
    batch = await submit(engine, 3)
    await fail_all(engine, batch)
    assert await used(engine) == 0
    assert isinstance(engine.clock, ManualClock)
    engine.clock.step_wall(86_400)
    await submit(engine, 1)
    with pytest.raises(DailyCapError):
        await batch.retry({ItemState.FAILED})
    assert (await batch.summary()).failed == 3
    engine.clock.step_wall(86_400)
    assert await batch.retry({ItemState.FAILED}) == 3
    assert await used(engine) == 3


async def fail_all(engine: Engine, batch: Batch, reserve: int = 0) -> None:
    """Let every item of a batch fail, as settles do it; ``reserve`` goes back of each."""
    from headrace.event import EventKind
    from headrace.store import settles, shards
    from headrace.store.writes import Settle

    async with engine.database.transaction() as connection:
        count = (await batch.summary()).item_count
        shard_id = await shards.cut_for_now(connection, batch.uuid, engine.clock.now())
        claim = await shards.claim(connection, shard_id, 1)
        assert claim is not None
        await connection.execute(
            "UPDATE item SET state = 'running' WHERE batch_id = $1", batch.uuid
        )
        await connection.execute(
            "UPDATE batch_progress SET pending = 0, running = $2 WHERE batch_id = $1",
            batch.uuid,
            count,
        )
        made = [
            Settle(
                batch.uuid, idx, 0, ItemState.RUNNING, ItemState.FAILED, "acme", shard_id,
                claim.fence, 1, 0, 1, reason="failed", void_microcredits=reserve,
                event=EventKind.ITEM_FAILED, event_data="{}",
            )
            for idx in range(count)
        ]  # fmt: skip
        assert all(await settles.write(connection, made, engine.accounts, engine.clock.now()))


# -- at a time ---------------------------------------------------------------------------------


async def test_as_many_batches_are_open_as_the_plan_allows(engine: Engine) -> None:
    """Twenty race for three places; when one is cancelled, its place is free."""
    await tenant(engine, batches_max=3)
    ends = await asyncio.gather(*(submit(engine, 1) for _ in range(20)), return_exceptions=True)
    good = [end for end in ends if isinstance(end, Batch)]
    bad = [end for end in ends if not isinstance(end, Batch)]
    assert len(good) == 3
    assert all(isinstance(end, TooManyBatchesError) for end in bad), bad
    await good[0].cancel()
    await submit(engine, 1)
    with pytest.raises(TooManyBatchesError) as caught:
        await submit(engine, 1)
    assert caught.value.facts["missing"] == 1


async def test_as_many_requests_wait_as_the_plan_allows(
    working: Engine, provider: Scripted
) -> None:
    """On demand has a cap beside that of batches; what is cached is given all the same."""
    await tenant(working, waiting_max=2, batches_max=1)
    provider.gate.clear()
    batch = await submit(working, 1)
    asked = [
        asyncio.create_task(working.generate("scripted:m", f"p {n}", tenant_id="acme"))
        for n in range(6)
    ]
    done, waiting = await asyncio.wait(asked, return_when=asyncio.FIRST_EXCEPTION)
    while len(done) < 4:
        more, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_EXCEPTION)
        done |= more
    assert all(isinstance(one.exception(), TooManyWaitingError) for one in done)
    provider.gate.set()
    made = await asyncio.gather(*waiting)
    assert len(made) == 2
    await batch.done()
    await tenant(working, waiting_max=0)
    prompt = made[0].body.decode().removeprefix("made of ")
    assert (await working.generate("scripted:m", prompt, tenant_id="acme")).cached


async def test_a_class_above_the_plans_is_lowered(engine: Engine) -> None:
    """What is asked for as interactive runs as the plan says, and what is below stays."""
    await tenant(engine, **{"class": "batch"})
    got = [
        (await (await submit(engine, 1, class_name=name)).summary()).class_name
        for name in ("interactive", "bulk")
    ]
    assert got == ["batch", "bulk"]


async def test_the_weight_is_the_plans(working: Engine) -> None:
    """At the gate and at the cutting a tenant counts as its plan says."""
    await tenant(working, weight=7)
    batch = await submit(working, 1)
    assert (await working.open_batch(batch.uuid)).weight == 7


# -- tenants -----------------------------------------------------------------------------------


async def test_a_suspended_tenant_submits_nothing_and_what_it_has_goes_on(
    working: Engine, provider: Scripted
) -> None:
    """New work and retries are refused with the reason; batches under way end."""
    await tenant(working)
    provider.gate.clear()
    batch = await submit(working, 2)
    async with working.database.transaction() as connection:
        await tenants.suspend(connection, "acme", "the bill of March")
    with pytest.raises(SuspendedError, match="the bill of March"):
        await submit(working, 1)
    with pytest.raises(SuspendedError):
        await working.generate("scripted:m", "p", tenant_id="acme")
    provider.gate.set()
    assert (await batch.done()).succeeded == 2
    async with working.database.transaction() as connection:
        await tenants.resume(connection, "acme")
    await submit(working, 1)


async def test_bad_tenants_are_not_made(engine: Engine) -> None:
    """An id twice, a plan or a timezone that there is not, a name of two lines."""
    async with engine.database.transaction() as connection:
        now = engine.clock.now()
        await tenants.make(connection, "one", now)
        with pytest.raises(ConflictError):
            await tenants.make(connection, "one", now)
        with pytest.raises(NotFoundError):
            await tenants.make(connection, "two", now, plan="gold")
        for more in ({"timezone": "Mars/Olympus"}, {"timezone": "x'; --"}, {"name": "a\nb"}):
            with pytest.raises(InputError):
                await tenants.make(connection, "two", now, **more)
        for move in (tenants.resume, tenants.find):
            with pytest.raises(NotFoundError):
                await move(connection, "nobody")
        with pytest.raises(NotFoundError):
            await tenants.set_plan(connection, "one", "gold")
    with pytest.raises(NotFoundError):
        await submit(engine, 1, "nobody")


async def test_changes_of_one_plan_at_once_all_count(engine: Engine) -> None:
    """Who changes one limit does not undo another's change of a second."""
    limits = ("daily_items_max", "batches_max", "pixels_max", "waiting_max")

    async def put(key: str) -> None:
        async with engine.database.transaction() as connection:
            await plans.put(connection, "gold", {key: 7}, NOON)

    await asyncio.gather(*map(put, limits))
    async with engine.database.acquire() as connection:
        told = (await plans.find(connection, "gold")).to_json()
    assert [told[key] for key in limits] == [7, 7, 7, 7]


# -- keys --------------------------------------------------------------------------------------


async def test_a_rotation_has_two_good_keys_and_never_three(engine: Engine) -> None:
    """Of ten rotations at once one makes a key; the old one ends with the grace, not before."""
    async with engine.database.transaction() as connection:
        _, old = await keys.make(
            connection, "default", "shop", Scope.READ, NOON, NOON + timedelta(days=90)
        )

    async def rotate() -> str:
        async with engine.database.transaction() as connection:
            secret, made = await keys.rotate(connection, old, timedelta(hours=24), NOON)
            assert (made.scope, made.name, made.tenant_id) == (Scope.READ, "shop", "default")
            assert made.expires_at == NOON + timedelta(days=90)
            return secret

    ends = await asyncio.gather(*(rotate() for _ in range(10)), return_exceptions=True)
    made = [end for end in ends if isinstance(end, str)]
    assert len(made) == 1
    assert sum(isinstance(end, ConflictError) for end in ends) == 9
    async with engine.database.acquire() as connection:
        new = await keys.find(connection, made[0])
        listed = await keys.listed(connection, None)
        assert new in listed
        (before,) = [key for key in listed if key != new]
    for hours, states in ((23, ["replaced", "good"]), (24, ["expired", "good"])):
        now = NOON + timedelta(hours=hours)
        assert [key.state(now) for key in (before, new)] == states


async def rotated(engine: Engine, key: ApiKey, now: datetime) -> None:
    """Rotate a key, all or nothing."""
    async with engine.database.transaction() as connection:
        await keys.rotate(connection, key, timedelta(hours=1), now)


async def test_a_revoked_or_expired_key_is_not_rotated(engine: Engine) -> None:
    """What opens nothing any more is not made to open something."""
    async with engine.database.transaction() as connection:
        _, gone = await keys.make(connection, "default", "gone", Scope.READ, NOON)
        await keys.revoke_one(connection, gone.id, NOON)
        _, over = await keys.make(
            connection, "default", "over", Scope.READ, NOON, NOON + timedelta(seconds=1)
        )
    for key in (gone, over):
        with pytest.raises(ConflictError):
            await rotated(engine, key, NOON + timedelta(seconds=1))
    async with engine.database.acquire() as connection:
        assert len(await keys.listed(connection, None)) == 2


# -- sizes, marks and artifacts ----------------------------------------------------------------


def sized() -> Recipe:
    """A recipe whose rows say how large."""
    return recipe(
        {
            "name": "make", "kind": "generate", "model": "scripted:m", "prompt": "{{ t }}",
            "params": {"size": "{{ size }}"},
        }
    )  # fmt: skip


async def test_a_size_above_the_plans_is_refused_before_buying(
    working: Engine, provider: Scripted
) -> None:
    """Such rows fail with the reason and nothing is bought for them; the others are made."""
    await tenant(working, pixels_max=1024 * 1024)
    given = [{"t": "a", "size": "1024x1024"}, {"t": "b", "size": "1024x1025"}]
    batch = await working.submit(
        given, sized(), columns=["t", "size"], terms=Terms(tenant_id="acme")
    )
    summary = await batch.done()
    assert (summary.succeeded, summary.failed, provider.prompts) == (1, 1, ["a"])
    items = [item async for item in batch.items()]
    assert "1,049,600 pixels are asked for" in (items[1].error or {})["reason"]
    with pytest.raises(GenerationError, match="pixels are asked for"):
        await working.generate("scripted:m", "c", tenant_id="acme", size="2048x2048")
    assert provider.prompts == ["a"]


@pytest.fixture
async def studio(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[Engine, Studio]]:
    provider = Studio()
    async with engine_on(database_url, tmp_path, provider) as opened:
        yield opened, provider


def photo() -> Recipe:
    """One picture a row, from another if the row names one, and its file's name."""
    return recipe(
        {
            "name": "photo", "kind": "generate", "model": "studio:photo", "prompt": "{{ t }}",
            "sources": {"image": "{{ picture }}"},
        },
        {"name": "save", "kind": "write", "file": "{{ t }}"},
    )  # fmt: skip


async def made(engine: Engine, name: str, **row: str) -> Any:
    """The item of one row, made for a tenant."""
    batch = await engine.submit([row], photo(), columns=None, terms=Terms(tenant_id=name))
    await batch.done()
    items = [item async for item in batch.items()]
    return items[0]


async def test_a_plans_mark_is_on_what_is_handed_out_and_nothing_is_bought_twice(
    studio: tuple[Engine, Studio],
) -> None:
    """The mark is a last stage: without it the same call's result is there, unbought."""
    engine, provider = studio
    await tenant(engine, watermark="TRIAL")
    item = await made(engine, "acme", t="mill")
    assert item.artifact == item.outputs[STAGE] != item.outputs["photo"]
    assert item.file is not None
    again = await made(engine, "acme", t="mill")
    assert (again.cached, again.artifact) == (True, item.artifact)
    async with engine.database.transaction() as connection:
        await plans.put(connection, "plan-acme", {"watermark": None}, NOON)
    engine.marks._known.clear()
    pure = await made(engine, "acme", t="mill")
    assert pure.artifact == item.outputs["photo"]
    assert len(provider.seen) == 1


async def test_on_demand_carries_the_mark_from_the_cache_too(
    studio: tuple[Engine, Studio],
) -> None:
    """A call on demand gives the marked picture, the second time as a hit without a call."""
    engine, provider = studio
    await tenant(engine, watermark="TRIAL")
    first = await engine.generate("studio:photo", "mill", tenant_id="acme")
    again = await engine.generate("studio:photo", "mill", tenant_id="acme")
    assert (first.cached, again.cached, again.body) == (False, True, first.body)
    plain = await engine.generate("studio:photo", "mill")
    assert plain.body != first.body
    assert len(provider.seen) == 2


async def test_texts_pass_the_mark_as_they_are(working: Engine) -> None:
    """A mark for pictures leaves a text alone, made anew or from the cache."""
    await tenant(working, watermark="TRIAL")
    for _ in range(2):
        summary = await (await submit(working, 2)).done()
        assert summary.succeeded == 2
    assert summary.cached == 2
    assert (await working.generate("scripted:m", "row 0", tenant_id="acme")).cached


def test_the_mark_stands_before_the_file_is_named() -> None:
    """The stages that name files stay last; a recipe without a mark is the same."""
    one = parse_recipe({**photo().body}, "test")
    assert [stage.name for stage in marked(one, "X").stages] == ["photo", STAGE, "save"]
    assert marked(one, None) is one


async def test_a_row_names_only_artifacts_of_its_own_tenant(
    studio: tuple[Engine, Studio],
) -> None:
    """Another's picture, or one that nobody has, is refused alike at submit, and never read."""
    engine, provider = studio
    await tenant(engine)
    await tenant(engine, "other")
    mine = (await made(engine, "acme", t="mill")).artifact
    name = f"sha256:{mine.sha256.hex()}"
    assert (await made(engine, "acme", t="again", picture=name)).state is ItemState.SUCCEEDED
    seen = len(provider.seen)
    for digest in (name, f"sha256:{'0' * 64}"):
        stolen = await made(engine, "other", t="theft", picture=digest)
        assert (stolen.state, stolen.error["code"]) == (ItemState.FAILED, "invalid_input")
        assert f"there is no artifact {digest}" in stolen.error["reason"]
        strict = Terms(tenant_id="other", strict=True)
        with pytest.raises(InputError, match="there is no artifact"):
            await engine.submit([{"t": "theft", "picture": digest}], photo(), terms=strict)
    assert len(provider.seen) == seen


async def test_an_artifact_of_another_is_not_read_whatever_was_submitted(
    studio: tuple[Engine, Studio],
) -> None:
    """The look before the call holds by itself, as for rows from a file: nothing is asked."""
    engine, provider = studio
    await tenant(engine)
    await tenant(engine, "other")
    mine = (await made(engine, "acme", t="mill")).artifact
    stream = iter([{"t": "theft", "picture": f"sha256:{mine.sha256.hex()}"}])
    batch = await engine.submit(stream, photo(), terms=Terms(tenant_id="other"))
    assert (await batch.done()).failed == 1
    stolen = [item async for item in batch.items()]
    assert "there is no artifact" in (stolen[0].error or {})["reason"]
    assert len(provider.seen) == 1


def test_every_refusal_says_when_to_come_again() -> None:
    """Each kind has a code of its own, and a program can read the wait."""
    kinds = (DailyCapError, TooManyBatchesError, TooManyWaitingError)
    assert len({kind.code for kind in kinds}) == 3
    assert all(issubclass(kind, AllowanceError) for kind in kinds)
