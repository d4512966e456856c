"""``lanes``, ``worker`` and the time in ``estimate``, on a real database."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.gate import Ask, PermitEnd
from headrace.gates.local import LocalGate
from headrace.learned import Learned, LearnedQuota, LearnedRate, LearnedWidth, Remembered
from headrace.limits import Dimension, Limit, Quota
from headrace.loops.keeper import Keeper
from headrace.outcome import Outcome, OutcomeKind
from headrace.store.database import Database
from headrace.store.lanes import Noted, kept, note, remembered
from headrace.testing import ManualClock
from tests.integration.test_cli_run import RUN, Shell

LANE = "simulated/any"
HELD = LearnedRate(pace=598 / 60, lo=9.9, hi=10.1, held=True)
LIVE: dict[str, Any] = {
    "by": "here:1", "workers": 2, "in_flight": 12, "width": 16.0, "waiting": 40,
    "binds": "requests", "sent": 2900, "utilisation": 0.972, "refused": 0.001,
    "shut_s": 0.0, "why": "", "credit": 4.25, "call_s": 1.0,
}  # fmt: skip


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Shell:
    return Shell(tmp_path, database_url)


async def write(
    database: Database, lane: str, learned: Learned, ago_s: float = 0.0, **live: Any
) -> None:
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    async with database.acquire() as connection:
        await note(connection, [Noted(lane, learned, LIVE | live)], at)


async def test_a_lane_that_others_work_on_is_shown_as_they_see_it(
    shell: Shell, database: Database
) -> None:
    """Limits with their origin, what binds, how full, how much was used and refused."""
    assert "No lane yet" in (await shell("lanes")).out
    told = LearnedRate(pace=1.6, told=100 / 60, origin="told", held=True)
    learned = Learned(LearnedWidth(16.0, known=True), {"requests": HELD, "tokens": told})
    await write(database, LANE, learned)
    out = (await shell("lanes")).out
    for words in (
        LANE, "about 598 requests/min, learned just now", "100 tokens/min, told",
        "16 in flight, learned", "12 of 16 in flight, 40 waiting, bound by requests, 2 workers",
        "97.2 % of the limit used", "0.1 % refused", "credit 4.2",
    ):  # fmt: skip
        assert words in out, out
    found = (await shell("lanes", "--json")).json
    assert found[0]["live"]["binds"] == "requests"
    assert found[0]["learned"]["rates"]["requests"]["pace"] == pytest.approx(598 / 60)


async def test_a_shut_lane_says_until_when_and_why(shell: Shell, database: Database) -> None:
    """A person sees that nothing goes, and what would help."""
    await write(database, LANE, Learned(), shut_s=3600.0, why="no credit left", binds="shut")
    out = (await shell("lanes", "show", LANE)).out
    assert "shut        until 20" in out
    assert "no credit left" in out


async def test_a_lane_that_nobody_works_on_keeps_what_it_learned(
    shell: Shell, database: Database
) -> None:
    """An old summary is not shown as if it were now; what was learned is, with its age."""
    await write(database, LANE, Learned(rates={"requests": HELD}), ago_s=185.0)
    out = (await shell("lanes")).out
    assert "learned 3 min ago" in out
    assert "nobody works on it" in out
    assert (await shell("lanes", "--json")).json[0]["live"] is None


async def test_a_lane_is_forgotten_by_name(shell: Shell, database: Database) -> None:
    """Afterwards it is not there; a name that is not known is answered with the nearest."""
    await write(database, LANE, Learned(rates={"requests": HELD}))
    wrong = await shell("lanes", "forget", "simulated/anyy")
    assert wrong.code == 2
    assert LANE in wrong.err
    assert (await shell("lanes", "forget", LANE)).code == 0
    assert (await shell("lanes", "--json")).json == []


async def test_what_is_too_old_or_damaged_is_not_remembered(database: Database) -> None:
    """After a week a limit is learned anew, and so is one whose text is not ours."""
    await write(database, "old", Learned(rates={"requests": HELD}), ago_s=8 * 86_400.0)
    await write(database, "new", Learned(rates={"requests": HELD}))
    await write(database, "bad", Learned())
    async with database.acquire() as connection:
        await connection.execute("UPDATE lane SET learned = '[3]' WHERE name = 'bad'")
        found = await remembered(connection, datetime.now(UTC))
        assert set(found) == {"new"}
        assert len(await kept(connection)) == 3


async def test_the_keeper_writes_what_a_gate_knows_and_once_more_at_its_end(
    database: Database,
) -> None:
    """A lane's figures are there while it works, and what came last is not lost."""
    clock = SystemClock()
    gate = LocalGate(clock)
    keeper = Keeper(database, clock, gate.lanes)
    await keeper.tick()
    ask = Ask("a", Quota(4, (Limit(Dimension.REQUESTS, 600, 60.0),)))
    permit = await gate.acquire(ask)
    await keeper.tick()
    async with database.acquire() as connection:
        (found,) = await kept(connection)
    assert found.live is not None
    assert found.live["in_flight"] == 1
    permit.end(PermitEnd.SUCCESS, Outcome(OutcomeKind.SUCCESS))
    await keeper.stop()
    async with database.acquire() as connection:
        (found,) = await kept(connection)
    assert found.live is not None
    assert found.live["in_flight"] == 0
    assert found.remembered is not None
    assert found.remembered.learned.rates["requests"].told == 10.0


async def test_the_keeper_writes_each_call_of_a_day_s_quota_and_what_shuts_a_lane(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two seconds after a call its place in the day is kept, also when a write failed once."""
    clock = ManualClock(datetime.now(UTC))
    gate = LocalGate(clock)
    keeper = Keeper(database, clock, gate.lanes)
    limits = tuple(Limit(Dimension.REQUESTS, n, s) for n, s in ((600, 60.0), (9, 86_400.0)))

    async def tick(outcome: Outcome) -> Remembered:
        permit = await gate.acquire(Ask("a", Quota(4, limits, pinned=True)))
        permit.end(PermitEnd.SUCCESS, outcome)
        await clock.advance(await keeper.tick())
        async with database.acquire() as connection:
            return (await remembered(connection, clock.now()))["a"]

    for count in (1, 2, 3):
        kept_now = await tick(Outcome(OutcomeKind.SUCCESS))
        (quota,) = kept_now.learned.rates["requests"].longer
        assert (quota.used, quota.amount) == (count, 9)
        assert quota.left_s - kept_now.age_s(clock.now()) == pytest.approx(86_400 - 2 * count)
    with monkeypatch.context() as patched:
        patched.setattr("headrace.store.lanes.note", _fails)
        with pytest.raises(OSError, match="is away"):
            await tick(Outcome(OutcomeKind.SUCCESS))
    await clock.advance(1.0)
    await keeper.stop()
    async with database.acquire() as connection:
        kept_now = (await remembered(connection, clock.now()))["a"]
    assert kept_now.learned.rates["requests"].longer[0].used == 4
    shut = await tick(Outcome(OutcomeKind.QUOTA_EXHAUSTED, "no funds", wait_s=7200.0))
    assert (shut.learned.shut_s, shut.learned.shut_why) == (pytest.approx(7200.0), "no funds")


async def _fails(*_: object) -> None:
    raise OSError("the database is away")


async def test_a_lane_that_is_shut_says_so_when_nobody_works_on_it(
    shell: Shell, database: Database
) -> None:
    """Until when, why, and what was used of its day: as the next command will find it."""
    quota = LearnedQuota(9.0, 86_400.0, 4.0, 7200.0, origin="pinned")
    rates = {"requests": LearnedRate(longer=(quota,))}
    learned = Learned(rates=rates, shut_s=3600.0, shut_why="no funds left")
    await write(database, LANE, learned, ago_s=60.0)
    out = (await shell("lanes")).out
    assert "9 requests/day, pinned: 4 used, anew from 20" in out
    assert "nobody works on it" in out
    assert "shut        until 20" in out
    assert "no funds left" in out


async def test_a_clock_far_ahead_is_not_believed(database: Database) -> None:
    """What it wrote would shut a lane anew at every start until the clock has caught up."""
    await write(database, "ahead", Learned(shut_s=3600.0), ago_s=-3 * 86_400.0)
    await write(database, "near", Learned(shut_s=3600.0), ago_s=-3600.0)
    async with database.acquire() as connection:
        assert set(await remembered(connection, datetime.now(UTC))) == {"near"}


async def test_an_estimate_tells_the_time_under_the_limits_that_are_known(
    shell: Shell, database: Database
) -> None:
    """Unknown at first; then bound by the quota, or by calls in flight, whichever takes longer."""
    shell.table(*(f"{n},Title {n}" for n in range(100)))
    words = ("estimate", "in.csv", "--recipe", "recipe.toml")
    first = await shell(*words)
    assert "time unknown: nothing learned yet" in first.out
    assert (await shell(*words, "--json")).json["time_s"] is None
    assert (await shell(*RUN, "--limit", "3")).code == 0
    (lane,) = (await shell("lanes", "--json")).json
    slow = LearnedRate(pace=20 / 60, lo=0.3, hi=0.34, held=True)
    await write(database, lane["name"], Learned(rates={"requests": slow}))
    assert "about 5 min, quota-bound: 20 requests/min" in (await shell(*words)).out
    wide = Learned(LearnedWidth(8.0, known=True), {}, call_s=12.0)
    await write(database, lane["name"], wide)
    told = (await shell(*words, "--json")).json
    assert told["time_words"] == "about 2 min: concurrency-bound, 8 in flight × 12 s"
    assert told["time_s"] == pytest.approx(97 * 12 / 8)


async def test_a_worker_takes_part_until_it_is_told_to_stop(shell: Shell) -> None:
    """It says one line, does what another process submits, and SIGTERM ends it with 0."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "headrace", "worker", cwd=shell.folder, env=shell._environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    said = await asyncio.wait_for(process.stdout.readline(), 60)
    assert b"works on" in said
    shell.table(*(f"{n},Title {n}" for n in range(50)))
    assert (await shell(*RUN)).code == 0
    process.send_signal(signal.SIGTERM)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err
    assert out == b""
