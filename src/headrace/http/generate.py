"""``POST /api/generate``: one result now, of a model or of a recipe of several stages."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headrace.access import Scope
from headrace.cache import CacheMode
from headrace.engine import Engine
from headrace.errors import InputError
from headrace.generation import Asked, Generated
from headrace.http.artifact_links import Links
from headrace.http.bodies import only, read_json
from headrace.http.demand import Demand
from headrace.http.described import described, says
from headrace.http.entry import Caller, Entry
from headrace.http.online import cache_mode
from headrace.http.shapes import GeneratedShape
from headrace.recipe import check_recipe_name

_RECIPE = {"recipe": str, "row": dict}
_BODY: dict[str, Any] = {
    "application/json": {
        "type": "object",
        "description": "A model, a prompt and what else the model takes; or a recipe and a row.",
        "properties": {
            "model": {"type": "string"},
            "prompt": {"type": "string"},
            "recipe": {"type": "string"},
            "row": {"type": "object"},
        },
    }
}
_TEXT = ("text/", "application/json")


class Generate:
    """The route of native generation on demand."""

    def __init__(self, engine: Engine, entry: Entry, demand: Demand, links: Links) -> None:
        self._engine = engine
        self._entry = entry
        self._demand = demand
        self._links = links

    def router(self) -> APIRouter:
        """Return the route."""
        router = APIRouter()
        router.add_api_route(
            "/api/generate",
            self.generate,
            methods=["POST"],
            tags=["on demand"],
            **described(body=_BODY, s200=says(GeneratedShape, "The result.")),
        )
        return router

    async def generate(self, request: Request) -> JSONResponse:
        """Make one result."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        body = await read_json(request)

        async def ask() -> list[Asked]:
            return [await self._asked(caller, body, cache_mode(request))]

        answered = await self._demand.answer(request, caller, body, ask)
        told = await self._told(answered.made[0])
        return JSONResponse(told, headers=answered.headers)

    async def _asked(self, caller: Caller, body: dict[str, Any], mode: CacheMode) -> Asked:
        generator = self._engine.generator
        if "recipe" in body or "row" in body:
            only(body, _RECIPE)
            if len(body) < len(_RECIPE):
                raise InputError("a recipe and its row go together")
            recipe = self._engine.recipe(check_recipe_name(body["recipe"]))
            return await generator.row(recipe, body["row"], mode, caller.tenant_id)
        model, prompt = body.get("model"), body.get("prompt", "")
        if not isinstance(model, str) or not isinstance(prompt, str):
            raise InputError(
                "there is neither a model nor a recipe",
                remedy='Send {"model": …, "prompt": …} or {"recipe": …, "row": {…}}.',
            )
        params = {name: body[name] for name in body.keys() - {"model", "prompt"}}
        return await generator.ask(model, prompt, params, mode, caller.tenant_id)

    async def _told(self, made: Generated) -> dict[str, Any]:
        path = await self._links.signed_path(made.artifact)
        told: dict[str, Any] = {
            "cached": made.cached,
            "artifact": {**made.artifact.to_json(), "path": path},
            "facts": made.facts,
        }
        if made.artifact.media_type.startswith(_TEXT):
            told["text"] = made.body.decode("utf-8", "replace")
        return told
