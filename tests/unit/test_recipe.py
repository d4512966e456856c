"""Recipes and their templates: holes are filled, never run, and mistakes are named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import RecipeError
from headrace.recipe import Template, parse_recipe, read_recipe

STAGE = {"kind": "write"}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("plain", "plain"),
        ("", ""),
        ("{{ a }}", "1"),
        ("{{a}}{{ b }}", "1two"),
        ("x {{ b }} y", "x two y"),
        ("{{ none | b }}", "two"),
        ("{{ empty | a | b }}", "1"),
        ("{{ missing }}", ""),
        ("{{ zero }}", "0"),
        ("{{ yes }} {{ no }}", "true false"),
        ("{{ list }}", '["x",1]'),
        ("{{ stages.s }}", "text"),
        ("{ a } }} {{", "{ a } }} {{"),
    ],
)
def test_templates_fill(text: str, want: str) -> None:
    """Holes take the first value that is there; zero and false are values."""
    values = {"a": 1, "b": "two", "none": None, "empty": "", "zero": 0, "yes": True, "no": False}
    assert Template(text).fill(values | {"list": ["x", 1], "stages.s": "text"}) == want


@given(st.text(max_size=40), st.text(max_size=40))
def test_values_are_never_run(text: str, other: str) -> None:
    """A value goes in as it is, whatever holes it seems to have."""
    filled = Template("<{{ a }}|{{ b }}>").fill({"a": text, "b": other})
    assert filled == f"<{text}|{other}>"


@given(st.text(st.characters(exclude_characters="{"), max_size=60))
def test_text_without_holes_stays(text: str) -> None:
    """What has no hole comes out as it went in, and reads nothing."""
    template = Template(text)
    assert template.fill({}) == text
    assert not template.columns
    assert not template.stages


def test_templates_know_what_they_read() -> None:
    """Columns, stages and the two names of the house are told apart."""
    template = Template("{{ a | stages.s }} {{ row_number }} {{ batch }} {{ b }}")
    assert template.columns == {"a", "b"}
    assert template.stages == {"s"}


@pytest.mark.parametrize("text", ["{{ }}", "{{ a | }}", "{{| a}}"])
def test_an_empty_hole_is_an_error(text: str) -> None:
    """A hole without a name is an error with place and remedy."""
    with pytest.raises(RecipeError) as caught:
        Template(text, "r.toml prompt")
    assert caught.value.place == "r.toml prompt"
    assert "column name" in caught.value.remedy


def test_version_is_the_content() -> None:
    """The same content has the same version; any change, nested too, another."""
    one = parse_recipe({"stages": [STAGE | {"file": "a"}]}, "r")
    same = parse_recipe({"stages": [{"file": "a", "kind": "write"}]}, "elsewhere")
    other = parse_recipe({"stages": [STAGE | {"file": "b"}]}, "r")
    assert one.version == same.version != other.version


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, ["at least one stage"]),
        ({"stages": []}, ["at least one stage"]),
        ({"stages": [STAGE], "stage": 1}, ["'stage'", "'stages'"]),
        ({"stages": [{}]}, ["kind"]),
        ({"stages": [STAGE | {"name": "1x"}]}, ["1x", "letter"]),
        ({"stages": [STAGE | {"name": "a"}, STAGE | {"name": "a"}]}, ["two stages", "'a'"]),
        ({"stages": [STAGE], "columns": {"require": []}}, ["'required'"]),
        ({"stages": [STAGE], "columns": {"required": "a"}}, ["list"]),
        ({"stages": [5]}, ["table"]),
    ],
)
def test_wrong_recipes_are_named(body: dict[str, Any], words: list[str]) -> None:
    """A recipe that cannot be used says where and what is right."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(body, "r.toml")
    assert "r.toml" in caught.value.place
    for word in words:
        assert word in str(caught.value)


def test_files_are_read(tmp_path: Path) -> None:
    """A recipe file is named by its file unless it says otherwise; broken ones are told."""
    path = tmp_path / "cards.toml"
    path.write_text('[[stages]]\nkind = "write"\n', encoding="utf-8")
    assert read_recipe(path).name == "cards"
    for content in (b"= nonsense", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=r"cards\.toml"):
            read_recipe(path)
    with pytest.raises(RecipeError, match="no such recipe"):
        read_recipe(tmp_path / "gone.toml")


@pytest.mark.parametrize(
    ("columns", "used", "missing"),
    [
        (["title", "price"], {"title"}, None),
        (["title"], {"title", "tone"}, None),
        (["titel"], {"title"}, "title"),
        (["title"], {"title", "colour"}, "colour"),
        (None, {"anything"}, None),
    ],
)
def test_columns_are_checked(
    columns: list[str] | None, used: set[str], missing: str | None
) -> None:
    """Required and read columns must be there, unless optional or the input has no header."""
    body = {"columns": {"required": ["title"], "optional": ["tone"]}, "stages": [STAGE]}
    recipe = parse_recipe(body, "r.toml")
    if missing is None:
        recipe.check_columns(columns, used, "in.csv")
        return
    with pytest.raises(RecipeError) as caught:
        recipe.check_columns(columns, used, "in.csv")
    assert missing in caught.value.message
    assert caught.value.place == "in.csv"
