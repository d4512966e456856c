"""Takes batch files in: every line looked at, then all of them a batch, or none and the errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TypeAlias
from uuid import UUID

from headrace.clock import Clock
from headrace.config import Run
from headrace.errors import HeadraceError, StorageError
from headrace.files import Files, show_file_id
from headrace.held import encode_json
from headrace.openai_body import EDITS, source_names
from headrace.outcome import CallFailed
from headrace.pricing import submit_priced
from headrace.recipe import Recipe, parse_recipe
from headrace.request_lines import LineError, LineReader, RequestLine, rows_again
from headrace.sent_pictures import Sources
from headrace.stage import Stage, StageInput
from headrace.store import file_batches
from headrace.store.database import Database
from headrace.store.file_batches import FileBatch
from headrace.store.ledger import Accounts
from headrace.store.new_items import NewItem
from headrace.submission import Terms, guarded, new_batch
from headrace.telemetry import crash_point

ERRORS_MAX = 100
"""Errors that are told of one file; behind them nobody looks further."""

PAGE_LINES = 500
PAGE_BYTES = 1024 * 1024
MODELS_MAX = 64
NAME = "requests"
_LATE = LineError("server_error", "the file could not be looked through within its window")
Page: TypeAlias = list[RequestLine | LineError]
_NO_MODEL = "model_not_found"


def recipe_of(endpoint: str, models: list[str]) -> Recipe:
    """Return the recipe whose rows are requests to ``endpoint``, each to one of ``models``."""
    stage = {"name": "result", "kind": "call", "endpoint": endpoint, "models": models}
    columns = {"required": ["custom_id", "body"]}
    return parse_recipe({"name": NAME, "columns": columns, "stages": [stage]}, "batch file")


class Intake:
    """Looks through files off the event loop; what it submits is all or nothing."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        files: Files,
        stages_of: Callable[[Recipe, str], Awaitable[list[Stage]]],
        marked: Callable[[Recipe, str], Awaitable[Recipe]],
        run: Run,
        moved: Callable[[], None],
        stopping: asyncio.Event,
    ) -> None:
        self._database = database
        self._clock = clock
        self._files = files
        self._stages_of = stages_of
        self._marked = marked
        self._run = run
        self._moved = moved
        self._stopping = stopping
        self._accounts = Accounts()

    async def take_in(self, batch_id: UUID) -> None:
        """Submit a file's lines, or write down what is wrong; raises ``StorageError``."""
        async with self._database.acquire() as connection:
            found = await file_batches.find(connection, batch_id)
        try:
            errors = await self._look(found) if self._clock.now() < found.expires_at else [_LATE]
        except StorageError:
            raise
        except HeadraceError as error:
            errors = [LineError(error.code, f"{error.message} {error.remedy}".strip())]
        if errors:
            told = encode_json([error.to_json() for error in errors]).decode()
            async with self._database.transaction() as connection:
                await file_batches.fail(connection, batch_id, told, self._clock.now())

    async def _look(self, found: FileBatch) -> list[LineError]:
        file = await self._files.find(found.tenant_id, show_file_id(found.input_file_id))
        async with self._files.on_disk(file) as path:
            sources = Sources(self._files, found.tenant_id)
            checking = _Checking(found.endpoint, found.tenant_id, self._stages_of, sources)
            pages = _pages(LineReader(found.endpoint).read(path))
            while page := await asyncio.to_thread(_next, pages):
                await checking.look(page)
                if self._stopping.is_set():
                    return []
                if len(checking.errors) >= ERRORS_MAX:
                    break
            if not checking.errors:
                known = sources.known if found.endpoint == EDITS else None
                rows = rows_again(path, known)
                await self._submit(found, file.name, rows, checking.models)
        return checking.errors[:ERRORS_MAX]

    async def _submit(
        self, found: FileBatch, name: str, rows: Iterator[bytes], models: list[str]
    ) -> None:
        recipe = await self._marked(recipe_of(found.endpoint, models), found.tenant_id)
        stages = await self._stages_of(recipe, found.tenant_id)
        # Nobody stands by who could look at a canary.
        terms = Terms(name=name, tenant_id=found.tenant_id, canary=0, source={"input": name})
        terms, rows_min = guarded(terms, stages, self._run)
        new = new_batch(found.id, recipe, stages, [*recipe.required], terms, None, rows_min)
        items = (NewItem(row.decode()) for row in rows)
        now = self._clock.now()
        async with self._database.transaction() as connection:
            if await file_batches.begin(connection, found.id, now):
                await submit_priced(connection, self._accounts, new, stages, items, now)
                crash_point("intake-before-commit")
        self._moved()


class _Checking:
    """Whether the lines of one file can be sent as they are; ``models`` are those they name."""

    def __init__(
        self,
        endpoint: str,
        tenant_id: str,
        stages_of: Callable[[Recipe, str], Awaitable[list[Stage]]],
        sources: Sources,
    ) -> None:
        self.errors: list[LineError] = []
        self._sources = sources
        self._endpoint = endpoint
        self._tenant_id = tenant_id
        self._stages_of = stages_of
        self._stages: dict[str, Stage | LineError] = {}

    @property
    def models(self) -> list[str]:
        """Return the models that were named, in that order."""
        return list(self._stages)

    async def look(self, page: Page) -> None:
        """Look at some lines."""
        for line in page:
            if isinstance(line, RequestLine) and line.model not in self._stages:
                self._stages[line.model] = await self._bound(line.model)
        if self._endpoint == EDITS:
            page = await self._sourced(page)
        self.errors += await asyncio.to_thread(lambda: [*filter(None, map(self._wrong, page))])

    async def _sourced(self, page: Page) -> Page:
        """Return a page whose lines have their pictures by hash."""
        await self._sources.look_up(
            name
            for line in page
            if isinstance(line, RequestLine)
            for names in source_names(line.body).values()
            for name in names
        )
        made: Page = []
        for line in page:
            if isinstance(line, RequestLine):
                try:
                    line = replace(line, body=self._sources.placed(line.body))  # noqa: PLW2901
                except HeadraceError as error:
                    why = f"{error.message} {error.remedy}"
                    line = LineError("file_not_found", why, line.line, "body.image")  # noqa: PLW2901
            made.append(line)
        return made

    async def _bound(self, model: str) -> Stage | LineError:
        if len(self._stages) >= MODELS_MAX:
            return LineError("too_many_models", f"a file names {MODELS_MAX} models at most")
        try:
            return (await self._stages_of(recipe_of(self._endpoint, [model]), self._tenant_id))[0]
        except HeadraceError as error:
            return LineError(_NO_MODEL, f"{error.message} {error.remedy}".strip())

    def _wrong(self, line: RequestLine | LineError) -> LineError | None:
        if isinstance(line, LineError):
            return line
        stage = self._stages[line.model]
        if isinstance(stage, LineError):
            return LineError(stage.code, stage.message, line.line, "body.model")
        given = StageInput(line.row(), {}, {}, None, line.line, NAME)
        try:
            request = stage.request(given)
            assert stage.provider is not None
            stage.provider.check(request.model, request.params)
        except CallFailed as failure:
            outcome = failure.outcome
            reason = outcome.reason.removeprefix(f"row {line.line}: ")
            return LineError("invalid_request", f"{reason} {outcome.remedy}", line.line, "body")
        except HeadraceError as error:
            why = f"{error.message} {error.remedy}".strip()
            return LineError("invalid_request", why, line.line, "body")
        return None


def _next(pages: Iterator[Page]) -> Page:
    return next(pages, [])


def _pages(
    lines: Iterator[RequestLine | LineError],
) -> Iterator[Page]:
    """Yield lines in pages, none of which holds much more than ``PAGE_BYTES``."""
    page: Page = []
    size = 0
    for line in lines:
        page.append(line)
        size += line.size_bytes if isinstance(line, RequestLine) else 0
        if len(page) >= PAGE_LINES or size >= PAGE_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page
