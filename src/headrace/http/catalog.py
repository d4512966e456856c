"""``/api/recipes`` and ``/api/lanes``: what can be asked for, and how fast it goes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import NotFoundError, RecipeError
from headrace.http.described import described, says
from headrace.http.entry import Entry
from headrace.http.shapes import LaneList, LaneShape, RecipeList, RecipeShape
from headrace.lane_words import lane_json
from headrace.nearest import did_you_mean
from headrace.recipe import recipe_names
from headrace.store import lanes

_SHOWN = ("model", "models", "template", "provider")
"""The settings of a stage that say who makes it; prompts are the operator's own."""


class Catalog:
    """The routes of recipes and lanes."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._engine = engine
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/api")
        all_recipes = described(s200=says(RecipeList, "The recipes."))
        router.add_api_route(
            "/recipes", self.recipes, methods=["GET"], tags=["recipes"], **all_recipes
        )
        one = described(s200=says(RecipeShape, "The recipe."))
        path = "/recipes/{name}"
        router.add_api_route(path, self.recipe, methods=["GET"], tags=["recipes"], **one)
        found = described(s200=says(LaneList, "The lanes."))
        router.add_api_route("/lanes", self.lanes, methods=["GET"], tags=["lanes"], **found)
        return router

    async def recipes(self, request: Request) -> JSONResponse:
        """List the recipes that are at hand, those that cannot be used with the reason."""
        await self._entry.let_in(request, Scope.READ)
        names = await asyncio.to_thread(recipe_names, self._engine.recipe_folders)
        found = [await asyncio.to_thread(self._recipe, name) for name in names]
        return JSONResponse(msgspec.to_builtins(RecipeList(found)))

    async def recipe(self, request: Request, name: str) -> JSONResponse:
        """Show a recipe: the columns that it needs, and its stages."""
        await self._entry.let_in(request, Scope.READ)
        names = await asyncio.to_thread(recipe_names, self._engine.recipe_folders)
        if name not in names:
            remedy = did_you_mean(name[:64], names)
            raise NotFoundError(f"there is no recipe {name[:64]!r}", remedy=remedy)
        found = await asyncio.to_thread(self._recipe, name)
        return JSONResponse(msgspec.to_builtins(found))

    def _recipe(self, name: str) -> RecipeShape:
        try:
            found = self._engine.recipe(name)
        except RecipeError as error:
            # Its place is a path of the server, which is nobody's business here.
            return RecipeShape(name, error=f"{error.message} {error.remedy}".rstrip())
        return RecipeShape(
            name=name,
            description=found.description,
            version=found.version.hex(),
            required=list(found.required),
            optional=list(found.optional),
            stages=[
                {"name": spec.name, "kind": spec.kind} | _made_by(spec.settings)
                for spec in found.stages
            ],
        )

    async def lanes(self, request: Request) -> JSONResponse:
        """List what is known of the limits of providers; all tenants share them."""
        await self._entry.operator(request)
        async with self._engine.database.acquire() as connection:
            found = await lanes.kept(connection)
        now = self._engine.clock.now()
        shown = [LaneShape(**lane_json(one, now)) for one in found]
        return JSONResponse(msgspec.to_builtins(LaneList(shown)))


def _made_by(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in _SHOWN if name in settings}
