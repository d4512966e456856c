"""Batches and items as JSON objects; times in RFC 3339, costs in dollars as text or ``null``."""

from __future__ import annotations

from typing import Any

from headrace.identity import show_batch_id
from headrace.price import usd_exact
from headrace.store.batches import Summary
from headrace.watching import Batch, ItemResult

COUNTS = (
    "pending", "running", "waiting", "unknown", "succeeded", "failed", "refused", "cancelled",
    "dead", "cached",
)  # fmt: skip


def batch_json(summary: Summary) -> dict[str, Any]:
    """Return a batch; ``done`` of ``total`` is what a progress line shows."""
    counts = {name: getattr(summary, name) for name in COUNTS}
    ended = sum(counts[name] for name in ("succeeded", "failed", "refused", "cancelled", "dead"))
    pause = summary.pause
    return {
        "id": show_batch_id(summary.id),
        "name": summary.name,
        "state": summary.state,
        "recipe": summary.recipe_name,
        "class": summary.class_name,
        "created_at": summary.created_at.isoformat(),
        "finished_at": None if summary.finished_at is None else summary.finished_at.isoformat(),
        "total": summary.item_count,
        "done": ended,
        "counts": counts,
        "cost_usd": usd_exact(summary.cost_microusd),
        "cost_unknown": summary.cost_unknown,
        "pause": None if pause is None else {"code": pause.code.value, "reason": pause.reason},
        "event": summary.event_seq,
    }


def item_json(batch: Batch, item: ItemResult) -> dict[str, Any]:
    """Return an item as it stands; ``artifact.path`` is where its bytes are."""
    artifact = None
    if item.artifact is not None:
        path = f"/api/batches/{batch.id}/items/{item.row_number}/artifact"
        artifact = {**item.artifact.to_json(), "path": path}
    return {
        "row_number": item.row_number,
        "state": item.state.value,
        "inputs": item.inputs,
        "artifact": artifact,
        "file": item.file,
        "cached": item.cached,
        "attempts": item.attempts,
        "made": {stage: made.to_json() for stage, made in item.made.items()},
        "cost_usd": usd_exact(item.cost_microusd),
        "error": item.error,
    }
