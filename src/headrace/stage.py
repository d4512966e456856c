"""The stage contract: one step of a recipe, turned into a request or done on the spot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
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


class Route(StrEnum):
    """In which order a stage's choices are asked: as listed, the cheapest first, the free first."""

    ORDER = "order"
    PRICE = "price"
    FREE = "free"


class Choice(Protocol):
    """One of the models by which a stage may be made."""

    @property
    def provider(self) -> Provider:
        """Return whose model it is."""
        ...

    @property
    def model(self) -> str:
        """Return the model's name at its provider."""
        ...

    def request(self, given: StageInput) -> Request:
        """Return the request for one item; raises ``CallFailed`` (invalid) for a bad row."""
        ...


@dataclass(frozen=True)
class Models:
    """The models by which a stage may be made, as the recipe lists them: one at least.

    ``picks`` is set where each row names its own: it gives the place of that one, the only
    one asked for the row, and raises ``CallFailed`` (invalid) where it is none of them.
    """

    choices: tuple[Choice, ...]
    route: Route = Route.ORDER
    picks: Callable[[StageInput], int] | None = None

    def of(self, given: StageInput) -> list[tuple[int, Choice]]:
        """Return those that may make one item, each with its place in the list."""
        if self.picks is None:
            return list(enumerate(self.choices))
        place = self.picks(given)
        return [(place, self.choices[place])]


class Stage(Protocol):
    """One step of a recipe, bound to its settings.

    A stage either calls a provider (``provider`` is set: permit, attempt, cache, price)
    or is done on the spot by ``apply`` (``provider`` is ``None``: pure and instant).
    One that names models has ``models``; ``provider`` and ``request`` are then those of
    the first listed.
    """

    name: str
    kind: str
    provider: Provider | None
    cacheable: bool
    models: Models | None

    def columns(self) -> set[str]:
        """Return the input columns that the stage reads."""
        ...

    def request(self, given: StageInput) -> Request:
        """Return the request for one item; raises ``CallFailed`` (invalid) for a bad row."""
        ...

    def apply(self, given: StageInput) -> Artifact | Named | None:
        """Do a stage that calls nobody; ``None`` passes the previous artifact on."""
        ...


def passes_by(stage: Stage, previous: Artifact | None) -> bool:
    """Tell whether a stage leaves what was made as it is: a mark for pictures, and no picture."""
    prefix, refused = getattr(stage, "only", None), getattr(stage, "refuses", None)
    if prefix is None or previous is None:
        return prefix is not None
    media_type = previous.media_type
    return not media_type.startswith(prefix if refused is None else (prefix, refused))


def providers_of(stage: Stage) -> tuple[Provider, ...]:
    """Return all that the stage may call: none where it is done on the spot."""
    if stage.models is not None:
        return tuple(choice.provider for choice in stage.models.choices)
    return () if stage.provider is None else (stage.provider,)


def requests_of(stage: Stage, given: StageInput) -> list[Request]:
    """Return what the stage may ask for one item, in the order of its list.

    Raises ``CallFailed`` (invalid) where one of them cannot be built.
    """
    if stage.models is not None:
        return [choice.request(given) for _, choice in stage.models.of(given)]
    return [] if stage.provider is None else [stage.request(given)]
