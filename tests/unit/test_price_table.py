"""List prices: what is read, which model is found, and exact sums of money."""

from __future__ import annotations

from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ConfigError
from headrace.price import cost_words
from headrace.price_table import ModelPrice, Usage, built_in, read_file, read_models
from headrace.providers.remote.costs import Costs, told_microusd

CHAT = ModelPrice(input=250_000, cached_input=25_000, output=2_000_000)
IMAGE = ModelPrice(
    input=5_000_000,
    image_output=32_000_000,
    images={("1024x1024", "low"): 9_000, ("1024x1024", "high"): 133_000},
)

counts = st.integers(0, 10**9)
prices = st.none() | st.integers(0, 10**9)
model_prices = st.builds(
    ModelPrice,
    **{name.name: prices for name in fields(ModelPrice)[:9]},
    images=st.dictionaries(st.sampled_from([("1k", "*"), ("2k", "high")]), st.integers(0, 10**7)),
)
usages = st.builds(
    Usage,
    input_tokens=counts,
    cached_tokens=counts,
    output_tokens=counts,
    image_input_tokens=counts,
    images=st.integers(0, 4),
    size=st.sampled_from(["", "1k", "2k", "4k"]),
    quality=st.sampled_from(["", "high", "low"]),
    seconds=st.none() | st.floats(0, 10**6),
)


def models(**entry: Any) -> ModelPrice:
    """The price read from one entry."""
    found = read_models({"m": entry}, "[x]").find("m")
    assert found is not None
    return found


# -- sums --------------------------------------------------------------------------------------


def test_tokens_are_summed_exactly_and_rounded_once() -> None:
    """Half a micro-dollar is rounded up in an estimate, and any part of one in a worst case."""
    assert CHAT.of(Usage(input_tokens=2)) == 1  # half of one
    assert CHAT.of(Usage(input_tokens=1)) == 0
    assert CHAT.most(Usage(input_tokens=1)) == 1
    assert CHAT.of(Usage(input_tokens=1000, cached_tokens=1000, output_tokens=100)) == 475


def test_what_has_no_price_is_unknown_and_not_free() -> None:
    """A count without a price makes the whole unknown; so does nothing counted at all."""
    assert ModelPrice(input=1).of(Usage(input_tokens=5, output_tokens=1)) is None
    assert CHAT.of(Usage(cache_write_tokens=1)) is None
    assert CHAT.of(Usage()) is None
    assert CHAT.of(Usage(images=1)) is None
    assert ModelPrice(second=100).of(Usage()) is None
    assert CHAT.of(Usage(image_output_tokens=3)) is None


def test_cached_input_without_a_price_is_taken_at_the_full_one() -> None:
    """It is never dearer than input; beforehand nobody counts on the discount."""
    assert ModelPrice(input=1_000_000).of(Usage(cached_tokens=10)) == 10
    assert CHAT.most(Usage(cached_tokens=4)) == CHAT.most(Usage(input_tokens=4)) == 1


def test_a_price_holds_up_to_its_length() -> None:
    """A longer input has another price, which is not guessed."""
    short = replace(CHAT, input_tokens_max=100)
    assert short.of(Usage(input_tokens=100)) == 25
    assert short.of(Usage(input_tokens=60, cached_tokens=41)) is None


def test_an_image_costs_by_its_tokens_else_by_size_and_quality() -> None:
    """Beforehand the dearest image that may come counts; a size without a price is unknown."""
    low = Usage(images=1, size="1024x1024", quality="low")
    assert IMAGE.of(low) == IMAGE.most(low) == 9_000
    assert IMAGE.of(replace(low, image_output_tokens=272)) == 8_704
    assert IMAGE.most(Usage(images=1)) == 133_000
    assert IMAGE.most(Usage(images=1, size="auto", quality="low")) == 9_000
    assert IMAGE.of(Usage(images=1)) is None
    assert IMAGE.most(Usage(images=1, size="2048x2048", quality="low")) is None
    assert ModelPrice(image=40_000).of(Usage(images=2, input_tokens=50)) == 80_000


def test_seconds_and_requests() -> None:
    """A model may be billed by the time it computes, or by the call."""
    assert ModelPrice(second=225).of(Usage(seconds=2.5, images=1)) == 563
    assert ModelPrice(request=500).of(Usage(images=1, input_tokens=9)) == 500
    assert ModelPrice(second=1).of(Usage(seconds=float("nan"))) is None
    assert ModelPrice(second=1).of(Usage(seconds=float("inf"))) is None


@given(model_prices, usages)
def test_an_estimate_is_never_above_the_worst_case(price: ModelPrice, usage: Usage) -> None:
    """Whatever the prices, what a call used costs no more than the same as a most."""
    cost, most = price.of(usage), price.most(usage)
    assert cost is None or cost >= 0
    if cost is not None and most is not None:
        assert cost <= most


@given(st.integers(0, 10**12), st.integers(0, 10**12), counts, counts)
def test_sums_are_those_of_fractions(into: int, out: int, input_: int, output: int) -> None:
    """No float comes between: at most half a micro-dollar is lost, at any size."""
    cost = ModelPrice(input=input_, output=output).of(Usage(input_tokens=into, output_tokens=out))
    exact = Fraction(into * input_ + out * output, 10**6)
    if cost is not None:
        assert abs(cost - exact) <= Fraction(1, 2)
    else:
        assert into == out == 0 or exact >= 10**15


# -- reading -----------------------------------------------------------------------------------


def test_what_comes_with_the_release_is_dated_and_reads() -> None:
    """Every price has a date; the models that people use have one."""
    tables = built_in()
    for kind, table in tables.items():
        for name, price in table.models.items():
            assert price.as_of is not None, (kind, name)
    assert tables["openai"].find("gpt-5-mini") == replace(
        ModelPrice(input=250_000, output=2_000_000, dated=True),
        as_of=tables["openai"].models["gpt-5-mini"].as_of,
    )
    assert {"openai", "anthropic", "gemini", "vertex", "stability", "bfl", "fal"} <= set(tables)


def test_dated_names_fall_back_where_the_table_says_so() -> None:
    """A dated model has its family's price, its own where it has one; nothing else is guessed."""
    table = built_in()["openai"]
    assert table.find("gpt-4o-2024-11-20") is table.find("gpt-4o")
    assert table.find("gpt-4o-2024-05-13") is not table.find("gpt-4o")
    for other in ("gpt-4o-mega", "gpt-4o-2024-11", "gpt-4o-2024-11-20-x", "", "-2024-11-20"):
        assert table.find(other) is None
    assert built_in()["anthropic"].find("claude-haiku-4-5-20251001") is not None
    assert built_in()["gemini"].find("gemini-2.5-flash-2026-01-01") is None


def test_dollars_are_read_without_floats(tmp_path: Path) -> None:
    """0.1 is a tenth, in a file and in the settings alike."""
    assert models(input_usd_per_million=0.1).input == 100_000
    assert models(images_usd={"1K": 0.000001, "2K High": 3}).images == {
        ("1k", "*"): 1,
        ("2k", "high"): 3_000_000,
    }
    path = tmp_path / "prices.toml"
    path.write_text('[mine]\nas_of = 2026-01-02\n[mine.models]\n"m" = { image_usd = 0.29 }\n')
    price = read_file(path)["mine"].find("m")
    assert price is not None
    assert (price.image, str(price.as_of)) == (290_000, "2026-01-02")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"input_usd_per_milion": 1}, "did you mean 'input_usd_per_million'"),
        ({"image_usd": -1}, "not an amount of dollars"),
        ({"image_usd": "0.04"}, "not an amount of dollars"),
        ({"image_usd": True}, "not an amount of dollars"),
        ({"image_usd": float("nan")}, "not an amount of dollars"),
        ({"image_usd": 1e300}, "not an amount of dollars"),
        ({"image_usd": 0.0000001}, "more than six places"),
        ({"images_usd": {"a b c": 1}}, "is not a size"),
        ({"images_usd": {"": 1}}, "is not a size"),
        ({"images_usd": 3}, "not a table"),
        ({"dated": True}, "tells no price"),
        ({"image_usd": 1, "dated": "yes"}, "true or false"),
        ({"image_usd": 1, "as_of": "soon"}, "not a date"),
        ({"image_usd": 1, "input_tokens_max": 0}, "whole number"),
        ({}, "tells no price"),
        (7, "not a table"),
    ],
)
def test_a_wrong_entry_says_what_and_where(entry: Any, says: str) -> None:
    """Each mistake names its model and its key, and what to write."""
    with pytest.raises(ConfigError) as caught:
        read_models({"gpt-x": entry}, "[providers.mine] prices")
    assert says in str(caught.value).lower()
    assert '[providers.mine] prices "gpt-x"' in caught.value.place


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = [", "not valid TOML"),
        ("openai = 3", "not a table"),
        ("[openai]\nmodel = 3", "did you mean 'models'"),
        ("[openai]\nmodels = 3", "not a table of models"),
        ("[openai]\nas_of = 3", "not a date"),
    ],
)
def test_a_wrong_file_says_what_and_where(tmp_path: Path, text: str, says: str) -> None:
    """A file that cannot be used names itself; one that is not there, the setting."""
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_file(path)
    assert says.lower() in str(caught.value).lower()
    assert str(path) in caught.value.place
    with pytest.raises(ConfigError, match="setting prices"):
        read_file(tmp_path / "none.toml")
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_file(path)


# -- whose prices count ------------------------------------------------------------------------


def costs(name: str, *, official: bool, own: dict[str, Any] | None = None) -> Costs:
    return Costs(name, "openai", official=official, own=read_models(own or {}, "[x]"))


def test_own_prices_come_before_the_users_and_those_before_ours() -> None:
    """The nearest list that knows a model counts; the others still know theirs."""
    used = Usage(images=1)
    lists = {
        "mine": read_models({"a": {"image_usd": 2}, "b": {"image_usd": 2}}, "[x]"),
        "openai": read_models({"b": {"image_usd": 3}, "gpt-5": {"image_usd": 3}}, "[x]"),
    }
    found = costs("mine", official=True, own={"a": {"image_usd": 1}})
    found.use(lists)
    assert [found.of(name, used) for name in ("a", "b", "gpt-5", "c")] == [
        1_000_000,
        2_000_000,
        3_000_000,
        None,
    ]
    assert found.of("gpt-5-mini", Usage(output_tokens=1_000_000)) == 2_000_000


def test_another_server_under_the_same_api_has_no_list_prices() -> None:
    """A gateway or a server of one's own costs something else: unknown, unless told."""
    other = costs("openai", official=False, own={"m": {"request_usd": 0}})
    other.use({"openai": read_models({"gpt-5": {"image_usd": 3}}, "[x]")})
    assert other.find("gpt-5") is None
    assert other.most("gpt-5-mini", Usage(input_tokens=1)) is None
    assert other.of("m", Usage(input_tokens=9, output_tokens=9)) == 0
    assert other.of("m", None) == other.most("m", None) == 0
    named = costs("mine", official=False)
    named.use({"mine": read_models({"gpt-5": {"image_usd": 3}}, "[x]")})
    assert named.of("gpt-5", Usage(images=1)) == 3_000_000
    assert named.of("gpt-5", None) is None


@pytest.mark.parametrize(
    ("header", "usage", "told"),
    [
        ("0.00012345", None, 123),
        ("1.5e-06", None, 2),
        (None, {"cost": 0.25}, 250_000),
        ("0.1", {"cost": 0.25}, 100_000),
        (None, {"cost": 0}, 0),
        (None, {"cost": True}, None),
        (None, {"cost": "0.25"}, None),
        (None, {"cost": float("nan")}, None),
        (None, [], None),
        ("1e-9", None, 1),
        ("0.0", None, 0),
        (" 2 ", None, 2_000_000),
        ("1_000", None, None),
        ("0x10", None, None),
        ("inf", None, None),
        ("", None, None),
        ("-1", None, None),
        ("1e999999", None, None),
        ("9" * 50, None, None),
        ("free", None, None),
        (None, None, None),
    ],
)
def test_a_cost_that_the_answer_tells_is_true(
    header: str | None, usage: Any, told: int | None
) -> None:
    """A gateway's header, then OpenRouter's usage; nonsense is not a cost."""
    headers = {} if header is None else {"x-litellm-response-cost": header}
    assert told_microusd(headers, usage) == told


def test_parts_of_a_cost_are_said_apart() -> None:
    """True, estimated and unknown costs are never one number."""
    assert cost_words(0, 0, 0) == "$0.00"
    assert cost_words(420_000, 0, 0) == "$0.42"
    assert cost_words(420_000, 1_100_000, 0) == "$0.42 known + about $1.10"
    assert cost_words(0, 1_100_000, 2) == "about $1.10 + 2 calls unknown"
    assert cost_words(0, 0, 1) == "unknown (1 call)"
