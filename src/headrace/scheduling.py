"""Makes one tick of a schedule: reads its rows, keeps those that are new, submits them once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import msgspec

from headrace.cache import Cache
from headrace.clock import Clock
from headrace.config import Config
from headrace.cron import read_zone
from headrace.errors import HeadraceError, InputError
from headrace.identity import new_uuid, show_batch_id
from headrace.loops.ticker import Ticker
from headrace.marking import Marks
from headrace.named_artifacts import own_only
from headrace.nearest import did_you_mean
from headrace.outcome import CallFailed
from headrace.pricing import submit_priced
from headrace.reading import Reading
from headrace.recipe import Recipe
from headrace.routing import best_hit, options_of
from headrace.schedule import Chosen, Schedule, TickState, digest_of
from headrace.schedule_rows import OpenSource, Page, Reader
from headrace.schedule_settings import read_schedules
from headrace.source import BadRow, Row
from headrace.stage import Stage, StageInput
from headrace.store import batches, schedule_ticks, schedules
from headrace.store.database import Database
from headrace.store.ledger import Accounts
from headrace.store.schedule_ticks import SHUT, Ended
from headrace.submission import Terms, guarded, items_of, new_batch
from headrace.telemetry import crash_point, log

READ_S_MAX = 300.0
ROWS_BYTES_MAX = 32 * 1024 * 1024
"""Rows of one tick in memory: the others come with the next."""
TRIES_MAX = 5
"""So often a tick is tried whose process died over it."""
_encode = msgspec.json.Encoder(order="sorted").encode
_OF_DATABASE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
_UNWRITABLE = (UnicodeEncodeError, TypeError, OverflowError, RecursionError)


class Parts(Protocol):
    """What is needed of an engine."""

    config: Config
    database: Database
    clock: Clock
    cache: Any
    marks: Marks
    reading: Reading
    sharder: Any

    def recipe(self, name: str | Recipe, changes: Mapping[str, Any] | None = None) -> Recipe:
        """Return a recipe by its name."""
        ...

    async def stages_of(self, recipe: Recipe, tenant_id: str = "default") -> list[Stage]:
        """Return a recipe's stages for a tenant."""
        ...


def ticker_of(parts: Parts, open_source: OpenSource) -> Ticker:
    """Return the loop that makes the ticks of schedules."""
    settings = read_schedules(parts.config.schedules)
    scheduling = Scheduling(parts, Reader(open_source, settings, parts.config.limits))
    return Ticker(parts.database, parts.clock, scheduling.make, parts.sharder.wake)


@dataclass
class _Picked:
    """The rows of a tick: what was read, what of it is taken, and the digest of each taken row."""

    read: int = 0
    columns: list[str] | None = None
    rows: list[Row | BadRow] = field(default_factory=list)
    digests: dict[bytes, int] = field(default_factory=dict)
    size_bytes: int = 0
    is_full: bool = False
    pages: int = 0

    def see(self, page: Page) -> None:
        """Count a page; columns are told only where all files have the same."""
        self.read += len(page.rows)
        self.columns = page.columns if self.pages == 0 or page.columns == self.columns else None
        self.pages += 1

    def told(self) -> dict[str, Any]:
        """Return what the history tells of it."""
        told: dict[str, Any] = {"read": self.read, "new": len(self.rows)}
        return told | ({"more_next_time": True} if self.is_full else {})


class Scheduling:
    """Makes ticks, each in one transaction: rows, batch and end are written together."""

    def __init__(self, parts: Parts, reader: Reader) -> None:
        self._parts = parts
        self._reader = reader

    async def make(self, schedule_id: UUID, at: datetime) -> bool:
        """Make a due tick unless another process does; ``False`` where there was nothing to do.

        Raises what the database raises: then the tick is due still.
        """
        database = self._parts.database
        async with database.transaction() as connection:
            if not await schedule_ticks.alone(connection, schedule_id):
                return False
            # By itself, so that it counts also where this process dies over the tick.
            async with database.transaction() as other:
                tries = await schedule_ticks.count_try(other, schedule_id, at)
            schedule = await schedules.read(connection, schedule_id)
            if tries is None or schedule is None:
                return False
            crash_point("tick-before-batch")
            ended = await self._tried(connection, schedule, at, tries)
            if not await schedules.hold(connection, schedule_id):
                return False
            await schedule_ticks.end(connection, schedule_id, at, ended, self._parts.clock.now())
            crash_point("tick-before-commit")
        _tell(schedule, at, ended)
        self._parts.sharder.wake()
        return True

    async def _tried(self, connection: Any, schedule: Schedule, at: datetime, tries: int) -> Ended:
        """Make a tick; what stands in its way becomes its end, with place and remedy."""
        try:
            if tries > TRIES_MAX:
                raise InputError(
                    f"{TRIES_MAX} processes died while they made this tick",
                    remedy="Look at the log of the workers; smaller rows_max may help.",
                )
            # Its own savepoint: what a failed submit wrote is undone, and the end is kept.
            async with connection.transaction():
                return await self._made(connection, schedule, at)
        except HeadraceError as error:
            told = {"code": error.code, "message": error.message, "place": error.place}
            return Ended(TickState.FAILED, {"error": told | {"remedy": error.remedy}})
        except _OF_DATABASE:
            raise
        except Exception as error:  # broad: a fault over one schedule must not end the loop of all
            log(loop="ticker").exception("tick_fault", schedule=schedule.public_id)
            told = {"code": "error", "message": f"unexpected: {type(error).__name__}"}
            told |= {"place": _place(schedule), "remedy": "The log of the workers says more."}
            return Ended(TickState.FAILED, {"error": told})

    async def _made(self, connection: Any, schedule: Schedule, at: datetime) -> Ended:
        parts, tenant = self._parts, schedule.tenant_id
        recipe = await parts.marks.on(parts.recipe(schedule.recipe), tenant)
        stages = await parts.stages_of(recipe, tenant)
        try:
            async with asyncio.timeout(READ_S_MAX):
                picked = await self._pick(connection, schedule, recipe, stages)
        except TimeoutError:
            raise InputError(
                f"its rows could not be read within {READ_S_MAX:g} s", place=_place(schedule)
            ) from None
        if not picked.rows:
            return Ended(TickState.EMPTY, picked.told())
        batch_id = await self._submit(connection, schedule, at, recipe, stages, picked)
        tries = list(picked.digests.values())
        await schedules.keep_rows(connection, schedule.id, batch_id, list(picked.digests), tries)
        hours, now = schedule.hours, parts.clock.now()
        shut_at = None
        if hours.share_at(now) == 0 and await batches.pause(connection, batch_id, now, SHUT):
            shut_at = now
        has_windows = bool(hours.windows)
        return Ended(TickState.MADE, picked.told(), batch_id, has_windows, shut_at)

    async def _submit(
        self,
        connection: Any,
        schedule: Schedule,
        at: datetime,
        recipe: Recipe,
        stages: list[Stage],
        picked: _Picked,
    ) -> UUID:
        parts, settings, now = self._parts, schedule.settings, self._parts.clock.now()
        key, hours = schedule.key_of(at), schedule.hours
        source: dict[str, Any] = {"input": _place(schedule), "schedule": schedule.public_id}
        if hours.is_bounded:
            source["hours"] = msgspec.to_builtins(hours)
        terms = Terms(
            name=f"{schedule.name} {_local(at, schedule.timezone)}",
            tenant_id=schedule.tenant_id,
            class_name=settings.class_name,
            cache=settings.cache,
            canary=settings.canary,
            cost_cap_microusd=settings.cost_cap_microusd,
            idempotency_key=key,
            folders=tuple(schedule.source.get("folders", ())),
            source=source,
        )
        terms, rows_min = guarded(terms, stages, parts.config.run)
        digest = digest_of(schedule.id, b"", key.encode())
        new = new_batch(new_uuid(now), recipe, stages, picked.columns, terms, digest, rows_min)
        rows: Iterable[Any] = await own_only(
            picked.rows, recipe, schedule.tenant_id, parts.reading.foreign
        )
        items = items_of(rows, recipe.required, False)
        batch_id, _ = await submit_priced(connection, Accounts(), new, stages, items, now)
        return batch_id

    async def _pick(
        self, connection: Any, schedule: Schedule, recipe: Recipe, stages: list[Stage]
    ) -> _Picked:
        """Read the rows of a schedule, and take those that are to be made."""
        picked = _Picked()
        is_cached = _cached_by(self._parts.cache, schedule, stages)
        reading = self._reader.pages(schedule.source, schedule.tenant_id)
        async with aclosing(reading) as pages:
            async for page in pages:
                picked.see(page)
                await self._take(connection, schedule, recipe, page, picked, is_cached)
                if picked.is_full:
                    break
        return picked

    async def _take(
        self,
        connection: Any,
        schedule: Schedule,
        recipe: Recipe,
        page: Page,
        picked: _Picked,
        is_cached: Callable[[list[Row]], Awaitable[set[int]]],
    ) -> None:
        key = schedule.settings.key
        if page.columns is not None:
            _check_key(key, page.columns, _place(schedule))
        rows = [_keyed(row, key) for row in page.rows]
        told = [_told(row, key) for row in rows]
        digests = [digest_of(schedule.id, recipe.version, one) for one in told]
        known = await schedules.known_rows(connection, schedule.id, digests)
        made = [
            row
            for row, digest in zip(rows, digests, strict=True)
            if isinstance(row, Row) and digest in known and known[digest].is_made
        ]
        kept = await is_cached(made) if schedule.settings.rows is Chosen.UNCACHED else None
        for row, digest, text in zip(rows, digests, told, strict=True):
            before = known.get(digest)
            if digest in picked.digests:
                continue
            expired = kept is not None and isinstance(row, Row) and row.number not in kept
            if before is not None and not before.failed and not (before.is_made and expired):
                continue
            size_bytes = _size(row) if key else len(text)
            full = len(picked.rows) >= schedule.settings.rows_max
            if full or (picked.rows and picked.size_bytes + size_bytes > ROWS_BYTES_MAX):
                picked.is_full = True
                return
            again = before is not None and before.failed
            picked.digests[digest] = before.tries + 1 if before is not None and again else 1
            picked.rows.append(row)
            picked.size_bytes += size_bytes


def _check_key(key: tuple[str, ...], columns: list[str], place: str) -> None:
    """Raise ``InputError`` for a column of the key that a table does not have."""
    for name in key:
        if name not in columns:
            raise InputError(
                f"there is no column {name!r}, which is of the key",
                place=place,
                remedy=did_you_mean(name, columns),
            )


def _keyed(row: Row | BadRow, key: tuple[str, ...]) -> Row | BadRow:
    """Return a row, as one that cannot be used where a cell of its key is empty."""
    if isinstance(row, BadRow):
        return row
    empty = next((name for name in key if row.values.get(name) in (None, "")), None)
    if empty is None:
        return row
    reason, remedy = "the key of the schedule is empty", "Fill it, or choose another key."
    return BadRow(row.number, row.line, empty, reason, remedy, values=row.values)


def _told(row: Row | BadRow, key: tuple[str, ...]) -> bytes:
    """Return what a row is known by: its key's cells or all of them; a bad one by its trouble."""
    if isinstance(row, BadRow):
        return b"bad:" + row.reason.encode("utf-8", "replace") + _written(row.values)
    return _written({name: row.values[name] for name in key} if key else row.values)


def _written(values: Mapping[str, Any]) -> bytes:
    try:
        return _encode(dict(values))
    except _UNWRITABLE:
        return repr(values).encode("utf-8", "backslashreplace")


def _size(row: Row | BadRow) -> int:
    return len(_written(row.values))


def _cached_by(
    cache: Cache, schedule: Schedule, stages: list[Stage]
) -> Callable[[list[Row]], Awaitable[set[int]]]:
    """Return what tells the numbers of rows whose first bought result the cache has."""
    buying = next((stage for stage in stages if stage.provider is not None), None)
    folders = tuple(Path(one) for one in schedule.source.get("folders", ()))

    async def cached(rows: list[Row]) -> set[int]:
        if buying is None or not buying.cacheable:
            return {row.number for row in rows}
        asked = {}
        for row in rows:
            given = StageInput(row.values, {}, {}, None, row.number, schedule.name, folders)
            try:
                asked[row.number] = options_of(buying, given)
            except CallFailed:
                asked[row.number] = []
        prints = {one.request.fingerprint for options in asked.values() for one in options}
        hits = await cache.get_many(schedule.tenant_id, list(prints)) if prints else {}
        # A request that cannot be built is nothing that the cache has lost.
        return {
            number
            for number, options in asked.items()
            if not options or best_hit(options, hits) is not None
        }

    return cached


def _place(schedule: Schedule) -> str:
    """Return where a schedule's rows are, in words that show no secrets."""
    source = schedule.source
    if "query" in source:
        return f"database {source['database']!r}"
    return str(source.get("file") or source["folder"])


def _local(at: datetime, timezone: str) -> str:
    try:
        return at.astimezone(read_zone(timezone)).strftime("%Y-%m-%d %H:%M")
    except InputError:
        return at.astimezone(UTC).strftime("%Y-%m-%d %H:%MZ")


def _tell(schedule: Schedule, at: datetime, ended: Ended) -> None:
    facts: dict[str, Any] = {"schedule": schedule.public_id, "name": schedule.name}
    facts |= {"at": at.isoformat(), **ended.told}
    if ended.state is TickState.FAILED:
        log(loop="ticker").warning("tick_of_schedule_failed", **facts)
    elif ended.batch_id is not None:
        log(loop="ticker").info("tick_made", batch=show_batch_id(ended.batch_id), **facts)
    else:
        log(loop="ticker").info("tick_had_nothing_new", **facts)
