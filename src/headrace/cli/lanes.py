"""``lanes``: what the limits of providers are, what binds now, how much of them is used."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line

if TYPE_CHECKING:
    from headrace.engine import Engine
    from headrace.store.lanes import Kept

WATCH_S = 2.0


def lanes(
    action: Annotated[
        Literal["show", "forget"], Parameter(help="show, or forget what a lane has learned.")
    ] = "show",
    name: Annotated[str | None, Parameter(help="One lane.")] = None,
    *,
    watch: Annotated[bool, Parameter(negative="", help="Again every two seconds.")] = False,
    common: Common | None = None,
) -> int:
    """Show what lanes have learned, what binds them now, and how much of it is used."""
    common = common or Common()

    async def work() -> int:
        async with engine_of(common, work=False) as engine:
            if action == "forget":
                return await _forget(engine, name, common)
            await _show(engine, name, common)
            while watch:
                await engine.clock.sleep(WATCH_S)
                await _show(engine, name, common)
        return 0

    try:
        return int(on_loop(work()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0 if watch else 130


async def _forget(engine: Engine, name: str | None, common: Common) -> int:
    from headrace.errors import NotFoundError, UsageError
    from headrace.nearest import did_you_mean
    from headrace.store.lanes import forget, kept

    if name is None:
        raise UsageError("which lane?", remedy="headrace lanes forget NAME")
    async with engine.database.acquire() as connection:
        if not await forget(connection, name):
            known = [one.name for one in await kept(connection)]
            raise NotFoundError(f"there is no lane {name!r}", remedy=did_you_mean(name, known))
    if common.json:
        data({"forgotten": name})
    else:
        line(f"{name} is forgotten; its next call starts learning anew.")
    return 0


async def _show(engine: Engine, name: str | None, common: Common) -> None:
    from headrace.lane_words import lane_json
    from headrace.store.lanes import kept

    async with engine.database.acquire() as connection:
        found = [one for one in await kept(connection) if name in (None, one.name)]
    now = engine.clock.now()
    if common.json:
        data([lane_json(one, now) for one in found])
        return
    if not found:
        line("No lane yet: the first call to a provider begins one.")
    for one in found:
        for text in lane_lines(one, now):
            line(text)


def lane_lines(kept: Kept, now: datetime) -> list[str]:
    """Return a lane for people."""
    from headrace.lane_words import is_fresh, limit_words, moment_in, shut_words

    told = kept.remembered
    words = limit_words(told, now) if told is not None else []
    lines = [kept.name, f"  limits      {'; '.join(words) or 'nothing learned yet'}"]
    if kept.live is None or not is_fresh(kept, now):
        lines.append("  now         nobody works on it")
        shut = shut_words(told, now) if told is not None else None
        return lines if shut is None else [*lines, f"  shut        until {shut}"]
    live = kept.live
    lines.append(
        f"  now         {live['in_flight']} of {live['width']:.0f} in flight, "
        f"{live['waiting']} waiting{_at_cap(live)}, bound by {live['binds']}{_by(live['workers'])}"
    )
    if live["shut_s"] > 1.0:
        until = moment_in(live["shut_s"], kept.live_at or now)
        lines.append(f"  shut        until {until}: {live['why']}")
    lines.append(
        f"  last 5 min  {live['sent']} calls, {_share(live['utilisation'])} of the limit used, "
        f"{_share(live['refused'])} refused, credit {live['credit']:.1f}"
    )
    return lines


def _at_cap(live: dict[str, Any]) -> str:
    # A release that knows no caps writes none.
    count = live.get("at_cap", 0)
    return f" ({count} at the caps of their tenants' plans)" if count else ""


def _by(workers: int) -> str:
    return f", {workers} workers" if workers > 1 else ""


def _share(value: float | None) -> str:
    return "unknown share" if value is None else f"{100 * value:.1f} %"
