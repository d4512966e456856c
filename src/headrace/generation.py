"""On demand: one result now, by the same cache, single-flight, ledger and executor as batches."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from headrace.artifact import Artifact
from headrace.cache import Cache, CacheMode
from headrace.errors import HeadraceError
from headrace.recipe import Recipe, parse_recipe
from headrace.stage import Stage, StageInput


@dataclass(frozen=True)
class Generated:
    """A result on demand: its artifact and bytes, and whether it came from the cache."""

    artifact: Artifact
    body: bytes
    cached: bool
    facts: dict[str, Any]


Buy = Callable[
    [Recipe, dict[str, Any], CacheMode, str], Awaitable[tuple[Artifact | None, dict[str, Any]]]
]


class GenerationError(HeadraceError):
    """A generation on demand ended without a result; the message says why."""

    code = "generation_failed"


def recipe_for(model: str, prompt: str, params: dict[str, Any]) -> Recipe:
    """Return the one-stage recipe of a generation on demand.

    The prompt is a column, not part of the recipe: braces in it mean nothing.
    """
    stage: dict[str, Any] = {
        "name": "result",
        "kind": "generate",
        "model": model,
        "prompt": "{{ prompt }}",
    }
    if params:
        stage["params"] = params
    return parse_recipe(
        {"name": "on-demand", "columns": {"required": ["prompt"]}, "stages": [stage]}, "generate()"
    )


class Generator:
    """Serves generations on demand; a hit costs one look-up and nothing else."""

    def __init__(
        self,
        cache: Cache,
        stages_of: Callable[[Recipe], Awaitable[list[Stage]]],
        buy: Buy,
        body: Callable[[bytes], Awaitable[bytes]],
    ) -> None:
        self._cache = cache
        self._stages_of = stages_of
        self._buy = buy
        self._body = body
        self._known: dict[tuple[str, str], tuple[Recipe, Stage]] = {}

    async def generate(
        self, model: str, prompt: str, params: dict[str, Any], mode: CacheMode, tenant_id: str
    ) -> Generated:
        """Return the result for ``prompt``; raises ``GenerationError`` when there is none."""
        key = (model, repr(sorted(params.items())))
        if key not in self._known:
            made = recipe_for(model, prompt, params)
            self._known[key] = (made, (await self._stages_of(made))[0])
            if len(self._known) > 256:
                self._known.pop(next(iter(self._known)))
        recipe, stage = self._known[key]
        row = {"prompt": prompt}
        if mode is CacheMode.REUSE:
            request = stage.request(StageInput(row, {}, {}, None, 1, recipe.name))
            hits = await self._cache.get_many(tenant_id, [request.fingerprint])
            hit = hits.get(request.fingerprint)
            if hit is not None:
                body = hit.artifact.body
                if body is None:
                    body = await self._body(hit.artifact.sha256)
                return Generated(hit.artifact, body, True, hit.facts)
        artifact, error = await self._buy(recipe, row, mode, tenant_id)
        if artifact is None or error:
            raise GenerationError(str(error.get("reason")), remedy=str(error.get("remedy", "")))
        return Generated(artifact, await self._body(artifact.sha256), False, {})
