"""A tenant's cap of calls in flight at the gate of one process: it holds, and others go on."""

from __future__ import annotations

import asyncio
from collections import Counter
from random import Random

from headrace.fairness import FairLine
from headrace.gate import Ask, Permit, PermitEnd
from headrace.gates.caps import Caps, MemberCaps, frees, unpack_caps
from headrace.gates.local import LocalGate
from headrace.limits import Quota
from headrace.testing import ManualClock
from headrace.testing.manual_clock import settle


def asks(tenant_id: str, calls_max: int | None, width: int = 100) -> Ask:
    """Ask a lane of a width for one of a tenant's."""
    return Ask("lane", Quota(width, learns=False), tenant_id=tenant_id, calls_max=calls_max)


async def start(gate: LocalGate, ask: Ask, count: int) -> list[asyncio.Task[Permit]]:
    """Let so many stand in line, and those go that may."""
    tasks = [asyncio.create_task(gate.acquire(ask)) for _ in range(count)]
    await settle()
    return tasks


def going(tasks: list[asyncio.Task[Permit]]) -> int:
    """Return how many have been let go."""
    return sum(task.done() for task in tasks)


async def test_a_tenant_at_its_cap_is_passed_over_and_the_others_go_on() -> None:
    """No more than its cap are in flight, whoever stands before whom; the lane is not held up."""
    gate = LocalGate(ManualClock())
    capped = await start(gate, asks("capped", 2), 50)
    others = await start(gate, asks("other", None), 30)
    assert (going(capped), going(others)) == (2, 30)
    now = gate.lanes()[0]
    assert (now.waiting, now.at_cap) == (48, 48)
    for number in range(48):
        capped[number].result().end(PermitEnd.SUCCESS)
        await settle()
        assert going(capped) == number + 3
    assert gate.in_flight("lane") == 32


async def test_a_cap_leaves_no_place_of_the_lane_empty() -> None:
    """What the capped tenant may not have, the others get at once: all places are in use."""
    gate = LocalGate(ManualClock())
    capped = await start(gate, asks("capped", 3, 10), 50)
    others = await start(gate, asks("other", None, 10), 50)
    assert (going(capped), going(others)) == (3, 7)
    others[0].result().end(PermitEnd.SUCCESS)
    await settle()
    assert (going(capped), going(others)) == (3, 8)


async def test_a_cap_that_is_changed_or_taken_away_counts_from_the_next_ask_on() -> None:
    """A plan may change while calls are in flight; those count, and who waits is let go."""
    gate = LocalGate(ManualClock())
    first = await start(gate, asks("t", 1), 10)
    assert going(first) == 1
    more = await start(gate, asks("t", 4), 1)
    assert going(first) + going(more) == 4
    fewer = await start(gate, asks("t", 2), 1)
    for task in first[:2]:
        task.result().end(PermitEnd.SUCCESS)
    await settle()
    assert going(first) + going(more) + going(fewer) == 4
    free = await start(gate, asks("t", None), 1)
    assert all(task.done() for task in (*first, *more, *fewer, *free))


async def test_a_permit_that_nobody_takes_any_more_leaves_its_place_under_the_cap() -> None:
    """Whoever is cancelled in line, or in the tick in which it was let go, keeps no place."""
    gate = LocalGate(ManualClock())
    tasks = await start(gate, asks("t", 1), 4)
    tasks[1].cancel()
    tasks[0].result().end(PermitEnd.SUCCESS)
    tasks[2].cancel()  # its permit was handed over and not yet received
    await settle()
    assert tasks[3].done()
    tasks[3].result().end(PermitEnd.IGNORED)
    last = await start(gate, asks("t", 1), 1)
    assert going(last) == 1


async def test_closing_the_gate_sends_those_at_a_cap_away_too() -> None:
    """Nobody hangs in line behind a cap when the process ends."""
    gate = LocalGate(ManualClock())
    tasks = await start(gate, asks("t", 1), 3)
    await gate.close()
    await settle()
    assert all(task.done() for task in tasks)
    assert [task.cancelled() for task in tasks] == [False, True, True]


async def test_caps_hold_and_nobody_waits_in_vain_whatever_ends_when() -> None:
    """None ever has more than its cap, and a tenant below it waits only for a full lane."""
    rng, gate, width = Random(7), LocalGate(ManualClock()), 12
    most = {"a": 1, "b": 3, "c": None, "d": 5}
    tasks: list[tuple[str, asyncio.Task[Permit]]] = []
    for _ in range(1500):
        name = rng.choice("abcd")
        if rng.random() < 0.55:
            found = await start(gate, asks(name, most[name], width), 1)
            tasks += [(name, task) for task in found]
        elif out := [one for one in tasks if one[1].done()]:
            tasks.remove(one := rng.choice(out))
            one[1].result().end(PermitEnd.SUCCESS)
            await settle()
        held = Counter(name for name, task in tasks if task.done())
        assert all(cap is None or held[name] <= cap for name, cap in most.items())
        for name, task in tasks:
            full = held[name] == most[name] or held.total() == width
            assert task.done() or full, (name, held)


def seen(most: dict[str, int | None], waiting: dict[str, int]) -> Caps[str]:
    """Return the caps of a line in which tenants wait."""
    line: FairLine[str] = FairLine()
    caps = Caps(line)
    for name, count in waiting.items():
        caps.seat(asks(name, most[name]))
        for _ in range(count):
            line.push(name, name)
    return caps


def test_of_two_workers_the_one_that_waits_longer_at_a_cap_goes_first() -> None:
    """A worker whose call has just ended does not take the place again before the other."""
    one, two = seen({"t": 1}, {"t": 2}), seen({"t": 1}, {"t": 2})
    one.see([], 0.0)
    seat, other = one.seat(asks("t", 1)), two.seat(asks("t", 1))
    assert seat is not None
    assert other is not None
    one.take(seat)
    of_one = one.told(0.0)
    two.see([of_one], 1.0)
    assert other.is_full
    of_two = two.told(1.0)
    one.see([of_two], 2.0)
    one.take(None)
    assert seat.is_full
    one.end(seat)
    one.see([of_two], 3.0)
    # It waits since 0.0 itself, longer than the other.
    assert not seat.is_full
    one.take(seat)
    one.told(3.0)
    one.end(seat)
    one.see([of_two], 3.5)
    assert seat.is_full
    told = one.told(3.5)
    assert frees(of_one, told, [of_two])
    two.see([told], 3.6)
    assert not other.is_full


def test_a_worker_that_is_not_heard_of_keeps_no_place_at_a_cap() -> None:
    """Whoever looks no more, each second as it should, is not waited for."""
    caps = seen({"t": 1}, {"t": 1})
    seat = caps.seat(asks("t", 1))
    assert seat is not None
    gone = MemberCaps({}, {seat.key: 0.0}, at_s=1.0)
    caps.see([gone], 2.0)
    assert seat.is_full
    caps.see([gone], 4.5)
    assert not seat.is_full
    caps.see([MemberCaps({seat.key: 1}, {}, at_s=-100.0)], 4.5)
    assert seat.is_full


def test_what_workers_tell_of_caps_is_read_as_it_was_written() -> None:
    """Another worker reads the same; where nobody has a cap, it takes no room."""
    told = MemberCaps({2**63: 4, 5: 1}, {5: 1.5}, 2.5)
    assert unpack_caps(told.pack()) == told
    assert MemberCaps(at_s=3.0).pack() is None


def test_tenants_that_have_nothing_there_are_forgotten() -> None:
    """A gate that has met ten thousand tenants with caps keeps those that have something there."""
    line: FairLine[str] = FairLine()
    caps = Caps(line)
    busy = caps.seat(asks("busy", 2))
    caps.take(busy)
    for at in range(10_000):
        seat = caps.seat(asks(f"idle {at}", 2))
        caps.take(seat)
        caps.end(seat)
    assert len(caps) < 300
    assert caps.seat(asks("busy", 2)) is busy
