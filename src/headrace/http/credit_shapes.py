"""What the API says of credits and prices, as structures; amounts are micro-credits."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.http.shapes import Time
from headrace.price_book import RuleKind


class LotShape(msgspec.Struct, frozen=True):
    """What is left of a grant that expires; ``entry`` is the grant."""

    entry: str
    expires_at: Time
    available_microcredits: int
    held_microcredits: int


class BalanceShape(msgspec.Struct, frozen=True):
    """What a tenant has; ``expiring`` is part of it, the first to expire first."""

    tenant: str
    available_microcredits: int
    held_microcredits: int
    unlimited: bool
    expiring: list[LotShape]


class EntryShape(msgspec.Struct, frozen=True):
    """A movement; ``available`` and ``held`` are what it adds to either."""

    entry: str
    at: Time
    kind: Literal["grant", "reserve", "post", "void", "expire"]
    microcredits: int
    available: int
    held: int
    batch: str | None
    row_number: int | None
    round: int | None
    attempt: int | None
    reason: str
    reference: str | None
    expires_at: Time | None


class EntryPage(msgspec.Struct, frozen=True):
    """Entries, the latest first; ``next`` is the ``cursor`` of the next page."""

    entries: list[EntryShape]
    next: str | None


class GrantShape(msgspec.Struct, frozen=True):
    """A grant; ``credits`` is its amount in credits, as text."""

    entry: str
    tenant: str
    microcredits: int
    credits: str
    reason: str
    reference: str
    at: Time
    expires_at: Time | None


class Amounts(msgspec.Struct, frozen=True):
    """Balances at a time."""

    available_microcredits: int
    held_microcredits: int


class StatementShape(msgspec.Struct, frozen=True):
    """A period: every entry, between its opening and its closing balances."""

    tenant: str
    from_: Time = msgspec.field(name="from")
    to: Time
    opening: Amounts
    entries: list[EntryShape]
    closing: Amounts
    totals_microcredits: dict[str, int]


class AuditShape(msgspec.Struct, frozen=True):
    """What the audit looked for, and what it found, in words."""

    clean: bool
    checks: list[str]
    findings: list[str]


class RuleShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """A price; amounts are credits as text. ``by_cost``: the true cost, and a margin.

    One that is ``ended`` says that there is no such rule from then on.
    """

    kind: RuleKind
    name: str
    ended: bool
    valid_from: Time
    by_cost: bool | None = None
    credits: str | None = None
    margin: str | None = None
    credits_per_usd: str | None = None
    at_most: str | None = None
    cached_credits: str | None = None


class RuleList(msgspec.Struct, frozen=True):
    """The rules in force."""

    rules: list[RuleShape]


class RulePage(msgspec.Struct, frozen=True):
    """Rules, the latest first; ``next`` is the ``cursor`` of the next page."""

    rules: list[RuleShape]
    next: str | None


SHAPES = (
    BalanceShape, EntryPage, GrantShape, StatementShape, AuditShape, RuleShape, RuleList, RulePage,
)  # fmt: skip
