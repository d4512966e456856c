"""In which hours a batch runs, and with what share of its lanes: daily windows, by a timezone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from headrace.errors import InputError

WINDOWS_MAX = 8
_WINDOW = re.compile(
    r"([01]?[0-9]|2[0-4]):([0-5][0-9])-([01]?[0-9]|2[0-4]):([0-5][0-9])(?:=(.+))?", re.ASCII
)
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?)\s*%", re.ASCII)
_DAY_MIN = 24 * 60
_REMEDY = "As in 22:00-06:00, or 22:00-06:00=30%."


class Window(msgspec.Struct, frozen=True):
    """A part of every day, in minutes after midnight; it may go past midnight.

    ``share`` (above 0, at most 1) is what it may take of a lane, ``None`` for the share of
    the hours as a whole.
    """

    begins_min: int
    ends_min: int
    share: float | None = None

    def holds(self, minute: int) -> bool:
        """Tell whether a minute of the day lies in it."""
        if self.begins_min < self.ends_min:
            return self.begins_min <= minute < self.ends_min
        return minute >= self.begins_min or minute < self.ends_min


class Hours(msgspec.Struct, frozen=True):
    """When a batch runs (without windows: always), and the share of its lanes then."""

    timezone: str = "UTC"
    windows: tuple[Window, ...] = ()
    share: float = 1.0

    @property
    def is_bounded(self) -> bool:
        """Tell whether there is anything to be kept to."""
        return bool(self.windows) or self.share < 1.0

    def share_at(self, now: datetime) -> float:
        """Return the share in force at ``now``: 0.0 outside of the windows."""
        if not self.windows:
            return self.share
        try:
            here = now.astimezone(ZoneInfo(self.timezone))
        except (KeyError, OSError, ValueError):
            # A timezone that this machine has lost; the day of UTC is nearer than none.
            here = now.astimezone(UTC)
        minute = 60 * here.hour + here.minute
        for window in self.windows:
            if window.holds(minute):
                return self.share if window.share is None else window.share
        return 0.0


def read_share(text: str, place: str) -> float:
    """Return the share that ``30%`` stands for, above 0 and at most 1; raises ``InputError``."""
    found = _SHARE.fullmatch(text.strip())
    share = float(found[1]) / 100 if found is not None else 0.0
    if not 0 < share <= 1:
        raise InputError(
            f"{text[:40]!r} is no share", place=place, remedy="Above 0% and at most 100%: 30%."
        )
    return share


def read_windows(texts: Sequence[str], place: str) -> tuple[Window, ...]:
    """Return the windows that words such as ``22:00-06:00=30%`` stand for.

    Raises ``InputError``.
    """
    if len(texts) > WINDOWS_MAX:
        raise InputError(f"there are more than {WINDOWS_MAX} windows", place=place)
    return tuple(_window(text, place) for text in texts)


def _window(text: str, place: str) -> Window:
    found = _WINDOW.fullmatch(text.strip())
    if found is None:
        raise InputError(f"{text[:40]!r} is no window of a day", place=place, remedy=_REMEDY)
    begins, ends = (60 * int(found[at]) + int(found[at + 1]) for at in (1, 3))
    if begins >= _DAY_MIN or ends > _DAY_MIN or begins == ends:
        raise InputError(
            f"{text[:40]!r} is no window of a day: it must begin before 24:00, and end at "
            "another time",
            place=place,
            remedy=_REMEDY,
        )
    return Window(begins, ends, None if found[5] is None else read_share(found[5], place))


def window_words(window: Window) -> str:
    """Return a window as people write it."""
    begins, ends = (f"{at // 60:02}:{at % 60:02}" for at in (window.begins_min, window.ends_min))
    return f"{begins}-{ends}" + ("" if window.share is None else f"={100 * window.share:g}%")
