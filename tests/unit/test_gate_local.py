"""The local gate, beyond what every gate promises: pauses, clamps, and a path without futures."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from random import Random

import pytest

from headrace.gate import PARK_S, Ask, LaneShutError, PermitEnd
from headrace.gates.local import LocalGate
from headrace.limits import Dimension, Limit, Load, Quota, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer
from headrace.testing import ManualClock
from headrace.testing.conformance.gate_suite import ask
from headrace.testing.manual_clock import settle


def refused(wait_s: float | None) -> Outcome:
    """Return a refusal that names a wait."""
    return Outcome(OutcomeKind.RATE_LIMITED, wait_s=wait_s)


async def test_a_free_place_needs_no_future() -> None:
    """Acquiring a free place finishes in one step, without going round the loop."""
    work = LocalGate(ManualClock()).acquire(ask("a", 1))
    with pytest.raises(StopIteration) as finished:
        work.send(None)
    finished.value.value.end(PermitEnd.SUCCESS)


async def test_a_refusal_shuts_the_lane_until_the_wait_is_over() -> None:
    """After a permit dropped with a wait, nobody starts before that moment, all free after it."""
    clock = ManualClock()
    gate = LocalGate(clock)
    (await gate.acquire(ask("a", 3))).end(PermitEnd.DROPPED, refused(10.0))
    tasks = [asyncio.create_task(gate.acquire(ask("a", 3))) for _ in range(3)]
    await clock.advance(9.9)
    assert not any(task.done() for task in tasks)
    assert gate.waiting("a") == 3
    await clock.advance(0.2)
    assert all(task.done() for task in tasks)
    assert gate.in_flight("a") == 3


async def test_a_longer_wait_wins() -> None:
    """A shorter wait never opens a lane that was told to stay shut for longer."""
    clock = ManualClock()
    gate = LocalGate(clock)
    first, second = await gate.acquire(ask("a", 2)), await gate.acquire(ask("a", 2))
    first.end(PermitEnd.DROPPED, refused(10.0))
    second.end(PermitEnd.DROPPED, refused(1.0))
    waiting = asyncio.create_task(gate.acquire(ask("a", 2)))
    await clock.advance(9.9)
    assert not waiting.done()
    await clock.advance(0.2)
    assert waiting.done()


async def test_a_fault_while_nobody_looks_reaches_those_who_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What breaks when a lane wakes by itself is told to its line, and the next are served."""
    clock = ManualClock()
    gate = LocalGate(clock)
    (await gate.acquire(ask("a", 2))).end(PermitEnd.DROPPED, refused(10.0))
    tasks = [asyncio.create_task(gate.acquire(ask("a", 2))) for _ in range(2)]
    await settle()

    def break_(pacer: Pacer, load: Load, now_s: float) -> float:
        raise RuntimeError("a fault")

    with monkeypatch.context() as broken:
        broken.setattr(Pacer, "wait_s", break_)
        await clock.advance(10.1)
    for task in tasks:
        with pytest.raises(RuntimeError, match="a fault"):
            await task
    (await gate.acquire(ask("a", 2))).end(PermitEnd.SUCCESS)


async def test_a_wait_told_while_others_wait_is_kept() -> None:
    """A pause that grows while callers stand in line holds them until its new end."""
    clock = ManualClock()
    gate = LocalGate(clock)
    first, second = await gate.acquire(ask("a", 2)), await gate.acquire(ask("a", 2))
    first.end(PermitEnd.DROPPED, refused(1.0))
    waiting = asyncio.create_task(gate.acquire(ask("a", 2)))
    await clock.advance(0.5)
    second.end(PermitEnd.DROPPED, refused(5.0))
    await clock.advance(4.0)
    assert not waiting.done()
    await clock.advance(1.1)
    assert waiting.done()


@pytest.mark.parametrize("wait_s", [None, 0.0, -5.0, float("nan")])
async def test_odd_waits_do_not_shut(wait_s: float | None) -> None:
    """No wait, nothing, less than nothing and no number leave the lane open."""
    gate = LocalGate(ManualClock())
    (await gate.acquire(ask("a", 1))).end(PermitEnd.DROPPED, refused(wait_s))
    (await gate.acquire(ask("a", 1))).end(PermitEnd.SUCCESS)


@pytest.mark.parametrize("wait_s", [PARK_S + 1, 1e12, float("inf")])
async def test_nobody_waits_at_a_lane_that_stays_shut(wait_s: float) -> None:
    """A wait of hours is told to those in line and to whoever comes: they park their items."""
    gate = LocalGate(ManualClock())
    held = await gate.acquire(ask("a", 1))
    waiting = asyncio.create_task(gate.acquire(ask("a", 1)))
    await settle()
    held.end(PermitEnd.DROPPED, refused(wait_s))
    with pytest.raises(LaneShutError, match="long wait"):
        await waiting
    with pytest.raises(LaneShutError):
        await gate.acquire(ask("a", 1))


@pytest.mark.parametrize("kind", [OutcomeKind.QUOTA_EXHAUSTED, OutcomeKind.AUTH])
async def test_funds_and_keys_shut_the_lane(kind: OutcomeKind) -> None:
    """A spent quota or a bad key shuts the lane with the provider's own words."""
    clock = ManualClock()
    gate = LocalGate(clock)
    spent = Outcome(kind, "the day's quota is used up", wait_s=7200.0)
    (await gate.acquire(ask("a", 2))).end(PermitEnd.DROPPED, spent)
    with pytest.raises(LaneShutError, match="day's quota") as shut:
        await gate.acquire(ask("a", 2))
    assert shut.value.wait_s == pytest.approx(7200.0)
    await clock.advance(7200.5)
    (await gate.acquire(ask("a", 2))).end(PermitEnd.SUCCESS)


async def test_close_cancels_the_line() -> None:
    """Closing ends all waiting with cancellation, also in a paused lane."""
    gate = LocalGate(ManualClock())
    (await gate.acquire(ask("a", 1))).end(PermitEnd.DROPPED, refused(10.0))
    waiting = asyncio.create_task(gate.acquire(ask("a", 1)))
    await asyncio.sleep(0)
    await gate.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_concurrency_below_one_is_refused() -> None:
    """A lane of no width would wait for ever, so it is an error."""
    with pytest.raises(ValueError, match="1 or more"):
        await LocalGate(ManualClock()).acquire(ask("a", 0))


@pytest.mark.parametrize("seed", range(20))
async def test_nothing_leaks_under_random_cancelling(seed: int) -> None:
    """After any mix of work, refusals and cancelling, every place is free again."""
    random, clock = Random(seed), ManualClock()
    gate = LocalGate(clock)

    async def work() -> None:
        permit = await gate.acquire(ask("a", 3))
        how = PermitEnd.IGNORED
        try:
            await clock.sleep(random.random())
            how = random.choice(list(PermitEnd))
        finally:
            permit.end(how, refused(random.choice([None, 0.5])))

    tasks = []
    for _ in range(60):
        tasks.append(asyncio.create_task(work()))
        if random.random() < 0.4:
            random.choice(tasks).cancel()
        await clock.advance(random.random() / 4)
    await clock.finish(asyncio.gather(*tasks, return_exceptions=True))
    assert gate.in_flight("a") == 0
    assert gate.waiting("a") == 0


async def test_somebody_who_could_leave_looks_whether_a_provider_works_again() -> None:
    """When a probe is due, whoever asks is it, though it could leave; the next one leaves."""
    clock = ManualClock()
    gate = LocalGate(clock)
    goes = replace(ask("a", 20), elsewhere=True)
    for permit in [await gate.acquire(goes) for _ in range(20)]:
        permit.end(PermitEnd.DROPPED, Outcome(OutcomeKind.OVERLOADED))
    with pytest.raises(LaneShutError, match="its last 20 calls failed"):
        await gate.acquire(goes)
    await clock.advance(0.6)
    probe = await gate.acquire(goes)
    assert probe.probe
    with pytest.raises(LaneShutError):
        await gate.acquire(goes)
    probe.end(PermitEnd.SUCCESS, Outcome(OutcomeKind.SUCCESS))
    (await gate.acquire(goes)).end(PermitEnd.SUCCESS, Outcome(OutcomeKind.SUCCESS))


async def test_a_short_wait_for_the_rate_sends_nobody_away() -> None:
    """Who could go elsewhere stands in line at a lane that refused for its rate."""
    clock = ManualClock()
    gate = LocalGate(clock)
    goes = replace(ask("a", 2), elsewhere=True)
    (await gate.acquire(goes)).end(PermitEnd.DROPPED, refused(30.0))
    waiting = asyncio.create_task(gate.acquire(goes))
    await clock.advance(29.0)
    assert not waiting.done()
    await clock.advance(1.5)
    (await waiting).end(PermitEnd.SUCCESS)


async def test_tokens_that_come_back_wake_who_waits_for_them() -> None:
    """A call ends without having used its tokens: the next in line goes, long before its time."""
    clock = ManualClock()
    gate = LocalGate(clock)
    limits = (Limit(Dimension.TOKENS, 6000.0, 60.0),)
    quota = Quota(8, limits, pinned=True, tokens_refunded=True)
    first = asyncio.create_task(gate.acquire(Ask("a", quota, Load(tokens=6000))))
    await clock.advance(60.0)
    permit = first.result()
    second = asyncio.create_task(gate.acquire(Ask("a", quota, Load(tokens=6000))))
    await clock.advance(10.0)
    assert not second.done()
    said = Said(tokens=0)
    permit.end(PermitEnd.SUCCESS, Outcome(OutcomeKind.SUCCESS, said=said))
    await settle()
    assert second.done()
    second.result().end(PermitEnd.SUCCESS)
    await gate.close()


async def test_a_large_batch_widens_the_start_for_who_waits_already() -> None:
    """Calls on demand fill three places; a batch of 100 asks, and eight go, in their order."""
    gate = LocalGate(ManualClock())
    small = Ask("a", Quota(3, advised=True))
    tasks = [asyncio.create_task(gate.acquire(small)) for _ in range(5)]
    await settle()
    assert (gate.in_flight("a"), gate.waiting("a")) == (3, 2)
    tasks += [asyncio.create_task(gate.acquire(replace(small, items=100))) for _ in range(6)]
    await settle()
    assert (gate.in_flight("a"), gate.waiting("a")) == (8, 3)
    assert all(task.done() for task in tasks[:5])
    await gate.close()


class Hasty(ManualClock):
    """A clock whose timers wake too early, as those of whole milliseconds do."""

    async def sleep(self, duration_s: float) -> None:
        """Sleep for a part of the time asked for."""
        await super().sleep(0.6 * duration_s)


async def test_a_timer_that_wakes_early_sends_nobody_early() -> None:
    """A call waits for its moment however often its timer wakes before."""
    clock = Hasty()
    gate = LocalGate(clock)
    one = Ask("a", Quota(8, (Limit(Dimension.REQUESTS, 300, 60.0),), rate_start=2.0))
    left: list[tuple[float, float]] = []

    async def call() -> None:
        permit = await gate.acquire(one)
        due_s = permit._ticket.sent_s
        await permit.ready()
        left.append((due_s, clock.monotonic_s()))
        permit.end(PermitEnd.SUCCESS)

    tasks = [asyncio.create_task(call()) for _ in range(5)]
    for _ in range(2000):
        await clock.advance(0.0005)
    await asyncio.gather(*tasks)
    assert all(at_s >= due_s - 2e-4 for due_s, at_s in left)
    await gate.close()


async def test_a_permit_that_is_late_is_counted_when_its_call_leaves() -> None:
    """At a told rate that bears no burst, the call after a late one keeps its distance."""
    clock = ManualClock()
    gate = LocalGate(clock)
    one = Ask("a", Quota(8, (Limit(Dimension.REQUESTS, 300, 60.0),), rate_start=2.0))
    first = await gate.acquire(one)
    await first.ready()
    first.end(PermitEnd.DROPPED, refused(1.0))
    await clock.advance(5.0)
    late = await gate.acquire(one)  # goes ahead alone
    late.end(PermitEnd.SUCCESS)
    await clock.advance(5.0)
    waiting = asyncio.create_task(gate.acquire(one))
    await clock.advance(0.5)
    late = waiting.result()
    await clock.advance(0.15)
    await late.ready()
    now_s = clock.monotonic_s()
    task = asyncio.create_task(gate.acquire(one))
    for _ in range(60):
        await clock.advance(0.005)
    assert task.result()._ticket.sent_s - now_s >= 0.19
    late.end(PermitEnd.SUCCESS)
    task.result().end(PermitEnd.SUCCESS)
    await gate.close()
