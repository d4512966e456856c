"""``schedule add | list | show | pause | resume | remove | run-now``: batches on a schedule."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table

if TYPE_CHECKING:
    from headrace.engine import Engine
    from headrace.schedule import Schedule

Tenant = Annotated[str, Parameter(help="Whose schedule it is.")]
Named = Annotated[str, Parameter(help="Its id, or its name.")]
TICKS_SHOWN = 20


@Parameter(name="*")
@dataclass(frozen=True)
class From:
    """Where the rows are: one of these three; read anew at each tick."""

    file: Annotated[str | None, Parameter(help="A CSV or JSON Lines file.")] = None
    folder: Annotated[str | None, Parameter(help="A folder of such files.")] = None
    query: Annotated[str | None, Parameter(help="SQL that reads, with --database.")] = None
    database: Annotated[
        str | None, Parameter(help="A name in [schedules.databases] of the settings.")
    ] = None


@Parameter(name="*")
@dataclass(frozen=True)
class Ways:
    """Which rows are made, when, and with how much of the quota."""

    rows: Annotated[
        Literal["new", "uncached"] | None,
        Parameter(help="New rows (default), or also those that the cache has lost."),
    ] = None
    key: Annotated[
        list[str] | None,
        Parameter(negative="", help="A column that a row is known by; by default all are."),
    ] = None
    rows_max: Annotated[int | None, Parameter(help="Rows of one tick; the rest come later.")] = None
    missed: Annotated[
        Literal["skip", "latest", "all"] | None,
        Parameter(help="What becomes of ticks while nothing ran; latest by default."),
    ] = None
    window: Annotated[
        list[str] | None,
        Parameter(negative="", help="Hours to run in, as in 22:00-06:00 or 22:00-06:00=30%."),
    ] = None
    share: Annotated[str | None, Parameter(help="The most it takes of a lane, as in 30%.")] = None
    class_: Annotated[
        Literal["interactive", "batch", "bulk"] | None,
        Parameter(name="--class", help="The class of its batches; bulk by default."),
    ] = None
    cache: Annotated[
        Literal["reuse", "refresh", "off"] | None, Parameter(help="Finished results.")
    ] = None
    canary: Annotated[int | None, Parameter(help="So many first rows run alone.")] = None
    max_cost: Annotated[str | None, Parameter(help="The most one batch may cost, in dollars.")] = (
        None
    )

    def told(self) -> dict[str, Any]:
        """Return the settings that were given, under the names that the API has for them."""
        told = {
            "rows": self.rows, "key": self.key, "rows_max": self.rows_max, "missed": self.missed,
            "windows": self.window, "share": self.share, "class": self.class_,
            "cache": self.cache, "canary": self.canary, "max_cost_usd": self.max_cost,
        }  # fmt: skip
        return {name: value for name, value in told.items() if value is not None}


def add(
    name: str,
    cron: Annotated[str, Parameter(help="Five fields: '30 2 * * *' is every night at 02:30.")],
    /,
    *,
    recipe: Annotated[str, Parameter(name=["--recipe", "-r"], help="A recipe's name.")],
    timezone: Annotated[str, Parameter(help="As in Europe/Berlin.")] = "UTC",
    tenant: Tenant = "default",
    source: From | None = None,
    ways: Ways | None = None,
    common: Common | None = None,
) -> int:
    """Add a schedule: at each tick its rows are read, and what is new becomes a batch."""
    source, ways = source or From(), ways or Ways()

    async def work(engine: Engine) -> int:
        from headrace.cron import check_cron
        from headrace.identity import new_uuid
        from headrace.recipe import check_recipe_name
        from headrace.schedule import Schedule, check_name, read_settings
        from headrace.schedule_rows import by_hand
        from headrace.schedule_settings import read_schedules
        from headrace.store import schedules, tenants

        now = engine.clock.now()
        engine.recipe(check_recipe_name(recipe))
        told = {
            "file": source.file, "folder": source.folder, "query": source.query,
            "database": source.database,
        }  # fmt: skip
        named = {key: value for key, value in told.items() if value is not None}
        settings = read_schedules(engine.config.schedules)
        made = Schedule(
            new_uuid(now), tenant, check_name(name), cron, timezone, recipe,
            by_hand(named, Path.cwd(), settings, tenant), read_settings(ways.told()), "active",
            check_cron(cron, timezone, now), now,
        )  # fmt: skip
        async with engine.database.transaction() as connection:
            await tenants.find(connection, tenant)
            await schedules.insert(connection, made)
        _say(made, common)
        return 0

    return _with_engine(work, common)


def list_(*, tenant: Tenant = "default", common: Common | None = None) -> int:
    """List a tenant's schedules."""

    async def work(engine: Engine) -> int:
        from headrace.schedule_words import schedule_json
        from headrace.store import schedules

        async with engine.database.acquire() as connection:
            found = await schedules.listed(connection, tenant)
        told = [schedule_json(one) for one in found]
        if common is not None and common.json:
            data(told)
            return 0
        head = ["schedule", "name", "cron", "timezone", "recipe", "state", "next"]
        rows = [
            [
                one["id"], one["name"], one["cron"], one["timezone"], one["recipe"], one["state"],
                one["next_at"] or "",
            ]
            for one in told
        ]  # fmt: skip
        table(head, rows)
        return 0

    return _with_engine(work, common)


def show(schedule: Named, *, tenant: Tenant = "default", common: Common | None = None) -> int:
    """Show a schedule and its latest ticks, with what became of them."""

    async def work(engine: Engine) -> int:
        from headrace.schedule_words import schedule_json, tick_json, tick_words
        from headrace.store import schedule_ticks

        found = await _find(engine, tenant, schedule)
        async with engine.database.acquire() as connection:
            rows = await schedule_ticks.history(connection, found.id, None, TICKS_SHOWN)
        ticks = [tick_json(row) for row in rows]
        if common is not None and common.json:
            data(schedule_json(found) | {"ticks": ticks})
            return 0
        for name, value in schedule_json(found).items():
            if value not in (None, []):
                told = ", ".join(value) if isinstance(value, list) else value
                line(f"{name:12} {told}")
        for tick in ticks:
            line(f"{tick['at']}  {'by hand, ' if tick['by_hand'] else ''}{tick_words(tick)}")
        return 0

    return _with_engine(work, common)


def pause(schedule: Named, *, tenant: Tenant = "default", common: Common | None = None) -> int:
    """Let no tick come; batches that are there go on."""
    return _move(schedule, tenant, "paused", common)


def resume(schedule: Named, *, tenant: Tenant = "default", common: Common | None = None) -> int:
    """Let ticks come again; those of the pause are not made up for."""
    return _move(schedule, tenant, "active", common)


def remove(schedule: Named, *, tenant: Tenant = "default", common: Common | None = None) -> int:
    """Remove a schedule with its history; the batches that it made stay."""

    async def work(engine: Engine) -> int:
        from headrace.store import schedules

        found = await _find(engine, tenant, schedule)
        async with engine.database.transaction() as connection:
            await schedules.delete(connection, tenant, found.id)
        line(f"{found.public_id} ({found.name}) is removed; its batches stay.")
        return 0

    return _with_engine(work, common)


def run_now(schedule: Named, *, tenant: Tenant = "default", common: Common | None = None) -> int:
    """Let a tick come now, also while paused; a worker makes it."""

    async def work(engine: Engine) -> int:
        from headrace.store import schedule_ticks

        found = await _find(engine, tenant, schedule)
        async with engine.database.transaction() as connection:
            await schedule_ticks.add_by_hand(connection, found, engine.clock.now())
        line(f"A tick of {found.name} is due: it is made as soon as a worker runs.")
        return 0

    return _with_engine(work, common)


def _move(schedule: str, tenant: str, state: str, common: Common | None) -> int:
    async def work(engine: Engine) -> int:
        from headrace.cron import check_cron
        from headrace.store import schedules

        found = await _find(engine, tenant, schedule)
        later = None
        if state == "active" and found.state != "active":
            later = check_cron(found.cron, found.timezone, engine.clock.now())
        async with engine.database.transaction() as connection:
            await schedules.move(connection, tenant, found.id, state, later)
            found = await schedules.find(connection, tenant, found.id)
        _say(found, common)
        return 0

    return _with_engine(work, common)


async def _find(engine: Engine, tenant: str, named: str) -> Schedule:
    """Return a tenant's schedule by its name or id; raises ``NotFoundError``."""
    from headrace.schedule import read_schedule_id
    from headrace.store import schedules

    async with engine.database.acquire() as connection:
        for one in await schedules.listed(connection, tenant):
            if one.name == named:
                return one
        return await schedules.find(connection, tenant, read_schedule_id(named))


def _say(found: Schedule, common: Common | None) -> None:
    from headrace.schedule_words import schedule_json

    if common is not None and common.json:
        data(schedule_json(found))
    elif found.state == "paused":
        line(f"{found.public_id} ({found.name}) is paused.")
    else:
        coming = "" if found.next_at is None else f"; its next tick is {found.next_at.isoformat()}"
        line(f"{found.public_id} ({found.name}) is active{coming}.")


def _with_engine(work: Callable[[Engine], Awaitable[int]], common: Common | None) -> int:
    async def opened() -> int:
        async with engine_of(common, work=False) as engine:
            return await work(engine)

    return int(on_loop(opened()))
