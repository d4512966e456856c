"""Answers made up for rehearsals fit what was asked for, and never take much to make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace
from headrace.json_schema import misfits, read_schema
from headrace.json_text import NotJsonError, read_json
from headrace.made_up import made_up, schema_of

FRONT = Path(headrace.__file__).parent / "recipes" / "article" / "front.json"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def test_the_article_schema_is_answered() -> None:
    """The shipped schema is fitted by what is made up for it."""
    schema = read_schema(FRONT.read_text(), "front.json")
    assert misfits(made_up(schema, "simulated-1"), schema) == []
    assert misfits({"title": 5}, schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "minItems": 99, "items": {"type": "array", "minItems": 99}},
        {"required": "x", "properties": 5, "type": "object"},
        {"type": "integer", "minimum": "x"},
        {"anyOf": [{"$ref": "#"}]},
    ],
)
def test_a_greedy_or_broken_schema_is_answered_in_small(schema: dict[str, Any]) -> None:
    """What a stranger's request asks for cannot fill this machine's memory."""
    assert len(msgspec.json.encode(made_up(schema, "a"))) < 100_000


@given(st.dictionaries(st.sampled_from(["type", "enum", "items", "required", "anyOf"]), JSON))
def test_any_schema_is_answered(schema: dict[str, Any]) -> None:
    """No schema, however wrong, is an error of whoever rehearses."""
    made_up(schema, "a")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, None),
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_object", "schema": {"a": 1}}, {"a": 1}),
        ({"type": "json_schema", "json_schema": {"schema": {"a": 1}}}, {"a": 1}),
        ({"type": "json_schema", "json_schema": 3}, {"type": "object"}),
    ],
)
def test_both_forms_of_asking_are_known(asked: Any, found: Any) -> None:
    """OpenAI's form and that of other servers lead to the same schema."""
    assert schema_of(asked) == found


@pytest.mark.parametrize("text", ['{"a": 1}', '```json\n{"a": 1}\n```', '\ufeff {"a": 1}\n'])
def test_json_is_read_as_models_write_it(text: str) -> None:
    """A code fence around it is taken off."""
    assert read_json(text) == {"a": 1}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not JSON"),
        ("NaN", "NaN"),
        ('{"a": 1, "a": 2}', "twice"),
        ("[" * 100_000, "nested|JSON"),
        ('"' + "x" * 300_000 + '"', "characters"),
        ('Sure! {"a": 1}', "line 1, column 1"),
    ],
)
def test_what_is_no_json_says_why(text: str, said: str) -> None:
    """The reason can be told to the model as it is."""
    with pytest.raises(NotJsonError, match=said):
        read_json(text)
