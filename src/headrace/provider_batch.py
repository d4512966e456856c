"""The contract of a provider's batch API: many requests handed in at once, answered within a day.

Such a batch costs half, and takes minutes or hours. headrace fills one with *lines*, each
the request of one item under its call key, so that an answer finds its item again, and a
line that was never executed can be told from one that was.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

from headrace.provider import Call, Reply
from headrace.request import Request

BATCH_SHARE = 0.5
"""What a line costs, of the price of a call: so OpenAI and Anthropic say, 2026."""


def batch_cost(call_microusd: int) -> int:
    """Return what a line costs where a call costs ``call_microusd``, rounded up."""
    return -(-call_microusd // 2)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many lines and bytes one provider batch takes, and tokens not yet answered, per group.

    ``tokens_max`` is ``None`` where nobody says.
    """

    lines_max: int
    bytes_max: int
    tokens_max: int | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What a provider says of one of its batches.

    ``results`` are names under which answers lie. ``executed`` lines have an answer there,
    ``None`` where it does not say. ``again``: it was not taken for now (too much is queued),
    nothing of it was executed. ``reason`` is for people.
    """

    id: str
    is_ended: bool
    results: tuple[str, ...] = ()
    executed: int | None = None
    again: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class LineEnd:
    """How one line ended: with the answer that a call would have had, or not executed at all."""

    key: str
    status: int
    body: bytes
    is_executed: bool = True
    reason: str = ""


class BatchApi(Protocol):
    """One account's batch API. Every method may raise ``CallFailed``, which says how it failed.

    Less than ``worth_s`` seconds are not worth a provider batch.
    """

    worth_s: float

    def bounds(self, group: str) -> Bounds:
        """Return what one provider batch of a group takes."""
        ...

    def group(self, request: Request) -> str | None:
        """Return what lines of one provider batch have in common; ``None``: it takes no such."""
        ...

    def body(self, request: Request) -> bytes:
        """Return the request as it stands in a line, one JSON object."""
        ...

    def line(self, group: str, key: str, body: bytes) -> bytes:
        """Return the line of a file: the request under its key, without a line break."""
        ...

    async def upload(self, group: str, path: Path) -> str | None:
        """Hand in a file of lines; returns its name there, ``None`` where that is no own step."""
        ...

    async def create(self, group: str, uploaded: str | None, path: Path, marker: str) -> Look:
        """Make the batch. Raises ``CallFailed``; unknown when it may be there all the same."""
        ...

    async def find(
        self, marker: str, since: datetime, keys: Sequence[str], known: Sequence[str]
    ) -> Look | None:
        """Return the batch of an earlier ``create`` whose answer was not seen, if it is there.

        ``since`` is when that was begun, ``keys`` are its lines', ``known`` the ids
        of our other batches. Raises ``CallFailed`` (rate_limited, transient) where it cannot
        be told yet.
        """
        ...

    async def look(self, batch_id: str) -> Look:
        """Return how a batch is."""
        ...

    async def cancel(self, batch_id: str) -> None:
        """Ask for a batch to be stopped; what was executed until then is answered and billed."""
        ...

    def results(self, look: Look) -> AsyncIterator[LineEnd]:
        """Return the ends of a batch's lines, in any order."""
        ...

    async def reply(self, call: Call, status: int, body: bytes) -> Reply:
        """Return the result in a line's answer, at the price of a line; raises ``CallFailed``."""
        ...

    def billed(self, group: str, body: bytes) -> int | None:
        """Return the estimate in micro-USD of an executed line whose item is gone, or ``None``."""
        ...


@runtime_checkable
class HasBatches(Protocol):
    """A provider that has a batch API, where its settings do not switch it off."""

    batches: BatchApi | None


def batch_api_of(provider: object) -> BatchApi | None:
    """Return the batch API of a provider, ``None`` where it has none."""
    return provider.batches if isinstance(provider, HasBatches) else None
