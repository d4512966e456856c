"""One provider batch through its steps; each is written down before the next, and may be repeated.

    gathered ── upload ── uploaded ── creating ── create ── sent ── looked at ── reading ── done

What a crash leaves behind: a file nobody uses (upload), a batch that the next holder finds by
its marker (create), answers that are read again and count once (reading).
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from pathlib import Path

from headrace.clock import Clock
from headrace.outcome import CallFailed, OutcomeKind
from headrace.provider_batch import BatchApi, LineEnd, Look
from headrace.store import provider_batches
from headrace.store.database import Database
from headrace.store.provider_batches import Held, Step
from headrace.telemetry import crash_point, log

LOOK_S_MIN, LOOK_S_MAX = 5.0, 60.0
"""How often a provider batch is looked at: a twentieth of its age, within these."""

AGAIN_S = 15.0
"""After a step that failed for now."""

UNSEEN_S = 30.0
"""Until a create that was not seen to end is looked for: it may take so long to be listed."""

FULL_S = 300.0
"""Until lines are handed in again that were not taken because too much was queued."""

PATIENCE = timedelta(hours=6)
"""What was made and cannot be followed is given up so long after its time."""

_ROWS = 500
_ENDS = 100
UNTAKEN_BYTES_MAX = 128 * 1024 * 1024
"""Answers that no item has taken yet; more are not read out of their file."""

_FOR_NOW = frozenset(
    {
        OutcomeKind.RATE_LIMITED,
        OutcomeKind.QUOTA_EXHAUSTED,
        OutcomeKind.OVERLOADED,
        OutcomeKind.TRANSIENT,
        OutcomeKind.TIMEOUT,
        OutcomeKind.AUTH,
        OutcomeKind.NO_OUTPUT,
    }
)


class Consignment:
    """One provider batch in the hands of this worker."""

    def __init__(
        self,
        held: Held,
        api: BatchApi,
        database: Database,
        clock: Clock,
        holder_id: int,
        moved: Callable[[], None],
    ) -> None:
        self._held = held
        self._api = api
        self._database = database
        self._clock = clock
        self._holder_id = holder_id
        self._moved = moved
        self._steps: dict[str, Callable[[], Awaitable[Step]]] = {
            "gathered": self._upload,
            "uploaded": self._create,
            "creating": self._find,
            "sent": self._look,
            "reading": self._read,
        }

    async def step(self) -> None:
        """Do what is to be done now, and write down what comes next."""
        held = self._held
        try:
            step = await self._steps[held.state]()
        except CallFailed as failure:
            step = await self._failed(failure)
        async with self._database.transaction() as connection:
            await provider_batches.move(connection, held, self._holder_id, step, self._clock.now())

    def _next(self, state: str, wait_s: float = 0.0) -> Step:
        return Step(state, self._clock.now() + timedelta(seconds=wait_s))

    async def _failed(self, failure: CallFailed) -> Step:
        """Wait and do the step again; or, where that is no use, let the lines go on without."""
        outcome, state = failure.outcome, self._held.state
        log(provider=self._held.provider).warning(
            "provider_batch_step_failed", state=state, why=outcome.reason
        )
        is_made = state in ("creating", "sent", "reading")
        if outcome.kind in _FOR_NOW and (is_made or not self._is_due()) and not self._is_old():
            return self._next(state, min(outcome.wait_s or AGAIN_S, FULL_S))
        reason = f"{'it cannot be followed' if is_made else 'not handed in'}: {outcome.reason}"
        return await (self._lose(reason) if is_made else self._give_up(reason))

    def _is_due(self) -> bool:
        return self._clock.now() >= self._held.rescue_at

    def _is_old(self) -> bool:
        return self._clock.now() >= self._held.rescue_at + PATIENCE

    async def _give_up(self, reason: str) -> Step:
        """End a provider batch that was never made: each of its lines gets a call of its own."""
        await self._end_left("unexecuted", reason[:300])
        return Step("done", self._clock.now(), reason=reason[:300])

    async def _lose(self, reason: str) -> Step:
        await self._end_left("lost", reason[:300])
        return Step("done", self._clock.now(), reason=reason[:300])

    async def _end_left(self, state: str, reason: str) -> int:
        async with self._database.transaction() as connection:
            ended = await provider_batches.end_left(
                connection, self._held, state, reason, self._clock.now()
            )
        self._moved()
        return ended

    # -- handing in ------------------------------------------------------------------------

    async def _upload(self) -> Step:
        if not await self._is_wanted():
            return await self._give_up("nobody waits for it any more")
        with tempfile.TemporaryDirectory(prefix="headrace-lines-") as folder:
            uploaded = await self._api.upload(self._held.group, await self._file(folder))
        crash_point("lines-uploaded")
        step = self._next("uploaded")
        step.uploaded = uploaded
        return step

    async def _file(self, folder: str) -> Path:
        path, behind = Path(folder) / "requests.jsonl", ""
        with path.open("wb") as file:
            while True:
                async with self._database.acquire() as connection:
                    rows = await provider_batches.lines(connection, self._held, behind, _ROWS)
                if not rows:
                    return path
                pieces = [self._api.line(self._held.group, *row) + b"\n" for row in rows]
                await asyncio.to_thread(file.write, b"".join(pieces))
                behind = rows[-1][0]

    async def _create(self) -> Step:
        if not await self._is_wanted():
            return await self._give_up("nobody waits for it any more")
        with tempfile.TemporaryDirectory(prefix="headrace-lines-") as folder:
            # Anthropic takes the lines with this call; a file that is handed in is not read again.
            needs = self._held.uploaded is None
            path = await self._file(folder) if needs else Path(folder)
            async with self._database.transaction() as connection:
                kept = await provider_batches.move(
                    connection,
                    self._held,
                    self._holder_id,
                    self._next("creating", UNSEEN_S),
                    self._clock.now(),
                )
            if not kept:
                return self._next("creating", UNSEEN_S)  # another holds it: nothing is changed
            crash_point("batch-before-create")
            try:
                look = await self._api.create(
                    self._held.group, self._held.uploaded, path, self._held.id.hex
                )
            except CallFailed as failure:
                return await self._refused(failure)
        crash_point("batch-after-create")
        return await self._made(look)

    async def _refused(self, failure: CallFailed) -> Step:
        """Tell a create that was refused from one whose answer was not seen."""
        outcome = failure.outcome
        if outcome.kind in (OutcomeKind.UNKNOWN, OutcomeKind.LOST_RESULT, OutcomeKind.NO_OUTPUT):
            return self._next("creating", UNSEEN_S)
        if outcome.kind in _FOR_NOW:
            if self._is_due():
                return await self._give_up(f"it could not be made: {outcome.reason}")
            return self._next("uploaded", min(outcome.wait_s or AGAIN_S, FULL_S))
        return await self._give_up(outcome.reason)

    async def _made(self, look: Look) -> Step:
        async with self._database.transaction() as connection:
            step = self._next("sent", LOOK_S_MIN)
            step.remote_id = look.id
            await provider_batches.move(
                connection, self._held, self._holder_id, step, self._clock.now()
            )
        crash_point("batch-created")
        return step

    async def _find(self) -> Step:
        """Look for a batch whose create was not seen to end; where it is not, make it."""
        held = self._held
        since = held.creating_at or held.created_at
        async with self._database.acquire() as connection:
            keys = await provider_batches.keys(connection, held, held.lines)
            known = await provider_batches.known(connection, held, since - timedelta(days=1))
        look = await self._api.find(held.id.hex, since, keys, known)
        if look is not None:
            return await self._made(look)
        return self._next("uploaded")

    async def _is_wanted(self) -> bool:
        async with self._database.acquire() as connection:
            return await provider_batches.is_wanted(connection, self._held)

    # -- following -------------------------------------------------------------------------

    async def _look(self) -> Step:
        held = self._held
        assert held.remote_id is not None
        look = await self._api.look(held.remote_id)
        if look.is_ended:
            if look.again:
                return await self._hand_in_again(look)
            return self._next("reading")
        now, cancel_at = self._clock.now(), None
        if held.cancel_at is None and (self._is_due() or not await self._is_wanted()):
            await self._api.cancel(held.remote_id)
            cancel_at = now
            log(provider=held.provider).info("provider_batch_cancelled", batch=held.remote_id)
        age_s = (now - (held.sent_at or now)).total_seconds()
        near_s = max(LOOK_S_MIN, (held.rescue_at - now).total_seconds())
        step = self._next("sent", min(max(LOOK_S_MIN, age_s / 20), LOOK_S_MAX, near_s))
        step.cancel_at = cancel_at
        return step

    async def _hand_in_again(self, look: Look) -> Step:
        """Free the lines of a batch that was not taken; what cannot be freed goes live."""
        async with self._database.transaction() as connection:
            freed = await provider_batches.put_back(
                connection, self._held, self._clock.now() + timedelta(seconds=FULL_S)
            )
        log(provider=self._held.provider).info("provider_batch_full", lines=freed)
        return await self._give_up(f"not taken: {look.reason}")

    # -- answers ---------------------------------------------------------------------------

    async def _read(self) -> Step:
        """Read the answers and wake their items; then account for lines without one."""
        held = self._held
        assert held.remote_id is not None
        look = await self._api.look(held.remote_id)
        seen, group = 0, list[LineEnd]()
        async for end in self._api.results(look):
            seen += end.is_executed
            group.append(end)
            if len(group) >= _ENDS or len(end.body) > 1_000_000:
                await self._answer(group)
                group = []
        await self._answer(group)
        # A line that is in no file was executed only if they have fewer answers than they say.
        is_complete = look.executed is not None and seen >= look.executed
        left = "unexecuted" if is_complete else "lost"
        ended = await self._end_left(left, f"the provider batch ended: {look.reason}"[:300])
        log(provider=held.provider).info(
            "provider_batch_ended", batch=held.remote_id, answered=seen, left=ended, how=left
        )
        step = self._next("done")
        step.reason = look.reason
        return step

    async def _answer(self, ends: list[LineEnd]) -> None:
        if not ends:
            return
        async with self._database.transaction() as connection:
            await provider_batches.answer(connection, self._held, ends, self._clock.now())
        self._moved()
        while await self._untaken() > UNTAKEN_BYTES_MAX:
            await self._clock.sleep(1.0)

    async def _untaken(self) -> int:
        async with self._database.acquire() as connection:
            return await provider_batches.untaken_bytes(connection, self._held.provider)


def is_ripe(row: dict[str, object], bounds_lines: int, bounds_bytes: int, now: datetime) -> bool:
    """Tell whether a group's free lines are to be handed in: they are many, or no more come."""
    lines, size = row["lines"], row["bytes"]
    first, last = row["first_at"], row["last_at"]
    assert isinstance(lines, int)
    assert isinstance(size, int)
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    if lines >= bounds_lines or size >= bounds_bytes:
        return True
    quiet_s, age_s = (now - last).total_seconds(), (now - first).total_seconds()
    return quiet_s >= QUIET_S or age_s >= GATHER_S_MAX


QUIET_S = 15.0
GATHER_S_MAX = 600.0
"""Lines are handed in when none has come for the first, or after the second at the latest."""
