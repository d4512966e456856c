"""The manual clock: time moves by hand and wakes sleepers in their order."""

from __future__ import annotations

import asyncio

import pytest

from headrace.testing import ManualClock


async def test_sleepers_wake_in_order_at_their_own_moment() -> None:
    """Whoever is due first wakes first, and then sees its own due time, not the end of the span."""
    clock, woken = ManualClock(), []

    async def work(name: str, duration_s: float) -> None:
        await clock.sleep(duration_s)
        woken.append((name, clock.monotonic_s()))

    tasks = [asyncio.create_task(work(n, s)) for n, s in (("c", 3), ("a", 1), ("b", 2), ("z", 9))]
    await clock.advance(5)
    assert woken == [("a", 1.0), ("b", 2.0), ("c", 3.0)]
    assert clock.sleepers == 1
    assert clock.next_wake_s == 4.0
    tasks[-1].cancel()


async def test_same_moment_wakes_in_order_of_falling_asleep() -> None:
    """Two that are due at once wake in the order in which they lay down."""
    clock, woken = ManualClock(), []

    async def work(name: str) -> None:
        await clock.sleep(1)
        woken.append(name)

    tasks = [asyncio.create_task(work(name)) for name in "abc"]
    await clock.advance(1)
    assert woken == ["a", "b", "c"]
    await asyncio.gather(*tasks)


async def test_who_sleeps_again_wakes_again_within_one_span() -> None:
    """A loop that sleeps a second at a time goes round once for each second advanced."""
    clock, rounds = ManualClock(), 0

    async def loop() -> None:
        nonlocal rounds
        while True:
            await clock.sleep(1)
            rounds += 1

    task = asyncio.create_task(loop())
    await clock.advance(10)
    assert rounds == 10
    task.cancel()


async def test_zero_and_less_yield_once() -> None:
    """A sleep of nothing, or less, does not wait for the clock."""
    clock = ManualClock()
    await clock.sleep(0)
    await clock.sleep(-1)
    assert clock.monotonic_s() == 0


async def test_cancelled_sleepers_are_forgotten() -> None:
    """A cancelled sleeper neither counts nor holds up the others."""
    clock = ManualClock()
    task = asyncio.create_task(clock.sleep(1))
    await clock.advance(0)
    task.cancel()
    await clock.advance(0)
    assert clock.sleepers == 0
    assert clock.next_wake_s is None


async def test_wall_steps_leave_durations_alone() -> None:
    """A step of the wall clock, back or forth, moves ``now`` and never ``monotonic_s``."""
    clock = ManualClock()
    before = clock.now()
    clock.step_wall(-3600)
    assert (clock.now() - before).total_seconds() == -3600
    assert clock.monotonic_s() == 0
    await clock.advance(10)
    assert (clock.now() - before).total_seconds() == -3590


@pytest.mark.parametrize("duration_s", [-1.0, float("nan")])
async def test_time_does_not_go_back(duration_s: float) -> None:
    """Advancing by less than nothing, or by no number, is an error."""
    with pytest.raises(ValueError, match="forward only"):
        await ManualClock().advance(duration_s)


async def test_finish_moves_time_until_the_work_is_done() -> None:
    """``finish`` goes from sleeper to sleeper and gives back what the work gave."""
    clock = ManualClock()

    async def work() -> str:
        for _ in range(3):
            await clock.sleep(100)
        return "done"

    assert await clock.finish(work()) == "done"
    assert clock.monotonic_s() == 300


async def test_finish_names_a_deadlock() -> None:
    """Work that waits although nobody sleeps is told, not waited for."""
    with pytest.raises(RuntimeError, match="never end"):
        await ManualClock().finish(asyncio.Event().wait())


async def test_finish_gives_up_after_its_span() -> None:
    """Work that needs longer than allowed ends in ``TimeoutError``."""
    clock = ManualClock()
    with pytest.raises(TimeoutError):
        await clock.finish(clock.sleep(100), within_s=10)
