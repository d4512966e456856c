"""What children of the kill tests do: find or submit a batch, and work until it has ended."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headrace.config import Config
from headrace.engine import open_engine
from headrace.recipe import parse_recipe
from headrace.submission import Terms


async def worked(
    config: Config,
    recipe: dict[str, Any],
    column: str,
    values: Iterable[str],
    *,
    canary: int | None = None,
    deadline_s: float | None = None,
    **opening: Any,
) -> None:
    """Make one batch of the recipe, whoever began it; ``opening`` is what the engine is given."""
    name = recipe["name"]
    async with open_engine(config, **opening) as engine:
        batch = await engine.submit(
            ({column: value} for value in values),
            parse_recipe(recipe, name),
            columns=[column],
            terms=Terms(idempotency_key=name, canary=canary, deadline_s=deadline_s),
            digest=name.encode(),
        )
        await batch.done()
