"""``/api/batches/ID/items``: windows of items, and one with all that it went through."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from headrace.access import Scope
from headrace.engine import Engine
from headrace.held import decode_json, encode_json
from headrace.http.described import described, says
from headrace.http.entry import Entry
from headrace.http.item_links import ItemLinks
from headrace.http.ownership import owned, page_size, plain, shown_item, words_of
from headrace.http.shapes import (
    AttemptShape,
    ItemDetail,
    ItemPage,
    ItemShape,
    StageShape,
    artifact_path,
    artifact_shape,
    item_shape,
)
from headrace.lifecycle import ItemState
from headrace.price import usd_exact
from headrace.watching import ROWS_MAX, Batch, ItemResult

LINKS_S_NONE = 0
NAMES_MAX = 1000
"""Of how many batches the names of their stages are remembered."""


class Items:
    """The routes of items."""

    def __init__(self, engine: Engine, entry: Entry, links: ItemLinks) -> None:
        self._engine = engine
        self._entry = entry
        self._links = links
        self._names: dict[UUID, list[str]] = {}

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/batches/{batch_id}/items", tags=["items"])
        page = described(s200=says(ItemPage, "A window of items."))
        router.add_api_route("", self.listed, methods=["GET"], **page)
        one = described(s200=says(ItemDetail, "The item."))
        router.add_api_route("/{row_number}", self.show, methods=["GET"], **one)
        return router

    async def listed(
        self,
        request: Request,
        batch_id: str,
        after: int = 0,
        from_: Annotated[int | None, Query(alias="from")] = None,
        limit: int = 100,
        state: str | None = None,
        outcome: str | None = None,
        links_s: int = LINKS_S_NONE,
    ) -> Response:
        """List items behind row `after` (or from row `from` on) in row order.

        `state` and `outcome` take words with commas between them; `outcome` is the code of an
        item's error. With `links_s` artifacts have a link that needs no key for so long.
        """
        _, batch, _ = await owned(self._engine, self._entry, request, batch_id, Scope.READ)
        behind = after if from_ is None else max(from_ - 1, after)
        states = words_of(state, ItemState, "a state of items")
        outcomes = plain(outcome, "outcome")
        count = page_size(limit)
        found = await batch.window(
            min(max(0, behind), ROWS_MAX) - 1,
            count,
            states,
            None if outcomes is None else outcomes.split(","),
        )
        shown = [await self._shape(batch, item, links_s) for item in found]
        next_ = found[-1].row_number if len(found) == count else None
        return Response(encode_json(ItemPage(shown, next_)), media_type="application/json")

    async def show(
        self, request: Request, batch_id: str, row_number: int, links_s: int = LINKS_S_NONE
    ) -> Response:
        """Show an item with its stages and the attempts that were made for it."""
        batch, item, attempts = await shown_item(
            self._engine, self._entry, request, batch_id, row_number
        )
        names = await self._stage_names(batch)
        shape = await self._shape(batch, item, links_s)
        told = {name: getattr(shape, name) for name in ItemShape.__struct_fields__}
        detail = ItemDetail(
            **told,
            stages=[_stage(batch, item, name) for name in names],
            timeline=[_attempt(row, names) for row in attempts],
        )
        return Response(encode_json(detail), media_type="application/json")

    async def _stage_names(self, batch: Batch) -> list[str]:
        """Return the names of a batch's stages, which never change."""
        names = self._names.get(batch.uuid)
        if names is None:
            names = self._names[batch.uuid] = await batch.stage_names()
            if len(self._names) > NAMES_MAX:
                self._names.pop(next(iter(self._names)))
        return names

    async def _shape(self, batch: Batch, item: ItemResult, links_s: int) -> ItemShape:
        link = None
        if links_s > 0 and item.artifact is not None:
            link = await self._links.sign(artifact_path(batch, item.row_number), links_s)
        return item_shape(batch, item, link)


def _stage(batch: Batch, item: ItemResult, name: str) -> StageShape:
    made, own = item.made.get(name), item.outputs.get(name)
    path = artifact_path(batch, item.row_number, name)
    rejected = [
        artifact_shape(artifact, artifact_path(batch, item.row_number, output))
        for output, artifact in item.outputs.items()
        if output.startswith(f"{name}.rejected.")
    ]
    return StageShape(
        name=name,
        artifact=None if own is None else artifact_shape(own, path),
        made=None if made is None else made.to_json(),
        rejected=rejected,
    )


def _attempt(row: dict[str, Any], names: list[str]) -> AttemptShape:
    cost, ended = row["cost_microusd"], row["ended_at"]
    return AttemptShape(
        number=row["number"],
        stage=names[row["stage"]],
        round=row["round"],
        state=row["state"],
        outcome=row["outcome"],
        provider=row["provider"],
        lane=row["lane"],
        started_at=row["started_at"].isoformat(),
        ended_at=None if ended is None else ended.isoformat(),
        latency_ms=row["latency_ms"],
        cost_usd=None if cost is None else usd_exact(cost),
        error=None if row["error"] is None else decode_json(row["error"]),
    )
