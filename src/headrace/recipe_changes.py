"""Settings laid over a recipe from outside: another model, another file, without editing it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from headrace.errors import RecipeError
from headrace.nearest import did_you_mean
from headrace.recipe_files import read_file

_FIXED = ("name", "kind")
_INSTEAD = (("model", ("models", "route")), ("models", ("model", "provider")))
TABLES = ("defaults", "files")
"""What can be changed beside the stages."""


def read_changes(told: Iterable[str]) -> dict[str, Any]:
    """Return the tree that words such as ``outline.model=openai:gpt-5-mini`` describe.

    A value is read as TOML where it is some (numbers, true, lists), else as text. Raises
    ``RecipeError`` for a word without ``=`` or without a dot.
    """
    tree: dict[str, Any] = {}
    for word in told:
        name, equals, value = word.partition("=")
        keys = [key.strip() for key in name.split(".")]
        if not equals or len(keys) < 2 or not all(keys):
            raise RecipeError(
                f"{word!r} sets nothing",
                place="--set",
                remedy="Write STAGE.SETTING=VALUE, as in outline.model=openai:gpt-5-mini.",
            )
        branch = tree
        for key in keys[:-1]:
            branch = branch.setdefault(key, {})
            if not isinstance(branch, dict):
                raise RecipeError(f"{word!r} is set below a value", place="--set")
        branch[keys[-1]] = _literal(value)
    return tree


def _literal(text: str) -> Any:
    try:
        value = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    # A date is text in a recipe, and so is what only looks like several lines of TOML.
    plain = value.keys() == {"value"} and isinstance(
        value["value"], str | int | float | bool | list | dict
    )
    return value["value"] if plain else text


def changed(body: dict[str, Any], changes: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return a recipe's tree with ``changes`` laid over it: by stage name, or one of ``TABLES``.

    Files are named relative to the current folder, and read here. Raises ``RecipeError``
    for a stage that the recipe does not have.
    """
    if not changes:
        return body
    stages = body.get("stages")
    tables = stages if isinstance(stages, list) else []
    made = body | {
        "stages": [dict(table) if isinstance(table, dict) else table for table in tables]
    }
    by_name = {
        table.get("name", f"{table.get('kind')}{number}"): table
        for number, table in enumerate(made["stages"], 1)
        if isinstance(table, dict)
    }
    for name, settings in changes.items():
        if not isinstance(settings, Mapping):
            raise RecipeError(
                f"{name} = {settings!r} is not a table of settings",
                place=place,
                remedy=f"Name the setting: {name}.model, say.",
            )
        if name == "files":
            made["files"] = _files(made.get("files", {}), settings, place)
        elif name == "defaults":
            made["defaults"] = merged(made.get("defaults", {}), settings)
        else:
            _change(by_name, name, settings, place)
    return made


def _change(
    by_name: dict[str, dict[str, Any]], name: str, settings: Mapping[str, Any], place: str
) -> None:
    if name not in by_name:
        raise RecipeError(
            f"the recipe has no stage {name!r}",
            place=place,
            remedy=did_you_mean(name, [*by_name, *TABLES]),
        )
    fixed = [key for key in _FIXED if key in settings]
    if fixed:
        raise RecipeError(
            f"the {fixed[0]} of a stage cannot be set from outside",
            place=place,
            remedy="Copy the recipe into recipes/ and edit it there.",
        )
    for named, others in _INSTEAD:
        if named in settings:
            for other in others:
                by_name[name].pop(other, None)
    by_name[name].update(merged(by_name[name], settings))


def _files(table: Any, settings: Mapping[str, Any], place: str) -> dict[str, Any]:
    known = dict(table) if isinstance(table, dict) else {}
    for name, value in settings.items():
        if name not in known:
            raise RecipeError(
                f"the recipe names no file {name!r}", place=place, remedy=did_you_mean(name, known)
            )
        known[name] = read_file(Path(str(value)), f"{place} files.{name}")
    return known


def changes_for(
    tables: Mapping[str, Mapping[str, Any]], name: str, more: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what is laid over the recipe ``name``: its table of the settings, then ``more``."""
    return merged(tables.get(Path(name).stem, {}), more or {})


def merged(table: Any, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``table`` with ``more`` laid over it, tables in it key by key."""
    made = dict(table) if isinstance(table, Mapping) else {}
    for key, value in more.items():
        made[key] = merged(made.get(key), value) if isinstance(value, Mapping) else value
    return made
