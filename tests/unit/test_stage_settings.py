"""Building stages from recipes: every wrong setting is an error with its place and remedy."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import RecipeError
from headrace.provider import Provider
from headrace.providers.local.images import ImagesProvider
from headrace.recipe import Recipe, parse_recipe
from headrace.stage import Stage
from headrace.stages import STAGE_KINDS, build_stages, stages_read
from headrace.testing import SimulatedProvider, SimulatedSettings

GENERATE: dict[str, Any] = {"kind": "generate", "model": "simulated:m", "prompt": "{{ title }}"}


def recipe(*stages: dict[str, Any]) -> Recipe:
    return parse_recipe({"stages": list(stages)}, "cards.toml")


def build(*stages: dict[str, Any]) -> list[Stage]:
    simulated = SimulatedProvider(SimulatedSettings(models=("m", "n")))
    providers: dict[str, Provider] = {"simulated": simulated, "images": ImagesProvider()}
    return build_stages(recipe(*stages), providers)


def error_of(*stages: dict[str, Any]) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        build(*stages)
    assert "cards.toml" in caught.value.place, "an error names its place"
    return caught.value


def test_every_kind_builds() -> None:
    """A recipe of all kinds that need no template becomes a list of stages in its order."""
    built = build(
        GENERATE,
        {"kind": "resize", "width": 100},
        {"kind": "watermark", "text": "© {{ brand }}"},
        {"kind": "check", "not_blank": True},
        {"kind": "write", "file": "{{ sku }}"},
    )
    assert [stage.kind for stage in built] == ["generate", "resize", "watermark", "check", "write"]
    assert set().union(*(stage.columns() for stage in built)) == {"title", "brand", "sku"}
    pictures = {"render", "resize", "watermark", "poster"}
    assert set(STAGE_KINDS) == pictures | {"generate", "call", "check", "compose", "write"}


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"kind": "genrate"}, ["genrate", "generate"]),
        (GENERATE | {"promt": "x"}, ["promt", "'prompt'"]),
        ({"kind": "generate", "prompt": "x"}, ["model", "missing"]),
        ({"kind": "generate", "model": "simulated:m"}, ["prompt", "missing"]),
        (GENERATE | {"prompt": 5}, ["prompt", "5"]),
        (GENERATE | {"prompt": "a {{ }}"}, ["empty", "column"]),
        (GENERATE | {"model": "m"}, ["provider:m"]),
        (GENERATE | {"model": "replicat:x"}, ["replicat", "[providers.replicat]"]),
        (GENERATE | {"model": "simulated:mm"}, ["mm", "Did you mean"]),
        (GENERATE | {"params": 5}, ["params", "table"]),
        (GENERATE | {"params": {"a": 1}, "inputs": {"b": 2}}, ["params", "inputs"]),
        (GENERATE | {"params": {"prompt": "x"}}, ["prompt", "twice"]),
        (GENERATE | {"params": {"seed": 1}, "seed": 2}, ["seed", "twice"]),
        (GENERATE | {"seed": 1.5}, ["seed", "1.5"]),
        ({"kind": "render", "template": "x"}, ["template", "not configured"]),
    ],
)
def test_wrong_settings_say_what_is_right(stage: dict[str, Any], words: list[str]) -> None:
    """An unknown kind, key or value is named, with the nearest right one or the remedy."""
    text = str(error_of(stage))
    for word in words:
        assert word in text


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"kind": "resize"}, ["nothing to do"]),
        ({"kind": "resize", "widht": 5}, ["widht", "'width'"]),
        ({"kind": "resize", "width": 0}, ["width", "between"]),
        ({"kind": "resize", "width": 1.5}, ["whole"]),
        ({"kind": "resize", "width": True}, ["number"]),
        ({"kind": "resize", "width": 5, "fit": "cover"}, ["cover", "height"]),
        ({"kind": "resize", "width": 5, "fit": "covr"}, ["covr", "'cover'"]),
        ({"kind": "resize", "width": 5, "height": 5, "background": "red"}, ["#rrggbb"]),
        ({"kind": "resize", "width": 9000, "height": 9000, "fit": "cover"}, ["megapixels"]),
        ({"kind": "watermark"}, ["either"]),
        ({"kind": "watermark", "text": "a", "image": "b.png"}, ["either"]),
        ({"kind": "watermark", "text": "a", "position": "botom"}, ["'bottom'"]),
        ({"kind": "watermark", "text": "a", "opacity": 2}, ["opacity", "between"]),
        ({"kind": "check"}, ["rule"]),
        ({"kind": "check", "not_blank": "yes"}, ["true or false"]),
        ({"kind": "check", "bytes_min": 5, "bytes_max": 4}, ["bytes_min", "above"]),
        ({"kind": "check", "forbidden": "a"}, ["list"]),
        ({"kind": "write", "fil": "a"}, ["fil", "'file'"]),
    ],
)
def test_wrong_settings_of_later_stages(stage: dict[str, Any], words: list[str]) -> None:
    """Stages that work on an earlier result check their settings as strictly."""
    text = str(error_of(GENERATE, stage))
    for word in words:
        assert word in text


@pytest.mark.parametrize("kind", ["resize", "watermark", "check"])
def test_work_on_nothing_is_an_error(kind: str) -> None:
    """A stage that needs an earlier result cannot come first, nor after only a name."""
    settings = {"resize": {"width": 5}, "watermark": {"text": "a"}, "check": {"not_blank": True}}
    stage = {"kind": kind, **settings[kind]}
    assert "earlier stage" in str(error_of(stage))
    assert "earlier stage" in str(error_of({"kind": "write"}, stage))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("draft", ["draft", "comes later"]),
        ("outline", ["itself"]),
        ("intor", ["does not exist", "intro"]),
    ],
)
def test_only_earlier_stages_can_be_read(name: str, words: list[str]) -> None:
    """A template that reads a stage which is not earlier is an error, wherever it stands."""
    reading = GENERATE | {"name": "outline", "params": {"a": [{"b": f"{{{{ stages.{name} }}}}"}]}}
    text = str(error_of(GENERATE | {"name": "intro"}, reading, GENERATE | {"name": "draft"}))
    for word in words:
        assert word in text


def test_stages_read_are_found_anywhere() -> None:
    """The stages that templates read are found in nested settings too."""
    (spec,) = recipe(
        GENERATE | {"prompt": "{{ stages.a | b }}", "params": {"x": ["{{ stages.c }}"]}}
    ).stages
    assert stages_read(spec) == {"a", "c"}
