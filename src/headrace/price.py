"""What things cost: what tenants pay (micro-credits) and what providers bill (micro-USD)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from headrace.errors import UsageError

MICRO = 1_000_000
USD_MAX = 1_000_000_000
CREDITS_MAX = 10**18
"""The most micro-credits that are moved at once: sums of them still fit the ledger's integers."""


@dataclass(frozen=True, slots=True)
class Price:
    """The most that one call can cost.

    ``credits_microcredits`` is what the tenant pays for a delivered result and
    ``cost_microusd_max`` what the provider bills at most; ``None`` means unknown,
    which is never shown as zero.
    """

    credits_microcredits: int = 0
    cost_microusd_max: int | None = 0

    def __add__(self, other: Price) -> Price:
        known = self.cost_microusd_max is not None and other.cost_microusd_max is not None
        total = (self.cost_microusd_max or 0) + (other.cost_microusd_max or 0)
        return Price(
            self.credits_microcredits + other.credits_microcredits, total if known else None
        )


FREE = Price(0, 0)


def dearest(prices: Iterable[Price]) -> Price:
    """Return the most that any of ``prices`` (one at least) can cost; unknown if one is."""
    known = list(prices)
    costs = [price.cost_microusd_max for price in known]
    most = None if None in costs else max(cost for cost in costs if cost is not None)
    return Price(max(price.credits_microcredits for price in known), most)


def usd(amount_microusd: int | None) -> str:
    """Return micro-USD for people: ``$0.04``, more digits below a cent, or ``unknown``."""
    if amount_microusd is None:
        return "unknown"
    dollars = amount_microusd / MICRO
    return f"${dollars:.2f}" if dollars == 0 or abs(dollars) >= 0.01 else f"${dollars:.6f}"


def cost_words(known: int, estimate: int, unknown: int) -> str:
    """Return a cost for people, its parts apart: ``$0.42 known + about $1.10 + 3 calls unknown``.

    ``known`` and ``estimate`` are micro-USD, ``unknown`` counts calls. What is not known
    is never shown as zero.
    """
    parts = []
    if known or not (estimate or unknown):
        parts.append(usd(known) + (" known" if estimate or unknown else ""))
    if estimate:
        parts.append(f"about {usd(estimate)}")
    if unknown:
        calls = f"{unknown} call" + ("s" if unknown > 1 else "")
        parts.append(f"{calls} unknown" if parts else f"unknown ({calls})")
    return " + ".join(parts)


def usd_exact(amount_microusd: int) -> str:
    """Return micro-USD to the last digit, two after the point at least: ``12.50``, ``0.0151``."""
    whole, part = divmod(amount_microusd, MICRO)
    return f"{whole}.{f'{part:06d}'.rstrip('0'):0<2}"


def read_usd(text: str) -> int:
    """Return an amount of dollars, such as ``12.50``, as micro-USD; raises ``UsageError``."""
    try:
        amount = Decimal(text.strip().removeprefix("$"))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0 or amount >= USD_MAX:
        raise UsageError(
            f"{text!r} is not an amount of dollars", remedy="Write it like 12.50, or 0.05."
        )
    return int(amount * MICRO)


def credits(amount_microcredits: int) -> str:
    """Return micro-credits for people, without trailing zeros."""
    whole, part = divmod(abs(amount_microcredits), MICRO)
    sign = "-" if amount_microcredits < 0 else ""
    digits = f"{part:06d}".rstrip("0")
    return f"{sign}{whole:,}" + (f".{digits}" if digits else "")


def read_credits(text: str) -> int:
    """Return an amount of credits above zero, such as ``12.5``, as micro-credits.

    Raises ``UsageError``.
    """
    try:
        micro = Decimal(text.strip()) * MICRO
        exact = micro == micro.to_integral_value() and 0 < micro <= CREDITS_MAX
    except InvalidOperation:
        exact = False
    if not exact:
        raise UsageError(
            f"{text[:40]!r} is not an amount of credits",
            remedy="Write a number above zero with at most six decimals, for example 12.5.",
        )
    return int(micro)
