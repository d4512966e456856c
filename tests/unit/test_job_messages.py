"""What Replicate and BFL say, read as values: whatever it is, nothing but ``CallFailed`` comes."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.outcome import CallFailed
from headrace.providers.bfl import messages as bfl
from headrace.providers.remote.cell_numbers import cell_value
from headrace.providers.replicate import messages as replicate

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(
        ("https://x.example/a.png", "data:image/png;base64,AA==", "\ud800", "http://")
    )
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=20,
)
FIELDS = st.sampled_from(
    [
        *("id", "status", "output", "metrics", "input", "model", "version", "data_removed"),
        *("error", "cost", "polling_url", "result", "input_mp", "output_mp", "seed"),
    ]
)
OBJECTS = st.dictionaries(FIELDS, VALUES, max_size=8)
PARAMS = st.dictionaries(
    st.sampled_from((*replicate.NUMBERS, *bfl.KINDS, "prompt", "webhook_url")), VALUES, max_size=6
)


@given(VALUES)
@example([[[[[[[[[["https://x.example/deep.png"]]]]]]]]]])
@example(10**400)
@example({"n": float("nan")})
def test_any_output_is_a_text_or_files_or_nothing(value: Any) -> None:
    """Never an error, and never an empty result."""
    output = replicate.output_of(value)
    if output is not None:
        assert bool(output.files) != bool(output.text)
        assert all(isinstance(one, str) for one in output.files)


@given(OBJECTS)
@example({"model": "\ud800", "version": "\0", "input": {"seed": 10**400, "width": True}})
@example({"metrics": {"\ud800_time": 1.0, "n" * 999: 1, "huge": 2**80, "x_time": float("nan")}})
def test_any_prediction_can_be_read(told: dict[str, Any]) -> None:
    """Facts are small and plain, an id can stand in an address."""
    facts = replicate.facts_of(told)
    msgspec.json.encode(facts)
    assert len(json.dumps(facts)) < 30_000
    assert all(type(count) is int for count in facts.get("usage", {}).values())
    name = replicate.id_of(told)
    assert name is None or (name.isascii() and "/" not in name and "." not in name)
    replicate.has_ended(told)


@given(OBJECTS, OBJECTS)
@example({"cost": 10**400, "output_mp": 10**400, "input_mp": float("nan")}, {"seed": 10**400})
def test_any_task_can_be_read(told: dict[str, Any], result: dict[str, Any]) -> None:
    """A cost is a whole number that is not below zero, or unknown."""
    cost = bfl.cost_of(told)
    assert cost is None or (type(cost) is int and cost >= 0)
    msgspec.json.encode(bfl.facts_of(told, result))
    bfl.id_of(told), bfl.has_ended(told), bfl.is_missing(told)


@given(PARAMS)
@settings(deadline=None)
def test_any_params_are_sent_or_refused(params: dict[str, Any]) -> None:
    """What goes out is JSON; what cannot is a failure that says so."""
    target = replicate.Target("predictions", "v")
    for body in (lambda: replicate.body_of(target, params), lambda: bfl.body_of(params)):
        with suppress(CallFailed):
            json.loads(body())


@given(st.text())
def test_any_text_is_a_model_or_none(model: str) -> None:
    """A path is built of a model's name only when it is one."""
    target = replicate.target_of(model)
    assert target is None or (".." not in target.path.split("/") and "?" not in target.path)
    assert bfl.is_model(model) in (True, False)


@pytest.mark.parametrize(
    ("credits", "microusd"),
    [(4.0, 40_000), (4, 40_000), (0, 0), (1.5, 15_000), (0.1, 1_000), (0.00005, 0)],
)
def test_a_credit_is_a_cent(credits: Any, microusd: int) -> None:
    """Costs are told in credits."""
    assert bfl.cost_of({"cost": credits}) == microusd


@pytest.mark.parametrize("credits", [None, "4", True, -1, float("nan"), float("inf"), 1e12, [4]])
def test_a_cost_that_is_none_is_unknown(credits: Any) -> None:
    """Not zero."""
    assert bfl.cost_of({"cost": credits}) is None


@given(st.integers(0, 10**12))
def test_a_cost_is_remembered_by_the_address(microusd: int) -> None:
    """It goes and comes with the polling address; one without it remembers nothing."""
    from yarl import URL

    url = URL("https://api.bfl.ai/v1/get_result?id=a%2Fb", encoded=True)
    kept = bfl.with_cost(url, microusd)
    assert bfl.remembered_cost(kept) == microusd
    assert str(URL(kept, encoded=True).with_fragment(None)) == str(url)
    assert bfl.remembered_cost(bfl.with_cost(url, None)) is None
    theirs = url.with_fragment("cost_microusd=7")
    assert bfl.remembered_cost(bfl.with_cost(theirs, None)) is None
    for odd in ("-5", "", "7e3", "9" * 5000, "٣"):
        assert bfl.remembered_cost(f"{url}#cost_microusd={odd}") is None


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("7", int, 7), (" 7 ", int, 7), (7.0, int, 7), ("7.5", int, None), (7.5, int, None),
        ("7.5", float, 7.5), ("nan", float, None), (True, int, None), ("true", bool, True),
        ("False", bool, False), (1, bool, None), ("9" * 41, int, None), ([], int, None),
    ],
)  # fmt: skip
def test_cells_become_numbers_and_flags(value: Any, kind: Any, expected: Any) -> None:
    """A cell is text; what is no number is none."""
    assert cell_value(value, kind) == expected
