"""A batch's results as CSV, JSON Lines or ZIP, streamed: nothing is held whole."""

from __future__ import annotations

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from headrace.access import Scope
from headrace.engine import Engine
from headrace.http.artifacts import disposition
from headrace.http.described import described, gives
from headrace.http.entry import Entry
from headrace.http.ownership import owned
from headrace.outgoing import OutgoingFiles
from headrace.result_stream import export_name, results, zipped
from headrace.store.batches import Summary


class Exports:
    """The routes of exports."""

    def __init__(self, engine: Engine, entry: Entry, outgoing: OutgoingFiles) -> None:
        self._engine = engine
        self._outgoing = outgoing
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api/batches/{batch_id}", tags=["exports"])
        csv = described(s200=gives("Every row beside its result.", "text/csv"))
        router.add_api_route("/results.csv", self.csv, methods=["GET"], **csv)
        jsonl = described(s200=gives("Every row beside its result.", "application/jsonl"))
        router.add_api_route("/results.jsonl", self.jsonl, methods=["GET"], **jsonl)
        files = described(s200=gives("The files, and results.csv.", "application/zip"))
        router.add_api_route("/artifacts.zip", self.zip, methods=["GET"], **files)
        return router

    async def csv(self, request: Request, batch_id: str) -> StreamingResponse:
        """Return the results as CSV; what a spreadsheet would execute begins with an apostrophe."""
        _, batch, summary = await owned(self._engine, self._entry, request, batch_id, Scope.READ)
        return self._saved(results(batch, summary, "csv"), summary, ".csv", "text/csv")

    async def jsonl(self, request: Request, batch_id: str) -> StreamingResponse:
        """Return the results as JSON Lines, exactly as they are."""
        _, batch, summary = await owned(self._engine, self._entry, request, batch_id, Scope.READ)
        return self._saved(results(batch, summary, "jsonl"), summary, ".jsonl", "application/jsonl")

    async def zip(self, request: Request, batch_id: str) -> StreamingResponse:
        """Return a ZIP with the files of all rows that succeeded, and the results."""
        _, batch, summary = await owned(self._engine, self._entry, request, batch_id, Scope.READ)
        pieces = zipped(batch, summary, self._outgoing)
        return self._saved(pieces, summary, ".zip", "application/zip")

    def _saved(
        self, pieces: AsyncIterator[bytes], summary: Summary, suffix: str, media_type: str
    ) -> StreamingResponse:
        name = export_name(summary, self._engine.clock.now(), suffix)
        headers = {
            "Content-Disposition": disposition("attachment", name),
            "Cache-Control": "private, no-store",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; sandbox",
        }
        return StreamingResponse(pieces, headers=headers, media_type=media_type)
