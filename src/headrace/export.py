"""From a batch to a folder: files as items complete, then results, report and contact sheet."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headrace.artifact import INLINE_BYTES_MAX, Artifact
from headrace.blob import Blobs
from headrace.contact_sheet import FailedTile, FilmTile, TextTile, contact_sheet
from headrace.errors import InputError
from headrace.held import decode_json
from headrace.imprinting import Imprinting
from headrace.lifecycle import ITEM_FINAL, ItemState
from headrace.outgoing import source_of
from headrace.reports import (
    Delivery,
    FileNames,
    OutputFolder,
    ResultRow,
    ResultsWriter,
    delivery_of,
    write_report,
)
from headrace.store.batches import Summary
from headrace.version import VERSION
from headrace.watching import Batch, ItemResult

SHEET_TILES_MAX = 400
TEXT_BYTES = 8192
Tile = Path | FailedTile | TextTile | FilmTile


@dataclass(frozen=True, slots=True)
class Published:
    """The names under which an item lies in the folder, or why it does not."""

    delivery: Delivery | None = None
    file: str | None = None
    poster: str | None = None
    problem: str | None = None


class Export:
    """One batch's output folder. Publishing twice gives the same files under the same names."""

    def __init__(self, batch: Batch, folder: Path, blobs: Blobs) -> None:
        self.folder = folder
        self._batch = batch
        self._blobs = blobs
        self._out = OutputFolder(folder)
        self._names = FileNames()
        self._after_idx = -1
        self._tiles: list[tuple[str, Tile]] = []
        self._shown: list[str] = []
        self._marking = Imprinting()

    def prepare(self) -> None:
        """Make the folder; raises ``InputError`` when it cannot be written."""
        self._out.prepare()

    async def catch_up(self) -> None:
        """Publish what has ended, in row order, up to the first item that has not."""
        async for item in self._batch.items(self._after_idx):
            if item.state not in ITEM_FINAL:
                return
            await self._publish(item, self._names)
            self._after_idx = item.row_number - 1

    async def finish(self, summary: Summary, *, sheet: bool) -> dict[str, Any]:
        """Write everything: files, ``results.csv``, ``report.json``, the contact sheet.

        Returns the report. Raises ``StorageError`` when the disk does not take it.
        """
        columns = await columns_of(self._batch, summary)
        writer = ResultsWriter(self.folder / "results.csv", columns)
        await writer.write(self._rows())
        report = report_of(summary, self._batch.id)
        report["provenance"] = self._marking.to_json()
        report["made_by"] = [by.to_json() for by in await self._batch.makers()]
        picture = self.folder / "contact-sheet.png"
        if sheet and any(not isinstance(tile, FailedTile) for _, tile in self._tiles):
            report["contact_sheet_of"] = digest = self._sheet_digest(summary)
            drawn = picture.exists() and await asyncio.to_thread(self._drawn_before) == digest
            sheet = not drawn
        else:
            sheet = False
        await write_report(self.folder / "report.json", report)
        if sheet:
            title = f"{summary.name}  ·  {summary.succeeded} of {summary.item_count}"
            await asyncio.to_thread(
                contact_sheet,
                self._tiles,
                picture,
                None,
                SHEET_TILES_MAX,
                title=title,
            )
        return report

    def _sheet_digest(self, summary: Summary) -> str:
        """Return what the sheet shows, as a hash: the same picture is not drawn twice."""
        told = [f"{summary.name} {summary.succeeded} {summary.item_count} {VERSION}"]
        for label, tile in self._tiles:
            told.append(label if isinstance(tile, TextTile) else f"{label} {tile}")
        told += self._shown
        return hashlib.sha256("\n".join(told).encode("utf-8", "replace")).hexdigest()

    def _drawn_before(self) -> str | None:
        try:
            report = decode_json((self.folder / "report.json").read_bytes())
        except (OSError, ValueError):
            return None
        return report.get("contact_sheet_of") if isinstance(report, dict) else None

    async def _rows(self) -> AsyncIterator[ResultRow]:
        names = FileNames()
        self._tiles, self._shown = [], []
        self._marking = Imprinting()
        async for item in self._batch.items():
            published = await self._publish(item, names)
            self._note_tile(item, published)
            yield result_row(item, published)

    async def _publish(self, item: ItemResult, names: FileNames) -> Published:
        delivery = delivery_of(item.outputs.values())
        if item.state is not ItemState.SUCCEEDED or delivery is None:
            return Published()
        try:
            stem = names.assign(item.row_number, item.file)
            file = await self._put(delivery.main, stem)
            poster = None
            if delivery.poster is not None:
                poster = await self._put(delivery.poster, stem)
        except InputError as error:
            # One impossible name must not cost the others their files.
            return Published(problem=f"{error.message}: {error.remedy}")
        return Published(delivery, file, poster)

    async def _put(self, artifact: Artifact, stem: str) -> str:
        """Put an artifact into the folder and return its name there."""
        source = source_of(self._blobs, artifact)
        if not isinstance(source, Path) and artifact.size_bytes <= INLINE_BYTES_MAX:
            body = await self._batch.body(artifact.sha256)
            if body is not None:
                source, artifact = body, replace(artifact, body=body)
        marked = await self._marking.mark(artifact, source)
        return await self._out.publish(artifact, stem, self._blobs, marked)

    def _note_tile(self, item: ItemResult, published: Published) -> None:
        if len(self._tiles) >= SHEET_TILES_MAX:
            return
        delivery = published.delivery
        if delivery is not None and published.file is not None:
            shown = delivery.poster or delivery.main
            tile = _tile(self.folder / (published.poster or published.file), shown.media_type)
            if delivery.is_film:
                tile = FilmTile(self.folder / published.poster if published.poster else None)
            if tile is not None:
                self._tiles.append((item.file or "", tile))
                self._shown.append(shown.sha256.hex())
        elif item.state is not ItemState.SUCCEEDED:
            reason = str((item.error or {}).get("reason", item.state.value))
            self._tiles.append(("", FailedTile(reason.removeprefix(f"row {item.row_number}: "))))


async def columns_of(batch: Batch, summary: Summary) -> list[str]:
    """Return a batch's columns; of rows without a header all that are there, in first order."""
    if summary.columns:
        known: list[str] = decode_json(summary.columns)
        return known
    seen: dict[str, None] = {}
    async for item in batch.items():
        seen.update(dict.fromkeys(item.inputs))
    return list(seen)


def _tile(path: Path, media_type: str) -> Tile | None:
    """Return what stands for a file on the sheet: a picture, a text's first words, or nothing."""
    if media_type.startswith("image/"):
        return path
    if not media_type.startswith("text/"):
        return None
    try:
        with path.open("rb") as file:
            return TextTile(file.read(TEXT_BYTES).decode("utf-8", "replace"))
    except OSError:
        return FailedTile("the file is gone")


def result_row(item: ItemResult, published: Published) -> ResultRow:
    """Return an item as a row of the results file."""
    succeeded = item.state is ItemState.SUCCEEDED
    delivery = delivery_of(item.outputs.values()) if succeeded else None
    artifact = delivery.main if delivery is not None else None
    error = item.error or {}
    made = item.made.values() if artifact is not None else ()
    moved = [by.why for by in made if by.why is not None]
    return ResultRow(
        number=item.row_number,
        values=item.inputs,
        state=item.state.value,
        file=published.file,
        sha256=artifact.sha256.hex() if artifact is not None else None,
        media_type=artifact.media_type if artifact is not None else None,
        size_bytes=artifact.size_bytes if artifact is not None else None,
        cached=item.cached,
        attempts=item.attempts,
        provider=" + ".join(by.provider for by in made) or None,
        model=" + ".join(by.model for by in made) or None,
        moved="; ".join(moved) or None,
        cost_microusd=item.cost_microusd,
        cost_estimate_microusd=item.cost_estimate_microusd,
        cost_unknown=item.cost_unknown,
        microcredits=item.spent_microcredits if succeeded else 0,
        error=published.problem or (str(error["reason"]) if "reason" in error else None),
        remedy=str(error["remedy"]) if error.get("remedy") else None,
        poster=published.poster,
    )


def report_of(summary: Summary, batch_id: str) -> dict[str, Any]:
    """Return the report of a batch: counts, costs and times, as JSON."""
    ended, pause = summary.finished_at, summary.pause
    wall_s = (ended - summary.created_at).total_seconds() if ended is not None else None
    return {
        "batch": batch_id,
        "name": summary.name,
        "state": summary.state,
        "paused": pause.to_json() if pause is not None else None,
        "canary": summary.canary,
        "cost_cap_microusd": summary.cost_cap_microusd,
        "recipe": summary.recipe_name,
        "recipe_version": summary.recipe_version.hex(),
        "input": decode_json(summary.source).get("input"),
        "headrace": VERSION,
        "items": {
            "total": summary.item_count,
            "succeeded": summary.succeeded,
            "from_cache": summary.cached,
            "failed": summary.failed,
            "refused": summary.refused,
            "dead": summary.dead,
            "cancelled": summary.cancelled,
            "open": summary.open,
        },
        "attempts": summary.attempts,
        "bought_again_after_unseen_answers": summary.repeats,
        "cost_microusd": summary.cost_microusd,
        "cost_estimate_microusd": summary.cost_estimate_microusd,
        "calls_of_unknown_cost": summary.cost_unknown,
        "credits_microcredits": summary.spent_microcredits,
        "created_at": summary.created_at.isoformat(),
        "finished_at": ended.isoformat() if ended is not None else None,
        "wall_s": wall_s,
        "items_per_s": round(summary.item_count / wall_s, 2) if wall_s else None,
    }
