"""The stage contract: one step of a recipe, turned into a request or done on the spot."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from headrace.artifact import Artifact
from headrace.provider import Provider
from headrace.request import Request


@dataclass(frozen=True)
class StageInput:
    """What a stage of one item may read.

    ``row`` are the item's inputs by column, ``outputs`` the artifacts of earlier stages
    by stage name, ``texts`` the text of those that are text, ``previous`` the artifact
    of the stage before, ``row_number`` counts from 1, ``batch_name`` names the batch,
    ``folders`` are those that file names in the row may point into.
    """

    row: dict[str, Any]
    outputs: dict[str, Artifact]
    texts: dict[str, str]
    previous: Artifact | None
    row_number: int
    batch_name: str
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Named:
    """What a ``write`` stage gives: the public file name, without a folder or extension."""

    file: str
    facts: dict[str, Any] = field(default_factory=dict)


class Stage(Protocol):
    """One step of a recipe, bound to its settings.

    A stage either calls a provider (``provider`` is set: permit, attempt, cache, price)
    or is done on the spot by ``apply`` (``provider`` is ``None``: pure and instant).
    """

    name: str
    kind: str
    provider: Provider | None
    cacheable: bool

    def columns(self) -> set[str]:
        """Return the input columns that the stage reads."""
        ...

    def request(self, given: StageInput) -> Request:
        """Return the request for one item; raises ``CallFailed`` (invalid) for a bad row."""
        ...

    def apply(self, given: StageInput) -> Artifact | Named | None:
        """Do a stage that calls nobody; ``None`` passes the previous artifact on."""
        ...
