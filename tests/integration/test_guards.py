"""The guards of a batch on a real PostgreSQL: its canary, its cap on true cost, its pauses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.engine import Engine
from headrace.errors import PausedError, UsageError
from headrace.event import EventKind
from headrace.lifecycle import ItemState
from headrace.limits import Quota
from headrace.outcome import OutcomeKind, failed
from headrace.pause import PauseCode
from headrace.price import Price
from headrace.provider import Call, CrashClass, Reply
from headrace.request import Request
from headrace.store.audit import verify
from headrace.store.batches import Summary
from headrace.submission import Terms
from headrace.watching import Batch
from tests.integration.scripted import Scripted
from tests.integration.test_engine import balance, engine_on, recipe, rows, submit

CENT = 10_000
CALL = 4 * CENT


class Priced(Scripted):
    """Bills ``bill`` where it says ``price`` at most; ``None`` stands for not telling."""

    def __init__(self, price: int | None, bill: int | None, **more: Any) -> None:
        super().__init__(**more)
        self.most, self.bill = price, bill
        self.quota = Quota(16, learns=False)
        self.in_flight = self.in_flight_max = 0

    def price(self, request: Request) -> Price:
        return Price(0, self.most)

    async def call(self, call: Call) -> Reply:
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            made = await super().call(call)
        finally:
            self.in_flight -= 1
        return Reply(made.media_type, body=made.body, cost_microusd=self.bill)


def fails(kind: OutcomeKind, *prompts: str) -> Scripted:
    return Scripted(lambda prompt, nth: kind if prompt in prompts or not prompts else None)


@pytest.fixture
def provider() -> Scripted:
    return Scripted()


@pytest.fixture
async def engine(database_url: str, tmp_path: Path, provider: Scripted) -> AsyncIterator[Engine]:
    async with engine_on(database_url, tmp_path, provider) as opened:
        yield opened


async def until(batch: Batch, *states: str) -> Summary:
    """Wait until the batch is in one of ``states`` and none of its items is under way."""
    async with asyncio.timeout(60):
        while True:
            now = await batch.summary()
            if now.state in states and now.running == 0:
                return now
            await batch.changed(0.02)


async def audited(engine: Engine) -> list[str]:
    async with engine.database.acquire() as connection:
        return await verify(connection)


# -- the canary --------------------------------------------------------------------------------


async def test_the_first_three_rows_of_fifty_run_alone(engine: Engine, provider: Scripted) -> None:
    """A batch of 50 calls nobody for its fourth row before its first three have ended well."""
    provider.gate.clear()
    batch = await submit(engine, rows(50))
    await asyncio.wait_for(provider.entered.wait(), 60)
    before = await batch.summary()
    provider.gate.set()
    after = await batch.done()
    assert (before.state, before.canary) == ("canary", 3)
    assert (after.state, after.succeeded) == ("completed", 50)
    assert sorted(provider.prompts[:3]) == ["row 0", "row 1", "row 2"]
    kinds = [(event.kind, event.data.get("state")) async for event in batch.events()]
    assert kinds[1:5] == [(EventKind.ITEM_SUCCEEDED, None)] * 3 + [
        (EventKind.BATCH_MOVED, "running")
    ]


@pytest.mark.parametrize(
    ("count", "terms", "canary"),
    [
        (49, {}, 0),
        (50, {"canary": 0}, 0),
        (10, {"canary": 4}, 4),
        (4, {"canary": 4}, 0),
        (10, {"look_first": True}, 3),
    ],
)
async def test_who_has_a_canary(
    engine: Engine, count: int, terms: dict[str, Any], canary: int
) -> None:
    """By default 3 rows of 50 or more; who asks has one, unless it would be the whole batch."""
    batch = await submit(engine, rows(count), **terms)
    assert (await batch.summary()).canary == canary
    await until(batch, "completed", "paused")


async def test_what_is_computed_here_needs_no_canary(database_url: str, tmp_path: Path) -> None:
    """A recipe that calls nobody has no canary, however many rows there are."""
    provider = Scripted(crash_class=CrashClass.PURE)
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(60))
        assert (await batch.summary()).canary == 0
        await batch.done()


async def test_a_canary_below_zero_is_an_error(engine: Engine) -> None:
    """Nonsense is refused before anything is written."""
    with pytest.raises(UsageError, match="canary"):
        await submit(engine, rows(3), canary=-1)


async def test_rows_that_cannot_be_used_are_no_canary(engine: Engine, provider: Scripted) -> None:
    """The canary are the first usable rows; bad ones among them fail no canary."""
    given_rows = [{"t": ""}, {"t": ""}, *rows(8)]
    batch = await submit(engine, given_rows, canary=2)
    assert (await batch.summary()).canary == 4
    after = await batch.done()
    assert (after.succeeded, after.failed) == (8, 2)
    assert sorted(provider.prompts[:2]) == ["row 0", "row 1"]


async def test_a_failing_canary_pauses_the_batch(database_url: str, tmp_path: Path) -> None:
    """Two of three canary items failing stops the other 57, and the pause says what was seen."""
    provider = fails(OutcomeKind.INVALID, "row 0", "row 2")
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(60))
        now = await until(batch, "paused")
        assert (now.failed, now.succeeded, now.pending) == (2, 1, 57)
        assert len(provider.prompts) == 3
        assert now.pause is not None
        assert now.pause.code is PauseCode.CANARY
        assert "2 of 3 canary items" in now.pause.reason
        assert "scripted invalid" in now.pause.reason
        told = [event async for event in _told(batch)]
        assert told[-1].data == {"state": "paused", **now.pause.to_json()}
        # Who resumes gets all of it, not another canary.
        assert await batch.resume()
        after = await batch.done()
        assert (after.state, after.pause, after.succeeded) == ("completed", None, 58)
        assert await audited(engine) == []


async def _told(batch: Batch) -> AsyncIterator[Any]:
    seq = (await batch.summary()).event_seq
    async for event in batch.events():
        yield event
        if event.cursor[0] == seq:
            return


async def test_one_failure_of_three_is_no_reason_to_stop(database_url: str, tmp_path: Path) -> None:
    """A canary that mostly succeeds lets the batch run."""
    async with engine_on(database_url, tmp_path, fails(OutcomeKind.REFUSED, "row 1")) as engine:
        after = await (await submit(engine, rows(60))).done()
    assert (after.succeeded, after.refused) == (59, 1)


@pytest.mark.parametrize("kind", [OutcomeKind.AUTH, OutcomeKind.QUOTA_EXHAUSTED])
async def test_a_rejected_key_or_spent_funds_stop_after_the_canary(
    kind: OutcomeKind, database_url: str, tmp_path: Path
) -> None:
    """One canary item that meets what all would meet is enough; resumed, it is tried at once."""
    provider = fails(kind, "row 1")
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(60))
        now = await until(batch, "paused")
        assert now.pause is not None
        assert now.pause.code.value == kind.value
        assert now.pending == 57
        assert now.waiting >= 1
        called = len(provider.prompts)
        await batch.resume()
        async with asyncio.timeout(60):
            while len(provider.prompts) == called:
                await batch.changed(0.02)
        assert await batch.cancel() is not None
        assert (await batch.done()).state == "cancelled"
        assert await audited(engine) == []


async def test_look_first_pauses_and_says_what_was_seen(engine: Engine) -> None:
    """After the canary the batch waits for a person, with its cost and a quote at hand."""
    batch = await submit(engine, rows(20), look_first=True)
    now = await until(batch, "paused")
    assert now.pause is not None
    assert now.pause.code is PauseCode.LOOK_FIRST
    seen = await batch.canary_seen()
    assert (seen.items, seen.succeeded, seen.calls, seen.refusals) == (3, 3, 3, 0)
    assert seen.cost_each_microusd == CALL
    assert seen.latency_p50_ms is not None
    assert "about $0.80 for the whole batch" in seen.lines(now.open, now.cost_microusd)[-1]
    await batch.resume()
    assert (await batch.done()).succeeded == 20


async def test_cached_items_count_as_done(engine: Engine, provider: Scripted) -> None:
    """A canary that is all cached lets the batch run at once, having called nobody."""
    await (await submit(engine, rows(5))).done()
    after = await (await submit(engine, rows(60))).done()
    assert (after.succeeded, after.cached) == (60, 5)
    assert len(provider.prompts) == 60


async def test_a_retry_of_a_failed_canary_keeps_it_paused(
    database_url: str, tmp_path: Path
) -> None:
    """Failed items of a paused batch can be opened again; they run when it is resumed."""
    provider = Scripted(
        lambda prompt, nth: OutcomeKind.INVALID if nth == 1 and prompt < "row 3" else None
    )
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(9), canary=3)
        await until(batch, "paused")
        assert await batch.retry({ItemState.FAILED}) == 3
        assert (await batch.summary()).state == "paused"
        await batch.resume()
        assert (await batch.done()).succeeded == 9
        assert await audited(engine) == []


async def test_a_batch_is_cancelled_in_its_canary(engine: Engine, provider: Scripted) -> None:
    """Cancelled while its canary is under way, the rest never starts and is refunded."""
    provider.gate.clear()
    batch = await submit(engine, rows(60))
    await asyncio.wait_for(provider.entered.wait(), 60)
    await batch.cancel()
    provider.gate.set()
    after = await batch.done()
    assert after.state == "cancelled"
    assert after.cancelled >= 57
    assert await balance(engine, "held") == 0
    assert await audited(engine) == []


async def test_calls_in_flight_at_a_cancel_are_not_tried_again(
    database_url: str, tmp_path: Path
) -> None:
    """What fails for a retry after the cancel ends cancelled and refunded, and the batch ends."""
    provider = fails(OutcomeKind.TRANSIENT)
    async with engine_on(database_url, tmp_path, provider) as engine:
        provider.gate.clear()
        batch = await submit(engine, rows(2))
        async with asyncio.timeout(60):
            while len(provider.prompts) < 2:
                await batch.changed(0.02)
        assert await batch.cancel() == 0
        provider.gate.set()
        after = await asyncio.wait_for(batch.done(), 60)
        assert (after.state, after.cancelled) == ("cancelled", 2)
        assert await balance(engine, "held") == 0
        assert await audited(engine) == []


async def test_a_cancel_races_with_items_on_the_move(database_url: str, tmp_path: Path) -> None:
    """Cancelled while items leave pending for waiting, each is counted once."""
    provider = fails(OutcomeKind.QUOTA_EXHAUSTED)
    async with engine_on(database_url, tmp_path, provider) as engine:
        for number in range(6):
            batch = await submit(engine, rows(200, f"race {number}"), canary=0)
            async with asyncio.timeout(60):
                while (await batch.summary()).waiting == 0:
                    await batch.changed(0.001)
            await batch.cancel()
            after = await asyncio.wait_for(batch.done(), 60)
            assert (after.state, after.cancelled) == ("cancelled", 200)
        assert await audited(engine) == []


async def test_a_canary_whose_guard_died_is_moved_on_by_another(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that ends between the canary's last settle and the move hangs no batch."""
    provider = Scripted()
    async with engine_on(database_url, tmp_path, provider) as first:
        with monkeypatch.context() as patch:
            patch.setattr(type(first._guard), "tick", _asleep)
            batch = await submit(first, rows(60))
            async with asyncio.timeout(60):
                while (await batch.summary()).succeeded < 3:
                    await batch.changed(0.02)
            assert (await batch.summary()).state == "canary"
    async with engine_on(database_url, tmp_path, provider) as second:
        after = await second.batch(batch.id).done()
    assert (after.succeeded, len(provider.prompts)) == (60, 60)


async def _asleep(self: Any) -> float:
    return 0.02


async def test_who_waits_for_a_paused_batch_is_told(database_url: str, tmp_path: Path) -> None:
    """Waiting for the end, or for results, ends with the reason instead of never."""
    async with engine_on(database_url, tmp_path, fails(OutcomeKind.INVALID)) as engine:
        batch = await submit(engine, [{"t": ""}, *rows(9)], canary=3)
        with pytest.raises(PausedError, match="3 of 3 canary items"):
            await asyncio.wait_for(batch.done(), 60)
        seen: list[int] = []

        async def collect() -> None:
            async for item in batch.results():
                seen.append(item.row_number)

        with pytest.raises(PausedError):
            await asyncio.wait_for(collect(), 60)
        assert sorted(seen) == [1, 2, 3, 4]


# -- the cap on true cost ----------------------------------------------------------------------


async def test_a_batch_stops_exactly_at_its_cap(engine: Engine, provider: Scripted) -> None:
    """Ten calls fit under ten times the price; the others stay pending, none has failed."""
    batch = await submit(engine, rows(40), cost_cap_microusd=10 * CALL)
    now = await until(batch, "paused")
    assert (now.cost_microusd, now.succeeded, now.pending) == (10 * CALL, 10, 30)
    assert len(provider.prompts) == 10
    assert now.pause is not None
    assert now.pause.code is PauseCode.BUDGET
    assert "$0.40 spent" in now.pause.reason
    assert await audited(engine) == []


async def test_a_higher_cap_lets_it_go_on(engine: Engine) -> None:
    """Resumed as it is it stops again; with more money it ends, nothing done twice."""
    batch = await submit(engine, rows(12), cost_cap_microusd=5 * CALL)
    await until(batch, "paused")
    await batch.resume()
    again = await until(batch, "paused")
    assert (again.succeeded, again.cost_microusd) == (5, 5 * CALL)
    await batch.resume(cost_cap_microusd=12 * CALL)
    after = await batch.done()
    assert (after.succeeded, after.cost_microusd) == (12, 12 * CALL)


async def test_a_cap_below_one_call_pauses_at_once(engine: Engine, provider: Scripted) -> None:
    """Nothing is bought, and the reason names the price of a call."""
    batch = await submit(engine, rows(5), cost_cap_microusd=CALL - 1)
    now = await until(batch, "paused")
    assert (now.cost_microusd, now.pending, provider.prompts) == (0, 5, [])
    assert now.pause is not None
    assert "below a single call, which may cost $0.04" in now.pause.reason


async def test_what_is_cached_needs_no_budget(engine: Engine) -> None:
    """Under a cap of nothing a batch whose results are all there completes."""
    await (await submit(engine, rows(6))).done()
    after = await (await submit(engine, rows(6), cost_cap_microusd=0)).done()
    assert (after.state, after.cached) == ("completed", 6)


async def test_a_stopped_batch_is_cancelled_with_its_refunds(engine: Engine) -> None:
    """What the budget left pending is refunded when the batch is cancelled."""
    batch = await submit(engine, rows(12), cost_cap_microusd=5 * CALL)
    await until(batch, "paused")
    assert await batch.cancel() == 7
    after = await batch.done()
    assert (after.state, after.pause) == ("cancelled", None)
    assert await balance(engine, "held") == 0
    assert await audited(engine) == []


async def test_failed_items_of_a_stopped_batch_are_retried_under_the_cap(
    database_url: str, tmp_path: Path
) -> None:
    """A retry opens items of a stopped batch; they too must fit under the cap."""
    provider = Scripted(
        lambda prompt, nth: OutcomeKind.INVALID if nth == 1 and prompt == "row 0" else None
    )
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(6), cost_cap_microusd=3 * CALL)
        stopped = await until(batch, "paused")
        assert (stopped.failed, stopped.succeeded, stopped.pending) == (1, 3, 2)
        assert await batch.retry({ItemState.FAILED}) == 1
        await batch.resume(cost_cap_microusd=6 * CALL)
        after = await batch.done()
        assert (after.succeeded, after.cost_microusd) == (6, 6 * CALL)
        assert await audited(engine) == []


async def test_calls_under_way_that_turn_out_cheaper_make_room(
    database_url: str, tmp_path: Path
) -> None:
    """Where a call costs a quarter of its worst case, the cap buys nearly four times as many."""
    provider = Priced(4 * CENT, CENT)
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(40), cost_cap_microusd=20 * CENT)
        now = await until(batch, "paused")
    # 17 are spent when the next, at its worst, would be the 21st cent.
    assert (now.succeeded, now.cost_microusd) == (17, 17 * CENT)
    assert provider.in_flight_max <= 5


async def test_costs_that_are_never_told_count_at_their_worst(
    database_url: str, tmp_path: Path
) -> None:
    """A provider that does not say what it bills is taken at the price it named."""
    provider = Priced(CALL, None)
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(9), cost_cap_microusd=4 * CALL)
        now = await until(batch, "paused")
        assert (now.succeeded, now.cost_microusd, now.untold_microusd) == (4, 0, 4 * CALL)
        assert await audited(engine) == []


async def test_calls_without_a_known_price_run_until_known_costs_say_stop(
    database_url: str, tmp_path: Path
) -> None:
    """Nothing is known beforehand, so a call may start while anything of the budget is left."""
    provider = Priced(None, CALL)
    provider.quota = type(provider.quota)(1, learns=False)
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(200), cost_cap_microusd=3 * CALL, canary=0)
        now = await until(batch, "paused")
    # Some start before the third has told its cost, but nobody after.
    assert 3 <= now.succeeded < 30
    assert now.cost_microusd == now.succeeded * CALL
    assert now.pause is not None
    assert "not known beforehand" in now.pause.reason


async def test_failed_calls_cost_no_budget(database_url: str, tmp_path: Path) -> None:
    """Attempts that were refused for rate free what they had set aside."""
    provider = Scripted(lambda prompt, nth: OutcomeKind.RATE_LIMITED if nth < 3 else None)
    async with engine_on(database_url, tmp_path, provider) as engine:
        after = await (await submit(engine, rows(5), cost_cap_microusd=5 * CALL)).done()
        assert (after.succeeded, after.attempts, after.in_flight_microusd) == (5, 15, 0)
        assert await audited(engine) == []


async def test_an_answer_never_seen_counts_at_its_worst(database_url: str, tmp_path: Path) -> None:
    """A call that may have been billed, and is bought again, counts in the budget twice."""

    class Silent(Scripted):
        async def call(self, call: Call) -> Reply:
            self.prompts.append(call.request.params["prompt"])
            if len(self.prompts) == 1:
                raise failed(OutcomeKind.UNKNOWN, "no answer")
            return Reply("text/plain", body=b"made", cost_microusd=CALL)

    async with engine_on(database_url, tmp_path, Silent()) as engine:
        batch = await submit(engine, rows(4), cost_cap_microusd=4 * CALL, cache="off")
        now = await until(batch, "paused")
        assert (now.cost_microusd, now.untold_microusd) == (3 * CALL, CALL)
        assert await audited(engine) == []


async def test_several_stages_stop_between_two(database_url: str, tmp_path: Path) -> None:
    """An item that the budget stops halfway keeps what it has and goes on from there."""
    two = recipe(
        {"name": "draft", "kind": "generate", "model": "scripted:m", "prompt": "{{ t }}"},
        {"name": "final", "kind": "generate", "model": "scripted:m", "prompt": "{{ t }} again"},
    )
    provider = Scripted()
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await engine.submit(
            rows(4), two, columns=["t"], terms=Terms(cost_cap_microusd=5 * CALL)
        )
        async with asyncio.timeout(60):
            while (await batch.summary()).state != "paused" or not await batch.is_at_rest():
                await batch.changed(0.02)
        assert (await batch.summary()).cost_microusd == 5 * CALL
        await batch.resume(cost_cap_microusd=8 * CALL)
        after = await batch.done()
        assert (after.succeeded, after.cost_microusd) == (4, 8 * CALL)
        assert len(provider.prompts) == 8


async def test_fifty_starts_race_for_the_last_of_a_budget(
    database_url: str, tmp_path: Path
) -> None:
    """Three processes' worth of workers with fifty calls at a time never pass the cap."""
    provider = Priced(CALL, CALL)
    provider.quota = Quota(50, learns=False)
    async with (
        engine_on(database_url, tmp_path, provider) as first,
        engine_on(database_url, tmp_path, provider),
        engine_on(database_url, tmp_path, provider),
    ):
        batch = await submit(first, rows(300), cost_cap_microusd=77 * CALL + 1, canary=0)
        now = await until(batch, "paused")
        assert (now.cost_microusd, len(provider.prompts)) == (77 * CALL, 77)
        assert now.pending == 223
        assert await audited(first) == []


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    price=st.integers(1, 9 * CENT),
    share=st.integers(0, 100),
    calls=st.integers(0, 15),
    odd=st.integers(0, CENT),
    kind=st.sampled_from([None, OutcomeKind.RATE_LIMITED, OutcomeKind.NO_OUTPUT]),
)
async def test_known_costs_never_pass_the_cap(
    database_url: str,
    tmp_path: Path,
    price: int,
    share: int,
    calls: int,
    odd: int,
    kind: OutcomeKind | None,
) -> None:
    """Whatever a call may cost, does cost, or fails with: the sum of known costs is under it."""
    cap = price * calls + odd
    provider = Priced(
        price,
        price * share // 100,
        script=lambda prompt, nth: kind if nth == 1 and int(prompt.split()[-1]) % 3 == 0 else None,
    )
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(12), cost_cap_microusd=cap, cache="off")
        now = await until(batch, "paused", "completed")
        assert now.cost_microusd + now.untold_microusd <= cap
        assert now.in_flight_microusd == 0
        if now.state == "paused":
            assert now.cost_microusd + now.untold_microusd + price > cap
        assert await audited(engine) == []
