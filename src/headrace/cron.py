"""The moments of a cron expression in a timezone, as instants: each once, in their order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from headrace.errors import InputError

CRON_CHARS_MAX = 200
MISSED_MAX = 2000
"""So many missed moments are gone through; of more, only those of the last day are."""
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII)


def read_zone(name: str) -> ZoneInfo:
    """Return a timezone by its name; raises ``InputError``."""
    try:
        if _ZONE.fullmatch(name) is None:
            raise ValueError
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise InputError(
            f"{name[:80]!r} is no timezone", place="timezone", remedy="As in Europe/Berlin or UTC."
        ) from None


def check_cron(cron: str, timezone: str, now: datetime) -> datetime:
    """Return the first moment after ``now``; raises ``InputError`` where there is none."""
    zone = read_zone(timezone)
    if len(cron) > CRON_CHARS_MAX or len(cron.split()) != 5:
        raise InputError(
            f"{cron[:80]!r} is not a cron expression of five fields",
            place="cron",
            remedy="Minute, hour, day, month, weekday: '30 2 * * *' is every night at 02:30.",
        )
    found = next_after(cron, zone, now)
    if found is None:
        raise InputError(f"{cron!r} names a day that there never is", place="cron")
    return found


def next_after(cron: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    """Return the first moment later than ``after`` as an instant in UTC, ``None`` for none.

    Where the clocks are put forward, a moment at a fixed hour that does not exist is the first
    minute after the gap; where they are put back, it is the first of the two. Moments of
    every hour or minute come with each hour that passes. Raises ``InputError`` for what is no
    expression.
    """
    after = after.astimezone(UTC)
    try:
        for moment in CronSim(cron, after.astimezone(zone)):
            instant = moment.astimezone(UTC)
            # In the hour that happens twice, what local time calls later may lie behind us.
            if instant > after:
                return instant
    except OverflowError:
        pass
    except (CronSimError, ValueError) as error:
        raise InputError(
            f"{cron!r} is not a cron expression: {error}",
            place="cron",
            remedy="'30 2 * * *' is every night at 02:30, '*/15 * * * MON-FRI' every quarter.",
        ) from None
    return None


@dataclass(frozen=True, slots=True)
class Due:
    """The moments from a first one to now, in order, and the next to come.

    ``is_whole``: these are all; else the earliest are not among them.
    """

    moments: list[datetime]
    next_at: datetime | None
    is_whole: bool = True


def due_moments(cron: str, zone: ZoneInfo, first: datetime, now: datetime) -> Due:
    """Return the moments from ``first``, which is one, up to ``now``."""
    moments: list[datetime] = []
    at: datetime | None = first
    is_whole = True
    while at is not None and at <= now:
        moments.append(at)
        if len(moments) > MISSED_MAX and now - at > timedelta(days=1):
            at, moments, is_whole = now - timedelta(days=1), [], False
        at = next_after(cron, zone, at)
    return Due(moments, at, is_whole)
