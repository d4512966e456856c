"""A batch in the hand: its counts, its events as they come, its results as they complete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from headrace.artifact import Artifact
from headrace.canary import Seen
from headrace.clock import Clock
from headrace.complaint import last_made
from headrace.course import Made
from headrace.errors import PausedError, UsageError
from headrace.event import Event, EventKind
from headrace.held import decode_json, read_made, read_outputs
from headrace.identity import show_batch_id
from headrace.lifecycle import BATCH_FINAL, ITEM_FINAL, BatchState, ItemState
from headrace.nearest import did_you_mean
from headrace.pause import Pause, PauseCode
from headrace.recipe import parse_recipe
from headrace.store import batches, guards, listing, reports, statements
from headrace.store.batches import Summary
from headrace.store.chosen import Chosen
from headrace.store.database import Database
from headrace.store.ledger import Accounts
from headrace.store.reports import Maker, Wait

PAGE = 500
ROWS_MAX = 2**31 - 2
"""The highest row number that the database can count to."""
_ASKED_FOR = (PauseCode.PERSON, PauseCode.HOURS)
_ENDS = frozenset(
    {
        EventKind.ITEM_SUCCEEDED,
        EventKind.ITEM_FAILED,
        EventKind.ITEM_REFUSED,
        EventKind.ITEM_CANCELLED,
        EventKind.ITEM_DEAD,
    }
)


@dataclass(frozen=True, slots=True)
class ItemResult:
    """One item as it stands: ``row_number`` counts from 1; costs in micro-USD and micro-credits.

    ``artifact`` is the last stage's, ``outputs`` those of all stages by name, with rejected
    answers and the complaints about them (see ``headrace.complaint``); ``made`` tells by
    stage name which model made it. ``cost_estimate_microusd`` is what list prices make of
    calls that did not tell their cost, ``cost_unknown`` counts those without even that.
    """

    row_number: int
    state: ItemState
    inputs: dict[str, Any]
    outputs: dict[str, Artifact]
    artifact: Artifact | None
    file: str | None
    cached: bool
    attempts: int
    cost_microusd: int
    spent_microcredits: int
    error: dict[str, Any] | None
    made: dict[str, Made] = field(default_factory=dict)
    cost_estimate_microusd: int = 0
    cost_unknown: int = 0


class Batch:
    """A handle on one batch; every answer comes from the database."""

    def __init__(
        self,
        batch_id: UUID,
        database: Database,
        clock: Clock,
        nudge: Callable[[], None],
        changed: Callable[[float], Awaitable[None]],
        is_new: bool = False,
    ) -> None:
        self.uuid = batch_id
        self.is_new = is_new
        self._database = database
        self._clock = clock
        self._nudge = nudge
        self.changed = changed

    @property
    def id(self) -> str:
        """Return the public id, ``b_…``."""
        return show_batch_id(self.uuid)

    async def summary(self) -> Summary:
        """Return the batch with its counts; raises ``NotFoundError``."""
        async with self._database.acquire() as connection:
            return await batches.summary(connection, self.uuid)

    async def canary_seen(self) -> Seen:
        """Return what was seen of the canary so far."""
        async with self._database.acquire() as connection:
            return await guards.canary_seen(connection, self.uuid)

    async def is_at_rest(self) -> bool:
        """Tell whether no worker has anything of the batch in hand, or is about to."""
        async with self._database.acquire() as connection:
            return not await connection.fetchval(statements.load("shards/any_open.sql"), self.uuid)

    async def waits(self) -> list[Wait]:
        """Return why items wait, and until when: a key, funds or quota first."""
        async with self._database.acquire() as connection:
            return await reports.waits(connection, self.uuid)

    async def makers(self) -> list[Maker]:
        """Return which models made the delivered items, and why others than the first."""
        async with self._database.acquire() as connection:
            return await reports.makers(connection, self.uuid)

    async def events(
        self, after_seq: int = 0, *, until_paused: bool = False
    ) -> AsyncIterator[Event]:
        """Yield the batch's events in order, those after ``after_seq``, until it has ended.

        With ``until_paused`` also until a guard has paused it and nothing is under way.
        """
        seq, was_over = after_seq, False
        while True:
            found = await self.events_after(seq, PAGE)
            for event in found:
                seq = event.cursor[0]
                yield event
            if len(found) == PAGE:
                continue
            now = await self.summary()
            over = BatchState(now.state) in BATCH_FINAL
            over = over or (until_paused and await self._is_stopped(now))
            # Over, looked at once more, and nothing: older events are no longer kept.
            if over and (now.event_seq <= seq or (was_over and not found)):
                return
            was_over = over
            await self.changed(0.2)

    async def results(self) -> AsyncIterator[ItemResult]:
        """Yield each item as it ends, in the order of ending, until the batch has ended.

        An item that is retried later is yielded again. Raises ``PausedError`` when a guard
        has paused the batch, after what had ended by then.
        """
        for result in await self._ended_at_submit():
            yield result
        async for event in self.events(until_paused=True):
            if event.item_idx is not None and event.kind in _ENDS:
                for result in await self._some([event.item_idx]):
                    yield result
        now = await self.summary()
        if now.pause is not None:
            raise self._paused(now.pause)

    async def _ended_at_submit(self) -> list[ItemResult]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(statements.load("items/unreadable.sql"), self.uuid)
        return [item_result(row) for row in rows]

    async def _some(self, idxs: list[int]) -> list[ItemResult]:
        async with self._database.acquire() as connection:
            rows = await connection.fetch(statements.load("items/some.sql"), self.uuid, idxs)
        return [item_result(row) for row in rows]

    async def body(self, sha256: bytes) -> bytes | None:
        """Return the bytes of a small artifact that rests in the database, else ``None``."""
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(statements.load("artifacts/body.sql"), sha256)
        return row["body"] if row is not None else None

    async def attempts(self, idx: int) -> list[dict[str, Any]]:
        """Return the attempts of the item at row index ``idx`` in order, as they are kept."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(statements.load("attempts/of_item.sql"), self.uuid, idx)
        return [dict(row) for row in rows]

    async def items(self, after_idx: int = -1) -> AsyncIterator[ItemResult]:
        """Yield the items after a row index as they stand, in row order, a page at a time."""
        idx = after_idx
        while True:
            async with self._database.acquire() as connection:
                rows = await connection.fetch(
                    statements.load("items/page.sql"), self.uuid, idx, PAGE
                )
            for row in rows:
                idx = row["idx"]
                yield item_result(row)
            if len(rows) < PAGE:
                return

    async def done(self) -> Summary:
        """Wait until the batch has ended and return its counts.

        Raises ``PausedError`` when a guard has paused it (its canary, or its budget): it
        would wait for ever. A pause by a person, or for its hours, is waited out.
        """
        while True:
            now = await self.summary()
            if BatchState(now.state) in BATCH_FINAL:
                return now
            if now.pause is not None and await self._is_stopped(now):
                raise self._paused(now.pause)
            await self.changed(0.2)

    async def _is_stopped(self, now: Summary) -> bool:
        """Tell whether a guard has paused the batch, and nothing of it is under way."""
        if now.pause is None or now.pause.code in _ASKED_FOR:
            return False
        return now.running == 0 or await self.is_at_rest()

    def _paused(self, pause: Pause) -> PausedError:
        return PausedError(
            pause.reason,
            place=f"batch {self.id}",
            remedy=f"{pause.remedy} Then go on with resume().".lstrip(),
        )

    async def pause(self) -> bool:
        """Let nothing more of the batch start; ``False`` when it is not running."""
        async with self._database.transaction() as connection:
            return await batches.pause(connection, self.uuid, self._clock.now())

    async def resume(self, cost_cap_microusd: int | None = None) -> bool:
        """Let a paused batch go on; ``False`` when it is not paused.

        ``cost_cap_microusd`` is the batch's cap on true cost from now on.
        """
        async with self._database.transaction() as connection:
            moved = await batches.resume(
                connection, self.uuid, self._clock.now(), cost_cap_microusd
            )
        self._nudge()
        return moved

    async def cancel(self) -> int | None:
        """Cancel: nothing starts after this returns; ``None`` when the batch had ended."""
        async with self._database.transaction() as connection:
            return await batches.cancel(connection, Accounts(), self.uuid, self._clock.now())

    async def retry(
        self,
        states: set[ItemState],
        *,
        row_numbers: Sequence[int] | None = None,
        outcomes: Sequence[str] | None = None,
        stage: str | None = None,
        provider: str | None = None,
    ) -> int:
        """Try items in ``states`` once more; returns how many. Raises ``UsageError``.

        Of those only the rows of ``row_numbers`` (from 1), with an error of ``outcomes``, at
        the stage called ``stage``, whose latest attempt asked ``provider``; ``None`` is any.
        """
        wrong = states - {ItemState.FAILED, ItemState.REFUSED, ItemState.DEAD, ItemState.UNKNOWN}
        if wrong or not states <= (ITEM_FINAL | {ItemState.UNKNOWN}):
            raise UsageError("only failed, refused, dead and unknown items can be retried")
        place = None if stage is None else await self._place_of(stage)
        idxs = None if row_numbers is None else [number - 1 for number in row_numbers]
        chosen = Chosen(frozenset(states), idxs, outcomes, place, provider)
        async with self._database.transaction() as connection:
            opened = await batches.retry(
                connection, Accounts(), self.uuid, chosen, self._clock.now()
            )
        self._nudge()
        return opened

    async def _place_of(self, stage: str) -> int:
        names = await self.stage_names()
        if stage not in names:
            raise UsageError(
                f"the batch has no stage {stage[:64]!r}", remedy=did_you_mean(stage, names)
            )
        return names.index(stage)

    async def stage_names(self) -> list[str]:
        """Return the names of the stages of the batch's recipe, in order."""
        async with self._database.acquire() as connection:
            body = await connection.fetchval(statements.load("batches/recipe.sql"), self.uuid)
        recipe = parse_recipe(decode_json(body), f"recipe of batch {self.id}")
        return [spec.name for spec in recipe.stages]

    async def owned_item(self, row_number: int) -> tuple[str, ItemResult | None]:
        """Return whose the batch is, and the item of a row where there is one, in one look.

        Raises ``NotFoundError`` for the batch.
        """
        async with self._database.acquire() as connection:
            row = await listing.owned_item(connection, self.uuid, _idx_of(row_number))
        if row is None:
            raise batches.not_there(self.uuid)
        return row["tenant_id"], None if row["idx"] is None else item_result(row)

    async def shown_item(
        self, row_number: int
    ) -> tuple[str, ItemResult | None, list[dict[str, Any]]]:
        """Return what ``owned_item`` does, and the item's attempts in order.

        Raises ``NotFoundError`` for the batch.
        """
        async with self._database.acquire() as connection:
            rows = await listing.shown_item(connection, self.uuid, _idx_of(row_number))
        if not rows:
            raise batches.not_there(self.uuid)
        item = None if rows[0]["idx"] is None else item_result(rows[0])
        return (
            rows[0]["tenant_id"],
            item,
            [_attempt(row) for row in rows if row["attempt_number"] is not None],
        )

    async def window(
        self,
        after_idx: int,
        limit: int,
        states: Sequence[str] | None = None,
        outcomes: Sequence[str] | None = None,
    ) -> list[ItemResult]:
        """Return at most ``limit`` items after a row index, in row order.

        Only those in one of ``states``, with an error of one of ``outcomes``; ``None`` is any.
        """
        async with self._database.acquire() as connection:
            rows = await listing.items(connection, self.uuid, after_idx, limit, states, outcomes)
        return [item_result(row) for row in rows]

    async def events_after(self, seq: int, limit: int) -> list[Event]:
        """Return the events after number ``seq``, ``limit`` at most, without waiting for any."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(statements.load("events/read.sql"), self.uuid, seq, limit)
        return [self._event(row) for row in rows]

    def _event(self, row: Any) -> Event:
        data, kind = decode_json(row["data"]), EventKind(row["kind"])
        return Event((row["seq"], 0), self.uuid, kind, row["idx"], data, row["at"])


def _idx_of(row_number: int) -> int:
    """Return the index of a row, one that no row has for a number that is none."""
    return row_number - 1 if 1 <= row_number <= ROWS_MAX else -1


def _attempt(row: Any) -> dict[str, Any]:
    """Return the columns of an attempt from a row of ``items/shown.sql``."""
    return {
        name.removeprefix("attempt_"): value
        for name, value in row.items()
        if name.startswith("attempt_")
    }


def item_result(row: Any) -> ItemResult:
    """Return an item as read by ``items/page.sql``."""
    outputs = read_outputs(row["outputs"])
    return ItemResult(
        row_number=row["idx"] + 1,
        state=ItemState(row["state"]),
        inputs=decode_json(row["inputs"]),
        outputs=outputs,
        artifact=last_made(outputs),
        file=row["file"],
        cached=row["cached"],
        attempts=row["attempts"],
        cost_microusd=row["cost_microusd"],
        spent_microcredits=row["spent_microcredits"],
        error=decode_json(row["error"]) if row["error"] else None,
        made=read_made(row["made"]),
        cost_estimate_microusd=row["cost_estimate_microusd"],
        cost_unknown=row["cost_unknown"],
    )
