"""JSON Schemas that a recipe ships: checked when it is built, answers judged by them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from headrace.errors import RecipeError
from headrace.json_text import NotJsonError, read_json

COMPLAINTS_MAX = 8
_SHOWN = 80
_REFERENCES = ("$ref", "$dynamicRef")


def read_schema(text: str, place: str) -> dict[str, Any]:
    """Return a schema (draft 2020-12) from its text; raises ``RecipeError``.

    References may lead inside the schema only: nothing is fetched to judge an answer.
    """
    try:
        schema = read_json(text)
        if not isinstance(schema, dict):
            raise NotJsonError("it is not an object")
        Draft202012Validator.check_schema(schema)
    except NotJsonError as error:
        raise RecipeError(f"the schema cannot be used: {error}", place=place) from error
    except SchemaError as error:
        raise RecipeError(
            f"the schema is wrong at {error.json_path}: {error.message[:200]}", place=place
        ) from error
    for reference in _references(schema):
        if not reference.startswith("#"):
            raise RecipeError(
                f"the schema refers to {reference[:100]!r}",
                place=place,
                remedy="Put the definition into the same file, under $defs.",
            )
    return schema


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in _REFERENCES and isinstance(item, str):
                yield item
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def misfits(value: Any, schema: dict[str, Any]) -> list[str]:
    """Return what is wrong with ``value``, each with its place; empty when it fits."""
    validator = Draft202012Validator(schema)
    found = []
    try:
        for error in validator.iter_errors(value):
            found.append(f"{error.json_path.removeprefix('$.')}: {_said(error.message)}")
            if len(found) == COMPLAINTS_MAX:
                break
    except RecursionError:
        found.append("it is nested too deeply")
    return found


def _said(message: str) -> str:
    return message if len(message) <= 2 * _SHOWN else f"{message[:_SHOWN]} … {message[-_SHOWN:]}"
