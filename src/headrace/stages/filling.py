"""Fills trees of templates from a row: parsed once when a recipe is built, cheap for each item."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from headrace.errors import HeadraceError, InputError
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.recipe import Template
from headrace.request import Request
from headrace.stage import StageInput

Values = dict[str, Any]
_Fill = Callable[[Values], Any]
_ONE_HOLE = re.compile(r"\{\{([^{}]*)\}\}")


def values_of(given: StageInput) -> Values:
    """Return what templates are filled from: the row, earlier texts, row number and batch."""
    values = {**given.row, "row_number": given.row_number, "batch": given.batch_name}
    for name, text in given.texts.items():
        values["stages." + name] = text
    return values


class Tree:
    """A nested table whose texts are templates.

    Numbers and booleans stay what they are. A text that is nothing but one hole takes
    the column's own value, so that a number in a JSON row stays a number. A template
    that comes out empty leaves its key out: an optional column that is not filled must
    not overrule the provider's default with nothing.
    """

    __slots__ = ("_fill", "_fixed", "columns", "stages")

    def __init__(self, table: dict[str, Any], place: str) -> None:
        self.columns: set[str] = set()
        self.stages: set[str] = set()
        self._fixed = table
        self._fill = self._compile(table, place)

    def fill(self, values: Values) -> dict[str, Any]:
        """Return the table filled from ``values``; do not change it, it may be shared."""
        if self._fill is None:
            return self._fixed
        filled: dict[str, Any] = self._fill(values)
        return filled

    def _compile(self, value: Any, place: str) -> _Fill | None:
        """Return the filler of ``value``, ``None`` when there is nothing to fill."""
        if isinstance(value, str):
            return self._text(value, place)
        if isinstance(value, dict):
            return self._table(value, place)
        if isinstance(value, list):
            return self._list(value, place)
        return None

    def _text(self, text: str, place: str) -> _Fill | None:
        if "{{" not in text:
            return None
        template = Template(text, place)
        self.columns |= template.columns
        self.stages |= template.stages
        hole = _ONE_HOLE.fullmatch(text.strip())
        if hole is None:
            return template.fill
        names = [name.strip() for name in hole.group(1).split("|")]
        return lambda values: _first(names, values)

    def _table(self, table: dict[str, Any], place: str) -> _Fill | None:
        parts = [(key, item, self._compile(item, f"{place}.{key}")) for key, item in table.items()]
        if all(fill is None for _, _, fill in parts):
            return None

        def fill_table(values: Values) -> dict[str, Any]:
            filled = {}
            for key, fixed, fill in parts:
                item = fixed if fill is None else fill(values)
                if fill is None or item != "":
                    filled[key] = item
            return filled

        return fill_table

    def _list(self, items: list[Any], place: str) -> _Fill | None:
        parts = [(item, self._compile(item, f"{place}[{n}]")) for n, item in enumerate(items)]
        if all(fill is None for _, fill in parts):
            return None

        def fill_list(values: Values) -> list[Any]:
            pairs = [(fill, item if fill is None else fill(values)) for item, fill in parts]
            return [item for fill, item in pairs if fill is None or item != ""]

        return fill_list


def _first(names: list[str], values: Values) -> Any:
    for name in names:
        value = values.get(name)
        if value is not None and value != "":
            return value
    return ""


def checked(build: Callable[[StageInput], Request], given: StageInput) -> Request:
    """Return the request that ``build`` makes; a row that cannot be hashed is invalid.

    Numbers beyond 2**53, NaN and lone surrogates have no canonical form. The fingerprint
    taken here is kept with the request, so nothing is done twice.
    """
    try:
        request = build(given)
        request.fingerprint  # noqa: B018 - cached, and it raises for what cannot be hashed
    except HeadraceError as error:
        raise invalid(error, given) from error
    except RecursionError:
        deep = InputError("a value is nested too deeply", remedy="Flatten it.")
        raise invalid(deep, given) from None
    return request


def invalid(error: HeadraceError, given: StageInput) -> CallFailed:
    """Return the failure of a row that ``error`` is about."""
    reason = f"row {given.row_number}: {error.message}"
    return failed(OutcomeKind.INVALID, reason, remedy=error.remedy)


def need_texts(stages: frozenset[str], given: StageInput) -> None:
    """Raise ``CallFailed`` (invalid) when a template wants the text of an output that has none."""
    for name in stages:
        if name not in given.texts:
            made = given.outputs.get(name)
            what = "nothing" if made is None else made.media_type
            raise failed(
                OutcomeKind.INVALID,
                f"{{{{ stages.{name} }}}} wants text, but stage {name!r} gave {what}",
                remedy="Name a stage that writes text.",
            )
