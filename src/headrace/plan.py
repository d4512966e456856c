"""Plans and tenants: what a tenant may do, and the errors that say why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from headrace.errors import HeadraceError, InputError
from headrace.price import CREDITS_MAX

DEFAULT = "default"
"""The tenant, and the plan, that are there from the beginning; the tenant is the operator's."""

CLASSES = ("interactive", "batch", "bulk")
"""The classes of batches, the best first."""

TEXT_CHARS_MAX = 200
WEIGHT_MAX = 100
COUNT_MAX = 2**31 - 1

_ID = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?")
_COUNTS = {
    "daily_items_max": 0,
    "batches_max": 0,
    "pixels_max": 1,
    "waiting_max": 0,
    "calls_max": 1,
}


class TenantState(StrEnum):
    """Whether a tenant may do anything."""

    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a tenant has signed up for; ``None`` limits nothing.

    ``class_name`` is the best class of its batches, ``weight`` its share beside others of the
    same class. ``daily_items_max`` items and ``daily_microcredits_max`` micro-credits count
    on one of its days (a tenant may have a cap of its own), ``batches_max`` batches and
    ``waiting_max`` requests on demand are open at a time, a request names ``pixels_max``
    pixels at most, ``calls_max`` calls are in flight in each lane at a time. ``watermark`` is
    a text on every picture.
    """

    name: str
    class_name: str = "interactive"
    weight: int = 1
    daily_items_max: int | None = None
    batches_max: int | None = None
    pixels_max: int | None = None
    watermark: str | None = None
    waiting_max: int | None = None
    daily_microcredits_max: int | None = None
    calls_max: int | None = None

    def lowered(self, class_name: str) -> str:
        """Return the class that a batch gets that asks for ``class_name``."""
        if class_name not in CLASSES:
            return class_name
        return max(class_name, self.class_name, key=CLASSES.index)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as people and programs see it."""
        told = {name: getattr(self, name) for name in self.__slots__}
        return {"class" if name == "class_name" else name: told[name] for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who owns batches, keys and credits; ``timezone`` (IANA) says when its day begins.

    ``daily_microcredits_max`` is its own cap on a day's credits, ``None`` for its plan's.
    """

    id: str
    name: str
    plan: str
    timezone: str
    state: TenantState
    state_reason: str | None
    unlimited: bool
    created_at: datetime
    daily_microcredits_max: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the tenant as people and programs see it."""
        return {
            "id": self.id,
            "name": self.name,
            "plan": self.plan,
            "timezone": self.timezone,
            "state": self.state.value,
            "reason": self.state_reason,
            "unlimited": self.unlimited,
            "daily_microcredits_max": self.daily_microcredits_max,
            "created_at": self.created_at.isoformat(),
        }


class SuspendedError(HeadraceError):
    """The tenant is suspended."""

    code = "suspended"
    exit_code = 2


class AllowanceError(HeadraceError):
    """A plan allows no more now.

    ``retry_after_s`` is how long to wait at least, ``facts`` are what a program may want
    to know of it.
    """

    code = "allowance"
    exit_code = 4

    def __init__(
        self, message: str, *, retry_after_s: int, facts: dict[str, Any], **more: Any
    ) -> None:
        super().__init__(message, **more)
        self.retry_after_s = retry_after_s
        self.facts = facts


class DailyCapError(AllowanceError):
    """The items of the tenant's day are used up."""

    code = "daily_cap"


class DailyCreditsError(AllowanceError):
    """The credits of the tenant's day are used up."""

    code = "daily_credits_cap"


class TooManyBatchesError(AllowanceError):
    """As many batches as the plan allows are open."""

    code = "too_many_batches"


class TooManyWaitingError(AllowanceError):
    """As many requests on demand as the plan allows are waiting."""

    code = "too_many_waiting"


def check_id(text: str, what: str) -> str:
    """Return the id of a tenant, or the name of a plan; raises ``InputError``."""
    if _ID.fullmatch(text) is None:
        raise InputError(
            f"{text[:80]!r} is not {what}",
            remedy="Use small letters, digits, '-' and '_', 63 at most.",
        )
    return text


def check_text(text: str, what: str) -> str:
    """Return a text that people read; raises ``InputError`` for none, or too long a one."""
    if not 0 < len(text.strip()) <= TEXT_CHARS_MAX or not text.isprintable():
        raise InputError(f"{what} must be a text of 1 to {TEXT_CHARS_MAX} characters in one line")
    return text.strip()


def read_plan(name: str, told: Mapping[str, Any], before: Plan | None = None) -> Plan:
    """Return the plan that a table describes, laid over ``before``; raises ``InputError``.

    Keys are those of ``Plan.to_json``; ``None`` takes a limit away.
    """
    values = (before or Plan(name)).to_json() | {"name": check_id(name, "the name of a plan")}
    for key, value in told.items():
        if key == "name" or key not in values:
            raise InputError(f"a plan has no {key[:80]!r}", remedy=f"It has {', '.join(values)}.")
        values[key] = _checked(key, value)
    values["class_name"] = values.pop("class")
    return Plan(**values)


def check_daily_cap(value: Any) -> int | None:
    """Return a cap on a day's micro-credits, ``None`` for none; raises ``InputError``."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= CREDITS_MAX:
        raise InputError(
            f"daily_microcredits_max must be a whole number from 0 to {CREDITS_MAX}, not {value!r}",
            remedy="A credit is a million micro-credits.",
        )
    return value


def _checked(key: str, value: Any) -> Any:
    if key == "class":
        if value not in CLASSES:
            raise InputError(f"class must be one of {', '.join(CLASSES)}, not {value!r}")
        return value
    if key == "watermark":
        return None if value is None else _watermark(value)
    if key == "daily_microcredits_max":
        return check_daily_cap(value)
    least, most = _COUNTS.get(key, 1), WEIGHT_MAX if key == "weight" else COUNT_MAX
    if value is None and key in _COUNTS:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(f"{key} must be a whole number from {least} to {most}, not {value!r}")
    return value


def _watermark(value: Any) -> str:
    text = check_text(value if isinstance(value, str) else "", "watermark")
    if "{{" in text:
        raise InputError("a watermark is the same for all rows", remedy="Leave the braces out.")
    return text
