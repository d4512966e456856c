"""Which ended items of a batch are meant: by state, row, outcome, stage and provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.lifecycle import ItemState


@dataclass(frozen=True)
class Chosen:
    """Items in one of ``states``; of those, ``None`` is any.

    ``idxs`` are row indexes, ``outcomes`` codes of their errors, ``stage`` the place of the
    stage that they stand at, ``provider`` the name of whom the latest attempt asked.
    """

    states: frozenset[ItemState]
    idxs: Sequence[int] | None = None
    outcomes: Sequence[str] | None = None
    stage: int | None = None
    provider: str | None = None

    def values(self, state: ItemState, now: datetime, again: int) -> tuple[Any, ...]:
        """Return what ``items/retry.sql`` is told of one state; ``again`` counts a round."""
        chosen = (self.idxs, self.outcomes, self.stage, self.provider)
        return ([state.value], now, again, *chosen)
