"""The generate stage: rows become requests, exactly and cheaply."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.artifact import Artifact
from headrace.errors import RecipeError
from headrace.outcome import CallFailed, OutcomeKind
from headrace.recipe import parse_recipe
from headrace.stage import Stage, StageInput
from headrace.stages import build_stages
from headrace.testing import SimulatedProvider

DEEP: list[Any] = []
for _ in range(5000):
    DEEP = [DEEP]


def build(**settings: Any) -> Stage:
    first = {"kind": "generate", "name": "first", "model": "simulated:m", "prompt": "x"}
    table = {"kind": "generate", "model": "simulated:black-forest/flux:1", "prompt": "{{ title }}"}
    recipe = parse_recipe({"stages": [first, table | settings]}, "r.toml")
    return build_stages(recipe, {"simulated": SimulatedProvider()})[1]


def given(texts: dict[str, str] | None = None, **row: Any) -> StageInput:
    row = {"title": "tea"} | row
    outputs = {"first": Artifact(bytes(32), "image/png", 5)}
    return StageInput(row, outputs, texts or {}, None, 7, "spring")


def test_request_has_prompt_and_params() -> None:
    """The prompt and the params stand side by side; the model is all after the first colon."""
    request = build(prompt="A {{ title }} in {{ batch }}", params={"size": 512}).request(given())
    assert request.provider == "simulated"
    assert request.model == "black-forest/flux:1"
    assert request.params == {"prompt": "A tea in spring", "size": 512}
    assert request.version == SimulatedProvider().version("m")


def test_provider_can_stand_apart() -> None:
    """With ``provider = …`` the model is taken as it is, colons and all."""
    request = build(provider="simulated", model="a:b").request(given())
    assert (request.provider, request.model) == ("simulated", "a:b")


def test_a_prompt_is_needed_but_where_params_say_it_all() -> None:
    """Whole messages stand for a prompt; without either a recipe is wrong."""
    said = [{"role": "user", "content": "{{ title }}"}]
    table = {"kind": "generate", "model": "simulated:m", "params": {"messages": said}}
    providers = {"simulated": SimulatedProvider()}
    stage = build_stages(parse_recipe({"stages": [table]}, "r"), providers)[0]
    assert stage.request(given()).params == {"messages": [{"role": "user", "content": "tea"}]}
    bare = parse_recipe({"stages": [{"kind": "generate", "model": "simulated:m"}]}, "r")
    with pytest.raises(RecipeError, match="'prompt' is missing"):
        build_stages(bare, providers)


def test_nested_params_are_filled() -> None:
    """Templates are filled at any depth; numbers, booleans and plain text stay as they are."""
    params = {
        "style": {"tone": "very {{ tone }}", "depth": {"n": 1.5, "on": True}},
        "tags": ["{{ title }}", "fixed", 3],
    }
    filled = build(params=params).request(given(tone="warm")).params
    assert filled["style"] == {"tone": "very warm", "depth": {"n": 1.5, "on": True}}
    assert filled["tags"] == ["tea", "fixed", 3]


def test_a_lone_hole_keeps_the_value() -> None:
    """A param that is only one hole takes the row's own number, list or boolean."""
    filled = build(params={"w": "{{ width }}", "t": "{{ width }} px", "l": "{{ tags }}"})
    params = filled.request(given(width=640, tags=["a", "b"])).params
    assert params["w"] == 640
    assert params["t"] == "640 px"
    assert params["l"] == ["a", "b"]


def test_empty_params_are_left_out() -> None:
    """An optional column that is not filled leaves its param out; zero and false stay."""
    stage = build(params={"a": "{{ a }}", "b": "{{ b | c }}", "z": "{{ zero }}", "f": "{{ no }}"})
    params = stage.request(given(a="", c=None, zero=0, no=False)).params
    assert params == {"prompt": "tea", "z": 0, "f": False}


def test_inputs_is_another_name_for_params() -> None:
    """``[stages.inputs]`` gives the same request as ``[stages.params]``."""
    one, two = build(inputs={"a": "{{ title }}"}), build(params={"a": "{{ title }}"})
    assert one.request(given()).fingerprint == two.request(given()).fingerprint


@pytest.mark.parametrize(("seed", "want"), [(5, 5), ("{{ s }}", 42), ("{{ row_number }}", 7)])
def test_seed_is_a_number(seed: Any, want: int) -> None:
    """A seed is a number in the request, also when the row has it as text."""
    assert build(seed=seed).request(given(s=" 42 ")).params["seed"] == want


def test_a_bad_seed_is_the_rows_fault() -> None:
    """A seed that is no number ends the item as invalid, and says which row."""
    with pytest.raises(CallFailed) as caught:
        build(seed="{{ s }}").request(given(s="many"))
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    assert "many" in caught.value.outcome.reason
    assert "row 7" in caught.value.outcome.reason


@pytest.mark.parametrize("title", ["", "  \n", None])
def test_an_empty_prompt_is_invalid(title: str | None) -> None:
    """A row that leaves the prompt empty is not sent; the reason names the columns."""
    with pytest.raises(CallFailed) as caught:
        build().request(given(title=title))
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    assert "title" in caught.value.outcome.remedy


def test_texts_of_earlier_stages_are_read() -> None:
    """``{{ stages.x }}`` is the text of that stage."""
    stage = build(prompt="Go on: {{ stages.first }}")
    assert stage.request(given({"first": "once"})).params["prompt"] == "Go on: once"
    assert stage.columns() == set()


def test_a_picture_is_no_text() -> None:
    """Reading the text of a stage that made a picture is invalid, and never a blank."""
    with pytest.raises(CallFailed) as caught:
        build(prompt="Go on: {{ stages.first }}").request(given())
    assert "image/png" in caught.value.outcome.reason


def test_rows_cannot_be_templates() -> None:
    """Holes inside a row's text are text: they are not filled again."""
    assert build().request(given(title="{{ batch }}")).params["prompt"] == "{{ batch }}"


@pytest.mark.parametrize("value", [2**60, float("nan"), "\ud800", [1, {"a": 2**60}], DEEP])
@pytest.mark.parametrize("prompt", ["{{ title }}", "A {{ x }}"])
def test_what_cannot_be_hashed_is_the_rows_fault(value: Any, prompt: str) -> None:
    """A value without a canonical form ends its item as invalid, and never a worker."""
    with pytest.raises(CallFailed) as caught:
        build(prompt=prompt, params={"x": "{{ x }}"}).request(given(x=value))
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    assert "row 7" in caught.value.outcome.reason


def test_own_names_win_over_columns() -> None:
    """``row_number`` and ``batch`` mean the row's place and the batch, whatever the columns say."""
    request = build(prompt="{{ row_number }} {{ batch }}").request(given(row_number=1, batch="x"))
    assert request.params["prompt"] == "7 spring"
