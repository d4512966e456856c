"""Where items hand in their requests for a provider batch, and fetch the answers later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from headrace.clock import Clock
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.provider import Call, CrashClass, Reply
from headrace.provider_batch import BatchApi
from headrace.store import provider_batches
from headrace.store.database import Database
from headrace.store.provider_batches import Line, NewLine
from headrace.telemetry import crash_point
from headrace.writer import GroupCommit

SOON_S = 30.0
"""An item whose line should have ended by now looks again after so long."""

_GOES_LIVE = frozenset(
    {
        OutcomeKind.AUTH,
        OutcomeKind.RATE_LIMITED,
        OutcomeKind.QUOTA_EXHAUSTED,
        OutcomeKind.OVERLOADED,
        OutcomeKind.TRANSIENT,
        OutcomeKind.TIMEOUT,
        OutcomeKind.NO_OUTPUT,
    }
)
"""How a line may have failed without fault of its request: a call of its own is made then."""


@dataclass(frozen=True, slots=True)
class Place:
    """Whose request it is, and until when its answer is waited for."""

    tenant_id: str
    batch_id: Any
    idx: int
    group: str
    tokens: int
    rescue_at: datetime


class BatchDesk:
    """Takes requests for provider batches, each once, whatever happens in between."""

    def __init__(self, database: Database, clock: Clock) -> None:
        async def write(
            connection: Any, group: list[NewLine], now: datetime, again: bool
        ) -> Sequence[Line]:
            return await provider_batches.enrol(connection, group, now)

        self._clock = clock
        self._lines: GroupCommit[NewLine, Line] = GroupCommit(
            database, clock, write, "line-after-commit"
        )

    def start(self) -> None:
        """Start writing lines down."""
        self._lines.start()

    async def stop(self) -> None:
        """Write down what was handed in, then stop."""
        await self._lines.stop()

    async def call(self, api: BatchApi, call: Call, place: Place) -> Reply:
        """Return a line's result, or hand the line in.

        Raises ``CallFailed``: pending while there is no answer, and then always the same for
        the same key, so that it may be asked for again and again.
        """
        request = call.request
        line = await self._lines.hand_in(
            NewLine(
                key=call.key,
                tenant_id=place.tenant_id,
                batch_id=place.batch_id,
                idx=place.idx,
                fingerprint=request.fingerprint,
                provider=request.provider,
                group=place.group,
                body=api.body(request),
                tokens=place.tokens,
                rescue_at=place.rescue_at,
            )
        )
        if line.state == "answered" and not line.is_other:
            return await _answered(api, call, line)
        if line.state in ("waiting", "sent") or line.is_other:
            raise self._pending(line)
        if line.state == "lost":
            raise failed(
                OutcomeKind.LOST_RESULT,
                f"the provider batch {line.remote_id} ended without a word of this line",
                remedy="'headrace retry' buys it again; it may then be paid twice.",
                ended=True,
            )
        said = line.reason or "the provider batch ended before its turn"
        raise failed(OutcomeKind.TRANSIENT, said, cost_microusd=0, ended=True)

    def _pending(self, line: Line) -> CallFailed:
        left_s = (line.rescue_at - self._clock.now()).total_seconds()
        where = f"in the provider batch {line.remote_id}" if line.remote_id else "to be handed in"
        reason = "another item buys the same" if line.is_other else where
        return failed(
            OutcomeKind.PENDING,
            f"{reason}; until {line.rescue_at:%Y-%m-%d %H:%M} UTC at most",
            wait_s=max(SOON_S, left_s + SOON_S),
            ended=line.is_other,
        )


async def _answered(api: BatchApi, call: Call, line: Line) -> Reply:
    crash_point("before-send")
    try:
        reply = await api.reply(call, line.status or 0, line.answer or b"")
    except CallFailed as failure:
        outcome = failure.outcome
        kind = OutcomeKind.TRANSIENT if outcome.kind in _GOES_LIVE else outcome.kind
        raise CallFailed(replace(outcome, kind=kind, wait_s=None, ended=True)) from failure
    return reply


@dataclass(frozen=True, slots=True)
class Counter:
    """The desk for one item's request: it is bought there as it would be from a provider."""

    name: str
    desk: BatchDesk
    api: BatchApi
    place: Place
    crash_class: CrashClass = CrashClass.KEYED

    async def call(self, call: Call) -> Reply:
        """Return the result, or hand the request in; raises ``CallFailed``."""
        return await self.desk.call(self.api, call, self.place)

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Do what ``call`` does: a line is known by its key."""
        return await self.call(call)
