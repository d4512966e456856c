"""What a worker holds in memory: a batch's settings, a claimed shard, and its items."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from headrace.artifact import Artifact
from headrace.cache import CacheMode
from headrace.course import Course, Made
from headrace.hours import Hours
from headrace.identity import show_batch_id
from headrace.lifecycle import ItemState
from headrace.policy import Policy
from headrace.recipe import Recipe
from headrace.request import Request
from headrace.stage import Stage, StageInput
from headrace.tariff import Tariff

_TEXT = ("text/", "application/json")
encode_json = msgspec.json.Encoder().encode
decode_json = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class HeldBatch:
    """The settings of a batch that its items need, with its stages built.

    ``pixels_max`` are those that its requests may name. ``keys`` are the ids of the providers'
    keys that its stages are built with.
    ``canary`` rows are tried before the others. Until ``deadline_at`` it may take its time.
    Batches of one ``schedule`` share what its ``hours`` let them take of a lane. ``on_demand``:
    somebody waits for its one item.
    """

    id: UUID
    tenant_id: str
    name: str
    stages: tuple[Stage, ...]
    reads_texts: bool
    cache_mode: CacheMode
    unknown_policy: str
    reserve_microcredits: int
    created_at: datetime
    folders: tuple[Path, ...]
    class_name: str = "batch"
    weight: int = 1
    pixels_max: int | None = None
    calls_max: int | None = None
    keys: tuple[UUID, ...] = ()
    tariff: Tariff | None = None
    deadline_at: datetime | None = None
    canary: int = 0
    policy: Policy = field(default_factory=Policy)
    recipe: Recipe | None = None
    items: int = 1
    on_demand: bool = False
    hours: Hours = field(default_factory=Hours)
    schedule: str = ""


@dataclass(slots=True)
class OpenAttempt:
    """The latest attempt of an item, whose answer was never seen.

    ``repeats`` counts the purchases in this round that were already made a second time;
    ``provider``, ``lane`` and ``fingerprint`` tell who was asked for what. ``gone``: the provider
    has said that what it made is no longer there, so that nobody need look again.
    """

    number: int
    key_number: int
    provider_request_id: str | None
    provider_url: str | None
    repeats: int
    provider: str
    lane: str
    fingerprint: bytes
    gone: bool = False


@dataclass(slots=True)
class HeldItem:
    """One item of a claimed shard; the executor moves it and the writer makes it durable.

    ``stage_saved`` is the stage that the database knows: an item served from the cache may
    be further on in memory.
    ``spent_microcredits`` is the price of the results that it has, ``spent_saved`` what the
    database knows of that, ``priced_microcredits`` the part of the recipe's fixed price in it.
    ``refusals`` counts the calls refused for their rate while this worker holds it.
    ``course`` is where it is among its present stage's models, ``made`` which of them made
    what, by stage name. ``found``: the cache has a result that is to be judged first.
    ``asks`` is the stage by its number and its only, small request, where the cache was asked
    for that: it need not be built once more.
    """

    batch: HeldBatch
    shard_id: int
    fence: int
    idx: int
    state: ItemState
    version: int
    stage: int
    round: int
    tries: int
    attempts: int
    crashes: int
    row: dict[str, Any]
    outputs: dict[str, Artifact] = field(default_factory=dict)
    cached_stages: int = 0
    spent_microcredits: int = 0
    spent_saved: int = 0
    priced_microcredits: int = 0
    file: str | None = None
    previous: Artifact | None = None
    texts: dict[str, str] = field(default_factory=dict)
    open_attempt: OpenAttempt | None = None
    stage_saved: int = 0
    refusals: int = 0
    course: Course = field(default_factory=Course)
    made: dict[str, Made] = field(default_factory=dict)
    found: bool = False
    asks: tuple[int, Request] | None = None

    def log_ids(self) -> dict[str, Any]:
        """Return what the log calls this item, and its attempt under way."""
        ids = {"batch": show_batch_id(self.batch.id), "row": self.idx + 1}
        if self.open_attempt is not None:
            ids["attempt"] = self.open_attempt.number
        return ids

    def log_hides(self) -> tuple[Any, ...]:
        """Return what the log must not repeat: inputs, and texts that were made."""
        return self.row, self.texts

    def given(self) -> StageInput:
        """Return what the next stage may read."""
        return StageInput(
            row=self.row,
            outputs=self.outputs,
            texts=self.texts,
            previous=self.previous,
            row_number=self.idx + 1,
            batch_name=self.batch.name,
            folders=self.batch.folders,
        )

    def unread(self) -> list[str]:
        """Return the outputs that are text and not read yet, where the batch reads texts."""
        if not self.batch.reads_texts:
            return []
        return [
            name
            for name, artifact in self.outputs.items()
            if name not in self.texts and artifact.media_type.startswith(_TEXT)
        ]

    def take(self, name: str, artifact: Artifact) -> None:
        """Take the artifact of the stage called ``name``."""
        self.outputs[name] = artifact
        self.previous = artifact

    def outputs_json(self) -> str:
        """Return the outputs as JSON text: by stage name, in order."""
        return encode_json({name: a.to_json() for name, a in self.outputs.items()}).decode()

    def course_json(self) -> str | None:
        """Return the course as JSON text, ``None`` at its beginning."""
        told = self.course.to_json()
        return None if told is None else encode_json(told).decode()

    def made_json(self) -> str | None:
        """Return which models made what as JSON text, ``None`` where no stage names any."""
        if not self.made:
            return None
        return encode_json({name: made.to_json() for name, made in self.made.items()}).decode()


def read_made(text: str | None) -> dict[str, Made]:
    """Return what ``made_json`` wrote."""
    return {} if not text else {name: Made(**told) for name, told in decode_json(text).items()}


def read_outputs(text: str | None) -> dict[str, Artifact]:
    """Return the artifacts by stage name that ``outputs_json`` wrote."""
    if not text:
        return {}
    return {name: Artifact.from_json(value) for name, value in decode_json(text).items()}


def read_tariff(text: str | None) -> Tariff | None:
    """Return the tariff that is kept with a batch, ``None`` where it has none."""
    return None if text is None else Tariff.from_json(decode_json(text))
