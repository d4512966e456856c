"""A batch's results and files as streams, under the names that its output folder would have."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container
from datetime import datetime

from headrace.artifact import Artifact
from headrace.errors import InputError, NotFoundError
from headrace.export import Published, columns_of, result_row
from headrace.lifecycle import ItemState
from headrace.outgoing import OutgoingFiles
from headrace.reports import FileNames, ResultRow, ResultsText, delivery_of
from headrace.store.batches import Summary
from headrace.watching import Batch, ItemResult
from headrace.zip_stream import ZipStream

ROWS_AT_ONCE = 500
GONE = "the bytes are no longer in the store; run the item again with the cache at refresh"


async def named_items(batch: Batch) -> AsyncIterator[tuple[ItemResult, Published]]:
    """Yield each item with the names of its files, in row order."""
    names = FileNames()
    async for item in batch.items():
        yield item, _named(item, names)


def _named(item: ItemResult, names: FileNames) -> Published:
    delivery = delivery_of(item.outputs.values())
    if item.state is not ItemState.SUCCEEDED or delivery is None:
        return Published()
    try:
        stem = names.assign(item.row_number, item.file)
    except InputError as error:
        return Published(problem=f"{error.message}: {error.remedy}")
    poster = delivery.poster
    return Published(
        delivery,
        f"{stem}.{delivery.main.extension}",
        None if poster is None else f"{stem}.{poster.extension}",
    )


async def results(
    batch: Batch, summary: Summary, kind: str, gone: Container[int] = ()
) -> AsyncIterator[bytes]:
    """Yield the results file in pieces; ``kind`` is ``csv`` or ``jsonl``.

    The files of the rows in ``gone`` could not be given, and that is told.
    """
    text = ResultsText(await columns_of(batch, summary), kind=kind)
    yield text.head()
    chunk: list[ResultRow] = []
    async for item, published in named_items(batch):
        told = Published(problem=GONE) if item.row_number in gone else published
        chunk.append(result_row(item, told))
        if len(chunk) == ROWS_AT_ONCE:
            yield text.rows(chunk)
            chunk = []
    yield text.rows(chunk)


async def zipped(batch: Batch, summary: Summary, outgoing: OutgoingFiles) -> AsyncIterator[bytes]:
    """Yield a ZIP of the files of all rows that succeeded, with ``results.csv`` at its end.

    They tell their origin, as those in an output folder do.
    """
    stream, gone = ZipStream(summary.created_at), set[int]()
    try:
        async for row_number, artifact, name in _files(batch):
            found = await _found(outgoing, artifact)
            if found is None:
                gone |= set() if row_number is None else {row_number}
                continue
            async for piece in _entry(stream, name, *found):
                yield piece
        told = results(batch, summary, "csv", gone)
        async for piece in _entry(stream, "results.csv", None, told):
            yield piece
        for piece in stream.finish():
            yield piece
    finally:
        stream.close()


async def _files(batch: Batch) -> AsyncIterator[tuple[int | None, Artifact, str]]:
    """Yield all files of a batch with their names, and the rows that want them most.

    A poster is nobody's: its film is delivered without it, too.
    """
    async for item, published in named_items(batch):
        delivery = published.delivery
        if delivery is None or published.file is None:
            continue
        yield item.row_number, delivery.main, published.file
        if delivery.poster is not None and published.poster is not None:
            yield None, delivery.poster, published.poster


async def _entry(
    stream: ZipStream, name: str, size_bytes: int | None, pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    yield stream.begin(name, size_bytes)
    async for piece in pieces:
        yield stream.data(piece)
    yield stream.end()


async def _found(
    outgoing: OutgoingFiles, artifact: Artifact
) -> tuple[int, AsyncIterator[bytes]] | None:
    """Return the size and the bytes of an artifact's file, ``None`` where they are gone."""
    try:
        ready = await outgoing.ready(artifact)
        return ready.size_bytes, await outgoing.begun(ready)
    except NotFoundError:
        return None


def export_name(summary: Summary, at: datetime, suffix: str) -> str:
    """Return the name under which an export is saved."""
    return f"{summary.name} {at:%Y-%m-%d}{suffix}"
