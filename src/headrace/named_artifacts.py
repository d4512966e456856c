"""Artifacts that rows name by their digest: a tenant may name its own, and no other's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from headrace.errors import HeadraceError, InputError
from headrace.outcome import Outcome, OutcomeKind
from headrace.recipe import Recipe, Template
from headrace.source import Row

DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
DIGESTS_MAX = 100_000
"""So many different ones are looked at when a batch is submitted; each is when it is read."""

_REMEDY = "Name an artifact that was delivered to you: sha256: and its digest."


def no_such_artifact(sha256_hex: str, row_number: int) -> Outcome:
    """Return the end of an item that names an artifact which is not there for its tenant.

    It reads the same whether somebody else has it or nobody: who asks learns nothing.
    """
    reason = f"row {row_number}: there is no artifact sha256:{sha256_hex}"
    return Outcome(OutcomeKind.INVALID, reason, remedy=_REMEDY, cost_microusd=0)


class NamedArtifacts:
    """The digests that rows name under one recipe, gathered as the rows pass.

    ``first_rows`` has for each digest the number of the row that named it first.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.first_rows: dict[bytes, int] = {}
        self._templates = [*_templates(recipe)]

    def passing(self, rows: Iterable[Any]) -> Iterator[Any]:
        """Pass rows on and remember what they name; the rest of a huge batch is looked at later."""
        if not self._templates:
            yield from rows
            return
        for number, row in enumerate(rows, 1):
            values = row.values if isinstance(row, Row) else row
            if isinstance(values, Mapping) and len(self.first_rows) < DIGESTS_MAX:
                self._look({**values, "row_number": number}, number)
            yield row

    def check(self, foreign: set[bytes]) -> None:
        """Raise ``InputError`` for the first row that names one of ``foreign``."""
        if foreign:
            number, digest = min((self.first_rows[one], one) for one in foreign)
            raise InputError(
                f"there is no artifact sha256:{digest.hex()}",
                place=f"row {number}",
                remedy=_REMEDY,
            )

    def _look(self, values: dict[str, Any], number: int) -> None:
        for template in self._templates:
            try:
                found = DIGEST.fullmatch(template.fill(values).strip())
            except (HeadraceError, ValueError, TypeError, RecursionError):
                continue  # a cell that cannot be written is named where the row becomes an item
            if found is not None:
                self.first_rows.setdefault(bytes.fromhex(found[1]), number)


def _templates(recipe: Recipe) -> Iterator[Template]:
    """Yield the sources of a recipe's stages that a row alone can fill."""
    for spec in recipe.stages:
        if spec.kind != "generate":
            continue
        table = spec.settings.get("sources", {})
        told = [*table.values()] if isinstance(table, dict) else []
        told.append(spec.settings.get("image"))
        for one in told:
            for text in one if isinstance(one, list) else [one]:
                if isinstance(text, str):
                    template = Template(text, spec.place)
                    if template.columns and not template.stages and not template.files:
                        yield template
