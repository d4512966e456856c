"""``lanes``: what the limits of providers are, what binds now, how much of them is used."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line

if TYPE_CHECKING:
    from headrace.engine import Engine
    from headrace.learned import Learned, LearnedRate, LearnedWidth
    from headrace.store.lanes import Kept

FRESH_S = 10.0
"""A summary older than this is of a process that has ended."""
WATCH_S = 2.0
ORIGINS = {"told": "told", "pinned": "pinned", "announced": "announced by the provider"}


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


def lane_json(kept: Kept, now: datetime) -> dict[str, Any]:
    """Return a lane as a JSON object; ``live`` is null when no process works on it."""
    import msgspec

    told = kept.remembered
    return {
        "name": kept.name,
        "learned": None if told is None else msgspec.to_builtins(told.learned),
        "learned_at": None if told is None else told.at.isoformat(),
        "limits": [] if told is None else limit_words(told.learned, told.age_s(now)),
        "live": kept.live if _is_fresh(kept, now) else None,
        "live_at": None if kept.live_at is None else kept.live_at.isoformat(),
    }


def _is_fresh(kept: Kept, now: datetime) -> bool:
    return kept.live_at is not None and abs((now - kept.live_at).total_seconds()) < FRESH_S


def lane_lines(kept: Kept, now: datetime) -> list[str]:
    """Return a lane for people."""
    told = kept.remembered
    words = limit_words(told.learned, told.age_s(now)) if told is not None else []
    lines = [kept.name, f"  limits      {'; '.join(words) or 'nothing learned yet'}"]
    if kept.live is None or not _is_fresh(kept, now):
        return [*lines, "  now         nobody works on it"]
    live = kept.live
    lines.append(
        f"  now         {live['in_flight']} of {live['width']:.0f} in flight, "
        f"{live['waiting']} waiting, bound by {live['binds']}" + _by(live["workers"])
    )
    if live["shut_s"] > 1.0:
        until = now + timedelta(seconds=live["shut_s"])
        lines.append(f"  shut        until {until:%Y-%m-%d %H:%M:%S} UTC: {live['why']}")
    lines.append(
        f"  last 5 min  {live['sent']} calls, {_share(live['utilisation'])} of the limit used, "
        f"{_share(live['refused'])} refused, credit {live['credit']:.1f}"
    )
    return lines


def _by(workers: int) -> str:
    return f", {workers} workers" if workers > 1 else ""


def _share(value: float | None) -> str:
    return "unknown share" if value is None else f"{100 * value:.1f} %"


def limit_words(learned: Learned, age_s: float) -> list[str]:
    """Return the limits of a lane in words, such as ``about 598 requests/min, learned``."""
    rates = sorted(learned.rates.items())
    words = [_rate_words(name, rate, age_s) for name, rate in rates]
    return [*words, _width_words(learned.width, age_s)]


def _rate_words(name: str, rate: LearnedRate, age_s: float) -> str:
    from headrace.forecast import per_time

    if rate.told is not None:
        words = f"{per_time(rate.told, name)}, {ORIGINS.get(rate.origin, rate.origin)}"
        if rate.held and rate.pace is not None and rate.pace < 0.9 * rate.told:
            words += f" (held at {per_time(rate.pace, name)})"
        return words
    if rate.pace is None:
        return f"no limit of {name} met yet"
    if rate.held:
        return f"about {per_time(rate.pace, name)}, learned {_ago(age_s)}"
    if rate.hi is None:
        return f"{per_time(rate.pace, name)} and growing, no limit met yet"
    return f"between {60 * rate.lo:,.0f} and {per_time(rate.hi, name)}, still being learned"


def _width_words(width: LearnedWidth, age_s: float) -> str:
    if width.told:
        return f"{width.cap:.0f} in flight, told"
    if width.known:
        return f"{width.cap:.0f} in flight, learned {_ago(age_s)}"
    return "no limit of calls in flight met yet"


def _ago(age_s: float) -> str:
    for unit, length_s in (("d", 86_400), ("h", 3600), ("min", 60)):
        if age_s >= length_s:
            return f"{age_s / length_s:.0f} {unit} ago"
    return "just now" if age_s < 10 else f"{age_s:.0f} s ago"
