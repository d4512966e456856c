"""Fills trees of templates: parsed once when a recipe or table is read, cheap for each item."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from headrace.recipe import Template

Values = dict[str, Any]
_Fill = Callable[[Values], Any]
_ONE_HOLE = re.compile(r"\{\{([^{}]*)\}\}")


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
