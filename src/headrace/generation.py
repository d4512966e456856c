"""On demand: one result now, by the same cache, single-flight, ledger and executor as batches."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from headrace.artifact import INLINE_BYTES_MAX, Artifact
from headrace.cache import Cache, CacheHit, CacheMode
from headrace.errors import HeadraceError, UsageError
from headrace.judging import Judging, unmarked
from headrace.live_text import Listener
from headrace.openai_body import model_of
from headrace.outcome import CallFailed
from headrace.policy import Policy
from headrace.policy_table import PolicyTable
from headrace.recipe import Recipe, parse_recipe
from headrace.request import Request
from headrace.stage import Stage, StageInput, passes_by

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


@dataclass(frozen=True)
class Asked:
    """One result that somebody wants now: a row of a recipe.

    ``request`` is what the recipe's first stage asks for it, ``None`` where others but a mark
    follow, which are ``later``.
    ``key`` and ``digest`` are those of a call that may come again: it is bought once.
    ``listener`` hears its text while it is bought, where that can be.
    """

    recipe: Recipe
    row: dict[str, Any]
    stage: Stage
    request: Request | None
    tenant_id: str
    mode: CacheMode = CacheMode.REUSE
    later: tuple[Stage, ...] = ()

    @property
    def stages(self) -> list[Stage]:
        """Return the stages that are known: the first, and the mark behind it."""
        return [self.stage, *self.later]

    key: str | None = None
    digest: bytes | None = None
    listener: Listener | None = None


Buy = Callable[[Asked], Awaitable[tuple[Artifact | None, dict[str, Any]]]]


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
    """Serves generations on demand: asked for, found in the cache by one look-up, or bought."""

    def __init__(
        self,
        cache: Cache,
        stages_of: Callable[[Recipe, str], Awaitable[list[Stage]]],
        marked: Callable[[Recipe, str], Awaitable[Recipe]],
        buy: Buy,
        body: Callable[[bytes], Awaitable[bytes]],
        blob: Callable[[bytes], Awaitable[bytes]],
        hits_are_free: Callable[[str, list[Stage]], Awaitable[bool]],
        judging: Judging,
        policy_of: Callable[[PolicyTable], Policy],
    ) -> None:
        self._cache = cache
        self._stages_of = stages_of
        self._marked = marked
        self._buy = buy
        self._body = body
        self._blob = blob
        self._hits_are_free = hits_are_free
        self._plain: dict[tuple[str, ...], Recipe] = {}
        self._known: dict[tuple[str, str], tuple[Recipe, list[Stage]]] = {}
        self._judging = judging
        self._policy_of = policy_of

    async def generate(
        self, model: str, prompt: str, params: dict[str, Any], mode: CacheMode, tenant_id: str
    ) -> Generated:
        """Return the result for ``prompt``; raises ``GenerationError`` when there is none."""
        asked = await self.ask(model, prompt, params, mode, tenant_id)
        return await self.find(asked) or await self.buy(asked)

    async def ask(
        self, model: str, prompt: str, params: dict[str, Any], mode: CacheMode, tenant_id: str
    ) -> Asked:
        """Return what a model is asked for; raises ``RecipeError`` and ``UsageError``."""
        for name in params:
            if _NAME.fullmatch(name) is None:
                raise UsageError(f"{name[:64]!r} is not the name of a parameter")
        names = sorted(params)
        key = (model, *names, str(bool(prompt)))
        recipe, stages = await self._recipe(
            key, lambda: recipe_for(model, names, bool(prompt)), tenant_id
        )
        row = {COLUMN + name: value for name, value in params.items()}
        if prompt:
            row["prompt"] = prompt
        return _asked(recipe, row, stages, tenant_id, mode)

    async def call(
        self, endpoint: str, body: dict[str, Any], variant: int, mode: CacheMode, tenant_id: str
    ) -> Asked:
        """Return what a request in OpenAI's shape asks for; ``variant`` counts from 0.

        Raises ``InputError``, ``GenerationError`` where it cannot be sent, and
        ``RecipeError`` where there is no such model.
        """
        model = model_of(body)
        key = ("call", endpoint, model)
        recipe, stages = await self._recipe(key, lambda: call_recipe(endpoint, model), tenant_id)
        return _asked(recipe, {"body": body, "variant": variant}, stages, tenant_id, mode)

    async def row(
        self, recipe: Recipe, row: dict[str, Any], mode: CacheMode, tenant_id: str
    ) -> Asked:
        """Return what a row asks of a recipe of any number of stages; raises ``RecipeError``."""
        marked = await self._marked(recipe, tenant_id)
        stages = await self._stages_of(marked, tenant_id)
        if len(recipe.stages) > 1 or stages[0].provider is None:
            return Asked(marked, row, stages[0], None, tenant_id, mode)
        if stages[0].models is not None and len(stages[0].models.choices) > 1:
            return Asked(marked, row, stages[0], None, tenant_id, mode)
        return _asked(marked, row, stages, tenant_id, mode)

    async def find(self, asked: Asked) -> Generated | None:
        """Return what the cache has, ``None`` where it has nothing or must not be asked."""
        if asked.mode is not CacheMode.REUSE or asked.request is None:
            return None
        hit = await self._kept(asked.request, asked.later, asked.tenant_id)
        policy = self._policy_of(asked.recipe.policy)
        if hit is None or not self._judging.serves(policy, asked.stage, [asked.request], hit):
            return None
        # One that has a price is settled as any item is, so that the ledger tells of it.
        if not await self._hits_are_free(asked.recipe.name, asked.stages):
            return None
        artifact = hit.artifact
        body = artifact.body
        if body is None:
            # What is large is no row's: one look-up less.
            read = self._blob if artifact.size_bytes > INLINE_BYTES_MAX else self._body
            body = await read(artifact.sha256)
        return Generated(artifact, body, True, unmarked(hit.facts))

    async def buy(self, asked: Asked) -> Generated:
        """Return a result that is bought, once however many ask for it.

        Raises ``GenerationError`` where it ends without one, ``RecipeError`` for params that
        the model cannot take.
        """
        request = asked.request
        if request is not None and asked.stage.provider is not None:
            asked.stage.provider.check(request.model, request.params)
        kept = None
        if request is not None and asked.mode is CacheMode.REUSE:
            kept = await self._kept(request, asked.later, asked.tenant_id)
        artifact, error = await self._buy(asked)
        if artifact is None or error:
            raise GenerationError(
                str(error.get("reason") or "it ended without a result"),
                outcome=str(error.get("code", "")),
                remedy=str(error.get("remedy", "")),
            )
        body = await self._body(artifact.sha256)
        return Generated(artifact, body, kept is not None, await self._facts(asked))

    async def _facts(self, asked: Asked) -> dict[str, Any]:
        """Return what is kept beside a result that was just bought."""
        if asked.mode is CacheMode.OFF or asked.request is None:
            return {}
        hit = await self._look_up(asked.request, asked.tenant_id)
        return {} if hit is None else unmarked(hit.facts)

    async def _kept(
        self, request: Request, later: tuple[Stage, ...], tenant_id: str
    ) -> CacheHit | None:
        """Return what is cached of the last stage, with the facts of the first."""
        first = await self._look_up(request, tenant_id)
        hit = first
        for stage in later:
            if hit is None or first is None:
                break
            if passes_by(stage, hit.artifact):
                continue
            given = StageInput({}, {}, {}, hit.artifact, 1, "")
            try:
                request = stage.request(given)
            except CallFailed:
                return None  # its item will say why
            hit = await self._look_up(request, tenant_id)
        return None if hit is None or first is None else replace(hit, facts=first.facts)

    async def _look_up(self, request: Request, tenant_id: str) -> CacheHit | None:
        hits = await self._cache.get_many(tenant_id, [request.fingerprint])
        return hits.get(request.fingerprint)

    async def _recipe(
        self, key: tuple[str, ...], make: Callable[[], Recipe], tenant_id: str
    ) -> tuple[Recipe, list[Stage]]:
        """Return a recipe with its tenant's mark, and its stages."""
        if key not in self._plain:
            self._plain[key] = make()
            if len(self._plain) > RECIPES_MAX:
                self._plain.pop(next(iter(self._plain)))
        made = await self._marked(self._plain[key], tenant_id)
        known = (tenant_id, made.version.hex())
        if known not in self._known:
            self._known[known] = (made, await self._stages_of(made, tenant_id))
            if len(self._known) > RECIPES_MAX:
                self._known.pop(next(iter(self._known)))
        return self._known[known]


def _asked(
    recipe: Recipe, row: dict[str, Any], stages: list[Stage], tenant_id: str, mode: CacheMode
) -> Asked:
    request = _request(stages[0], row, recipe)
    return Asked(recipe, row, stages[0], request, tenant_id, mode, tuple(stages[1:]))


def _request(stage: Stage, row: dict[str, Any], recipe: Recipe) -> Request:
    try:
        return stage.request(StageInput(row, {}, {}, None, 1, recipe.name))
    except CallFailed as failure:
        outcome = failure.outcome
        reason = outcome.reason.removeprefix("row 1: ")
        raise GenerationError(reason, outcome=outcome.kind.value, remedy=outcome.remedy) from None


def call_recipe(endpoint: str, model: str) -> Recipe:
    """Return the one-stage recipe of a request in OpenAI's shape."""
    stage = {"name": "result", "kind": "call", "endpoint": endpoint, "models": [model]}
    return parse_recipe(
        {
            "name": "on-demand",
            "columns": {"required": ["body"], "optional": ["variant"]},
            "stages": [stage],
        },
        endpoint,
    )
