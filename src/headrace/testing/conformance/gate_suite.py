"""What every gate promises: never too many, in the order of asking, nothing lost on the way."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from headrace.gate import Ask, Gate, LaneShutError, Permit, PermitEnd
from headrace.limits import Quota
from headrace.outcome import Outcome, OutcomeKind
from headrace.testing.manual_clock import settle


def ask(lane: str, concurrency: int) -> Ask:
    """Return a plain ask of a lane with so many calls in flight at most."""
    return Ask(lane, Quota(concurrency, learns=False))


class GateConformance:
    """Subclass as ``class TestMine(GateConformance)`` and override ``make_gate``."""

    async def make_gate(self) -> Gate:
        """Return a fresh gate whose lanes are all free."""
        raise NotImplementedError

    def ask(self, lane: str, concurrency: int) -> Ask:
        """Return the ask of a lane; override where the gate under test asks otherwise."""
        return ask(lane, concurrency)

    async def settle(self) -> None:
        """Wait until the gate has handed out what it can; override for one that takes time."""
        await settle()

    async def test_a_free_lane_gives_at_once(self) -> None:
        """As many permits as the concurrency are given without waiting."""
        gate = await self.make_gate()
        permits = [await gate.acquire(self.ask("a", 3)) for _ in range(3)]
        end_all(permits)

    async def test_concurrency_is_never_exceeded(self) -> None:
        """However many ask, at most ``concurrency`` permits are out at once."""
        gate = await self.make_gate()
        out = most = 0

        async def work() -> None:
            nonlocal out, most
            permit = await gate.acquire(self.ask("a", 4))
            out += 1
            most = max(most, out)
            await asyncio.sleep(0)
            out -= 1
            permit.end(PermitEnd.SUCCESS)

        await asyncio.gather(*(work() for _ in range(200)))
        assert most == 4
        assert out == 0

    async def test_lanes_are_apart(self) -> None:
        """A full lane does not hold up another."""
        gate = await self.make_gate()
        first = await gate.acquire(self.ask("a", 1))
        second = await gate.acquire(self.ask("b", 1))
        end_all([first, second])

    async def test_first_come_first_served(self) -> None:
        """Waiters get their permits in the order in which they asked."""
        gate = await self.make_gate()
        held = await gate.acquire(self.ask("a", 1))
        served: list[int] = []

        async def work(number: int) -> None:
            permit = await gate.acquire(self.ask("a", 1))
            served.append(number)
            permit.end(PermitEnd.SUCCESS)

        tasks = []
        for number in range(20):
            tasks.append(asyncio.create_task(work(number)))
            await asyncio.sleep(0)
        held.end(PermitEnd.SUCCESS)
        await asyncio.gather(*tasks)
        assert served == list(range(20))

    @pytest.mark.parametrize("how", list(PermitEnd))
    async def test_a_permit_ends_once(self, how: PermitEnd) -> None:
        """A second end raises ``RuntimeError`` and frees nothing more."""
        gate = await self.make_gate()
        permit = await gate.acquire(self.ask("a", 1))
        permit.end(how)
        with pytest.raises(RuntimeError):
            permit.end(PermitEnd.SUCCESS)
        held = await gate.acquire(self.ask("a", 1))
        waiting = asyncio.create_task(gate.acquire(self.ask("a", 1)))
        await self.settle()
        assert not waiting.done(), "the second end freed a place that was not there"
        held.end(PermitEnd.SUCCESS)
        (await waiting).end(PermitEnd.SUCCESS)

    async def test_a_cancelled_waiter_leaves_the_line(self) -> None:
        """Who is cancelled while waiting takes no permit along."""
        gate = await self.make_gate()
        held = await gate.acquire(self.ask("a", 1))
        gone = asyncio.create_task(gate.acquire(self.ask("a", 1)))
        next_one = asyncio.create_task(gate.acquire(self.ask("a", 1)))
        await self.settle()
        gone.cancel()
        await self.settle()
        held.end(PermitEnd.SUCCESS)
        (await next_one).end(PermitEnd.SUCCESS)
        end_all([await gate.acquire(self.ask("a", 1))])

    async def test_cancelled_in_the_moment_of_giving(self) -> None:
        """A permit handed to somebody who is cancelled in the same tick goes to the next."""
        gate = await self.make_gate()
        held = await gate.acquire(self.ask("a", 1))
        gone = asyncio.create_task(gate.acquire(self.ask("a", 1)))
        next_one = asyncio.create_task(gate.acquire(self.ask("a", 1)))
        await self.settle()
        held.end(PermitEnd.SUCCESS)
        gone.cancel()
        await self.settle()
        if not gone.cancelled():
            gone.result().end(PermitEnd.IGNORED)
        (await next_one).end(PermitEnd.SUCCESS)
        end_all([await gate.acquire(self.ask("a", 1))])

    async def test_who_can_go_elsewhere_does_not_wait_for_a_key(self) -> None:
        """A rejected key sends those away who have somewhere to go; the others stand in line."""
        gate = await self.make_gate()
        stays, goes = self.ask("a", 2), replace(self.ask("a", 2), elsewhere=True)
        permits = [await gate.acquire(stays), await gate.acquire(goes)]
        leaving = [asyncio.create_task(gate.acquire(goes)) for _ in range(3)]
        staying = asyncio.create_task(gate.acquire(stays))
        await self.settle()
        permits[0].end(PermitEnd.DROPPED, Outcome(OutcomeKind.AUTH, "no such key", wait_s=30.0))
        for task in leaving:
            with pytest.raises(LaneShutError, match="no such key") as shut:
                await task
            assert not shut.value.briefly
        with pytest.raises(LaneShutError, match="no such key"):
            await gate.acquire(goes)
        assert not staying.done()
        staying.cancel()
        permits[1].end(PermitEnd.IGNORED)

    async def test_who_can_go_elsewhere_does_not_wait_out_an_outage(self) -> None:
        """Once a provider fails again and again, who has somewhere to go goes there."""
        gate = await self.make_gate()
        stays, goes = self.ask("a", 20), replace(self.ask("a", 20), elsewhere=True)
        permits = [await gate.acquire(stays) for _ in range(20)]
        leaving = [asyncio.create_task(gate.acquire(goes)) for _ in range(30)]
        await self.settle()
        broke = Outcome(OutcomeKind.TRANSIENT, "HTTP 502")
        for permit in permits:
            permit.end(PermitEnd.DROPPED, broke)
        gone = []
        for end in await asyncio.gather(*leaving, return_exceptions=True):
            if isinstance(end, LaneShutError):
                gone.append(end)
            elif not isinstance(end, BaseException):
                end.end(PermitEnd.DROPPED, broke)
        assert gone
        assert all(end.briefly and "calls failed" in end.reason for end in gone)


def end_all(permits: list[Permit]) -> None:
    """End ``permits`` as served."""
    for permit in permits:
        permit.end(PermitEnd.SUCCESS)
