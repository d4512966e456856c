"""Where the artifact of an order comes from: a model, or a stage on this machine behind one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from headrace.held import HeldItem
from headrace.judging import GENERATING
from headrace.order import Order
from headrace.provenance import Origin, SourceType, seed_of
from headrace.version import VERSION

_MIXING = frozenset({"render", "compose"})
"""Kinds of stages that lay out what a model made beside what it did not."""


def origin_of(order: Order, facts: Mapping[str, Any], now: datetime) -> Origin:
    """Return the origin of what an order gave just now."""
    item, request = order.item, order.request
    batch = item.batch
    if order.stage.kind not in GENERATING:
        behind = _behind(item, frozenset(request.sources))
        if behind is not None:
            mixed = SourceType.COMPOSITE if order.stage.kind in _MIXING else behind.source_type
            edited = (*behind.edited, order.stage.name)
            return replace(behind, source_type=str(mixed), edited=edited, c2pa="")
    is_model = order.stage.kind in GENERATING
    return Origin(
        provider=request.provider,
        model=request.model,
        request_sha256=request.fingerprint.hex(),
        made_at=now.isoformat(timespec="seconds"),
        recipe="" if batch.recipe is None else batch.recipe.name,
        recipe_sha256="" if batch.recipe is None else batch.recipe.version.hex(),
        headrace=VERSION,
        seed=seed_of(request.params, facts),
        source_type=(SourceType.TRAINED if is_model else SourceType.NONE).value,
    )


def _behind(item: HeldItem, sources: frozenset[str]) -> Origin | None:
    """Return the origin of what a model made and a local stage works on: the latest.

    A text may have been read by its template; a picture has to be among its sources.
    """
    for artifact in reversed(item.outputs.values()):
        origin = artifact.origin
        if origin is None or not origin.source_type:
            continue
        if artifact.sha256.hex() in sources or artifact.media_type.startswith("text/"):
            return origin
    return None
