"""What the API says of schedules and their ticks, as structures."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.http.shapes import Time


class ScheduleShape(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule; of ``file``, ``folder`` and ``query`` it has one, ``next_at`` while active."""

    id: str
    name: str
    cron: str
    timezone: str
    recipe: str
    file: str | None = None
    folder: str | None = None
    query: str | None = None
    database: str | None = None
    class_: Literal["interactive", "batch", "bulk"] = msgspec.field(name="class")
    cache: Literal["reuse", "refresh", "off"]
    rows: str
    key: list[str]
    rows_max: int
    missed: str
    share: str
    windows: list[str]
    max_cost_usd: str | float | None
    canary: int | None
    state: str
    next_at: Time | None
    created_at: Time


class ScheduleList(msgspec.Struct, frozen=True):
    """A tenant's schedules."""

    schedules: list[ScheduleShape]


class TickError(msgspec.Struct, frozen=True):
    """Why a tick failed."""

    code: str
    message: str
    place: str | None
    remedy: str | None


class TickBatch(msgspec.Struct, frozen=True):
    """The batch that a tick made."""

    id: str
    state: str
    counts: dict[str, int]
    cost_usd: str | float | None


class TickShape(msgspec.Struct, frozen=True, kw_only=True):
    """A tick: what it ``read`` and found ``new``, its ``batch``, or its ``error``.

    ``missed`` ticks ``from`` a moment were skipped; ``all`` tells whether those are all.
    """

    at: Time
    state: str
    by_hand: bool
    read: int | None = None
    new: int | None = None
    more_next_time: bool | None = None
    missed: int | None = None
    from_: str | None = msgspec.field(name="from", default=None)
    all_: bool | None = msgspec.field(name="all", default=None)
    error: TickError | None = None
    batch: TickBatch | None
    ended_at: Time | None


class TickPage(msgspec.Struct, frozen=True):
    """Ticks, the latest first; ``next`` is the ``before`` of the next page."""

    ticks: list[TickShape]
    next: str | None


SHAPES = (ScheduleShape, ScheduleList, TickShape, TickPage)
