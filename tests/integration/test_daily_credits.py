"""The cap on the credits of a tenant's day: kept exactly, at whatever hour, however many race."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config
from headrace.engine import Engine, open_engine
from headrace.errors import InputError, NotFoundError
from headrace.lifecycle import ItemState
from headrace.outcome import OutcomeKind
from headrace.plan import DailyCapError, DailyCreditsError
from headrace.price_book import read_rule
from headrace.store import allowances, credits, plans, price_book, tenants
from headrace.store.audit import verify
from headrace.submission import Terms
from headrace.testing import ManualClock
from headrace.watching import Batch
from tests.integration.scripted import Scripted
from tests.integration.test_credits import CENT, CREDIT, Costly
from tests.integration.test_engine import engine_on, recipe, rows
from tests.integration.test_tenants import fail_all, tenant

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def submit(engine: Engine, count: int, word: str = "row", name: str = "acme") -> Batch:
    terms = Terms(tenant_id=name, canary=0)
    return await engine.submit(rows(count, word), recipe(), columns=["t"], terms=terms)


async def used(engine: Engine, name: str = "acme") -> int:
    """The micro-credits that count on the tenant's day, after an audit that finds nothing."""
    async with engine.database.acquire() as connection:
        assert await verify(connection) == []
        found = await plans.standing(connection, name, engine.clock.now())
        return (await allowances.used_today(connection, found)).microcredits


async def own_cap(engine: Engine, most: Any, name: str = "acme") -> None:
    async with engine.database.transaction() as connection:
        await tenants.set_daily_cap(connection, name, most)


@pytest.fixture
async def engine(database_url: str, tmp_path: Path) -> AsyncIterator[Engine]:
    """Takes in batches at a credit an item, and makes none; the clock is moved by hand."""
    config = Config(home=str(tmp_path), database_url=database_url)
    clock = ManualClock(NOON)
    async with open_engine(
        config, providers={"scripted": Scripted()}, clock=clock, work=False
    ) as opened:
        yield opened


@pytest.fixture
def provider() -> Costly:
    return Costly()


@pytest.fixture
async def working(database_url: str, tmp_path: Path, provider: Costly) -> AsyncIterator[Engine]:
    async with engine_on(database_url, tmp_path, provider) as opened:
        yield opened


async def test_fifty_submits_at_once_never_pass_the_cap(engine: Engine) -> None:
    """Of fifty that race for credits of three each, exactly as many get in as fit."""
    await tenant(engine, daily_microcredits_max=20 * CREDIT)
    ends = await asyncio.gather(*(submit(engine, 3) for _ in range(50)), return_exceptions=True)
    refused = [end for end in ends if isinstance(end, BaseException)]
    assert all(isinstance(end, DailyCreditsError) for end in refused), refused
    assert len(ends) - len(refused) == 6
    assert await used(engine) == 18 * CREDIT
    await submit(engine, 2)
    with pytest.raises(DailyCreditsError):
        await submit(engine, 1)
    assert await used(engine) == 20 * CREDIT


async def test_what_is_refused_leaves_nothing_and_says_until_when(engine: Engine) -> None:
    """No batch, no reserve, nothing counted; how many credits are left, and the midnight."""
    await tenant(engine, timezone="Asia/Tokyo", daily_microcredits_max=5 * CREDIT)
    await submit(engine, 3)
    with pytest.raises(DailyCreditsError) as caught:
        await submit(engine, 3)
    assert caught.value.facts == {
        "plan": "plan-acme",
        "limit_microcredits": 5 * CREDIT,
        "used_microcredits": 3 * CREDIT,
        "wanted_microcredits": 3 * CREDIT,
        "missing_microcredits": CREDIT,
        "resets_at": "2026-03-01T15:00:00+00:00",
    }
    assert caught.value.retry_after_s == 3 * 3600 + 1
    assert await used(engine) == 3 * CREDIT
    async with engine.database.acquire() as connection:
        assert (await credits.balance(connection, "acme")).held_microcredits == 3 * CREDIT
        assert await connection.fetchval("SELECT count(*) FROM batch") == 1


async def test_the_day_begins_anew_at_the_tenants_midnight(engine: Engine) -> None:
    """A second before it nothing more is let in, at midnight all of the cap is."""
    await tenant(engine, timezone="Asia/Tokyo", daily_microcredits_max=2 * CREDIT)
    await submit(engine, 2)
    assert isinstance(engine.clock, ManualClock)
    engine.clock.step_wall(3 * 3600 - 1)
    with pytest.raises(DailyCreditsError):
        await submit(engine, 1)
    engine.clock.step_wall(1)
    await submit(engine, 2)
    assert await used(engine) == 2 * CREDIT


async def test_a_tenants_own_cap_goes_before_its_plans(engine: Engine) -> None:
    """Above or below it, and 0 is a cap; without one of its own the plan's holds again."""
    await tenant(engine, daily_microcredits_max=2 * CREDIT)
    await own_cap(engine, 3 * CREDIT)
    await submit(engine, 3)
    await own_cap(engine, 0)
    with pytest.raises(DailyCreditsError) as caught:
        await submit(engine, 1)
    assert "its own cap" in caught.value.message
    await own_cap(engine, None)
    with pytest.raises(DailyCreditsError, match="plan-acme"):
        await submit(engine, 1)
    for bad in (-1, True, 1.5, "2", 10**18 + 1):
        with pytest.raises(InputError):
            await own_cap(engine, bad)
    with pytest.raises(NotFoundError):
        await own_cap(engine, 1, "nobody")


async def test_items_and_credits_have_caps_apart(engine: Engine) -> None:
    """Whichever is reached first refuses, and neither counts what the other refused."""
    await tenant(engine, daily_items_max=4, daily_microcredits_max=3 * CREDIT)
    with pytest.raises(DailyCreditsError):
        await submit(engine, 4)
    await submit(engine, 3)
    await tenant(engine, daily_items_max=3, daily_microcredits_max=9 * CREDIT)
    with pytest.raises(DailyCapError):
        await submit(engine, 1)
    assert await used(engine) == 3 * CREDIT


async def test_a_retry_counts_on_the_day_of_the_retry(engine: Engine) -> None:
    """A reserve for items that are opened again is one of that day's."""
    await tenant(engine, daily_microcredits_max=3 * CREDIT)
    batch = await submit(engine, 3)
    await fail_all(engine, batch, CREDIT)
    assert await used(engine) == 0
    assert isinstance(engine.clock, ManualClock)
    engine.clock.step_wall(86_400)
    await submit(engine, 1)
    with pytest.raises(DailyCreditsError):
        await batch.retry({ItemState.FAILED})
    engine.clock.step_wall(86_400)
    assert await batch.retry({ItemState.FAILED}) == 3
    assert await used(engine) == 3 * CREDIT


async def test_what_is_not_spent_counts_no_more(working: Engine, provider: Costly) -> None:
    """Of delivered items what was charged counts, of others nothing."""
    await tenant(working, daily_microcredits_max=CREDIT)
    async with working.database.transaction() as connection:
        now = working.clock.now()
        rule = read_rule({"kind": "default", "margin": "0"}, now)
        await price_book.add(connection, rule, now)
    kinds = {"row 0": OutcomeKind.INVALID, "row 1": OutcomeKind.REFUSED}
    provider._script = lambda prompt, nth: kinds.get(prompt)
    await (await submit(working, 5)).done()
    assert await used(working) == 3 * 4 * CENT
    provider.gate.clear()
    held = await submit(working, 5, "held")
    await provider.entered.wait()
    assert await used(working) == 12 * CENT + 5 * 10 * CENT
    await held.cancel()
    provider.gate.set()
    summary = await held.done()
    assert await used(working) == 12 * CENT + summary.succeeded * 4 * CENT


async def test_on_demand_is_under_the_cap_too(working: Engine) -> None:
    """A result that cannot be paid today is refused; one that is in the cache is given."""
    await tenant(working, daily_microcredits_max=CREDIT)
    await working.generate("scripted:m", "one", tenant_id="acme")
    with pytest.raises(DailyCreditsError):
        await working.generate("scripted:m", "two", tenant_id="acme")
    assert (await working.generate("scripted:m", "one", tenant_id="acme")).cached
    assert await used(working) == CREDIT
