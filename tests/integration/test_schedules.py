"""Schedules on a real PostgreSQL: each tick once, only what is new, failures seen, hours kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from headrace.config import Config, Limits
from headrace.cron import check_cron
from headrace.engine import Engine, open_engine
from headrace.errors import ConflictError, InputError, NotFoundError
from headrace.identity import new_uuid
from headrace.limits import Quota
from headrace.loops.ticker import Ticker
from headrace.pause import PauseCode
from headrace.schedule import Schedule, read_settings
from headrace.schedule_rows import Reader, by_hand, by_http, shown
from headrace.schedule_settings import Schedules, read_schedules
from headrace.scheduling import ticker_of
from headrace.sources import open_source
from headrace.store import batches, erasure, schedule_ticks, schedules
from headrace.store.audit import verify
from headrace.takeout import Takeout
from headrace.testing.manual_clock import ManualClock
from tests.integration.scripted import Scripted
from tests.integration.test_http import RECIPE

HOUR = 3600.0


@dataclass
class Set:
    """An engine that only looks on, with a clock moved by hand and a ticker that ticks by hand."""

    engine: Engine
    clock: ManualClock
    ticker: Ticker
    folder: Path

    def another(self) -> Ticker:
        """A ticker as another process would have it."""
        return ticker_of(self.engine, open_source)

    async def add(
        self, source: dict[str, Any], cron: str = "0 * * * *", zone: str = "UTC", **told: Any
    ) -> Schedule:
        """Add a schedule; its source is named as the operator names it."""
        settings, now = read_schedules(self.engine.config.schedules), self.clock.now()
        schedule = Schedule(
            new_uuid(now), "default", told.pop("name", "night"), cron, zone,
            told.pop("recipe", "words"),
            by_hand(source, self.folder, settings, "default"), read_settings(told), "active",
            check_cron(cron, zone, now), now,
        )  # fmt: skip
        async with self.engine.database.transaction() as connection:
            await schedules.insert(connection, schedule)
        return schedule

    def rows(self, *words: str, name: str = "rows.csv", head: str = "t") -> dict[str, Any]:
        """Write a file of rows and return it as a source."""
        (self.folder / name).write_text("\n".join([head, *words]) + "\n")
        return {"file": name}

    async def pass_by(self, seconds: float = HOUR) -> None:
        """Let time pass and the ticker tick."""
        await self.clock.advance(seconds)
        await self.ticker.tick()

    async def ticks(self, schedule: Schedule) -> list[dict[str, Any]]:
        """The history, the earliest first."""
        async with self.engine.database.acquire() as connection:
            return (await schedule_ticks.history(connection, schedule.id, None, 100))[::-1]

    async def states(self, schedule: Schedule) -> list[str]:
        """What became of its ticks."""
        return [one["state"] for one in await self.ticks(schedule)]

    async def inputs(self, batch_id: UUID) -> list[str]:
        """The words that a batch makes."""
        rows = await self.all("SELECT inputs FROM item WHERE batch_id = $1 ORDER BY idx", batch_id)
        return [json.loads(row["inputs"])["t"] for row in rows]

    async def all(self, sql: str, *args: Any) -> list[Any]:
        """Rows of the database."""
        async with self.engine.database.acquire() as connection:
            return list(await connection.fetch(sql, *args))

    async def end_items(self, batch_id: UUID, state: str, attempts: int = 1) -> None:
        """Let a batch's items have ended, as far as a schedule can see."""
        sql = "UPDATE item SET state = $2, attempts = $3 WHERE batch_id = $1"
        await self.all(sql, batch_id, state, attempts)


@asynccontextmanager
async def opened(url: str, home: Path, **more: Any) -> AsyncIterator[Set]:
    (home / "recipes").mkdir(parents=True, exist_ok=True)
    (home / "recipes" / "words.toml").write_text(RECIPE)
    config = Config(home=str(home), database_url=url, **more)
    clock = ManualClock()
    providers = {"scripted": Scripted()}
    async with open_engine(config, providers=providers, clock=clock, work=False) as engine:
        yield Set(engine, clock, ticker_of(engine, open_source), home)


@pytest.fixture
async def night(database_url: str, tmp_path: Path) -> AsyncIterator[Set]:
    async with opened(database_url, tmp_path) as one:
        yield one


# -- once for each tick --------------------------------------------------------------------------


async def test_a_tick_makes_one_batch_of_the_rows(night: Set) -> None:
    """At its moment, and not before, the rows become one batch, with the schedule's terms."""
    schedule = await night.add(night.rows("a", "b"), max_cost_usd="1.50")
    await night.pass_by(HOUR - 1)
    assert await night.ticks(schedule) == []
    await night.pass_by(1)
    (tick,) = await night.ticks(schedule)
    assert (tick["state"], tick["told"]) == ("made", {"read": 2, "new": 2})
    assert tick["at"] == datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert await night.inputs(tick["batch_id"]) == ["a", "b"]
    (batch,) = await night.all("SELECT class, name, cost_cap_microusd, source FROM batch")
    assert (batch["class"], batch["name"]) == ("bulk", "night 2026-01-01 01:00")
    assert batch["cost_cap_microusd"] == 1_500_000
    assert json.loads(batch["source"])["schedule"] == schedule.public_id


async def test_tickers_that_race_make_one_batch(night: Set) -> None:
    """Six workers at the same moment make one tick and one batch of each schedule."""
    for name in ("one", "two", "three"):
        await night.add(night.rows("a", name=f"{name}.csv"), name=name)
    await night.clock.advance(HOUR)
    tickers = [night.another() for _ in range(6)]
    for _ in range(3):
        await asyncio.gather(*(ticker.tick() for ticker in tickers))
    assert len(await night.all("SELECT FROM schedule_tick WHERE state = 'made'")) == 3
    assert len(await night.all("SELECT FROM batch")) == 3
    assert len(await night.all("SELECT FROM schedule_tick")) == 3


async def test_a_tick_that_a_dead_process_planned_is_made_after_a_restart(
    database_url: str, tmp_path: Path
) -> None:
    """A process that dies between the tick's row and its batch leaves the tick to the next."""
    async with opened(database_url, tmp_path) as first:
        schedule = await first.add(first.rows("a"))
        await first.clock.advance(HOUR)
        assert await first.ticker._plan() == 1
        assert await first.states(schedule) == ["due"]
    async with opened(database_url, tmp_path) as second:
        second.clock.step_wall(HOUR)
        await second.ticker.tick()
        await second.ticker.tick()
        assert await second.states(schedule) == ["made"]
        assert len(await second.all("SELECT FROM batch")) == 1


async def test_what_is_undone_before_the_commit_is_made_once(
    night: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies before the commit leaves no batch behind; the next one makes it."""
    schedule = await night.add(night.rows("a"))

    def dies(name: str) -> None:
        if name == "tick-before-commit":
            raise OSError("killed")

    monkeypatch.setattr("headrace.scheduling.crash_point", dies)
    with pytest.raises(OSError, match="killed"):
        await night.pass_by()
    assert await night.states(schedule) == ["due"]
    assert await night.all("SELECT FROM batch") == []
    assert await night.all("SELECT FROM schedule_row") == []
    monkeypatch.undo()
    await night.ticker.tick()
    (tick,) = await night.ticks(schedule)
    assert (tick["state"], tick["tries"]) == ("made", 2)


async def test_a_tick_that_kills_its_process_again_and_again_is_given_up(
    night: Set, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five deaths the tick has failed and says so, and the next goes on."""
    schedule = await night.add(night.rows("a"))

    def dies(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("headrace.scheduling.crash_point", dies)
    await night.clock.advance(HOUR)
    for _ in range(5):
        with pytest.raises(OSError, match="tick-before-batch"):
            await night.ticker.tick()
    monkeypatch.undo()
    await night.ticker.tick()
    (tick,) = await night.ticks(schedule)
    assert tick["state"] == "failed"
    assert "5 processes died" in tick["told"]["error"]["message"]
    await night.pass_by()
    assert await night.states(schedule) == ["failed", "made"]


# -- only what is new ----------------------------------------------------------------------------


async def test_only_new_rows_are_made_and_a_tick_of_nothing_makes_no_batch(night: Set) -> None:
    """What was made is not made again; without anything new there is no batch, and that is told."""
    schedule = await night.add(night.rows("a", "b", "b"))
    await night.pass_by()
    await night.pass_by()
    night.rows("b", "a", "c")
    await night.pass_by()
    made, empty, more = await night.ticks(schedule)
    assert await night.inputs(made["batch_id"]) == ["a", "b"]
    assert (empty["state"], empty["batch_id"]) == ("empty", None)
    assert empty["told"] == {"read": 3, "new": 0}
    assert await night.inputs(more["batch_id"]) == ["c"]


async def test_a_row_is_known_by_its_key(night: Set) -> None:
    """With a key, other cells may change and it is not new; a changed recipe makes all new."""
    schedule = await night.add(night.rows("1,a", "2,b", head="sku,t"), key=["sku"])
    await night.pass_by()
    night.rows("1,changed", "3,c", head="sku,t")
    await night.pass_by()
    assert await night.inputs((await night.ticks(schedule))[-1]["batch_id"]) == ["c"]
    path = night.folder / "recipes" / "words.toml"
    path.write_text(RECIPE.replace("{{ t }}", "draw {{ t }}"))
    await night.pass_by()
    assert await night.inputs((await night.ticks(schedule))[-1]["batch_id"]) == ["changed", "c"]


async def test_a_row_without_its_key_fails_alone_and_once(night: Set) -> None:
    """An empty key is a row that cannot be used; a key that is no column fails the tick."""
    schedule = await night.add(night.rows(",x", "1,a", head="sku,t"), key=["sku"])
    await night.pass_by()
    await night.pass_by()
    made, empty = await night.ticks(schedule)
    assert (made["told"]["new"], made["failed"], empty["state"]) == (2, 1, "empty")
    night.rows("1,a", head="sku_,t")
    await night.pass_by()
    error = (await night.ticks(schedule))[-1]["told"]["error"]
    assert "no column 'sku'" in error["message"]
    assert "sku_" in error["remedy"]


async def test_rows_that_failed_come_again_three_times(night: Set) -> None:
    """Failed items are tried at the next ticks, three times in all; refused ones are not."""
    schedule = await night.add(night.rows("a"))
    for _ in range(5):
        await night.pass_by()
        for tick in await night.ticks(schedule):
            if tick["batch_id"] is not None:
                await night.end_items(tick["batch_id"], "failed")
    assert await night.states(schedule) == ["made", "made", "made", "empty", "empty"]


async def test_rows_that_cannot_be_used_make_one_batch_only(night: Set) -> None:
    """A row without its required cell fails once, and is not submitted at every tick."""
    (night.folder / "rows.jsonl").write_text('{"t": ""}\n{"t": "a"}\nnonsense\n')
    schedule = await night.add({"file": "rows.jsonl"})
    await night.pass_by()
    await night.pass_by()
    assert await night.states(schedule) == ["made", "empty"]
    assert (await night.ticks(schedule))[0]["failed"] == 2


async def test_more_rows_than_a_tick_takes_come_with_the_next(night: Set) -> None:
    """A tick takes rows_max rows, says that there are more, and the next takes those."""
    schedule = await night.add(night.rows(*"abcde"), rows_max=2)
    for _ in range(4):
        await night.pass_by()
    ticks = await night.ticks(schedule)
    assert [one["told"].get("more_next_time", False) for one in ticks] == [True, True, False, False]
    assert [one["state"] for one in ticks] == ["made", "made", "made", "empty"]


async def test_a_folder_is_read_anew_with_all_its_files(night: Set) -> None:
    """New files of a folder are seen at the next tick; other files in it are not read."""
    inbox = night.folder / "inbox"
    inbox.mkdir()
    (inbox / "b.csv").write_text("t\nb\n")
    (inbox / "a.jsonl").write_text('{"t": "a"}\n')
    (inbox / "notes.txt").write_text("nothing")
    schedule = await night.add({"folder": "inbox"})
    await night.pass_by()
    (inbox / "c.csv").write_text("t\nc\na\n")
    await night.pass_by()
    one, two = await night.ticks(schedule)
    assert await night.inputs(one["batch_id"]) == ["a", "b"]
    assert await night.inputs(two["batch_id"]) == ["c"]


# -- queries -------------------------------------------------------------------------------------


@pytest.fixture
async def asking(database_url: str, tmp_path: Path) -> AsyncIterator[Set]:
    shop = {"url": database_url, "timeout_s": 0.5}
    lost = {"url": "postgresql://bob:hunter2@127.0.0.1:1/shop"}
    async with opened(
        database_url, tmp_path, schedules={"databases": {"shop": shop, "lost": lost}}
    ) as one:
        await one.all("CREATE TABLE product (sku integer, t text, price numeric)")
        await one.all("INSERT INTO product VALUES (1, 'a', 1.50), (2, 'b', 2)")
        yield one


async def test_rows_come_out_of_a_query(asking: Set) -> None:
    """A query's new rows are made, with its columns; numbers and dates come as texts."""
    sql = "SELECT t, sku, price, DATE '2026-01-02' AS day FROM product ORDER BY sku"
    schedule = await asking.add({"query": sql, "database": "shop"}, key=["sku"])
    await asking.pass_by()
    await asking.all("INSERT INTO product VALUES (3, 'c', 3)")
    await asking.pass_by()
    one, two = await asking.ticks(schedule)
    (inputs,) = await asking.all(
        "SELECT inputs FROM item WHERE batch_id = $1 AND idx = 0", one["batch_id"]
    )
    told = {"t": "a", "sku": 1, "price": "1.50", "day": "2026-01-02"}
    assert json.loads(inputs["inputs"]) == told
    assert await asking.inputs(two["batch_id"]) == ["c"]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("WITH gone AS (DELETE FROM product RETURNING t) SELECT t FROM gone", "read-only"),
        ("SELECT 'x' AS t FROM pg_sleep(60)", "timeout"),
        ("SELECT t FROM nowhere", "nowhere"),
        ("SELECT 1 AS t; DROP TABLE product", "multiple commands"),
        ("SELECT 1 AS t, 2 AS t", "two of one name"),
        ("SELECT 'x'::bytea AS t", "holds bytes"),
        ("SELECT set_config('transaction_read_only', 'off', true) AS t", "read-write"),
    ],
)
async def test_a_query_only_reads_within_its_time(asking: Set, sql: str, words: str) -> None:
    """What writes, hangs or is wrong fails its tick with the reason, and changes nothing."""
    schedule = await asking.add({"query": sql, "database": "shop"})
    await asking.pass_by()
    (tick,) = await asking.ticks(schedule)
    assert tick["state"] == "failed"
    assert words in tick["told"]["error"]["message"]
    assert tick["told"]["error"]["place"] == "database 'shop'"
    assert len(await asking.all("SELECT FROM product")) == 2


async def test_credentials_are_never_shown(asking: Set) -> None:
    """A database that cannot be reached is told by its name alone."""
    schedule = await asking.add({"query": "SELECT 1 AS t", "database": "lost"})
    await asking.pass_by()
    (tick,) = await asking.ticks(schedule)
    told = json.dumps(tick["told"])
    assert "cannot be reached" in told
    for secret in ("hunter2", "bob", "127.0.0.1", "postgresql://"):
        assert secret not in told
    assert shown(schedule.source) == {"query": "SELECT 1 AS t", "database": "lost"}


# -- what goes wrong -----------------------------------------------------------------------------


async def test_a_missing_file_fails_its_tick_and_the_next_goes_on(night: Set) -> None:
    """The tick tells place and remedy; when the file is there, the next tick makes it."""
    schedule = await night.add({"file": "rows.csv"})
    await night.pass_by()
    night.rows("a")
    await night.pass_by()
    failed, made = await night.ticks(schedule)
    error = failed["told"]["error"]
    assert (failed["state"], error["code"], error["message"]) == (
        "failed", "invalid_input", "no such file",
    )  # fmt: skip
    assert error["place"].endswith("rows.csv")
    assert error["remedy"]
    assert made["state"] == "made"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"recipe": "nothing"}, "nothing"),
        ({"source": {"folder": "away"}}, "folder cannot be read"),
        ({"head": "other"}, "'t'"),
    ],
)
async def test_what_else_is_wrong_fails_the_tick(
    night: Set, told: dict[str, Any], words: str
) -> None:
    """A recipe, folder or column that is not there is told of; nothing is half written."""
    source = night.rows("a", head=told.pop("head", "t"))
    schedule = await night.add(told.pop("source", source), **told)
    await night.pass_by()
    (tick,) = await night.ticks(schedule)
    assert tick["state"] == "failed"
    assert words in tick["told"]["error"]["message"]
    assert await night.all("SELECT FROM schedule_row") == []


async def test_a_fault_over_one_schedule_does_not_end_the_others(night: Set) -> None:
    """What nobody thought of fails its tick, is logged, and the ticker goes on with the others."""
    broken = await night.add(night.rows("a", name="x.csv"), name="broken")
    good = await night.add(night.rows("a"))

    def opens(path: Path, **more: Any) -> Any:
        if path.name == "x.csv":
            raise KeyError("a secret")
        return open_source(path, **more)

    night.ticker = ticker_of(night.engine, opens)
    await night.pass_by()
    assert (await night.states(broken), await night.states(good)) == (["failed"], ["made"])
    error = (await night.ticks(broken))[0]["told"]["error"]
    assert error["message"] == "unexpected: KeyError"


async def test_a_name_that_no_disk_takes_fails_its_tick_alone(night: Set) -> None:
    """A path that cannot even be looked at is told of; it is no database that is away."""
    broken = await night.add({"file": "x" * 300 + ".csv"}, name="broken")
    good = await night.add(night.rows("a"))
    await night.pass_by()
    assert (await night.states(broken), await night.states(good)) == (["failed"], ["made"])
    error = (await night.ticks(broken))[0]["told"]["error"]
    assert "cannot be read" in error["message"]


async def test_credits_that_do_not_suffice_fail_the_tick_and_leave_nothing(night: Set) -> None:
    """A submit that is refused is undone whole; its rows are new the next time."""
    await night.all("UPDATE tenant SET unlimited = false WHERE id = 'default'")
    schedule = await night.add(night.rows("a"))
    await night.pass_by()
    (tick,) = await night.ticks(schedule)
    assert (tick["state"], tick["told"]["error"]["code"]) == ("failed", "insufficient_credits")
    assert await night.all("SELECT FROM batch") == []
    await night.all("UPDATE tenant SET unlimited = true WHERE id = 'default'")
    await night.pass_by()
    assert await night.states(schedule) == ["failed", "made"]
    async with night.engine.database.acquire() as connection:
        assert await verify(connection) == []


# -- missed ticks, pauses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missed", "states"),
    [
        ("latest", ["skipped", "made"]),
        ("skip", ["skipped"]),
        ("all", ["made", *["empty"] * 3]),
    ],
)
async def test_missed_ticks_follow_their_policy(night: Set, missed: str, states: list[str]) -> None:
    """After hours without a worker the ticks are passed over, the last is made, or all are."""
    schedule = await night.add(night.rows("a"), missed=missed)
    await night.clock.advance(4.5 * HOUR)
    for _ in range(6):
        await night.ticker.tick()
    assert await night.states(schedule) == states
    if missed != "all":
        told = (await night.ticks(schedule))[0]["told"]
        assert told["missed"] == 4 - (missed == "latest")
    await night.pass_by(HOUR / 2)
    assert (await night.states(schedule))[-1] == ("made" if missed == "skip" else "empty")


async def test_a_paused_schedule_makes_nothing_and_makes_up_for_nothing(night: Set) -> None:
    """While it is paused no tick comes, and what passed meanwhile is not made up for."""
    schedule = await night.add(night.rows("a"), missed="all")
    database = night.engine.database
    async with database.transaction() as connection:
        await schedules.move(connection, "default", schedule.id, "paused", None)
    await night.pass_by(3 * HOUR)
    assert await night.ticks(schedule) == []
    now = night.clock.now()
    async with database.transaction() as connection:
        later = check_cron(schedule.cron, schedule.timezone, now)
        await schedules.move(connection, "default", schedule.id, "active", later)
    await night.ticker.tick()
    assert await night.ticks(schedule) == []
    await night.pass_by()
    assert await night.states(schedule) == ["made"]


async def test_a_tick_by_hand_comes_now_once(night: Set) -> None:
    """A person's tick is made at once, also of a paused schedule; a second waits for the first."""
    schedule, database = await night.add(night.rows("a")), night.engine.database
    async with database.transaction() as connection:
        await schedules.move(connection, "default", schedule.id, "paused", None)
        await schedule_ticks.add_by_hand(connection, schedule, night.clock.now())
    with pytest.raises(ConflictError):
        async with database.transaction() as connection:
            await schedule_ticks.add_by_hand(connection, schedule, night.clock.now())
    await night.ticker.tick()
    (tick,) = await night.ticks(schedule)
    assert (tick["state"], tick["by_hand"]) == ("made", True)


async def test_a_removed_schedule_leaves_its_batches(night: Set) -> None:
    """Its ticks and rows go, and nothing more comes; what it has made stays."""
    schedule, database = await night.add(night.rows("a")), night.engine.database
    await night.pass_by()
    async with database.transaction() as connection:
        await schedules.delete(connection, "default", schedule.id)
    with pytest.raises(NotFoundError):
        async with database.transaction() as connection:
            await schedules.delete(connection, "default", schedule.id)
    await night.pass_by()
    counts = [len(await night.all(f"SELECT FROM {name}")) for name in ("schedule_row", "batch")]
    assert counts == [0, 1]


async def test_two_schedules_of_one_name_are_refused(night: Set) -> None:
    """A tenant's schedules have names of their own."""
    await night.add({"file": "x.csv"})
    with pytest.raises(ConflictError):
        await night.add({"file": "y.csv"})


async def test_old_ticks_leave_the_history(night: Set) -> None:
    """After 90 days an ended tick is gone; the rows that it made stay known."""
    schedule = await night.add(night.rows("a"), cron="0 0 1 * *")
    await night.pass_by(31 * 86_400)
    await night.pass_by(100 * 86_400)
    await night.pass_by(1)
    ticks = await night.ticks(schedule)
    assert min(one["at"] for one in ticks) > night.clock.now() - timedelta(days=91)
    assert len(await night.all("SELECT FROM schedule_row")) == 1


# -- hours ---------------------------------------------------------------------------------------


async def batch_of(night: Set, schedule: Schedule) -> tuple[str, PauseCode | None]:
    tick = next(one for one in await night.ticks(schedule) if one["batch_id"] is not None)
    async with night.engine.database.acquire() as connection:
        found = await batches.summary(connection, tick["batch_id"])
    return found.state, None if found.pause is None else found.pause.code


async def test_a_batch_keeps_to_its_hours(night: Set) -> None:
    """Outside of its windows it is paused, within them it goes on, the next night too."""
    schedule = await night.add(night.rows("a", "b"), cron="0 23 * * *", windows=["22:00-06:00=30%"])
    await night.pass_by(23 * HOUR)
    assert await batch_of(night, schedule) == ("running", None)
    await night.pass_by(8 * HOUR)
    assert await batch_of(night, schedule) == ("paused", PauseCode.HOURS)
    await night.pass_by(15 * HOUR)
    assert await batch_of(night, schedule) == ("running", None)
    await night.pass_by(9 * HOUR)
    assert await batch_of(night, schedule) == ("paused", PauseCode.HOURS)
    (batch,) = await night.all("SELECT source FROM batch")
    hours = {"timezone": "UTC", "share": 1.0}
    window = {"begins_min": 1320, "ends_min": 360, "share": 0.3}
    assert json.loads(batch["source"])["hours"] == hours | {"windows": [window]}


async def test_a_batch_made_outside_of_its_hours_waits_for_them(night: Set) -> None:
    """Nothing of it starts before its hours begin: it is paused in the commit that writes it."""
    schedule = await night.add(night.rows("a"), cron="0 12 * * *", windows=["22:00-06:00"])
    await night.clock.advance(12 * HOUR)
    await night.ticker._plan()
    await night.ticker._make_some()
    assert await batch_of(night, schedule) == ("paused", PauseCode.HOURS)
    await night.pass_by(10 * HOUR)
    assert await batch_of(night, schedule) == ("running", None)


async def test_a_person_who_resumes_it_is_not_overruled(night: Set) -> None:
    """Resumed by hand outside of its hours, it runs on until they end the next time."""
    schedule = await night.add(night.rows("a"), cron="0 12 * * *", windows=["22:00-06:00"])
    await night.pass_by(12 * HOUR)
    (tick,) = await night.ticks(schedule)
    await night.engine.batch(tick["batch_id"]).resume()
    await night.pass_by(HOUR)
    assert await batch_of(night, schedule) == ("running", None)
    await night.pass_by(10 * HOUR)
    await night.pass_by(8 * HOUR)
    assert await batch_of(night, schedule) == ("paused", PauseCode.HOURS)


async def test_a_pause_by_a_person_outlasts_the_hours(night: Set) -> None:
    """What a person has paused does not go on because its hours begin."""
    schedule = await night.add(night.rows("a"), cron="0 23 * * *", windows=["22:00-06:00"])
    await night.pass_by(23 * HOUR)
    (tick,) = await night.ticks(schedule)
    await night.engine.batch(tick["batch_id"]).pause()
    for _ in range(3):
        await night.pass_by(8 * HOUR)
    assert await batch_of(night, schedule) == ("paused", PauseCode.PERSON)


async def test_a_pause_by_a_person_after_the_hours_outlasts_them_too(night: Set) -> None:
    """Resumed and paused again by hand outside of its hours, it stays paused when they begin."""
    schedule = await night.add(night.rows("a"), cron="0 12 * * *", windows=["22:00-06:00"])
    await night.pass_by(12 * HOUR)
    (tick,) = await night.ticks(schedule)
    await night.engine.batch(tick["batch_id"]).resume()
    await night.engine.batch(tick["batch_id"]).pause()
    await night.pass_by(10.5 * HOUR)
    assert await batch_of(night, schedule) == ("paused", PauseCode.PERSON)


async def test_schedules_are_taken_out_and_forgotten_with_their_tenant(night: Set) -> None:
    """The export has them; what forgets a tenant removes them, their ticks and their rows."""
    schedule, engine = await night.add(night.rows("a")), night.engine
    await night.pass_by()
    takeout = Takeout(engine.database, engine.blobs, night.clock, "default")
    lines = [json.loads(line) async for line in takeout.lines()]
    (told,) = [line for line in lines if line["kind"] == "schedule"]
    assert (told["name"], told["recipe_name"]) == (schedule.name, "words")
    assert told["settings"]["rows"] == "new"
    async with engine.database.transaction() as connection:
        await erasure.forget_rest(connection, "default", night.clock.now())
    for table in ("schedule", "schedule_tick", "schedule_row"):
        assert await night.all(f"SELECT FROM {table}") == []


# -- with workers --------------------------------------------------------------------------------


async def test_what_is_made_beforehand_is_a_hit_on_demand(
    database_url: str, tmp_path: Path
) -> None:
    """A tick makes its rows through the workers; asked for on demand they come from the cache.

    A row that the cache still has is not made again where only uncached rows are.
    """
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "words.toml").write_text(RECIPE)
    (tmp_path / "rows.csv").write_text("t\na\nb\n")
    scripted, config = Scripted(), Config(home=str(tmp_path), database_url=database_url)
    async with open_engine(config, providers={"scripted": scripted}) as engine:
        here = Set(engine, ManualClock(engine.clock.now()), engine._upkeep[-1], tmp_path)  # type: ignore[arg-type]
        schedule = await here.add({"file": "rows.csv"}, "0 0 1 1 *", rows="uncached")
        await by_hand_now(here, schedule)
        (tick,) = await here.ticks(schedule)
        summary = await engine.batch(tick["batch_id"]).done()
        assert (summary.succeeded, summary.cached) == (2, 0)
        made = await engine.generate("scripted:m", "a")
        assert made.cached
        await by_hand_now(here, schedule)
        assert await here.states(schedule) == ["made", "empty"]
        await here.all("UPDATE cache_entry SET expires_at = now() - interval '1 hour'")
        await by_hand_now(here, schedule)
        (*_, last) = await here.ticks(schedule)
        assert await here.inputs(last["batch_id"]) == ["a", "b"]
        await engine.batch(last["batch_id"]).done()
        assert sorted(scripted.prompts) == ["a", "a", "b", "b"]


async def test_a_schedule_takes_its_share_and_holds_up_nobody(
    database_url: str, tmp_path: Path
) -> None:
    """Of 16 places it takes 4, others have the rest, and who wants one of its rows now gets it."""
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "words.toml").write_text(RECIPE)
    (tmp_path / "rows.csv").write_text("t\n" + "".join(f"night {n}\n" for n in range(30)))
    scripted, config = Scripted(), Config(home=str(tmp_path), database_url=database_url)
    scripted.quota = Quota(16, learns=False)
    scripted.gate.clear()
    async with open_engine(config, providers={"scripted": scripted}) as engine:
        here = Set(engine, ManualClock(engine.clock.now()), engine._upkeep[-1], tmp_path)  # type: ignore[arg-type]
        schedule = await here.add({"file": "rows.csv"}, "0 0 1 1 *", share="25%", canary=0)
        await by_hand_now(here, schedule)
        await until(lambda: len(scripted.prompts) == 4)
        others = await engine.submit([{"t": f"day {n}"} for n in range(11)], "words")
        await until(lambda: len(scripted.prompts) == 15)
        asked = asyncio.create_task(engine.generate("scripted:m", "night 29"))
        await until(lambda: len(scripted.prompts) == 16)
        assert scripted.prompts[-1] == "night 29"
        assert sum(prompt.startswith("night") for prompt in scripted.prompts) == 5
        scripted.gate.set()
        assert (await asked).body == b"made of night 29"
        (tick,) = await here.ticks(schedule)
        assert (await engine.batch(tick["batch_id"]).done()).succeeded == 30
        assert (await others.done()).succeeded == 11
        assert len(scripted.prompts) == 41


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; the test's own time limit ends a wait that never does."""
    while not holds():
        await asyncio.sleep(0)


async def by_hand_now(here: Set, schedule: Schedule) -> None:
    """Let a tick come now, and wait until it was made."""
    async with here.engine.database.transaction() as connection:
        await schedule_ticks.add_by_hand(connection, schedule, here.engine.clock.now())
    here.ticker.wake()
    while "due" in await here.states(schedule):
        await asyncio.sleep(0)


# -- whose files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["../other/x.csv", "/etc/passwd", "a/../../x", "https://x/y.csv", "-"]
)
def test_a_tenant_names_files_of_its_own_folder_only(tmp_path: Path, path: str) -> None:
    """Absolute paths, paths upwards and addresses are refused."""
    with pytest.raises(InputError):
        by_http({"file": path}, Schedules(folder=str(tmp_path)), "acme")


async def test_a_link_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """A symbolic link to another tenant's file, or to anything else, is not followed."""
    for tenant in ("acme", "other"):
        (tmp_path / tenant).mkdir()
    (tmp_path / "other" / "x.csv").write_text("t\nsecret\n")
    (tmp_path / "acme" / "x.csv").symlink_to(tmp_path / "other" / "x.csv")
    (tmp_path / "acme" / "all").symlink_to(tmp_path / "other")
    settings = Schedules(folder=str(tmp_path))
    reader = Reader(open_source, settings, Limits())
    for told in ({"file": "x.csv"}, {"folder": "all"}, {"file": "all/x.csv"}):
        source = by_http(told, settings, "acme")
        assert shown(source) == told
        with pytest.raises(InputError, match="out of your folder"):
            _ = [page async for page in reader.pages(source, "acme")]


async def test_a_device_is_no_file(tmp_path: Path) -> None:
    """What would be read without end, or waited for, is refused."""
    source = by_hand({"file": "/dev/zero"}, tmp_path, Schedules(), "default")
    reader = Reader(open_source, Schedules(), Limits())
    with pytest.raises(InputError, match="no file"):
        _ = [page async for page in reader.pages(source, "default")]


def test_without_a_folder_no_tenant_names_files() -> None:
    """Unless the operator says where, HTTP cannot make headrace read anything."""
    with pytest.raises(InputError):
        by_http({"file": "x.csv"}, Schedules(), "acme")
