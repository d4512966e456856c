"""Ends the waiting in a lane's line: of who can go elsewhere in trouble, of all after a fault."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, TypeVar

from headrace.fairness import FairLine
from headrace.gate import shut_to
from headrace.pacing import Pacer


class Leaves(Protocol):
    """Somebody in line, as far as leaving it goes."""

    @property
    def future(self) -> asyncio.Future[Any]:
        """Return what ends the waiting."""
        ...

    @property
    def elsewhere(self) -> bool:
        """Tell whether there is somewhere else to go."""
        ...


W = TypeVar("W", bound=Leaves)


def send_away(line: FairLine[W], lane: str, pacer: Pacer, now_s: float) -> bool:
    """End the waiting of all who can go elsewhere if the lane is shut to them; tells if it is."""
    if shut_to(lane, pacer, now_s, elsewhere=True) is None:
        return False
    for place in line.waiting():
        waiter = place.item
        # One error for each: an error that many raise would gather all their tracebacks.
        shut = shut_to(lane, pacer, now_s, elsewhere=True)
        if waiter.elsewhere and not waiter.future.done() and shut is not None:
            line.remove(place)
            waiter.future.set_exception(shut)
    return True


def fail_line(line: FairLine[W], error: Exception) -> None:
    """Let everybody in line fail with ``error``."""
    for waiter in line.drain():
        if not waiter.future.done():
            waiter.future.set_exception(error)
