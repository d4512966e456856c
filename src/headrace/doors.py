"""The doors for Python: ``open`` for async code, ``run`` for scripts and notebooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from headrace.config import Config, load_config
from headrace.engine import Engine, open_engine
from headrace.provider import Provider
from headrace.recipe import Recipe
from headrace.submission import Terms
from headrace.watching import ItemResult


@asynccontextmanager
async def open(  # noqa: A001 - the word people expect
    config: Config | None = None,
    *,
    providers: Mapping[str, Provider] | None = None,
    work: bool = True,
    **settings: Any,
) -> AsyncIterator[Engine]:
    """Open an engine on the configured database; by default it takes part in the work.

    ``settings`` are settings by name (``home="…"``), over file and environment. Raises
    ``ConfigError``, ``DatabaseError``, ``StorageError``.
    """
    found = config or load_config(flags=settings)
    async with open_engine(found, providers=providers, work=work) as engine:
        yield engine


def run(
    rows: Iterable[Mapping[str, Any]],
    recipe: str | Recipe,
    *,
    terms: Terms | None = None,
    providers: Mapping[str, Provider] | None = None,
    **settings: Any,
) -> list[ItemResult]:
    """Submit rows, wait until the batch has ended, and return all items in row order.

    For scripts and notebooks; in async code use ``open``. Raises what ``submit`` raises,
    and ``PausedError`` when a guard has paused the batch.
    """

    async def work() -> list[ItemResult]:
        async with open(providers=providers, **settings) as engine:
            given = list(rows)
            columns = list(given[0]) if given else None
            batch = await engine.submit(given, recipe, columns=columns, terms=terms)
            await batch.done()
            return [item async for item in batch.items()]

    return asyncio.run(work())
