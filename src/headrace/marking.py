"""The mark of a plan: a last stage that writes its text on every picture that is handed out.

The picture without it stays in the cache: under another plan it is not bought again.
"""

from __future__ import annotations

from headrace.clock import Clock
from headrace.recipe import Recipe, parse_recipe
from headrace.store import plans
from headrace.store.database import Database

STAGE = "plan-watermark"
KNOWN_S = 5.0
"""So long it is not looked again which mark a tenant's plan has."""
TENANTS_KNOWN_MAX = 10_000


class Marks:
    """Which mark each tenant's pictures carry."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[str, tuple[float, str | None]] = {}

    async def on(self, recipe: Recipe, tenant_id: str) -> Recipe:
        """Return the recipe with the mark of the tenant's plan; raises ``NotFoundError``."""
        return marked(recipe, await self._of(tenant_id))

    async def _of(self, tenant_id: str) -> str | None:
        now_s = self._clock.monotonic_s()
        known = self._known.get(tenant_id)
        if known is not None and now_s - known[0] < KNOWN_S:
            return known[1]
        async with self._database.acquire() as connection:
            found = await plans.standing(connection, tenant_id, self._clock.now())
        self._known.pop(tenant_id, None)
        self._known[tenant_id] = (now_s, found.plan.watermark)
        if len(self._known) > TENANTS_KNOWN_MAX:
            self._known.pop(next(iter(self._known)))
        return found.plan.watermark


def marked(recipe: Recipe, text: str | None) -> Recipe:
    """Return the recipe with a stage that writes ``text`` on pictures, before the file is named.

    Texts pass it as they are; films cannot be marked, and are refused.
    """
    if text is None:
        return recipe
    stages = list(recipe.body["stages"])
    end = len(stages)
    while end > 0 and recipe.stages[end - 1].kind == "write":
        end -= 1
    stages.insert(
        end,
        {
            "name": STAGE,
            "kind": "watermark",
            "text": text,
            "opacity": 0.6,
            "size": 0.3,
            "only_images": True,
            "no_films": True,
        },
    )
    # The name may be the file's: then it is not in the body.
    return parse_recipe({**recipe.body, "stages": stages}, f"recipe {recipe.name}", recipe.name)
