"""What stages fill their templates from, and what is wrong with a row that cannot fill them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from headrace.errors import HeadraceError, InputError
from headrace.json_text import NotJsonError, read_json
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.request import Request
from headrace.stage import StageInput
from headrace.tree import Tree, Values

__all__ = ["RowValues", "Tree", "Values", "checked", "invalid", "need_texts", "values_of"]

_STAGE = "stages."


class RowValues(dict[str, Any]):
    """What templates are filled from, by name; the fields of a stage's JSON when asked for."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value called ``name``; ``stages.seo.title`` is read out of ``stages.seo``."""
        if name in self or not name.startswith(_STAGE) or name.count(".") != 2:
            return super().get(name, default)
        stage, _, field = name.rpartition(".")
        try:
            told = read_json(super().get(stage, ""))
        except NotJsonError:
            return default
        return told.get(field, default) if isinstance(told, dict) else default


def values_of(given: StageInput, files: Mapping[str, str] | None = None) -> RowValues:
    """Return what templates are filled from: row, earlier texts, files, row number and batch."""
    values = RowValues(given.row)
    values["row_number"], values["batch"] = given.row_number, given.batch_name
    for name, text in given.texts.items():
        values[_STAGE + name] = text
    for name, text in (files or {}).items():
        values["files." + name] = text
    return values


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
