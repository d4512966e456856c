"""The price book: which rule counts, what it makes of a cost, and what is no price at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InputError, UsageError
from headrace.period import read_period
from headrace.price import read_credits
from headrace.price_book import Rule, RuleKind, read_rate, read_rule, tariff_of
from headrace.tariff import PRICE_MAX, Rate, Tariff, hits_are_free

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CREDIT = 1_000_000


def rule(kind: str, name: str, credits: int) -> Rule:
    return Rule(RuleKind(kind), name, Rate(credits), NOON)


ALL = [
    rule("model", "a:x", 1),
    rule("recipe", "cards", 2),
    rule("provider", "a", 3),
    rule("default", "", 4),
]


@pytest.mark.parametrize(
    ("rules", "recipe", "model", "price", "item"),
    [
        (ALL, "cards", "x", 1, 2),
        (ALL, "cards", "y", None, 2),
        (ALL, "other", "x", 1, None),
        (ALL, "other", "y", 3, None),
        (ALL[:2] + ALL[3:], "other", "y", 4, None),
        (ALL[:2], "other", "y", None, None),
    ],
)
def test_the_most_exact_rule_counts(
    rules: list[Rule], recipe: str, model: str, price: int | None, item: int | None
) -> None:
    """Model before recipe before provider before default; a recipe's fixed price is the item's."""
    tariff = tariff_of(rules, recipe, [("a", model, False)]) or Tariff()
    rate = tariff.rate("a", model)
    assert (rate and rate.credits_microcredits) == price
    assert (tariff.item and tariff.item.credits_microcredits) == item
    assert Tariff.from_json(tariff.to_json()) == tariff


def test_a_recipes_margin_is_for_each_result() -> None:
    """A margin has no fixed price for the item: every result is charged over its own cost."""
    rules = [Rule(RuleKind.RECIPE, "cards", Rate(margin_ppm=500_000), NOON), *ALL[2:]]
    tariff = tariff_of(rules, "cards", [("a", "x", False), ("local", "resize", True)])
    assert tariff is not None
    assert tariff.item is None
    for provider in ("a", "local"):
        rate = tariff.rate(provider, "any")
        assert rate is not None
        assert rate.over(40_000) == 60_000


def test_a_default_is_for_what_is_bought() -> None:
    """Work of this machine has a price only where a rule names it."""
    assert tariff_of(ALL[3:], "cards", [("images", "resize", True)]) is None
    named = [rule("provider", "images", 5)]
    assert tariff_of(named, "cards", [("images", "", True)]) is not None


def test_an_unknown_model_may_have_any_of_its_providers_rates() -> None:
    """Where rows decide the model, all rules of its provider's models are kept."""
    tariff = tariff_of([rule("model", "a:x", 1), rule("model", "b:x", 2)], "r", [("a", "", True)])
    assert tariff is not None
    assert [rate.credits_microcredits for rate in tariff.rates_of("a")] == [1]
    assert list(tariff.rates) == ["a:x"]


@pytest.mark.parametrize(
    ("margin", "per_usd", "cost", "price"),
    [
        (0, CREDIT, 40_000, 40_000),
        (300_000, CREDIT, 40_000, 52_000),
        (0, 100 * CREDIT, 40_000, 4 * CREDIT),
        (1, CREDIT, 1, 2),
        (333_333, CREDIT, 3, 4),
        (0, CREDIT, 0, 0),
        (0, 1_000_000 * CREDIT, 10**15, PRICE_MAX),
    ],
)
def test_a_margin_is_rounded_up_once(margin: int, per_usd: int, cost: int, price: int) -> None:
    """Cost times credits a dollar times one and the margin, up to a whole micro-credit."""
    assert Rate(margin_ppm=margin, usd_microcredits=per_usd).over(cost) == price


@given(
    cost=st.integers(0, 10**12),
    margin=st.integers(0, 10**9),
    per_usd=st.integers(0, 10**12),
    most=st.none() | st.integers(0, PRICE_MAX),
)
def test_a_price_never_passes_what_is_set_aside(
    cost: int, margin: int, per_usd: int, most: int | None
) -> None:
    """A call that costs what it may, or less, is charged what was set aside, or less."""
    rate = Rate(None, margin, per_usd, most)
    bound = rate.most(cost)
    assert bound is not None
    assert 0 <= rate.of_call(cost // 2) <= rate.of_call(None, cost) <= bound <= PRICE_MAX


def test_a_cost_that_nobody_tells_is_the_worst_case() -> None:
    """Told before estimated before the worst case before the most that may be charged."""
    rate = Rate(margin_ppm=0, at_most_microcredits=70)
    assert rate.of_call(None, 20, 30) == 20
    assert rate.of_call(None, None, 30) == 30
    assert rate.of_call(None, None, None) == 70
    assert rate.of_call(90, 20, 30) == 70
    assert Rate().most(None) is None


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"credits": "1", "margin": "0.1"},
        {"credits": "-1"},
        {"credits": "NaN"},
        {"credits": "1e99"},
        {"credits": "0.0000001"},
        {"credits": True},
        {"credits": "1" * 5000},
        {"credits": "1", "at_most": "2"},
        {"margin": "1001"},
        {"margin": "0.1", "credits_per_usd": "x"},
        {"margin": "0.1", "cached_credits": "100001"},
    ],
)
def test_what_is_no_price_is_told(told: dict[str, Any]) -> None:
    """Odd numbers and contradictions are refused with a remedy."""
    with pytest.raises(UsageError):
        read_rate(told)


@pytest.mark.parametrize(
    "told",
    [
        {"kind": "modle", "credits": 1},
        {"kind": "model", "name": "x", "credits": 1},
        {"kind": "model", "name": ":x", "credits": 1},
        {"kind": "provider", "name": "a:x", "credits": 1},
        {"kind": "provider", "name": "", "credits": 1},
        {"kind": "recipe", "name": "a\nb", "credits": 1},
        {"kind": "recipe", "name": "r" * 201, "credits": 1},
        {"kind": "default", "name": "x", "credits": 1},
        {"kind": "default", "credits": 1, "end": True},
        {"kind": "default", "credits": 1, "from": "2026-02-28"},
        {"kind": "default", "credits": 1, "from": "soon"},
        {"kind": "default", "credits": 1, "from": "0001-01-01T00:00:00+14:00"},
    ],
)
def test_what_is_no_rule_is_told(told: dict[str, Any]) -> None:
    """Wrong kinds, names and times are refused; nothing begins in the past."""
    with pytest.raises((UsageError, InputError)):
        read_rule(told, NOON)


def test_a_rule_says_what_was_asked() -> None:
    """Numbers and their text mean the same, and come back as they were written."""
    told = {"kind": "default", "margin": 0.3, "at_most": "2.5", "credits_per_usd": "100"}
    shown = read_rule({**told, "from": "2026-04-01"}, NOON).to_json()
    assert shown == {
        "kind": "default",
        "name": "",
        "by_cost": True,
        "margin": "0.3",
        "credits_per_usd": "100",
        "at_most": "2.5",
        "cached_credits": "0",
        "ended": False,
        "valid_from": "2026-04-01T00:00:00+00:00",
    }


def test_hits_are_free_unless_a_rule_says_otherwise() -> None:
    """Only a price for results from the cache makes them cost."""
    assert hits_are_free(None)
    assert hits_are_free(Tariff({"a": Rate(5)}, Rate(6)))
    assert not hits_are_free(Tariff({}, Rate(6, cached_microcredits=1)))


@pytest.mark.parametrize("text", ["", "0", "-1", "inf", "1e30", "0.0000001", "x", "nan"])
def test_what_is_no_amount_of_credits_is_told(text: str) -> None:
    """Nothing, less than a micro-credit, and more than the ledger counts are refused."""
    with pytest.raises(UsageError):
        read_credits(text)


def test_a_period_is_this_month_unless_told() -> None:
    """It begins with the month, ends now at the latest, and is never empty."""
    month = read_period(None, None, NOON + timedelta(days=3))
    assert (month.begins_at, month.ends_at) == (
        datetime(2026, 3, 1, tzinfo=UTC),
        NOON + timedelta(days=3),
    )
    told = read_period("2026-02-01", "2027-01-01T00:00:00+02:00", NOON)
    assert told.ends_at == NOON
    with pytest.raises(UsageError):
        read_period("2026-03-02", None, NOON)
    with pytest.raises(InputError):
        read_period("yesterday", None, NOON)
