"""Metrics: what a process counts of its work, what is told of the database, and who may read it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from headrace.access import Scope
from headrace.config import Config
from headrace.config import Metrics as MetricsSettings
from headrace.engine import Engine, open_engine
from headrace.http.app import build_app
from headrace.http.broadcast import Feeds
from headrace.http.metrics import build_metrics_app, metrics_of
from headrace.limits import Quota
from headrace.metrics import OF_DATABASE, OF_PROCESS, Metrics
from headrace.outcome import OutcomeKind
from headrace.store import keys, observed
from headrace.store.audit import verify
from headrace.store.database import connect
from headrace.testing.manual_clock import ManualClock
from tests.integration.asgi import Client
from tests.integration.scripted import Scripted
from tests.integration.test_engine import engine_on, rows, submit

Values = dict[str, float]
ENDED_BATCHES = 3_000
ENDED = """
    INSERT INTO batch (id, tenant_id, name, state, recipe_name, recipe_version, recipe, cache_mode,
        unknown_policy, created_at, finished_at)
    SELECT gen_random_uuid(), 'default', 'ended', 'completed', 'small', '', '{}', 'off', 'retry',
        now(), now()
    FROM generate_series(1, $1)
"""


async def told(metrics: Metrics) -> Values:
    """Every value by its name and labels, as Prometheus would read it."""
    text, _ = await metrics.text()
    return {
        sample.name
        + "".join(f" {name}={value}" for name, value in sorted(sample.labels.items())): sample.value
        for family in parsed(text.decode())
        for sample in family.samples
    }


def flaky(prompt: str, nth: int) -> OutcomeKind | None:
    """Row 0 is refused for the rate once, row 1 finds no server once, row 2 is bad for good."""
    first = {"row 0": OutcomeKind.RATE_LIMITED, "row 1": OutcomeKind.OVERLOADED}
    if prompt == "row 2":
        return OutcomeKind.INVALID
    return first.get(prompt) if nth == 1 else None


@pytest.fixture
def provider() -> Scripted:
    return Scripted(flaky)


@pytest.fixture
async def engine(database_url: str, tmp_path: Path, provider: Scripted) -> AsyncIterator[Engine]:
    async with engine_on(database_url, tmp_path, provider) as opened:
        yield opened


async def test_calls_are_counted_by_outcome_with_429_and_5xx_apart(engine: Engine) -> None:
    """Each call counts once, under how it ended, with its latency and its cost."""
    await (await submit(engine, rows(10), canary=0)).done()
    seen = await told(metrics_of(engine))
    of = "model=m outcome={} provider=scripted".format
    counts = {
        kind: seen[f"headrace_attempts_total lane=scripted {of(kind)}"]
        for kind in ("success", "rate_limited", "overloaded", "invalid")
    }
    assert counts == {"success": 9, "rate_limited": 1, "overloaded": 1, "invalid": 1}
    maker = "model=m provider=scripted"
    assert seen[f"headrace_call_duration_seconds_count {maker}"] == 12
    assert seen[f"headrace_call_duration_seconds_bucket le=+Inf {maker}"] == 12
    assert seen[f"headrace_cost_usd_total {maker} source=told"] == pytest.approx(9 * 0.04)
    assert seen["headrace_items_ended_total state=succeeded"] == 9
    assert seen["headrace_items_ended_total state=failed"] == 1
    assert seen["headrace_credits_charged_total"] == 9
    assert seen[f"headrace_artifact_bytes_total {maker}"] == 9 * len(b"made of row 0")


async def test_the_hit_ratio_counts_results_by_where_they_came_from(engine: Engine) -> None:
    """What was bought, served from the cache, joined in flight, or never asked of it, is told."""
    await (await submit(engine, rows(5, "new"), canary=0)).done()
    await (await submit(engine, rows(5, "new"), canary=0)).done()
    await (await submit(engine, [{"t": "twins"}] * 4, canary=0)).done()
    await (await submit(engine, rows(2, "new"), cache="off", canary=0)).done()
    seen = await told(metrics_of(engine))
    name = "headrace_results_total model=m provider=scripted source="
    assert {kind: seen[name + kind] for kind in ("bought", "cache", "uncached")} == {
        "bought": 6, "cache": 8, "uncached": 2,
    }  # fmt: skip


async def test_permits_and_waiters_are_those_of_this_moment(
    engine: Engine, provider: Scripted
) -> None:
    """While calls are held up their permits are out and others wait; afterwards none does."""
    provider.quota = Quota(2, learns=False)
    provider.gate.clear()
    batch = await submit(engine, rows(6, "slow"), canary=0)
    metrics = metrics_of(engine, database=False)
    names = [f"headrace_{name} lane=scripted" for name in ("permits", "permit_waiters")]
    seen = {}
    try:
        while [seen.get(name) for name in names] != [2, 4]:
            await asyncio.sleep(0)
            seen = await told(metrics)
    finally:
        provider.gate.set()
    await batch.done()
    seen = await told(metrics)
    assert [seen[name] for name in names] == [0, 0]


async def test_a_write_that_the_fence_refuses_is_counted(
    engine: Engine, provider: Scripted
) -> None:
    """A worker that lost its shard meanwhile writes nothing, and that is seen."""
    provider.gate.clear()
    batch = await submit(engine, rows(1, "late"), canary=0)
    await provider.entered.wait()
    async with engine.database.transaction() as connection:
        await connection.execute("UPDATE shard SET fence = fence + 1 WHERE state = 'open'")
    provider.gate.set()
    metrics = metrics_of(engine, database=False)
    while not (await told(metrics))["headrace_fence_refusals_total"]:
        await asyncio.sleep(0)
    await batch.cancel()


async def test_the_depth_of_the_queue_is_told_by_class_and_state(
    database_url: str, tmp_path: Path
) -> None:
    """Items that could go on, those that a pause holds back, credits and workers are told."""
    async with open_engine(config_on(database_url, tmp_path), work=False,
                           providers={"scripted": Scripted()}) as engine:  # fmt: skip
        await submit(engine, rows(7, "a"), canary=0, class_name="bulk")
        paused = await submit(engine, rows(3, "b"), canary=0)
        await paused.pause()
        seen = await told(metrics_of(engine))
    assert seen["headrace_database_up"] == 1
    assert seen["headrace_items class=bulk state=pending"] == 7
    assert seen["headrace_items class=batch state=paused"] == 3
    assert seen["headrace_items class=batch state=pending"] == 0
    assert seen["headrace_batches state=paused"] == 1
    assert seen["headrace_credits account=held"] == 10
    assert seen["headrace_ledger_mismatch_credits"] == 0
    assert seen["headrace_workers"] == 0
    assert seen["headrace_oldest_batch_seconds class=bulk"] >= 0
    assert "headrace_oldest_batch_seconds class=batch" not in seen


def config_on(url: str, home: Path, **more: Any) -> Config:
    """Settings of an engine on a database."""
    return Config(home=str(home), database_url=url, **more)


async def test_the_cheap_check_of_the_ledger_agrees_with_the_audit(engine: Engine) -> None:
    """After work of all kinds neither finds anything; credits out of nowhere are found by both."""
    await (await submit(engine, rows(6), canary=0)).done()
    await (await submit(engine, rows(6), canary=0)).done()
    clock = ManualClock()
    metrics = Metrics(engine.meter, engine.writer, clock, database=engine.database)
    async with engine.database.acquire() as connection:
        assert await verify(connection) == []
    assert (await told(metrics))["headrace_ledger_mismatch_credits"] == 0
    async with engine.database.transaction() as connection:
        await connection.execute(
            "UPDATE account SET balance_microcredits = balance_microcredits + 2500000 "
            "WHERE kind = 'revenue'"
        )
    await clock.advance(15.0)
    assert (await told(metrics))["headrace_ledger_mismatch_credits"] == 2.5
    async with engine.database.acquire() as connection:
        assert await verify(connection) != []


async def test_held_credits_without_open_items_are_a_mismatch(engine: Engine) -> None:
    """What is held for nobody is seen although the sides of the ledger agree."""
    async with engine.database.transaction() as connection:
        for kind, sign in (("held", 1), ("grants", -1)):
            await connection.execute(
                "UPDATE account SET balance_microcredits = balance_microcredits + $2 "
                "WHERE kind = $1 AND (tenant_id IS NULL OR tenant_id = 'default')",
                kind,
                sign * 1_000_000,
            )
    assert (await told(metrics_of(engine)))["headrace_ledger_mismatch_credits"] == 1


async def test_the_database_is_read_rarely_however_many_ask(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred scrapes at once are one read; the next comes after the time of the settings."""
    reads, read = [], observed.read

    async def counted(connection: Any, now: Any) -> Any:
        reads.append(now)
        return await read(connection, now)

    monkeypatch.setattr(observed, "read", counted)
    clock = ManualClock()
    metrics = Metrics(engine.meter, engine.writer, clock, database=engine.database, database_s=15.0)
    await asyncio.gather(*(metrics.text() for _ in range(100)))
    await clock.advance(14.0)
    await metrics.text()
    assert len(reads) == 1
    await clock.advance(1.0)
    await metrics.text()
    assert len(reads) == 2


async def test_no_read_scans_items_or_transfers(engine: Engine) -> None:
    """The plans touch neither table, and batches by the index of those that are open."""
    async with engine.database.acquire() as connection:
        await connection.execute(ENDED, ENDED_BATCHES)
        await connection.execute("INSERT INTO batch_progress (batch_id) SELECT id FROM batch")
        await connection.execute("ANALYZE batch, batch_progress")
        plans = {}
        for name, given in (
            ("queue", ()), ("credits", ()), ("mismatch", ()),
            ("waiting", (observed.COUNTED_MAX,)), ("lanes", (engine.clock.now(), 10)),
        ):  # fmt: skip
            sql = observed.statements.load(f"observed/{name}.sql")
            for place, value in enumerate(given, 1):
                shown = f"'{value}'::timestamptz" if name == "lanes" and place == 1 else str(value)
                sql = sql.replace(f"${place}", shown)
            lines = await connection.fetch(f"EXPLAIN {sql}")
            plans[name] = "\n".join(line[0] for line in lines)
    for name, plan in plans.items():
        for table in (" item", " transfer", " attempt", " event", " artifact"):
            assert f"on{table} " not in f"{plan} ", (name, plan)
    assert "batch_of_tenant_live" in plans["queue"]
    assert "batch_of_tenant_live" in plans["mismatch"]


async def test_a_database_that_is_away_costs_only_its_own_figures(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process goes on telling of itself, and of the database that it cannot be read."""

    async def fail(connection: Any, now: Any) -> Any:
        raise asyncpg.InsufficientResourcesError("no room")

    clock = ManualClock()
    metrics = Metrics(engine.meter, engine.writer, clock, database=engine.database)
    assert "headrace_workers" in await told(metrics)
    monkeypatch.setattr(observed, "read", fail)
    await clock.advance(60.0)
    seen = await told(metrics)
    assert seen["headrace_database_up"] == 0
    assert seen["headrace_fence_refusals_total"] == 0
    # What was true a minute ago is not told as if it were so now.
    assert "headrace_workers" not in seen


async def test_the_database_is_told_of_behind_a_pooler(engine: Engine, database_url: str) -> None:
    """Where a block is one transaction, the snapshot of the figures is that transaction's."""
    behind = await connect(database_url, direct_url=database_url)
    try:
        seen = await told(Metrics(engine.meter, engine.writer, engine.clock, database=behind))
    finally:
        await behind.close()
    assert seen["headrace_database_up"] == 1


async def test_lanes_are_told_but_for_those_of_tenants_own_keys(engine: Engine) -> None:
    """A lane tells its utilisation; one that a tenant brought its key for is not told of."""
    async with engine.database.transaction() as connection:
        await connection.execute("INSERT INTO tenant (id, name) VALUES ('acme', 'Acme')")
        live = '{"utilisation": 0.93, "refused": null, "in_flight": 4, "width": 8, "waiting": 2, "shut_s": 0}'  # noqa: E501
        for name in ("sim/m", "sim/m@acme", "sim/m@acme/batch", "flux@1.1"):
            await connection.execute(
                "INSERT INTO lane (name, live, live_at) VALUES ($1, $2::json, $3)",
                name,
                live,
                engine.clock.now(),
            )
    seen = await told(metrics_of(engine))
    lanes = {name.partition("lane=")[2] for name in seen if "headrace_lane_utilisation" in name}
    assert lanes == {"sim/m", "flux@1.1"}
    assert seen["headrace_lane_utilisation lane=sim/m"] == 0.93
    assert seen["headrace_lane_waiters lane=sim/m"] == 2
    assert not any("headrace_lane_refused_ratio" in name for name in seen)


async def test_nothing_told_names_a_tenant_a_batch_or_an_input(engine: Engine) -> None:
    """Labels are those that are documented, and no value of theirs is anybody's."""
    batch = await submit(engine, rows(4, "a secret wish"), canary=0, name="my batch")
    await batch.done()
    text, media_type = await metrics_of(engine, Feeds(engine.clock)).text()
    assert media_type.startswith("text/plain")
    for word in ("default", "my batch", batch.id, "secret wish"):
        assert word not in text.decode()
    known = {family.shown: set(family.labels) for family in (*OF_PROCESS, *OF_DATABASE)}
    for family in parsed(text.decode()):
        for sample in family.samples:
            if not sample.name.startswith("headrace_"):
                continue
            name = sample.name
            for suffix in ("_bucket", "_count", "_sum"):
                name = name.removesuffix(suffix)
            assert set(sample.labels) - {"le"} == known[name], sample


@pytest.fixture
async def callers(engine: Engine) -> dict[str, Client]:
    """Clients: of the operator, of another tenant's admin, of nobody."""
    app = build_app(engine)
    async with engine.database.transaction() as connection:
        await connection.execute("INSERT INTO tenant (id, name) VALUES ('acme', 'Acme')")
        now = engine.clock.now()
        made = {
            "operator": await keys.make(connection, "default", "o", Scope.ADMIN, now),
            "reader": await keys.make(connection, "default", "r", Scope.READ, now),
            "foreign": await keys.make(connection, "acme", "f", Scope.ADMIN, now),
        }
    found = {name: Client(app, secret) for name, (secret, _) in made.items()}
    return {**found, "nobody": Client(app, "")}


async def test_the_servers_metrics_are_the_operators(callers: dict[str, Client]) -> None:
    """Without a key 401, with one that is not the operator's 403: nobody else sees the costs."""
    status = {name: (await client("GET", "/metrics")).status for name, client in callers.items()}
    assert status == {"operator": 200, "reader": 403, "foreign": 403, "nobody": 401}
    answer = await callers["operator"]("GET", "/metrics", accept="application/openmetrics-text")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.body.rstrip().endswith(b"# EOF")
    assert b"headrace_event_readers 0" in answer.body


async def test_the_operator_may_open_them(database_url: str, tmp_path: Path) -> None:
    """With ``[metrics] open`` no key is asked for."""
    config = config_on(database_url, tmp_path, metrics=MetricsSettings(open=True))
    async with open_engine(config, work=False) as engine:
        client = Client(build_app(engine), "")
        assert (await client("GET", "/metrics")).status == 200


async def test_a_port_of_its_own_serves_nothing_else(engine: Engine) -> None:
    """Neither the API nor its documents are behind the port of a worker's metrics."""
    client = Client(build_metrics_app(metrics_of(engine, database=False)), "")
    answer = await client("GET", "/metrics")
    assert answer.status == 200
    assert b"headrace_build_info" in answer.body
    assert b"headrace_database_up" not in answer.body
    assert (await client("GET", "/healthz")).status == 200
    for path in ("/api/batches", "/docs", "/openapi.json", "/v1/models"):
        assert (await client("GET", path)).status == 404
    assert (await client("POST", "/metrics")).status == 405
