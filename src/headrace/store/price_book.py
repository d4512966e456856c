"""The price book at rest: rules are added, never changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from headrace.price_book import Rule, RuleKind
from headrace.store import statements
from headrace.tariff import Rate

ID_MAX = 2**63 - 1


async def add(connection: Any, rule: Rule, now: datetime) -> Rule:
    """Add a rule and return it with its id; raises ``UsageError`` for one that cannot be meant."""
    rule.check(now)
    rate = rule.rate or Rate()
    margin = None if rule.rate is None or rate.credits_microcredits is not None else rate.margin_ppm
    rule_id = await connection.fetchval(
        statements.load("price_book/add.sql"),
        rule.kind.value,
        rule.name,
        rate.credits_microcredits,
        margin,
        rate.usd_microcredits,
        rate.at_most_microcredits,
        rate.cached_microcredits,
        rule.valid_from,
        now,
    )
    return replace(rule, id=rule_id)


async def in_force(connection: Any, now: datetime) -> list[Rule]:
    """Return the rules in force at ``now``, one for each thing that is priced."""
    rows = await connection.fetch(statements.load("price_book/in_force.sql"), now)
    return [_read(row) for row in rows]


async def history(connection: Any, before: int = ID_MAX, limit: int = 100) -> list[Rule]:
    """Return the rules with ids below ``before``, the latest first, also ended and coming ones."""
    rows = await connection.fetch(statements.load("price_book/history.sql"), before, limit)
    return [_read(row) for row in rows]


def _read(row: Any) -> Rule:
    fixed, margin = row["credits_microcredits"], row["margin_ppm"]
    rate = Rate(
        fixed,
        margin or 0,
        row["usd_microcredits"],
        row["at_most_microcredits"],
        row["cached_microcredits"],
    )
    priced = fixed is not None or margin is not None
    return Rule(
        RuleKind(row["kind"]), row["name"], rate if priced else None, row["valid_from"], row["id"]
    )
