"""The price book: rules by model, recipe, provider or for all, in force from a moment on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any

from headrace.errors import UsageError
from headrace.nearest import did_you_mean
from headrace.period import read_time
from headrace.price import MICRO, credits
from headrace.tariff import PRICE_MAX, Rate, Tariff

NAME_CHARS_MAX = 200
MARGIN_MAX = 1000
"""A margin is a factor on top: 0.3 is 30 per cent, 1000 the most."""

PER_USD_MAX = 1_000_000
_PRICES = ("credits", "margin", "credits_per_usd", "at_most", "cached_credits")


class RuleKind(StrEnum):
    """What a rule prices, the most exact first: that one counts."""

    MODEL = "model"
    RECIPE = "recipe"
    PROVIDER = "provider"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Rule:
    """A price from ``valid_from`` on; ``rate`` is ``None`` where a rule ends instead."""

    kind: RuleKind
    name: str
    rate: Rate | None
    valid_from: datetime
    id: int = 0

    def check(self, now: datetime) -> None:
        """Raise ``UsageError`` for a name or a time that cannot be meant."""
        kind, name = self.kind, self.name
        if kind is RuleKind.DEFAULT:
            if name:
                raise UsageError("a default has no name", remedy="Leave the name out.")
        elif not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
            raise UsageError(f"{name[:60]!r} is not the name of a {kind}")
        if kind is RuleKind.MODEL and not all(name.partition(":")):
            raise UsageError(
                f"{name[:60]!r} does not say whose model it is", remedy="Write provider:model."
            )
        if kind is RuleKind.PROVIDER and ":" in name:
            raise UsageError(
                f"{name[:60]!r} is a model, not a provider", remedy="Price it as a model."
            )
        if self.valid_from < now:
            raise UsageError(
                f"a price cannot begin in the past ({self.valid_from.isoformat()})",
                remedy="Leave the time out for now, or name one to come.",
            )

    def to_json(self) -> dict[str, Any]:
        """Return the rule for people and programs: credits as text, a margin as a factor."""
        told: dict[str, Any] = {"kind": self.kind.value, "name": self.name}
        rate = self.rate
        if rate is not None:
            told["by_cost"] = rate.credits_microcredits is None
            if rate.credits_microcredits is not None:
                told["credits"] = plain(rate.credits_microcredits)
            else:
                told["margin"] = plain(rate.margin_ppm)
                told["credits_per_usd"] = plain(rate.usd_microcredits)
                most = rate.at_most_microcredits
                told["at_most"] = None if most is None else plain(most)
            told["cached_credits"] = plain(rate.cached_microcredits)
        return {**told, "ended": rate is None, "valid_from": self.valid_from.isoformat()}


def plain(amount: int) -> str:
    """Return millionths as digits alone: 1,500,000 is ``1.5``."""
    return credits(amount).replace(",", "")


def read_rule(told: dict[str, Any], now: datetime) -> Rule:
    """Return the rule that a table of texts and numbers describes; raises ``UsageError``."""
    kind = str(told.get("kind"))
    kinds = [one.value for one in RuleKind]
    if kind not in kinds:
        raise UsageError(f"{kind[:40]!r} is not a kind of rule", remedy=did_you_mean(kind, kinds))
    rate = None
    if told.get("end"):
        odd = [name for name in _PRICES if told.get(name) is not None]
        if odd:
            raise UsageError(f"a rule that ends has no {odd[0]}")
    else:
        rate = read_rate(told)
    rule = Rule(RuleKind(kind), told.get("name") or "", rate, now)
    if told.get("from"):
        rule = replace(rule, valid_from=read_time(told["from"], "from"))
    rule.check(now)
    return rule


def read_rate(told: dict[str, Any]) -> Rate:
    """Return the rate that ``credits`` or ``margin`` and their like describe.

    Values are numbers or their text. Raises ``UsageError``.
    """
    fixed, margin = told.get("credits"), told.get("margin")
    if (fixed is None) == (margin is None):
        raise UsageError("a price is either credits or a margin", remedy="Name one of the two.")
    cached = read_amount(told.get("cached_credits") or 0, "cached_credits")
    if fixed is not None:
        odd = [name for name in ("credits_per_usd", "at_most") if told.get(name) is not None]
        if odd:
            raise UsageError(f"{odd[0]} belongs to a margin, not to fixed credits")
        return Rate(read_amount(fixed, "credits"), cached_microcredits=cached)
    most = told.get("at_most")
    per_usd = told.get("credits_per_usd")
    return Rate(
        None,
        read_millionths(margin, "margin", MARGIN_MAX),
        MICRO if per_usd is None else read_millionths(per_usd, "credits_per_usd", PER_USD_MAX),
        None if most is None else read_amount(most, "at_most"),
        cached,
    )


def read_amount(value: Any, what: str) -> int:
    """Return an amount of credits as micro-credits; raises ``UsageError``."""
    return read_millionths(value, what, PRICE_MAX // MICRO)


def read_millionths(value: Any, what: str, most: int) -> int:
    """Return a number, or its text, of at most six decimals in millionths.

    Raises ``UsageError`` below zero, above ``most``, or for what is no such number.
    """
    try:
        number = Decimal(str(value).strip())
        exact = number.is_finite() and 0 <= number <= most
        millionths = number * MICRO if exact else Decimal(0)
    except InvalidOperation:
        exact = False
    if isinstance(value, bool) or not exact or millionths != millionths.to_integral_value():
        raise UsageError(
            f"{what} = {str(value)[:40]!r} is not an amount",
            remedy=f"Write a number from 0 to {most:,} with at most six decimals, such as 12.5.",
        )
    return int(millionths)


def tariff_of(
    rules: Iterable[Rule], recipe: str, asked: Iterable[tuple[str, str, bool]]
) -> Tariff | None:
    """Return what a batch is priced by, ``None`` where no rule says anything of it.

    ``rules`` are those in force. ``asked`` are providers and models that the batch may ask,
    and whether that is this machine's own work: a default is for what is bought, not for
    that. An empty model stands for any of the provider's.
    """
    book = {(rule.kind, rule.name): rule.rate for rule in rules if rule.rate is not None}
    whole = book.get((RuleKind.RECIPE, recipe))
    item = whole if whole is not None and whole.credits_microcredits is not None else None
    rates: dict[str, Rate] = {}
    for provider, model, local in asked:
        for (kind, name), rate in book.items():
            if kind is RuleKind.MODEL and _prices(name, provider, model):
                rates[name] = rate
        rest = whole or book.get((RuleKind.PROVIDER, provider))
        if rest is None and not local:
            rest = book.get((RuleKind.DEFAULT, ""))
        if rest is not None and rest is not item:
            rates[provider] = rest
    return Tariff(rates, item) if rates or item is not None else None


def _prices(name: str, provider: str, model: str) -> bool:
    owner, _, own = name.partition(":")
    return owner == provider and model in ("", own)
