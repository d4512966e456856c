"""Complaints: a check may blame an earlier stage, whose model is told why and tries again.

A complaint and the answer it is about rest among an item's outputs, under names that no
stage can have: ``voice.rejected.1`` and ``voice.complaint.1``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.artifact import Artifact

TIMES_MAX = 10


@dataclass(frozen=True)
class Blame:
    """Whom a check blames: the stage's name, and how many times it is told to try again."""

    stage: str
    times: int


def blame_of(stage: Any) -> Blame | None:
    """Return whom a stage blames for what it rejects, ``None`` for one that only rejects."""
    blame = getattr(stage, "blame", None)
    return blame if isinstance(blame, Blame) else None


def complaint_name(stage: str, number: int) -> str:
    """Return the output that holds the stage's complaint of that number, from 1."""
    return f"{stage}.complaint.{number}"


def rejected_name(stage: str, number: int) -> str:
    """Return the output that holds the answer that the complaint is about."""
    return f"{stage}.rejected.{number}"


def complaints_about(stage: str, outputs: Mapping[str, Artifact]) -> int:
    """Return how many complaints about a stage an item's outputs hold."""
    return sum(name.startswith(f"{stage}.complaint.") for name in outputs)


def maker_of(name: str) -> str:
    """Return the stage that an output belongs to."""
    return name.partition(".")[0]


def last_made(outputs: Mapping[str, Artifact]) -> Artifact | None:
    """Return the artifact of the last stage that made one; complaints do not count."""
    made = [artifact for name, artifact in outputs.items() if "." not in name]
    return made[-1] if made else None


def rounds_of(stages: Sequence[Any]) -> list[int]:
    """Return how many times each stage may be done for one item, complaints included.

    A check that blames stage i from place j lets i to j be done again; where two such
    spans overlap, each time of the one may begin the other anew.
    """
    names = [stage.name for stage in stages]
    rounds = [1] * len(stages)
    for place, blame in _blames(stages):
        for at in range(names.index(blame.stage), place + 1):
            rounds[at] *= 1 + blame.times
    return rounds


def _blames(stages: Iterable[Any]) -> Iterable[tuple[int, Blame]]:
    for place, stage in enumerate(stages):
        blame = blame_of(stage)
        if blame is not None:
            yield place, blame
