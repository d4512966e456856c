"""On demand: one result now, by the same cache, single-flight, ledger and executor as batches."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from headrace.artifact import Artifact
from headrace.cache import Cache, CacheMode
from headrace.errors import HeadraceError, UsageError
from headrace.recipe import Recipe, parse_recipe
from headrace.request import Request
from headrace.stage import Stage, StageInput

COLUMN = "params_"
"""Before the name of a param's column, so that none is called like one of ours."""

RECIPES_MAX = 256
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


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

    def __init__(self, message: str, *, outcome: str = "", **more: Any) -> None:
        super().__init__(message, **more)
        self.outcome = outcome


def recipe_for(model: str, params: Iterable[str], has_prompt: bool = True) -> Recipe:
    """Return the one-stage recipe of a generation on demand.

    Prompt and params are columns, not part of the recipe: braces in them mean nothing.
    """
    stage: dict[str, Any] = {"name": "result", "kind": "generate", "model": model}
    columns = [*params]
    if has_prompt:
        stage["prompt"] = "{{ prompt }}"
        columns.append("prompt")
    stage["params"] = {name: f"{{{{ {COLUMN}{name} }}}}" for name in params}
    required = ["prompt"] if has_prompt else []
    optional = [COLUMN + name for name in columns if name != "prompt"]
    return parse_recipe(
        {
            "name": "on-demand",
            "columns": {"required": required, "optional": optional},
            "stages": [stage],
        },
        "generate()",
    )


class Generator:
    """Serves generations on demand; a hit costs one look-up and nothing else."""

    def __init__(
        self,
        cache: Cache,
        stages_of: Callable[[Recipe], Awaitable[list[Stage]]],
        buy: Buy,
        body: Callable[[bytes], Awaitable[bytes]],
        hits_are_free: Callable[[str, list[Stage]], Awaitable[bool]],
    ) -> None:
        self._cache = cache
        self._stages_of = stages_of
        self._buy = buy
        self._body = body
        self._hits_are_free = hits_are_free
        self._known: dict[tuple[str, ...], tuple[Recipe, Stage]] = {}

    async def generate(
        self, model: str, prompt: str, params: dict[str, Any], mode: CacheMode, tenant_id: str
    ) -> Generated:
        """Return the result for ``prompt``; raises ``GenerationError`` when there is none."""
        recipe, stage = await self._recipe(model, params, bool(prompt))
        row = {COLUMN + name: value for name, value in params.items()}
        told = {"prompt": prompt} if prompt else {}
        row |= told
        request = stage.request(StageInput(row, {}, {}, None, 1, recipe.name))
        hit = None
        if mode is CacheMode.REUSE:
            hits = await self._cache.get_many(tenant_id, [request.fingerprint])
            hit = hits.get(request.fingerprint)
            # One that has a price is settled as any item is, so that the ledger tells of it.
            if hit is not None and await self._hits_are_free(recipe.name, [stage]):
                body = hit.artifact.body
                if body is None:
                    body = await self._body(hit.artifact.sha256)
                return Generated(hit.artifact, body, True, hit.facts)
        if stage.provider is not None:
            stage.provider.check(model.partition(":")[2], {**told, **params})
        artifact, error = await self._buy(recipe, row, mode, tenant_id)
        if artifact is None or error:
            raise GenerationError(
                str(error.get("reason")),
                outcome=str(error.get("code", "")),
                remedy=str(error.get("remedy", "")),
            )
        return Generated(
            artifact,
            await self._body(artifact.sha256),
            hit is not None,
            await self._facts(request, mode, tenant_id),
        )

    async def _facts(self, request: Request, mode: CacheMode, tenant_id: str) -> dict[str, Any]:
        """Return what is kept beside a result that was just bought."""
        if mode is CacheMode.OFF:
            return {}
        hits = await self._cache.get_many(tenant_id, [request.fingerprint])
        hit = hits.get(request.fingerprint)
        return {} if hit is None else hit.facts

    async def _recipe(
        self, model: str, params: dict[str, Any], has_prompt: bool
    ) -> tuple[Recipe, Stage]:
        for name in params:
            if _NAME.fullmatch(name) is None:
                raise UsageError(f"{name[:64]!r} is not the name of a parameter")
        key = (model, *sorted(params), str(has_prompt))
        if key not in self._known:
            made = recipe_for(model, sorted(params), has_prompt)
            self._known[key] = (made, (await self._stages_of(made))[0])
            if len(self._known) > RECIPES_MAX:
                self._known.pop(next(iter(self._known)))
        return self._known[key]
