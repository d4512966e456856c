"""READ FIRST of schedules: what one is, which of its moments are made, and which rows of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

from headrace.cron import Due
from headrace.errors import InputError
from headrace.hours import Hours, Window, read_share, read_windows, window_words
from headrace.identity import read_id, show_id
from headrace.nearest import did_you_mean
from headrace.plan import CLASSES
from headrace.price import read_usd, usd_exact

SCHEDULE_PREFIX = "sch_"
SCHEDULES_MAX = 100
"""Schedules of one tenant."""
NAME_CHARS_MAX = 100
ROWS_DEFAULT, ROWS_MAX = 10_000, 100_000
ALL_MAX = 24
"""So many missed moments are made up for at most."""
LATE = timedelta(minutes=5)
"""A moment that is looked at later than this was missed."""
ROW_TRIES_MAX = 3
"""So often a row is tried whose item failed."""
KEY_COLUMNS_MAX = 16


class TickState(StrEnum):
    """What became of a moment of a schedule.

    ``DUE``: it is to be made. ``MADE``: there is a batch. ``EMPTY``: nothing was new, so there
    is none. ``SKIPPED``: it was missed, and the policy passes it over. ``FAILED``: no batch
    could be made of it.
    """

    DUE = "due"
    MADE = "made"
    EMPTY = "empty"
    SKIPPED = "skipped"
    FAILED = "failed"


class Missed(StrEnum):
    """What is made of moments that passed while nothing ran: none, the latest, or all."""

    SKIP = "skip"
    LATEST = "latest"
    ALL = "all"


class Chosen(StrEnum):
    """Which rows a tick takes: ``NEW`` ones, or also those that the cache no longer has."""

    NEW = "new"
    UNCACHED = "uncached"


class Settings(msgspec.Struct, frozen=True):
    """How the batches of a schedule are to be treated, and which rows go into them.

    ``key`` names the columns by which a row is known, all of them where it is empty. Of one
    tick ``rows_max`` rows are taken. ``share`` and ``windows`` bound what is taken of a lane.
    """

    class_name: str = "bulk"
    cache: str = "reuse"
    rows: Chosen = Chosen.NEW
    key: tuple[str, ...] = ()
    rows_max: int = ROWS_DEFAULT
    missed: Missed = Missed.LATEST
    share: float = 1.0
    windows: tuple[Window, ...] = ()
    cost_cap_microusd: int | None = None
    canary: int | None = None

    def told(self) -> dict[str, Any]:
        """Return the settings as people and programs write them."""
        cap = self.cost_cap_microusd
        return {
            "class": self.class_name,
            "cache": self.cache,
            "rows": self.rows.value,
            "key": list(self.key),
            "rows_max": self.rows_max,
            "missed": self.missed.value,
            "share": f"{100 * self.share:g}%",
            "windows": [window_words(window) for window in self.windows],
            "max_cost_usd": None if cap is None else usd_exact(cap),
            "canary": self.canary,
        }


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule as it is kept; ``source`` says where its rows are read at each tick."""

    id: UUID
    tenant_id: str
    name: str
    cron: str
    timezone: str
    recipe: str
    source: dict[str, Any]
    settings: Settings
    state: str
    next_at: datetime | None
    created_at: datetime

    @property
    def public_id(self) -> str:
        """Return the id by which people and programs name it."""
        return show_id(SCHEDULE_PREFIX, self.id)

    @property
    def hours(self) -> Hours:
        """Return when its batches run, and with what share of their lanes."""
        return Hours(self.timezone, self.settings.windows, self.settings.share)

    def key_of(self, at: datetime) -> str:
        """Return the idempotency key of the batch of one tick."""
        return f"{self.public_id} at {at.isoformat()}"


def read_schedule_id(text: str) -> UUID:
    """Return the id behind its public form; raises ``NotFoundError`` when it is not one."""
    remedy = "'headrace schedule list' shows them."
    return read_id(SCHEDULE_PREFIX, text, "the id of a schedule", remedy)


def check_name(name: str) -> str:
    """Return a name that a schedule may have; raises ``InputError``."""
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise InputError(f"a name has 1 to {NAME_CHARS_MAX} printable characters", place="name")
    return name


TOLD: dict[str, Any] = {
    "class": str,
    "cache": str,
    "rows": str,
    "key": list,
    "rows_max": int,
    "missed": str,
    "share": str,
    "windows": list,
    "max_cost_usd": (int, float, str),
    "canary": int,
}
"""The settings that are told of a schedule, with their types."""


def read_settings(told: Mapping[str, Any]) -> Settings:
    """Return the settings that are told, as ``TOLD`` has them; raises ``InputError``."""
    cap, share = told.get("max_cost_usd"), told.get("share")
    _among(told.get("class", "bulk"), CLASSES, "class")
    _among(told.get("cache", "reuse"), ("reuse", "refresh", "off"), "cache")
    _among(told.get("rows", "new"), [one.value for one in Chosen], "rows")
    _among(told.get("missed", "latest"), [one.value for one in Missed], "missed")
    for name, most in (("rows_max", ROWS_MAX), ("canary", 1000)):
        least = 1 if name == "rows_max" else 0
        number = told.get(name, least)
        if not least <= number <= most:
            raise InputError(f"{name} = {number} is not {least} to {most}", place=name)
    return Settings(
        class_name=told.get("class", "bulk"),
        cache=told.get("cache", "reuse"),
        rows=Chosen(told.get("rows", "new")),
        key=_texts(told.get("key", ()), "key", KEY_COLUMNS_MAX),
        rows_max=told.get("rows_max", ROWS_DEFAULT),
        missed=Missed(told.get("missed", "latest")),
        share=1.0 if share is None else read_share(share, "share"),
        windows=read_windows(_texts(told.get("windows", ()), "windows", 1000), "windows"),
        cost_cap_microusd=None if cap is None else read_usd(str(cap)),
        canary=told.get("canary"),
    )


def _among(word: str, known: Any, place: str) -> None:
    if word not in known:
        raise InputError(
            f"{place} = {word[:40]!r} is none", place=place, remedy=did_you_mean(word, known)
        )


def _texts(values: Any, place: str, most: int) -> tuple[str, ...]:
    good = all(isinstance(one, str) and 0 < len(one) <= 200 and "\0" not in one for one in values)
    if not good or len(values) > most:
        raise InputError(f"{place} is a list of up to {most} texts", place=place)
    return tuple(values)


def made_of(due: Due, missed: Missed, now: datetime) -> tuple[list[datetime], list[datetime]]:
    """Return which due moments are made, and which are passed over, both in their order."""
    if missed is Missed.SKIP:
        made = [at for at in due.moments if now - at <= LATE]
    else:
        made = due.moments[-ALL_MAX if missed is Missed.ALL else -1 :]
    return made, due.moments[: len(due.moments) - len(made)]


def digest_of(schedule_id: UUID, recipe_version: bytes, told: bytes) -> bytes:
    """Return the 16 bytes that a row is known by: under another recipe it is a new one."""
    return blake2b(schedule_id.bytes + recipe_version + told, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Known:
    """What became of a row that was made before; ``state`` is ``None`` where that is gone."""

    tries: int
    state: str | None
    attempts: int | None

    @property
    def failed(self) -> bool:
        """Tell whether it is to be tried again: it failed, and not for want of being usable."""
        if self.tries >= ROW_TRIES_MAX:
            return False
        if self.state == "failed":
            return bool(self.attempts)
        return self.state in ("dead", "cancelled")

    @property
    def is_made(self) -> bool:
        """Tell whether there was a result, which the cache may have lost since."""
        return self.state in ("succeeded", None)
