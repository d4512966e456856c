"""Artifacts that rows name by their digest: a tenant may name its own, and no other's."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Any

from headrace.errors import HeadraceError
from headrace.outcome import Outcome, OutcomeKind
from headrace.recipe import Recipe, Template
from headrace.source import BadRow, Row

_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_REMEDY = "Name an artifact that was delivered to you: sha256: and its digest."


def no_such_artifact(sha256_hex: str, row_number: int) -> Outcome:
    """Return the end of an item that names an artifact which is not there for its tenant.

    It reads the same whether somebody else has it or nobody: who asks learns nothing.
    """
    reason = f"row {row_number}: there is no artifact sha256:{sha256_hex}"
    return Outcome(OutcomeKind.INVALID, reason, remedy=_REMEDY, cost_microusd=0)


async def own_only(
    rows: Iterable[Any],
    recipe: Recipe,
    tenant_id: str,
    foreign: Callable[[str, set[bytes]], Awaitable[set[bytes]]],
) -> Iterable[Any]:
    """Return rows, those that name a foreign artifact as rows that cannot be used.

    Rows that stream from a file are left: each is looked at when it is its turn to be made.
    """
    templates = [*_templates(recipe)]
    if not templates or not isinstance(rows, list):
        return rows
    named = [_digests(templates, row, number) for number, row in enumerate(rows, 1)]
    refused = await foreign(tenant_id, set().union(*named))
    return [
        _refused(row, number, min(digests & refused)) if digests & refused else row
        for number, (row, digests) in enumerate(zip(rows, named, strict=True), 1)
    ]


def _refused(row: Any, number: int, digest: bytes) -> BadRow:
    values = dict(row.values if isinstance(row, Row) else row)
    line = row.line if isinstance(row, Row) else number
    reason = f"there is no artifact sha256:{digest.hex()}"
    return BadRow(number, line, None, reason, _REMEDY, values=values)


def _digests(templates: list[Template], row: Any, number: int) -> set[bytes]:
    """Return what a row names; a cell that cannot be written is told where it becomes an item."""
    values = row.values if isinstance(row, Row) else row
    found: set[bytes] = set()
    if isinstance(values, Mapping):
        for template in templates:
            try:
                told = _DIGEST.fullmatch(template.fill({**values, "row_number": number}).strip())
            except (HeadraceError, ValueError, TypeError, RecursionError):
                continue
            if told is not None:
                found.add(bytes.fromhex(told[1]))
    return found


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
