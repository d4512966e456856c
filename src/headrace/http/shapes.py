"""What the API says, as structures: bodies and the OpenAPI document are made of the same ones.

Times are in RFC 3339, costs in dollars as text, exact.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from headrace.artifact import Artifact
from headrace.identity import show_batch_id
from headrace.lifecycle import BatchState, ItemState
from headrace.price import usd_exact
from headrace.progress_words import line_of
from headrace.store.batches import Summary
from headrace.watching import Batch, ItemResult

COUNTS = (
    "pending", "running", "waiting", "unknown", "succeeded", "failed", "refused", "cancelled",
    "dead", "cached",
)  # fmt: skip

Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class Counts(msgspec.Struct, frozen=True):
    """How many items of a batch stand where; ``cached`` counts some of those that succeeded."""

    pending: int
    running: int
    waiting: int
    unknown: int
    succeeded: int
    failed: int
    refused: int
    cancelled: int
    dead: int
    cached: int


class PauseShape(msgspec.Struct, frozen=True):
    """Why a batch is paused."""

    code: str
    reason: str


class BatchShape(msgspec.Struct, frozen=True):
    """A batch: ``line`` says how far it is, as in ``Generating 4 of 12``.

    ``event`` is the number of its latest event.
    """

    id: str
    name: str
    state: BatchState
    recipe: str
    class_: str = msgspec.field(name="class")
    created_at: Time
    finished_at: Time | None
    line: str
    total: int
    done: int
    counts: Counts
    cost_usd: str
    cost_estimate_usd: str
    cost_unknown: int
    pause: PauseShape | None
    event: int


class BatchPage(msgspec.Struct, frozen=True):
    """Batches, the latest first; ``next`` is the ``cursor`` of the next page."""

    batches: list[BatchShape]
    next: str | None


class ArtifactShape(msgspec.Struct, frozen=True):
    """An artifact: ``path`` is where its file is, ``link`` an address that needs no key.

    ``sha256`` and ``size_bytes`` are those of what is kept: a file that tells its ``origin``
    has more bytes.
    """

    sha256: str
    media_type: str
    size_bytes: int
    path: str
    link: str | None = None
    origin: dict[str, Any] | None = None


class ItemShape(msgspec.Struct, frozen=True):
    """An item as it stands; ``artifact`` is its last stage's."""

    row_number: int
    state: ItemState
    inputs: dict[str, Any]
    artifact: ArtifactShape | None
    file: str | None
    cached: bool
    attempts: int
    made: dict[str, Any]
    cost_usd: str
    error: dict[str, Any] | None


class ItemPage(msgspec.Struct, frozen=True):
    """Items in row order; ``next`` is the ``after`` of the next page."""

    items: list[ItemShape]
    next: int | None


class StageShape(msgspec.Struct, frozen=True):
    """A stage of an item: what it made, which model made it, and what was rejected before."""

    name: str
    artifact: ArtifactShape | None
    made: dict[str, Any] | None
    rejected: list[ArtifactShape]


class AttemptShape(msgspec.Struct, frozen=True):
    """One attempt; ``ended_at`` is ``null`` while its answer has not been seen."""

    number: int
    stage: str
    round: int
    state: str
    outcome: str | None
    provider: str
    lane: str
    started_at: Time
    ended_at: Time | None
    latency_ms: int | None
    cost_usd: str | None
    error: dict[str, Any] | None


class ItemDetail(ItemShape, frozen=True, kw_only=True):
    """An item with its stages in order, and with all its attempts in the order of time."""

    stages: list[StageShape]
    timeline: list[AttemptShape]


class QuoteShape(msgspec.Struct, frozen=True):
    """What a submit would be, at most: nothing was bought or written for it."""

    recipe: str
    rows: int
    bad_rows: int
    cached: int
    duplicates: int
    to_buy: int
    cost_usd_max: str | None
    credits_microcredits_max: int
    time_s: float | None
    time_words: str


class RecipeShape(msgspec.Struct, frozen=True):
    """A recipe; ``error`` says why it cannot be used, and the rest is empty then."""

    name: str
    description: str = ""
    version: str | None = None
    required: list[str] = []
    optional: list[str] = []
    stages: list[dict[str, Any]] = []
    error: str | None = None


class RecipeList(msgspec.Struct, frozen=True):
    """The recipes that are at hand."""

    recipes: list[RecipeShape]


class LaneShape(msgspec.Struct, frozen=True):
    """A lane: what was learned of its limits, and how it does where a process works on it."""

    name: str
    learned: dict[str, Any] | None
    learned_at: Time | None
    limits: list[str]
    live: dict[str, Any] | None
    live_at: Time | None


class LaneList(msgspec.Struct, frozen=True):
    """All lanes that are known."""

    lanes: list[LaneShape]


class GeneratedShape(msgspec.Struct, frozen=True, omit_defaults=True):
    """One result: ``text`` is there for texts, ``facts`` are what the model told of it."""

    cached: bool
    artifact: dict[str, Any]
    facts: dict[str, Any] | None
    text: str | None = None


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error (RFC 9457): ``detail`` says what is wrong, ``remedy`` what helps.

    ``retryable``: the same call may succeed later. ``row`` is the number of the row to blame.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    remedy: str | None = None
    place: str | None = None
    row: int | None = None


def batch_shape(summary: Summary) -> BatchShape:
    """Return a batch as the API says it."""
    pause, ended = summary.pause, summary.finished_at
    return BatchShape(
        id=show_batch_id(summary.id),
        name=summary.name,
        state=BatchState(summary.state),
        recipe=summary.recipe_name,
        class_=summary.class_name,
        created_at=summary.created_at.isoformat(),
        finished_at=None if ended is None else ended.isoformat(),
        line=line_of(summary),
        total=summary.item_count,
        done=summary.done,
        counts=Counts(*(getattr(summary, name) for name in COUNTS)),
        cost_usd=usd_exact(summary.cost_microusd),
        cost_estimate_usd=usd_exact(summary.cost_estimate_microusd),
        cost_unknown=summary.cost_unknown,
        pause=None if pause is None else PauseShape(pause.code.value, pause.reason),
        event=summary.event_seq,
    )


def batch_json(summary: Summary) -> dict[str, Any]:
    """Return a batch as a JSON object; ``done`` of ``total`` is what a progress line shows."""
    told: dict[str, Any] = msgspec.to_builtins(batch_shape(summary))
    return told


def artifact_path(batch: Batch, row_number: int, output: str | None = None) -> str:
    """Return where the bytes of an item's artifact are, or those of one of its outputs."""
    item = f"/api/batches/{batch.id}/items/{row_number}"
    return f"{item}/artifact" if output is None else f"{item}/outputs/{output}"


def artifact_shape(artifact: Artifact, path: str, link: str | None = None) -> ArtifactShape:
    """Return an artifact as the API says it."""
    return ArtifactShape(
        sha256=artifact.sha256.hex(),
        media_type=artifact.media_type,
        size_bytes=artifact.size_bytes,
        path=path,
        link=link,
        origin=None if artifact.origin is None else artifact.origin.to_json(),
    )


def item_shape(batch: Batch, item: ItemResult, link: str | None = None) -> ItemShape:
    """Return an item as it stands; ``link`` is the signed address of its artifact."""
    artifact = None
    if item.artifact is not None:
        path = artifact_path(batch, item.row_number)
        artifact = artifact_shape(item.artifact, path, link)
    return ItemShape(
        row_number=item.row_number,
        state=item.state,
        inputs=item.inputs,
        artifact=artifact,
        file=item.file,
        cached=item.cached,
        attempts=item.attempts,
        made={stage: made.to_json() for stage, made in item.made.items()},
        cost_usd=usd_exact(item.cost_microusd),
        error=item.error,
    )
