"""Sends an item back to the stage that a check blames, with the complaint in its hands."""

from __future__ import annotations

import hashlib

from headrace.artifact import Artifact
from headrace.complaint import (
    blame_of,
    complaint_name,
    complaints_about,
    last_made,
    maker_of,
    rejected_name,
)
from headrace.course import Course
from headrace.held import HeldItem
from headrace.outcome import COMPLAINTS, Outcome

COMPLAINT_BYTES_MAX = 4000
"""Small enough to rest in PostgreSQL with the settle, so that it needs no file."""


def is_last_complaint(item: HeldItem) -> bool:
    """Tell whether the check that an item stands at has complained as often as it may."""
    blame = blame_of(item.batch.stages[item.stage])
    return blame is None or complaints_about(blame.stage, item.outputs) >= blame.times


def send_back(item: HeldItem, outcome: Outcome) -> Artifact | None:
    """Move an item back to the stage that is blamed for ``outcome``; returns the complaint.

    What the stages before it gave stays, so nothing of that is bought again. ``None``,
    and nothing moved, where the stage blames nobody or has failed for another reason.
    """
    blame = blame_of(item.batch.stages[item.stage])
    told = outcome.facts.get(COMPLAINTS)
    if blame is None or not told:
        return None
    names = [stage.name for stage in item.batch.stages]
    target = names.index(blame.stage)
    number = complaints_about(blame.stage, item.outputs) + 1
    # The number makes each telling another request: the same complaint twice must not
    # be answered by the cache with the answer that was rejected.
    complaint = _text(f"Answer {number} was rejected. " + "; ".join(map(str, told)) + ".")
    rejected = item.outputs.get(blame.stage)
    redone = set(names[target:])
    kept = {
        name: artifact
        for name, artifact in item.outputs.items()
        if maker_of(name) not in redone or (maker_of(name) == blame.stage and "." in name)
    }
    if rejected is not None:
        kept[rejected_name(blame.stage, number)] = rejected
    kept[complaint_name(blame.stage, number)] = complaint
    bought = sum(stage.provider is not None for stage in item.batch.stages[target : item.stage])
    item.cached_stages = max(0, item.cached_stages - bought)
    item.outputs = kept
    item.texts = {name: text for name, text in item.texts.items() if name in kept}
    item.previous = last_made(kept)
    item.made = {name: made for name, made in item.made.items() if name not in redone}
    item.stage, item.tries, item.course = target, 0, Course()
    return complaint


def _text(text: str) -> Artifact:
    body = text.encode("utf-8", "replace")[:COMPLAINT_BYTES_MAX]
    body = body.decode("utf-8", "ignore").encode()
    return Artifact(hashlib.sha256(body).digest(), "text/plain", len(body), body)
