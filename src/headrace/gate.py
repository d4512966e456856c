"""The gate contract: a permit is the right to start one call now, ended exactly once."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class PermitEnd(StrEnum):
    """The three ways in which a permit ends."""

    SUCCESS = "success"
    IGNORED = "ignored"
    DROPPED = "dropped"


class Permit(Protocol):
    """The right to start one call now."""

    def end(self, how: PermitEnd, wait_s: float | None = None) -> None:
        """Give the permit back.

        ``SUCCESS``: the call was served. ``IGNORED``: it says nothing about the lane
        (cancelled, failed by its own content). ``DROPPED``: refused for rate or load;
        ``wait_s`` is the wait that the provider named. A second end raises ``RuntimeError``.
        """
        ...


class Gate(Protocol):
    """Hands out permits of lanes."""

    async def acquire(self, lane: str, concurrency: int) -> Permit:
        """Wait in line for a permit of ``lane``, whose preset is ``concurrency`` in flight."""
        ...
