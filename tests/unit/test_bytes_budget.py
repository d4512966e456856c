"""The budget of bytes: kept whoever comes and goes, and never a reason to stand still."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bytes_budget import BytesBudget, memory_bytes


async def turns() -> None:
    """Let everybody go on who can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_who_does_not_fit_waits_for_room() -> None:
    """A hold above the budget waits until another is released, first come, first served."""
    budget = BytesBudget(100)
    first, second, third = budget.hold(), budget.hold(), budget.hold()
    await first.grow(80)
    waiting = [asyncio.create_task(hold.grow(60)) for hold in (second, third)]
    await turns()
    assert [task.done() for task in waiting] == [False, False]
    first.release()
    await turns()
    assert [task.done() for task in waiting] == [True, False]
    second.release()
    await turns()
    assert waiting[1].done()
    third.release()
    third.release()
    assert budget.used_bytes == 0


async def test_the_first_may_always_go_on() -> None:
    """Two that each hold a half and want more do not wait for each other for ever."""
    budget = BytesBudget(100)
    first, second = budget.hold(), budget.hold()
    await first.grow(50)
    await second.grow(50)
    later = asyncio.create_task(second.grow(50))
    await turns()
    await asyncio.wait_for(first.grow(50), 5)
    assert not later.done()
    first.release()
    await asyncio.wait_for(later, 5)
    second.release()
    assert budget.used_bytes == 0


async def test_what_goes_in_and_what_comes_out_for_a_call_are_one() -> None:
    """A call that waits for room for its answer is not held up by what it sent itself."""
    budget = BytesBudget(100)

    async def calls(sent: asyncio.Event) -> None:
        going_in, coming_out = budget.hold(), budget.hold()
        await going_in.grow(50)
        await sent.wait()
        await coming_out.grow(50)
        coming_out.release()
        going_in.release()

    sent = asyncio.Event()
    both = [asyncio.create_task(calls(sent)) for _ in range(2)]
    await turns()
    sent.set()
    await asyncio.wait_for(asyncio.gather(*both), 5)
    assert budget.used_bytes == 0


async def test_a_hold_may_shrink_and_others_go_on() -> None:
    """What turns out smaller than expected gives back the difference at once."""
    budget = BytesBudget(100)
    first, second = budget.hold(), budget.hold()
    await first.grow(90)
    later = asyncio.create_task(second.grow(50))
    await turns()
    assert not later.done()
    first.shrink(95)
    assert budget.used_bytes == 90
    first.shrink(40)
    await asyncio.wait_for(later, 5)
    first.shrink(0)
    second.release()
    assert budget.used_bytes == 0


async def test_one_body_above_the_whole_budget_goes_alone() -> None:
    """What is larger than the budget comes when nobody else holds anything."""
    budget = BytesBudget(100)
    small, large = budget.hold(), budget.hold()
    await small.grow(10)
    waiting = asyncio.create_task(large.grow(500))
    await turns()
    assert not waiting.done()
    small.release()
    await asyncio.wait_for(waiting, 5)
    large.release()


async def test_a_cancelled_wait_leaves_nothing_behind() -> None:
    """Who is cancelled in line, or in the moment of being served, holds nothing afterwards."""
    budget = BytesBudget(100)
    first, second, third = budget.hold(), budget.hold(), budget.hold()
    await first.grow(100)
    waiting = [asyncio.create_task(hold.grow(70)) for hold in (second, third)]
    await turns()
    waiting[0].cancel()
    first.release()
    waiting[1].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    second.release()
    third.release()
    assert budget.used_bytes == 0
    await asyncio.wait_for(budget.hold().grow(100), 5)


@given(
    st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=5), min_size=1, max_size=12),
    st.integers(10, 100),
)
def test_any_crowd_gets_through_within_the_budget(bodies: list[list[int]], most: int) -> None:
    """Bodies that grow step by step all come, and at most one is above the budget."""
    budget, peak = BytesBudget(most), 0

    async def body(steps: list[int]) -> None:
        nonlocal peak
        hold = budget.hold()
        try:
            for step in steps:
                await hold.grow(step)
                peak = max(peak, budget.used_bytes)
                await asyncio.sleep(0)
        finally:
            hold.release()

    async def crowd() -> None:
        await asyncio.wait_for(asyncio.gather(*map(body, bodies)), 10)

    asyncio.run(crowd())
    assert budget.used_bytes == 0
    assert peak <= most + max(map(sum, bodies))


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"sys/fs/cgroup/memory.max": "max\n"}, None),
        ({"sys/fs/cgroup/memory.max": "1000000\n"}, 1_000_000),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                "sys/fs/cgroup/a/b/memory.max": "max\n",
                "sys/fs/cgroup/a/memory.max": "2000000\n",
            },
            2_000_000,
        ),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "3000000\n"}, 3_000_000),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, None),
        ({"sys/fs/cgroup/memory.max": "rubbish", "proc/self/cgroup": "\xff"}, None),
    ],
)
def test_the_memory_is_that_of_the_process(
    files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    """The nearest limit of either kind of cgroup counts, else all memory of the machine."""
    everything = memory_bytes(tmp_path / "nowhere")
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert memory_bytes(tmp_path) == (everything if limit is None else limit)
