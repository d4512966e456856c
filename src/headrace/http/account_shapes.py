"""What the API says of tenants, plans, keys and the days that data is kept, as structures."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from headrace.access import Scope
from headrace.http.shapes import Time
from headrace.plan import TenantState

Date = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date"})]


class PlanShape(msgspec.Struct, frozen=True):
    """What tenants may do under a plan; ``null`` limits nothing."""

    name: str
    class_: Literal["interactive", "batch", "bulk"] = msgspec.field(name="class")
    weight: int
    daily_items_max: int | None
    batches_max: int | None
    pixels_max: int | None
    watermark: str | None
    waiting_max: int | None
    daily_microcredits_max: int | None
    calls_max: int | None


class PlanList(msgspec.Struct, frozen=True):
    """All plans, by name."""

    plans: list[PlanShape]


class _AnyTenant(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    timezone: str
    state: TenantState
    reason: str | None
    unlimited: bool
    daily_microcredits_max: int | None
    created_at: Time


class TenantShape(_AnyTenant, frozen=True, kw_only=True):
    """A tenant; ``daily_microcredits_max`` is its own cap, ``null`` for its plan's."""

    plan: str


class TenantList(msgspec.Struct, frozen=True):
    """All tenants, the oldest first."""

    tenants: list[TenantShape]


class DayShape(msgspec.Struct, frozen=True):
    """What counts on a tenant's day, and the most that may."""

    day: Date
    ends_at: Time
    items: int
    items_max: int | None
    microcredits: int
    microcredits_max: int | None


class TenantDetail(_AnyTenant, frozen=True, kw_only=True):
    """A tenant with its plan and its day."""

    plan: PlanShape
    today: DayShape


class KeyShape(msgspec.Struct, frozen=True):
    """A key of this API, never whole; ``replaced`` is good until its end."""

    id: str
    tenant: str
    name: str
    shown: str
    scope: Scope
    state: Literal["good", "replaced", "expired", "revoked"]
    created_at: Time
    expires_at: Time | None
    last_used_at: Time | None


class NewKey(KeyShape, frozen=True, kw_only=True):
    """A key that was just made; ``key`` is told this once."""

    key: str


class KeyList(msgspec.Struct, frozen=True):
    """Keys, the oldest first."""

    keys: list[KeyShape]


class ProviderKeyShape(msgspec.Struct, frozen=True):
    """That there is a key of a provider; ``tenant`` is ``null`` for everybody's."""

    tenant: str | None
    provider: str
    master: str
    created_at: Time


class ProviderKeyList(msgspec.Struct, frozen=True):
    """Keys of providers."""

    provider_keys: list[ProviderKeyShape]


class ProviderKeyGone(msgspec.Struct, frozen=True):
    """A key of a provider that was removed."""

    provider: str
    tenant: str | None
    removed: bool


class RetentionShape(msgspec.Struct, frozen=True):
    """Days that data of ended batches is kept; ``null`` is for good."""

    inputs_days: int | None
    artifacts_days: int | None
    events_days: int | None


class Forgotten(msgspec.Struct, frozen=True):
    """How many batches were forgotten."""

    forgotten_batches: int


SHAPES = (
    PlanShape, PlanList, TenantShape, TenantList, TenantDetail, KeyShape, NewKey, KeyList,
    ProviderKeyShape, ProviderKeyList, ProviderKeyGone, RetentionShape, Forgotten,
)  # fmt: skip
