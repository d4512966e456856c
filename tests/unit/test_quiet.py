"""Quiet: a suspect's attempt alone, and nobody held up by its wait in line."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from headrace.cache import CacheMode
from headrace.clock import SystemClock
from headrace.gate import Ask, PermitEnd
from headrace.gates.local import LocalGate
from headrace.held import HeldBatch, HeldItem, OpenAttempt
from headrace.lifecycle import ItemState
from headrace.limits import Quota
from headrace.provider import CrashClass
from headrace.quiet import Quiet, is_suspect

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


class _Asked:
    """As much of a provider, and of the stage that asks it, as the rule looks at."""

    name, models = "far", None

    def __init__(self, crash_class: CrashClass) -> None:
        self.crash_class = crash_class
        self.provider = self


def item_of(crash_class: CrashClass, crashes: int, job_id: str | None, *, gone: bool) -> HeldItem:
    stages: Any = (_Asked(crash_class),)
    batch = HeldBatch(
        UUID(int=1), "t", "b", stages, False, CacheMode.REUSE, "retry", 0, datetime.now(UTC), ()
    )
    attempt = OpenAttempt(1, 1, job_id, None, 0, "far", "far", b"", gone)
    running = ItemState.RUNNING
    return HeldItem(batch, 1, 1, 0, running, 1, 0, 0, 0, 1, crashes, {}, open_attempt=attempt)


@pytest.mark.parametrize(
    ("crash_class", "crashes", "job_id", "gone", "suspected"),
    [
        (CrashClass.POLLED, 0, "j", False, False),
        (CrashClass.POLLED, 1, "j", False, False),
        (CrashClass.POLLED, 2, "j", False, True),
        (CrashClass.POLLED, 1, None, False, True),
        (CrashClass.POLLED, 1, "j", True, True),
        (CrashClass.LISTED, 1, "j", False, False),
        (CrashClass.KEYED, 1, "j", False, True),
        (CrashClass.BLIND, 1, "j", False, True),
        (CrashClass.PURE, 1, None, False, True),
    ],
)
def test_who_follows_a_known_job_is_suspected_at_the_second_crash(
    crash_class: CrashClass, crashes: int, job_id: str | None, gone: bool, suspected: bool
) -> None:
    """All others are at the first: what is sent again, or worked on here, may be the cause."""
    assert is_suspect(item_of(crash_class, crashes, job_id, gone=gone)) is suspected


def test_who_has_nothing_under_way_is_suspected_by_its_crashes() -> None:
    """An item without an open attempt that its worker died with once walks alone."""
    item = item_of(CrashClass.POLLED, 1, "j", gone=False)
    item.open_attempt = None
    assert is_suspect(item)
    item.crashes = 0
    assert not is_suspect(item)
