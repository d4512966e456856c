"""Hands out what became of a batch file: its output file and its error file, line by line."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid5

from headrace.artifact import Artifact
from headrace.blob import Blobs
from headrace.cache import Cache
from headrace.clock import Clock
from headrace.complaint import last_made
from headrace.errors import NotFoundError
from headrace.files import Files
from headrace.held import HeldBatch, decode_json, encode_json, read_outputs
from headrace.identity import show_id
from headrace.imprinting import imprinted
from headrace.lifecycle import BatchState, ItemState
from headrace.openai_answers import (
    CODES,
    STATUS_ELSE,
    STATUSES,
    answer_json,
    error_json,
)
from headrace.outcome import CallFailed
from headrace.spool import Spool
from headrace.stage import StageInput
from headrace.store import file_batches, statements
from headrace.store.database import Database
from headrace.store.file_batches import FileBatch
from headrace.store.files import File
from headrace.telemetry import crash_point

PREFIX = "batch_"
MEDIA_TYPE = "application/jsonl"
PAGE = 200
FILE_BYTES_MAX = 1024**4
"""Images as text are large: the disk is the cap."""

_ENDS = {"cancelling": "cancelled", "expiring": "expired"}
_LEFT = {
    "expired": ("batch_expired", "the window of the batch was over before this was made"),
    "cancelled": ("batch_cancelled", "the batch was cancelled before this was made"),
}


class _Stopped(Exception):  # noqa: N818 - no error: the process ends, another goes on
    """This process ends; nothing of what was written is kept."""


class _Lines:
    """A file that grows line by line; ``count`` is how many there are."""

    def __init__(self, spool: Spool) -> None:
        self.count = 0
        self._spool = spool

    async def add(self, line: dict[str, Any]) -> None:
        """Append a line."""
        self.count += 1
        await self._spool.write(encode_json(line) + b"\n")

    async def commit(self) -> Artifact | None:
        """Make the file durable; ``None`` where nothing is in it."""
        if self.count == 0:
            return None
        return await self._spool.commit()


class Handout:
    """Writes the files of batches that are over.

    The same batch gives the same bytes, so that writing them again after a crash adds none;
    they become files in the transaction that ends the batch.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        clock: Clock,
        files: Files,
        cache: Cache,
        open_batch: Callable[[UUID], Awaitable[HeldBatch]],
        stopping: asyncio.Event,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._clock = clock
        self._files = files
        self._cache = cache
        self._open_batch = open_batch
        self._stopping = stopping

    async def hand_out(self, batch_id: UUID) -> None:
        """Write a batch's files and end it; raises ``StorageError``."""
        async with self._database.acquire() as connection:
            found = await file_batches.find(connection, batch_id)
        state = _ENDS.get(found.state, "cancelled")
        if found.state == "in_progress" and found.batch_state == BatchState.COMPLETED.value:
            state = "completed"
        async with AsyncExitStack() as stack:
            output, errors = [
                _Lines(
                    await stack.enter_async_context(self._blobs.spool(MEDIA_TYPE, FILE_BYTES_MAX))
                )
                for _ in range(2)
            ]
            try:
                async for good, line in self._answers(found, state):
                    await (output if good else errors).add(line)
            except _Stopped:
                return
            made = await output.commit(), await errors.commit()
            await self._end(found, state, made)

    async def _end(
        self, found: FileBatch, state: str, made: tuple[Artifact | None, Artifact | None]
    ) -> None:
        new = [
            None if artifact is None else self._new(found, name, artifact)
            for name, artifact in zip(("output", "error"), made, strict=True)
        ]
        ids = [None if file is None else file.id for file in new]
        async with self._database.transaction() as connection:
            now = await file_batches.settled(connection, found.id)
            # Somebody has tried failed items again: what was written is of yesterday.
            if now != (found.batch_state, found.event_seq):
                return
            if not await file_batches.end(
                connection, found, state, (ids[0], ids[1]), self._clock.now()
            ):
                return
            for file in new:
                if file is not None:
                    await self._files.keep(connection, file)
            crash_point("handout-before-commit")

    def _new(self, found: FileBatch, name: str, artifact: Artifact) -> File:
        called = f"{show_id(PREFIX, found.id)}_{name}.jsonl"
        ends = found.outputs_end_after_s
        return self._files.new(found.tenant_id, called, "batch_output", artifact, ends)

    async def _answers(
        self, found: FileBatch, state: str
    ) -> AsyncIterator[tuple[bool, dict[str, Any]]]:
        """Yield each item's line, and whether it is one of the output file."""
        after = -1
        while True:
            if self._stopping.is_set():
                raise _Stopped
            async with self._database.acquire() as connection:
                rows = await connection.fetch(
                    statements.load("file_batches/answers.sql"), found.id, after, PAGE
                )
            if not rows:
                return
            after = rows[-1]["idx"]
            made = {row["idx"]: last_made(read_outputs(row["outputs"])) for row in rows}
            bodies = await self._small([one for one in made.values() if one is not None])
            facts = await self._facts(found, rows)
            for row in rows:
                artifact = made[row["idx"]]
                if row["state"] != ItemState.SUCCEEDED.value or artifact is None:
                    yield False, _failed(found, row, state)
                    continue
                body = bodies.get(artifact.sha256)
                if body is None:
                    try:
                        body = await self._blobs.read(artifact.sha256)
                    except NotFoundError as gone:
                        yield False, _line(found, row, None, ("result_gone", gone.message))
                        continue
                # A picture among the answers tells its origin, as its file would.
                body = await imprinted(artifact, body)
                told = _answer(found, row, artifact, body, facts.get(row["idx"], {}))
                yield True, _line(found, row, (200, told), None)

    async def _small(self, artifacts: list[Artifact]) -> dict[bytes, bytes]:
        """Return the bodies that rest in the database."""
        async with self._database.acquire() as connection:
            rows = await connection.fetch(
                statements.load("artifacts/bodies.sql"), [one.sha256 for one in artifacts]
            )
        return {row["sha256"]: row["body"] for row in rows}

    async def _facts(self, found: FileBatch, rows: list[Any]) -> dict[int, dict[str, Any]]:
        """Return by row index what is kept of each call, or with the cached result."""
        known = {row["idx"]: decode_json(row["facts"]) for row in rows if row["facts"]}
        idxs = [
            row["idx"]
            for row in rows
            if row["idx"] not in known and row["state"] == ItemState.SUCCEEDED.value
        ]
        if not idxs:
            return known
        batch = await self._open_batch(found.id)
        prints: dict[int, bytes] = {}
        async with self._database.acquire() as connection:
            asked = await connection.fetch(statements.load("items/some.sql"), found.id, idxs)
        for row in asked:
            given = StageInput(decode_json(row["inputs"]), {}, {}, None, row["idx"] + 1, batch.name)
            try:
                prints[row["idx"]] = batch.stages[0].request(given).fingerprint
            except CallFailed:
                continue  # its provider has changed since
        hits = await self._cache.get_many(found.tenant_id, list(set(prints.values())))
        return known | {idx: hits[one].facts for idx, one in prints.items() if one in hits}


def _line(
    found: FileBatch,
    row: Any,
    response: tuple[int, dict[str, Any]] | None,
    error: tuple[str, str] | None,
) -> dict[str, Any]:
    name = _name(found, row)
    told = None
    if response is not None:
        told = {"status_code": response[0], "request_id": f"req_{name}", "body": response[1]}
    return {
        "id": f"batch_req_{name}",
        "custom_id": row["custom_id"],
        "response": told,
        "error": None if error is None else {"code": error[0], "message": error[1]},
    }


def _name(found: FileBatch, row: Any) -> str:
    """Return the name of an answer: the same whenever it is written."""
    return uuid5(found.id, str(row["idx"])).hex


def _answer(
    found: FileBatch, row: Any, artifact: Artifact, body: bytes, facts: dict[str, Any]
) -> dict[str, Any]:
    at = row["changed_at"] or found.created_at
    return answer_json(
        found.endpoint, _name(found, row), row["model"], body, artifact.media_type, facts, at
    )


def _failed(found: FileBatch, row: Any, state: str) -> dict[str, Any]:
    if row["state"] == ItemState.CANCELLED.value:
        return _line(found, row, None, _LEFT.get(state, _LEFT["cancelled"]))
    error = decode_json(row["error"]) if row["error"] else {}
    kind = str(error.get("code") or row["state"])
    status = STATUSES.get(kind, STATUS_ELSE)
    message = f"{error.get('reason') or row['state']} {error.get('remedy') or ''}".strip()
    return _line(found, row, (status, error_json(message, CODES.get(kind, kind), status)), None)
