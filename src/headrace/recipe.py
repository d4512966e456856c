"""Recipes: named lists of stages read from TOML, versioned by their content."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from headrace.errors import InputError, RecipeError
from headrace.fingerprint import fingerprint
from headrace.nearest import did_you_mean
from headrace.policy_table import PolicyTable, read_policy
from headrace.recipe_changes import changed, merged
from headrace.recipe_files import is_read, with_files

_HOLE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_WHOM = frozenset({"model", "models", "provider", "route"})
_TOP_KEYS = {"name", "description", "columns", "stages", "defaults", "files", "policy"}


class Template:
    """Text with ``{{ column }}`` holes: logic-less, so that a row can never be code.

    ``{{ a | b }}`` takes the first that is not empty; ``{{ stages.outline }}`` is the
    text of an earlier stage, ``{{ stages.seo.title }}`` a field of it where it is JSON;
    ``{{ files.voice }}`` is the text of one of the recipe's files; ``{{ row_number }}``
    and ``{{ batch }}`` are always there.
    """

    __slots__ = ("_parts", "columns", "files", "stages", "text")

    def __init__(self, text: str, place: str = "") -> None:
        self.text = text
        self.columns: set[str] = set()
        self.stages: set[str] = set()
        self.files: set[str] = set()
        self._parts: list[str | list[str]] = []
        at = 0
        for hole in _HOLE.finditer(text):
            self._parts.append(text[at : hole.start()])
            self._parts.append(self._names(hole.group(1), place))
            at = hole.end()
        self._parts.append(text[at:])

    def _names(self, hole: str, place: str) -> list[str]:
        names = [name.strip() for name in hole.split("|")]
        for name in names:
            if not name:
                raise RecipeError(
                    f"an empty {{{{ }}}} in {self.text!r}",
                    place=place,
                    remedy="Write a column name: {{ title }}, or {{ a | b }} for the first filled.",
                )
            if name.startswith("stages."):
                self.stages.add(name.split(".")[1])
            elif name.startswith("files."):
                self.files.add(name.removeprefix("files."))
            elif name not in ("row_number", "batch"):
                self.columns.add(name)
        return names

    def fill(self, values: dict[str, Any]) -> str:
        """Return the text with every hole filled from ``values`` (missing ones are empty)."""
        if len(self._parts) == 3 and not self._parts[0] and not self._parts[2]:
            return self._first(self._parts[1], values)
        return "".join(
            part if isinstance(part, str) else self._first(part, values) for part in self._parts
        )

    @staticmethod
    def _first(names: str | list[str], values: dict[str, Any]) -> str:
        for name in names:
            value = values.get(name)
            if value is not None and value != "":
                return value if isinstance(value, str) else _show(value)
        return ""


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        from headrace.fingerprint import canonical_json

        return canonical_json(value).decode()
    return str(value)


@dataclass(frozen=True)
class StageSpec:
    """One ``[[stages]]`` table: its name, kind, and the settings of that kind.

    ``files`` are the texts of the recipe's files by their name in ``[files]``.
    """

    name: str
    kind: str
    settings: dict[str, Any]
    place: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A named list of stages, with the columns that its input must have."""

    name: str
    description: str
    required: tuple[str, ...]
    optional: tuple[str, ...]
    stages: tuple[StageSpec, ...]
    body: dict[str, Any]
    policy: PolicyTable = field(default_factory=PolicyTable)

    @cached_property
    def version(self) -> bytes:
        """Return the 32-byte SHA-256 of the recipe's content."""
        return fingerprint(self.body)

    def check_columns(self, columns: list[str] | None, used: set[str], place: str) -> None:
        """Raise ``RecipeError`` for columns that the recipe needs and the input lacks.

        ``columns`` is ``None`` for inputs without a header; such rows are checked one by
        one. ``used`` are the columns that the stages read; those neither declared
        optional nor there are an error as well, so that a typo never renders blanks.
        """
        if columns is None:
            return
        needed = set(self.required) | (used - set(self.optional))
        missing = sorted(needed - set(columns))
        if not missing:
            return
        hints = " ".join(f"{name!r}: {did_you_mean(name, columns)}" for name in missing[:3])
        if len(missing) == 1:
            hints = did_you_mean(missing[0], columns)
        word = "column" if len(missing) == 1 else "columns"
        raise RecipeError(
            f"recipe {self.name!r} needs the {word} {', '.join(map(repr, missing))}, "
            f"which the input does not have",
            place=place,
            remedy=f"Add or rename the {word} in the input's header. {hints}",
        )


BUILT_IN = Path(__file__).parent / "recipes"


def find_recipe(
    name: str, folders: tuple[Path, ...] = (), changes: Mapping[str, Any] | None = None
) -> Recipe:
    """Return the recipe called ``name`` in ``folders`` or among the built-in ones.

    A name that ends in ``.toml`` is a file. ``changes`` are laid over it. Raises
    ``RecipeError`` with the known names.
    """
    if name.endswith(".toml"):
        return read_recipe(Path(name), folders, changes)
    shelves = (*folders, BUILT_IN)
    for shelf in shelves:
        path = shelf / f"{name}.toml"
        if _NAME.fullmatch(name) and path.is_file():
            return read_recipe(path, folders, changes)
    raise RecipeError(
        f"there is no recipe {name[:80]!r}", remedy=did_you_mean(name, recipe_names(folders))
    )


def check_recipe_name(name: str) -> str:
    """Return a name that a stranger may tell: of a recipe, not a path. Raises ``InputError``."""
    if not name or name.endswith(".toml") or "/" in name or not name.isprintable():
        raise InputError(
            "recipe must be the name of one", place="recipe", remedy="headrace recipes lists them."
        )
    return name


def recipe_names(folders: tuple[Path, ...] = ()) -> list[str]:
    """Return the names of the recipes in ``folders`` and of the built-in ones, sorted."""
    shelves = (*folders, BUILT_IN)
    return sorted({path.stem for shelf in shelves for path in shelf.glob("*.toml")})


def read_recipe(
    path: Path, folders: tuple[Path, ...] = (), changes: Mapping[str, Any] | None = None
) -> Recipe:
    """Read a recipe file; raises ``RecipeError`` naming the file, the place and the remedy.

    Its files are looked for in ``folders`` first, then beside it.
    """
    try:
        body = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError("there is no such recipe file", place=str(path)) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"the recipe cannot be read: {error}", place=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"not valid TOML: {error}", place=str(path)) from error
    body = changed(body, changes or {}, f"settings of recipe {path.stem}")
    body = with_files(body, path.parent, folders, str(path))
    return parse_recipe(body, str(path), default_name=path.stem)


def parse_recipe(body: dict[str, Any], place: str, default_name: str = "recipe") -> Recipe:
    """Return the recipe that a TOML (or JSON) tree describes; raises ``RecipeError``."""
    _known(body, _TOP_KEYS, place)
    columns = _table(body.get("columns", {}), "columns", place)
    _known(columns, {"required", "optional"}, f"{place} [columns]")
    stages = body.get("stages")
    if not isinstance(stages, list) or not stages:
        raise RecipeError(
            "a recipe needs at least one stage",
            place=place,
            remedy='Add a [[stages]] table with name = "…" and kind = "generate" or "render".',
        )
    files = _files(body, place)
    defaults = _table(body.get("defaults", {}), "defaults", place)
    specs = tuple(
        _stage(table, index, place, files, defaults) for index, table in enumerate(stages, 1)
    )
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise RecipeError(f"two stages are named {twice[0]!r}", place=place)
    return Recipe(
        name=str(body.get("name", default_name)),
        description=str(body.get("description", "")),
        required=tuple(_words(columns.get("required", []), "columns.required", place)),
        optional=tuple(_words(columns.get("optional", []), "columns.optional", place)),
        stages=specs,
        body=body,
        policy=read_policy(body.get("policy", {}), place, RecipeError, trusted=False),
    )


def _files(body: dict[str, Any], place: str) -> dict[str, str]:
    table = _table(body.get("files", {}), "files", place)
    for name, value in table.items():
        if not is_read(value):
            raise RecipeError(
                f"the file {name!r} cannot be read here",
                place=f"{place} [files]",
                remedy="Only a recipe that is a file itself can name files.",
            )
    return {name: value["text"] for name, value in table.items()}


def _stage(
    table: Any, index: int, place: str, files: Mapping[str, str], defaults: Mapping[str, Any]
) -> StageSpec:
    here = f"{place} [[stages]] {index}"
    settings = dict(_table(table, "stages", here))
    kind = settings.pop("kind", None)
    if not isinstance(kind, str):
        raise RecipeError("a stage needs a kind", place=here, remedy='For example kind = "render".')
    name = settings.pop("name", f"{kind}{index}")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RecipeError(
            f"{name!r} is not a stage name",
            place=here,
            remedy="Use a letter, then letters, digits, '_' or '-' (64 at most).",
        )
    if kind == "generate":
        shared = {key: value for key, value in defaults.items() if key not in _WHOM}
        settings = merged(shared if _WHOM & settings.keys() else defaults, settings)
    return StageSpec(name, kind, settings, here, files)


def _table(value: Any, name: str, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RecipeError(f"{name} must be a table, not {value!r}", place=place)
    return value


def _words(value: Any, name: str, place: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise RecipeError(f"{name} must be a list of column names, not {value!r}", place=place)
    return value


def _known(table: dict[str, Any], known: set[str], place: str) -> None:
    for key in table:
        if key not in known:
            raise RecipeError(f"unknown key {key!r}", place=place, remedy=did_you_mean(key, known))
