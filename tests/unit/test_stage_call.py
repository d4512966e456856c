"""The call stage: rows that are requests, each to the model that it names."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import RecipeError
from headrace.intake import recipe_of
from headrace.openai_body import CHAT, EDITS, IMAGES
from headrace.outcome import CallFailed
from headrace.request import Request
from headrace.stage import Stage, StageInput, requests_of
from headrace.stages import build_stages
from headrace.testing import SimulatedProvider
from headrace.testing.conformance import StageConformance


def build(*models: str, endpoint: str = IMAGES) -> Stage:
    """A stage whose rows may name these models."""
    return build_stages(recipe_of(endpoint, [*models]), {"simulated": SimulatedProvider()})[0]


def given(number: int = 1, **body: Any) -> StageInput:
    """A row with such a body."""
    told = {"model": "simulated:a", "prompt": f"p{number}"} | body
    return StageInput({"custom_id": "x", "body": told}, {}, {}, None, number, "batch")


class TestCall(StageConformance):
    """What every stage keeps."""

    def make_stage(self) -> Stage:
        """One model."""
        return build("simulated:a")

    def make_input(self, number: int) -> StageInput:
        """Another prompt for each number."""
        return given(number)


def test_the_row_names_the_model_and_the_params() -> None:
    """Only the model that a row names is asked, with what its body says and no more."""
    stage = build("simulated:a", "simulated:b")
    wanted = given(model="simulated:b", size="9x9", user="u", stream=False, n=1, seed=None)
    requests = requests_of(stage, wanted)
    assert [one.model for one in requests] == ["b"]
    assert requests[0].params == {"prompt": "p1", "size": "9x9"}
    assert stage.models is not None
    assert [place for place, _ in stage.models.of(wanted)] == [1]


@pytest.mark.parametrize(
    "body",
    [
        {"model": "simulated:c"},
        {"model": "a"},
        {"model": 7},
        {"prompt": " "},
        {"n": 2},
        {"response_format": "url"},
        {"image": {"source": 0}},
        {"seed": 2**60},
    ],
)
def test_a_body_that_cannot_be_sent_is_invalid(body: dict[str, Any]) -> None:
    """A wrong row fails by itself, and asks nobody."""
    with pytest.raises(CallFailed):
        build("simulated:a").request(given(**body))


def test_variants_are_other_results_of_the_same_call() -> None:
    """The first is what a body without a variant asks for; the next is another, sent alike."""
    stage = build("simulated:a")

    def asked(**more: Any) -> Request:
        row = {"body": {"model": "simulated:a", "prompt": "p"}, **more}
        return stage.request(StageInput(row, {}, {}, None, 1, "batch"))

    assert asked(variant=0).fingerprint == asked().fingerprint
    assert len({asked(variant=number).fingerprint for number in range(3)}) == 3
    assert asked(variant=2).params == asked().params
    for wrong in ("1", -1, True, 1.5):
        with pytest.raises(CallFailed):
            asked(variant=wrong)


def test_an_edit_has_its_pictures_as_sources() -> None:
    """Pictures by hash become sources, each once; what was not looked up is invalid."""
    stage = build("simulated:a", endpoint=EDITS)
    one, two = (f"sha256:{digit * 64}" for digit in "ab")
    request = stage.request(given(image=[one, two, one], mask=two))
    assert request.placed() == {"image": ("a" * 64, "b" * 64, "a" * 64), "mask": ("b" * 64,)}
    for wrong in ("file-x", None, [], [f"sha256:{number:064x}" for number in range(17)]):
        with pytest.raises(CallFailed):
            stage.request(given(image=wrong))


def test_no_body_is_invalid() -> None:
    """A row without an object for a body fails by itself."""
    with pytest.raises(CallFailed):
        build("simulated:a").request(StageInput({"body": "x"}, {}, {}, None, 1, "batch"))


@pytest.mark.parametrize("models", [[], ["a"], ["nobody:a"], [f"simulated:{n}" for n in range(65)]])
def test_a_wrong_list_of_models_is_an_error(models: list[str]) -> None:
    """Models that cannot be called are told when the stage is built."""
    with pytest.raises(RecipeError):
        build(*models, endpoint=CHAT)
