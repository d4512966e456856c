"""Quiet: a suspect's attempt alone, and nobody held up by its wait in line."""

from __future__ import annotations

import asyncio

from headrace.clock import SystemClock
from headrace.gate import Ask, PermitEnd
from headrace.gates.local import LocalGate
from headrace.limits import Quota
from headrace.quiet import Quiet

FAST = Ask("fast", Quota(4, learns=False))
SLOW = Ask("slow", Quota(1, learns=False))


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_suspect_in_line_at_a_slow_lane_holds_up_nobody() -> None:
    """While it has no permit, others come and go in their lanes."""
    gate, quiet = LocalGate(SystemClock()), Quiet()
    busy = await gate.acquire(SLOW)
    suspect = asyncio.create_task(quiet.enter(gate, SLOW, True))
    await settled()
    for _ in range(3):
        permit = await asyncio.wait_for(quiet.enter(gate, FAST, False), 1)
        permit.end(PermitEnd.SUCCESS)
        quiet.leave(False)
    assert not suspect.done()
    busy.end(PermitEnd.SUCCESS)
    permit = await suspect
    permit.end(PermitEnd.SUCCESS)
    quiet.leave(True)


async def test_a_suspect_begins_when_nobody_is_under_way_and_lets_nobody_begin() -> None:
    """It waits for the attempts under way, and those that come meanwhile keep no permit."""
    gate, quiet = LocalGate(SystemClock()), Quiet()
    first = await quiet.enter(gate, FAST, False)
    suspect = asyncio.create_task(quiet.enter(gate, SLOW, True))
    await settled()
    assert not suspect.done()
    others = [asyncio.create_task(quiet.enter(gate, FAST, False)) for _ in range(3)]
    await settled()
    first.end(PermitEnd.SUCCESS)
    quiet.leave(False)
    permit = await asyncio.wait_for(suspect, 1)
    await settled()
    assert not any(other.done() for other in others)
    assert gate.in_flight("fast") == 0
    permit.end(PermitEnd.SUCCESS)
    quiet.leave(True)
    await asyncio.wait_for(asyncio.gather(*others), 1)
    assert gate.in_flight("fast") == 3


async def test_a_suspect_that_is_cancelled_lets_the_others_go_on() -> None:
    """Its permit is given back and the door opens."""
    gate, quiet = LocalGate(SystemClock()), Quiet()
    await quiet.enter(gate, FAST, False)
    suspect = asyncio.create_task(quiet.enter(gate, SLOW, True))
    await settled()
    suspect.cancel()
    await settled()
    assert gate.in_flight("slow") == 0
    await asyncio.wait_for(quiet.enter(gate, FAST, False), 1)
