"""The engine end to end on a real PostgreSQL: exact items, exact money, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace import settlement
from headrace.clock import SystemClock
from headrace.config import Config, Retry
from headrace.engine import Engine, open_engine
from headrace.errors import (
    ConflictError,
    FenceLostError,
    InputError,
    InsufficientCreditsError,
    RecipeError,
    StorageError,
    UsageError,
)
from headrace.event import EventKind
from headrace.generation import GenerationError
from headrace.lifecycle import ItemState
from headrace.limits import Quota, start_width
from headrace.outcome import Outcome, OutcomeKind
from headrace.provider import CrashClass
from headrace.recipe import Recipe, parse_recipe
from headrace.store import ledger, shards
from headrace.store.audit import verify
from headrace.submission import Terms
from headrace.watching import Batch, ItemResult
from tests.integration.scripted import Scripted

CREDIT = 1_000_000


def recipe(*stages: dict[str, Any], required: tuple[str, ...] = ("t",)) -> Recipe:
    made = list(stages) or [
        {"name": "make", "kind": "generate", "model": "scripted:m", "prompt": "{{ t }}"}
    ]
    body = {"name": "test", "columns": {"required": list(required)}, "stages": made}
    return parse_recipe(body, "test")


def rows(count: int, word: str = "row") -> list[dict[str, str]]:
    return [{"t": f"{word} {number}"} for number in range(count)]


@asynccontextmanager
async def engine_on(url: str, home: Path, provider: Scripted, **more: Any) -> AsyncIterator[Engine]:
    config = Config(
        home=str(home), database_url=url, retry=Retry(attempts=3, base_s=0.0, cap_s=0.0)
    )
    async with open_engine(config, providers={provider.name: provider}, **more) as engine:
        yield engine


@pytest.fixture
def provider() -> Scripted:
    return Scripted()


@pytest.fixture
async def engine(database_url: str, tmp_path: Path, provider: Scripted) -> AsyncIterator[Engine]:
    async with engine_on(database_url, tmp_path, provider) as opened:
        yield opened


async def submit(engine: Engine, given: Any, **terms: Any) -> Batch:
    return await engine.submit(given, recipe(), columns=["t"], terms=Terms(**terms))


async def results(batch: Batch) -> list[ItemResult]:
    return [item async for item in batch.items()]


async def balance(engine: Engine, kind: str) -> int:
    async with engine.database.acquire() as connection:
        value: int = await connection.fetchval(
            "SELECT sum(balance_microcredits) FROM account WHERE kind = $1", kind
        )
    return value


async def one(engine: Engine, sql: str) -> Any:
    async with engine.database.acquire() as connection:
        return await connection.fetchval(sql)


async def limit(engine: Engine, credits: int) -> None:
    """Make the default tenant a limited one with so many credits."""
    async with engine.database.transaction() as connection:
        await connection.execute("UPDATE tenant SET unlimited = false WHERE id = 'default'")
        await ledger.grant(
            connection, engine.accounts, "default", credits * CREDIT, "test", engine.clock.now()
        )


async def test_every_row_is_delivered_once_and_charged_once(
    engine: Engine, provider: Scripted
) -> None:
    """Each row becomes one delivered item, called once, charged once, and nothing stays held."""
    batch = await submit(engine, rows(40))
    summary = await batch.done()
    assert (summary.state, summary.succeeded, summary.open) == ("completed", 40, 0)
    assert sorted(provider.prompts) == sorted(row["t"] for row in rows(40))
    assert summary.spent_microcredits == 40 * CREDIT
    assert summary.cost_microusd == 40 * 40_000
    assert await balance(engine, "held") == 0
    assert await balance(engine, "revenue") == 40 * CREDIT
    made = await results(batch)
    assert [item.row_number for item in made] == list(range(1, 41))
    assert await engine.reading.text(made[3].artifact) == "made of row 3"  # type: ignore[arg-type]


async def test_results_come_as_they_complete_and_events_are_gapless(engine: Engine) -> None:
    """Results stream until the batch has ended, and its events are numbered without a gap."""
    batch = await submit(engine, rows(12))
    seen = [item.row_number async for item in batch.results()]
    assert sorted(seen) == list(range(1, 13))
    seqs = [event.cursor[0] async for event in batch.events()]
    assert seqs == list(range(1, len(seqs) + 1))


async def test_a_second_run_is_served_from_the_cache(engine: Engine, provider: Scripted) -> None:
    """The same rows again buy nothing and cost no credits."""
    await (await submit(engine, rows(20))).done()
    summary = await (await submit(engine, rows(20))).done()
    assert (summary.succeeded, summary.cached, summary.attempts) == (20, 20, 0)
    assert len(provider.prompts) == 20
    assert summary.spent_microcredits == 0
    assert await balance(engine, "held") == 0


async def test_refresh_buys_again_and_off_leaves_the_cache_alone(
    engine: Engine, provider: Scripted
) -> None:
    """Refresh replaces what is cached; off neither reads nor writes it."""
    await (await submit(engine, rows(3), cache="off")).done()
    assert await one(engine, "SELECT count(*) FROM cache_entry") == 0
    await (await submit(engine, rows(3))).done()
    first = await one(engine, "SELECT min(created_at) FROM cache_entry")
    await (await submit(engine, rows(3), cache="refresh")).done()
    assert len(provider.prompts) == 9
    assert await one(engine, "SELECT min(created_at) FROM cache_entry") > first


async def test_identical_rows_in_a_batch_are_bought_once(
    engine: Engine, provider: Scripted
) -> None:
    """A hundred identical rows are one paid call and a hundred deliveries."""
    summary = await (await submit(engine, [{"t": "same"}] * 100)).done()
    assert (summary.succeeded, len(provider.prompts)) == (100, 1)
    assert summary.spent_microcredits == CREDIT


async def test_a_hundred_requests_on_demand_are_one_call(
    engine: Engine, provider: Scripted
) -> None:
    """Identical requests in flight at once are bought once, and all get the result."""
    made = await asyncio.gather(*(engine.generate("scripted:m", "cat") for _ in range(100)))
    assert {item.body for item in made} == {b"made of cat"}
    assert len(provider.prompts) == 1


async def test_a_failed_generation_on_demand_says_why(database_url: str, tmp_path: Path) -> None:
    """A generation that ends without a result raises the reason, and is not cached."""
    provider = Scripted(lambda prompt, nth: OutcomeKind.REFUSED if nth == 1 else None)
    async with engine_on(database_url, tmp_path, provider) as engine:
        with pytest.raises(GenerationError, match="scripted refused"):
            await engine.generate("scripted:m", "cat")
        assert (await engine.generate("scripted:m", "cat")).body == b"made of cat"


async def test_params_on_demand_are_values_and_no_templates(engine: Engine) -> None:
    """Braces in a param mean nothing; a name that could be a template is refused."""
    made = await engine.generate("scripted:m", "cat {{ params_style }}", style="{{ prompt }}")
    assert made.body == b"made of cat {{ params_style }}"
    with pytest.raises(UsageError, match="not the name of a parameter"):
        await engine.generate("scripted:m", "cat", **{"a | b }} {{ c": 1})


async def test_failures_are_refunded_and_the_others_go_on(
    database_url: str, tmp_path: Path
) -> None:
    """A refused, an invalid and a hopeless row fail alone, cost nothing, and can be retried."""
    bad = {
        "row 1": OutcomeKind.REFUSED,
        "row 2": OutcomeKind.INVALID,
        "row 3": OutcomeKind.TRANSIENT,
    }
    healed = False
    provider = Scripted(lambda prompt, nth: None if healed else bad.get(prompt))
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(10))
        summary = await batch.done()
        assert (summary.succeeded, summary.refused, summary.failed) == (7, 1, 2)
        assert provider.prompts.count("row 3") == 3
        assert summary.spent_microcredits == 7 * CREDIT
        assert await balance(engine, "held") == 0
        assert await one(engine, "SELECT count(*) FROM cache_entry") == 7
        healed = True
        opened = await batch.retry({ItemState.FAILED, ItemState.REFUSED})
        summary = await batch.done()
        assert (opened, summary.succeeded, summary.ended_badly) == (3, 10, 0)
        assert summary.spent_microcredits == 10 * CREDIT
        assert await balance(engine, "held") == 0


async def test_a_retry_succeeds_within_its_attempts(database_url: str, tmp_path: Path) -> None:
    """Rate limits, overload and faults are tried again, each attempt a row of its own."""
    kinds = [OutcomeKind.RATE_LIMITED, OutcomeKind.OVERLOADED]
    provider = Scripted(lambda prompt, nth: kinds[nth - 1] if nth <= 2 else None)
    async with engine_on(database_url, tmp_path, provider) as engine:
        summary = await (await submit(engine, rows(5))).done()
        assert (summary.succeeded, summary.attempts) == (5, 15)
        outcomes = await one(
            engine, "SELECT array_agg(outcome ORDER BY number) FROM attempt WHERE idx = 0"
        )
        assert outcomes == ["rate_limited", "overloaded", "success"]


async def test_bad_rows_fail_alone_or_stop_everything_when_strict(engine: Engine) -> None:
    """An empty required cell fails its row at once; with strict nothing is submitted."""
    given = [{"t": "good"}, {"t": ""}, {"t": "fine"}]
    summary = await (await submit(engine, given)).done()
    assert (summary.succeeded, summary.failed) == (2, 1)
    before = await one(engine, "SELECT count(*) FROM batch")
    with pytest.raises(InputError, match="row 2"):
        await submit(engine, given, strict=True)
    assert await one(engine, "SELECT count(*) FROM batch") == before


async def test_a_missing_column_is_one_clear_error_before_anything_starts(
    engine: Engine, provider: Scripted
) -> None:
    """A recipe's column that the input lacks is named, with the nearest one."""
    with pytest.raises(RecipeError, match="needs the column 't'"):
        await engine.submit([{"tt": "x"}], recipe(), columns=["tt"])
    assert provider.prompts == []


async def test_cancel_starts_nothing_more_and_refunds_the_rest(
    engine: Engine, provider: Scripted
) -> None:
    """After cancel is acknowledged no item starts; what is in flight is delivered and billed."""
    provider.gate.clear()
    batch = await submit(engine, rows(200))
    await provider.entered.wait()
    cancelled = await batch.cancel()
    started = len(provider.prompts)
    provider.gate.set()
    summary = await batch.done()
    assert summary.state == "cancelled"
    assert len(provider.prompts) == started
    assert summary.succeeded + summary.cancelled == 200
    assert cancelled is not None
    assert summary.spent_microcredits == summary.succeeded * CREDIT
    assert await balance(engine, "held") == 0


async def test_pause_and_resume(engine: Engine, provider: Scripted) -> None:
    """A paused batch starts nothing; resumed it finishes with nothing lost or twice."""
    provider.gate.clear()
    batch = await submit(engine, rows(100))
    await provider.entered.wait()
    assert await batch.pause()
    started = len(provider.prompts)
    provider.gate.set()
    while (await batch.summary()).running:
        await asyncio.sleep(0)
    assert len(provider.prompts) == started
    assert await batch.resume()
    summary = await batch.done()
    assert summary.succeeded == 100
    assert sorted(provider.prompts) == sorted(row["t"] for row in rows(100))


async def test_a_batch_begins_as_wide_as_its_size_advises(
    engine: Engine, provider: Scripted
) -> None:
    """At a lane of which nothing is told 12 items begin with 3 calls, 100 more make it 8."""
    provider.quota = Quota(start_width(1), advised=True)
    provider.gate.clear()
    try:
        small = await submit(engine, rows(12))
        await asked(engine, provider, at_work=3, of=12)
        assert len(provider.prompts) == 3
        large = await submit(engine, rows(100, "more"))
        await asked(engine, provider, at_work=8, of=12 + 1)
        assert len(provider.prompts) == 8
    finally:
        provider.gate.set()  # else the engine would wait for these calls
    assert (await small.done()).succeeded == 12
    assert (await large.done()).succeeded == 100


async def asked(engine: Engine, provider: Scripted, *, at_work: int, of: int) -> None:
    """Wait until so many calls are at work, and with those in line there are ``of``."""
    async with asyncio.timeout(60):
        while (begun := len(provider.prompts)) < at_work or (
            begun + engine.gate.waiting(provider.name) < of
        ):
            await asyncio.sleep(0)


async def test_a_late_worker_changes_nothing(engine: Engine, provider: Scripted) -> None:
    """Once a shard is claimed again, nothing that its earlier holder writes is kept."""
    provider.gate.clear()
    batch = await submit(engine, rows(1))
    await provider.entered.wait()
    async with engine.database.transaction() as connection:
        shard_id = await connection.fetchval("SELECT id FROM shard")
        claim = await shards.claim(connection, shard_id, engine.worker.id)
    assert claim is not None
    assert claim.fence == 2
    provider.gate.set()
    while engine.writer.settles.written == 0:
        await asyncio.sleep(0)
    assert (await batch.summary()).succeeded == 0
    assert await balance(engine, "revenue") == 0
    held = await engine.open_batch(batch.uuid)
    async with engine.database.acquire() as connection:
        items = await shards.load(connection, claim, held)
    assert [item.crashes for item in items] == [1]
    with pytest.raises(FenceLostError):
        await engine.worker._dispatcher.work(held, [_stale(items[0])])
    gone = Outcome(OutcomeKind.CANCELLED, "a late word")
    late = settlement.ended(_stale(items[0]), gone, ItemState.CANCELLED, EventKind.ITEM_CANCELLED)
    with pytest.raises(FenceLostError):
        await engine.writer.settles.hand_in(late)
    assert (await batch.summary()).cancelled == 0
    await engine.worker._dispatcher.work(held, items)
    summary = await batch.done()
    # The blind provider was asked twice: the customer pays once, the operator the other.
    assert (summary.succeeded, summary.spent_microcredits, summary.repeats) == (1, CREDIT, 1)
    assert await balance(engine, "overrun") == -CREDIT


def _stale(item: Any) -> Any:
    from copy import copy

    late = copy(item)
    late.fence, late.crashes = 1, 0
    return late


async def test_the_same_idempotency_key_is_one_batch(engine: Engine) -> None:
    """Twenty submits at once with one key make one batch; another request with it is refused."""

    async def go(digest: bytes) -> Batch:
        terms = Terms(idempotency_key="k")
        return await engine.submit(rows(5), recipe(), columns=["t"], terms=terms, digest=digest)

    made = await asyncio.gather(*(go(b"a") for _ in range(20)))
    assert len({batch.id for batch in made}) == 1
    assert sum(batch.is_new for batch in made) == 1
    assert await one(engine, "SELECT count(*) FROM item") == 5
    with pytest.raises(ConflictError, match="another request"):
        await go(b"b")


async def test_too_few_credits_create_nothing(engine: Engine) -> None:
    """A submit beyond the available credits leaves no trace and says what is missing."""
    await limit(engine, 3)
    with pytest.raises(InsufficientCreditsError, match="may cost 5 credits"):
        await submit(engine, rows(5))
    assert await one(engine, "SELECT count(*) FROM batch") == 0
    assert await balance(engine, "available") == 3 * CREDIT
    assert (await (await submit(engine, rows(3))).done()).succeeded == 3
    assert await balance(engine, "available") == 0


async def test_fifty_submits_never_overspend(engine: Engine) -> None:
    """Fifty submits racing for ten credits: exactly ten get through, none goes below zero."""
    await limit(engine, 10)
    made = await asyncio.gather(
        *(submit(engine, rows(1, f"race {n}")) for n in range(50)), return_exceptions=True
    )
    won = [batch for batch in made if isinstance(batch, Batch)]
    assert len(won) == 10
    assert all(isinstance(e, InsufficientCreditsError) for e in made if not isinstance(e, Batch))
    for batch in won:
        await batch.done()
    assert await balance(engine, "available") == 0
    assert await balance(engine, "held") == 0


@pytest.mark.parametrize(
    ("policy", "state", "calls"),
    [("retry", "succeeded", 2), ("refund", "failed", 1), ("hold", "unknown", 1)],
)
async def test_an_unseen_answer_follows_the_policy(
    database_url: str, tmp_path: Path, policy: str, state: str, calls: int
) -> None:
    """A blind provider's unseen answer is bought again once and counted, refunded, or held."""
    provider = Scripted(lambda prompt, nth: OutcomeKind.UNKNOWN if nth == 1 else None)
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(1), unknown=policy)
        while getattr(await batch.summary(), state) == 0:
            await asyncio.sleep(0)
        summary = await batch.summary()
        assert len(provider.prompts) == calls
        assert summary.repeats == (1 if policy == "retry" else 0)
        if policy == "retry":
            assert await balance(engine, "overrun") == -CREDIT
            assert len(set(provider.keys)) == 2
        if policy == "hold":
            assert summary.open == 1
            await batch.cancel()
            assert (await batch.done()).cancelled == 1
        assert await balance(engine, "held") == 0


async def test_a_person_may_have_a_held_item_bought_again(
    database_url: str, tmp_path: Path
) -> None:
    """A retry of what was held is the second purchase, counted as one, and ends the item."""
    provider = Scripted(lambda prompt, nth: OutcomeKind.UNKNOWN if nth == 1 else None)
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(1), unknown="hold")
        while (await batch.summary()).unknown == 0:
            await asyncio.sleep(0)
        assert await batch.retry({ItemState.UNKNOWN}) == 1
        summary = await batch.done()
        assert (summary.succeeded, summary.repeats, len(provider.prompts)) == (1, 1, 2)
        assert summary.spent_microcredits == CREDIT
        assert await balance(engine, "overrun") == -CREDIT
        async with engine.database.acquire() as connection:
            assert await verify(connection) == []


async def test_a_keyed_provider_is_asked_again_with_the_same_key(
    database_url: str, tmp_path: Path
) -> None:
    """Where the provider honours a client key, an unseen answer is asked for with the same one."""
    provider = Scripted(
        lambda prompt, nth: OutcomeKind.UNKNOWN if nth == 1 else None, CrashClass.KEYED
    )
    async with engine_on(database_url, tmp_path, provider) as engine:
        summary = await (await submit(engine, rows(1))).done()
        assert (summary.succeeded, summary.repeats) == (1, 0)
        assert len(provider.keys) == 2
        assert len(set(provider.keys)) == 1


async def test_nobody_else_buys_what_an_item_of_a_dead_worker_is_to_go_on_with(
    database_url: str, tmp_path: Path
) -> None:
    """Between its new claim and its next call another wants the same: it waits, and one call is
    sent, under the key of the first.
    """
    first, second = (Scripted(crash_class=CrashClass.KEYED) for _ in range(2))
    first.gate.clear()
    async with (
        engine_on(database_url, tmp_path / "a", first) as dead,
        engine_on(database_url, tmp_path / "b", second) as live,
        asyncio.timeout(60),
    ):
        begun = asyncio.create_task(dead.generate("scripted:m", "row 0"))
        await first.entered.wait()
        async with live.database.transaction() as connection:
            shard_id = await connection.fetchval("SELECT id FROM shard")
            claim = await shards.claim(connection, shard_id, live.worker.id)
        assert claim is not None
        other = asyncio.create_task(live.generate("scripted:m", "row 0"))
        async with live.database.acquire() as connection:
            while await connection.fetchval("SELECT count(*) FROM shard") < 2:
                pass
            for _ in range(100):  # it has asked for the right to buy by then, and was refused
                await connection.execute("SELECT pg_sleep(0.002)")
        asked_before = list(second.prompts)
        first.gate.set()  # whatever it is told now, it holds the shard no longer
        await live.worker.work(claim)
        assert (await begun).body == (await other).body
    assert (asked_before, second.prompts) == ([], ["row 0"])
    assert second.keys == first.keys


async def test_a_later_stage_fails_without_buying_the_earlier_again(
    database_url: str, tmp_path: Path
) -> None:
    """A recipe resumes at the stage that failed; earlier ones are neither called nor paid again."""
    provider = Scripted(
        lambda prompt, nth: OutcomeKind.REFUSED if prompt.startswith("draft") and nth == 1 else None
    )
    two = recipe(
        {"name": "outline", "kind": "generate", "model": "scripted:m", "prompt": "outline {{ t }}"},
        {
            "name": "draft",
            "kind": "generate",
            "model": "scripted:m",
            "prompt": "draft from {{ stages.outline }}",
        },
    )
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await engine.submit(rows(1), two, columns=["t"], terms=Terms(cache="off"))
        assert (await batch.done()).refused == 1
        await batch.retry({ItemState.REFUSED})
        assert (await batch.done()).succeeded == 1
        assert provider.prompts == [
            "outline row 0",
            "draft from made of outline row 0",
            "draft from made of outline row 0",
        ]
        item = (await results(batch))[0]
        assert list(item.outputs) == ["outline", "draft"]
        assert item.spent_microcredits == 2 * CREDIT


async def read_again(read: Callable[[], Awaitable[Any]]) -> Any:
    """Read on, although the read's own session may be among those that were killed."""
    for _ in range(50):
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return await read()
    return await read()


async def test_lost_connections_settle_nothing_twice(
    engine: Engine, provider: Scripted, database_url: str
) -> None:
    """Sessions killed under load, again and again: every item ends once, the money is exact."""
    batch = await submit(engine, rows(600))
    admin = await asyncpg.connect(database_url)
    try:
        for _ in range(8):
            await provider.entered.wait()
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                "AND query NOT LIKE '%pg_advisory_lock%' AND state <> 'idle'"
            )
            provider.entered.clear()
            if (await read_again(batch.summary)).open == 0:
                break
        summary = await asyncio.wait_for(read_again(batch.done), 60)
    finally:
        await admin.close()
    assert (summary.succeeded, summary.repeats) == (600, 0)
    assert len(provider.prompts) == 600
    assert await balance(engine, "revenue") == 600 * CREDIT
    assert await balance(engine, "held") == 0


async def test_the_ledger_is_append_only(engine: Engine) -> None:
    """No transfer can be changed or removed, not even by hand."""
    await (await submit(engine, rows(2))).done()
    for sql in ("UPDATE transfer SET amount_microcredits = 1", "DELETE FROM transfer"):
        with pytest.raises(asyncpg.RaiseError, match="append-only"):
            await one(engine, sql)


async def test_two_engines_share_one_batch(database_url: str, tmp_path: Path) -> None:
    """Two workers on one database walk each item once, identical rows included."""
    first, second = Scripted(), Scripted()
    async with (
        engine_on(database_url, tmp_path, first) as engine,
        engine_on(database_url, tmp_path, second),
    ):
        given = rows(400) + rows(50)
        summary = await (await submit(engine, given)).done()
        assert summary.succeeded == 450
        assert len(first.prompts) + len(second.prompts) == 400
        assert await balance(engine, "revenue") == 400 * CREDIT


class HastyClock(SystemClock):
    """The machine's clock, but nobody waits long."""

    async def sleep(self, duration_s: float) -> None:
        """Wait a moment at most."""
        await super().sleep(min(duration_s, 0.01))


async def test_a_full_disk_makes_paid_results_wait(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the disk is full nothing is half settled, and nothing paid is bought again."""
    provider = Scripted(body_bytes=20_000)
    async with engine_on(database_url, tmp_path, provider, clock=HastyClock()) as engine:
        put, refused = engine.blobs.put, 0

        async def full(body: Any, media_type: str, *more: Any) -> Any:
            nonlocal refused
            if refused < 40:
                refused += 1
                assert (await batch.summary()).succeeded == 0
                raise StorageError("the disk is full")
            return await put(body, media_type, *more)

        monkeypatch.setattr(engine.blobs, "put", full)
        batch = await submit(engine, rows(8))
        summary = await batch.done()
        assert (summary.succeeded, summary.attempts, len(provider.prompts)) == (8, 8, 8)
        assert refused == 40
        item = (await results(batch))[0]
        assert item.artifact is not None
        assert len(await engine.reading.body(item.artifact.sha256)) == 20_000


async def test_an_adapter_fault_ends_one_attempt_not_the_worker(
    database_url: str, tmp_path: Path
) -> None:
    """An exception that an adapter should not raise costs its item an attempt, no more."""

    def script(prompt: str, nth: int) -> OutcomeKind | None:
        if prompt == "row 1" and nth == 1:
            raise ZeroDivisionError("a bug in the adapter")
        return None

    provider = Scripted(script, CrashClass.KEYED)
    async with engine_on(database_url, tmp_path, provider) as engine:
        summary = await (await submit(engine, rows(5))).done()
        assert (summary.succeeded, summary.attempts) == (5, 6)


async def test_the_audit_is_clean_after_all_of_it(database_url: str, tmp_path: Path) -> None:
    """Failures, retries, duplicates and a cancel later, everything still adds up."""
    kinds = {"row 3": OutcomeKind.REFUSED, "row 5": OutcomeKind.UNKNOWN}
    provider = Scripted(lambda prompt, nth: kinds.get(prompt) if nth == 1 else None)
    async with engine_on(database_url, tmp_path, provider) as engine:
        first = await submit(engine, rows(20) + rows(5) + [{"t": ""}])
        await first.done()
        await first.retry({ItemState.REFUSED})
        await first.done()
        provider.gate.clear()
        second = await submit(engine, rows(50, "other"))
        await second.cancel()
        provider.gate.set()
        await second.done()
        async with engine.database.acquire() as connection:
            assert await verify(connection) == []


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(moves=st.lists(st.sampled_from(["grant", "submit", "cancel", "fail", "retry"]), max_size=12))
async def test_the_ledger_holds_under_any_order_of_moves(
    database_url: str, tmp_path: Path, moves: list[str]
) -> None:
    """Whatever people do, in whatever order: never below zero, and the audit finds nothing."""
    failing: set[str] = set()
    provider = Scripted(lambda prompt, nth: OutcomeKind.REFUSED if prompt in failing else None)
    async with engine_on(database_url, tmp_path, provider) as engine:
        await limit(engine, 1)
        batch: Batch | None = None
        for number, move in enumerate(moves):
            word = f"{id(moves)} {number}"
            if move == "grant":
                await limit(engine, 3)
            elif move in ("submit", "fail"):
                if move == "fail":
                    failing.add(f"{word} 1")
                with contextlib.suppress(InsufficientCreditsError):
                    batch = await submit(engine, rows(3, word))
                    await batch.done()
            elif move == "cancel" and batch is not None:
                await batch.cancel()
            elif move == "retry" and batch is not None:
                failing.clear()
                with contextlib.suppress(InsufficientCreditsError, ConflictError):
                    await batch.retry({ItemState.REFUSED})
                    await batch.done()
        async with engine.database.acquire() as connection:
            assert await verify(connection) == []
        assert await balance(engine, "held") == 0


async def test_who_stands_in_line_does_not_hold_up_the_end(
    database_url: str, tmp_path: Path
) -> None:
    """An engine stops at once although its items wait at a lane that is shut for a minute."""
    provider = Scripted(lambda prompt, nth: OutcomeKind.AUTH)
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(40))
        while not (await batch.summary()).waiting:
            await asyncio.sleep(0)
        leaving = engine.clock.monotonic_s()
    assert engine.clock.monotonic_s() - leaving < 10.0
    assert provider.prompts.count("row 39") <= 1
