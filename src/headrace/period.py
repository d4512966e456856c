"""Times that people write, and the period between two of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from headrace.errors import InputError, UsageError


@dataclass(frozen=True, slots=True)
class Period:
    """From ``begins_at`` on, and before ``ends_at``."""

    begins_at: datetime
    ends_at: datetime


def read_time(text: str, what: str) -> datetime:
    """Return a date (its midnight) or time in ISO 8601, UTC where it does not say.

    Raises ``InputError``.
    """
    try:
        found = datetime.fromisoformat(text.strip())
        found = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        if not 1970 <= found.year <= 9000:
            raise ValueError
        return found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InputError(
            f"{what} = {text[:40]!r} is not a time",
            remedy="Write 2026-11-01, or 2026-11-01T09:30:00Z.",
        ) from None


def read_period(begins: str | None, ends: str | None, now: datetime) -> Period:
    """Return the period that is asked for: by default this month (UTC), up to now.

    Raises ``InputError``, and ``UsageError`` for one that ends before it begins.
    """
    here = now.astimezone(UTC)
    month = here.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    begins_at = month if begins is None else read_time(begins, "from")
    ends_at = here if ends is None else min(here, read_time(ends, "to"))
    if begins_at >= ends_at:
        raise UsageError(
            f"there is nothing between {begins_at.isoformat()} and {ends_at.isoformat()}",
            remedy="Let from lie before to, and before now.",
        )
    return Period(begins_at, ends_at)
