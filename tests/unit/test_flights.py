"""Single-flight in a process: one leads, and whatever becomes of a leader, somebody does."""

from __future__ import annotations

import asyncio

import pytest

from headrace.flights import Flights
from headrace.testing.manual_clock import settle

KEY = ("tenant", b"print")


async def test_a_follower_that_is_cancelled_as_it_is_to_lead_lets_the_next_one_lead() -> None:
    """A leader fails and its first follower is cancelled in the same tick: the second one leads."""
    flights = Flights()
    assert flights.board(KEY) is None
    futures = [flights.board(KEY) for _ in range(3)]
    tasks = [asyncio.create_task(flights.follow(KEY, one)) for one in futures if one is not None]
    await settle()
    flights.land(KEY, None)
    tasks[0].cancel()
    await settle()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert tasks[1].done()
    assert tasks[1].result() is None
    assert not tasks[2].done()
    flights.land(KEY, None)
    assert await tasks[2] is None


async def test_a_follower_that_is_cancelled_while_it_waits_is_passed_over() -> None:
    """Nobody waits for one that has gone, and the flight of the others goes on."""
    flights = Flights()
    flights.board(KEY)
    futures = [flights.board(KEY) for _ in range(2)]
    tasks = [asyncio.create_task(flights.follow(KEY, one)) for one in futures if one is not None]
    await settle()
    tasks[0].cancel()
    await settle()
    assert not tasks[1].done()
    flights.land(KEY, None)
    assert await tasks[1] is None
    flights.land(KEY, None)
    assert flights.board(KEY) is None
