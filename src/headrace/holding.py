"""The batches that a worker holds: their settings and stages, built once and kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import msgspec

from headrace.cache import CacheMode
from headrace.held import HeldBatch, decode_json, read_tariff
from headrace.hours import Hours
from headrace.policy import Policy
from headrace.policy_table import PolicyTable
from headrace.recipe import Recipe, parse_recipe
from headrace.stage import Stage
from headrace.store import statements
from headrace.store.database import Database

BATCHES_HELD_MAX = 64


class HeldBatches:
    """Opens batches by their id; the latest stay open."""

    def __init__(
        self,
        database: Database,
        stages_of: Callable[[Recipe, str], Awaitable[list[Stage]]],
        reads_texts: Callable[[Recipe], bool],
        keys_of: Callable[[str], Awaitable[tuple[UUID, ...]]],
        policy_of: Callable[[PolicyTable], Policy],
    ) -> None:
        self._database = database
        self._stages_of = stages_of
        self._reads_texts = reads_texts
        self._keys_of = keys_of
        self._policy_of = policy_of
        self._held: dict[UUID, HeldBatch] = {}

    async def open(self, batch_id: UUID) -> HeldBatch:
        """Return a batch's settings with its stages built; raises ``RecipeError`` if it cannot."""
        held = self._held.get(batch_id)
        # Built anew when its tenant buys with another key.
        if held is None or held.keys != await self._keys_of(held.tenant_id):
            held = self._held[batch_id] = await self._read(batch_id)
            if len(self._held) > BATCHES_HELD_MAX:
                self._held.pop(next(iter(self._held)))
        return held

    async def _read(self, batch_id: UUID) -> HeldBatch:
        async with self._database.acquire() as connection:
            row = await connection.fetchrow(statements.load("batches/context.sql"), batch_id)
        assert row is not None
        recipe = parse_recipe(decode_json(row["recipe"]), f"recipe of batch {row['name']}")
        # First which keys, then the stages: what changes in between is seen the next time.
        keys = await self._keys_of(row["tenant_id"])
        stages = await self._stages_of(recipe, row["tenant_id"])
        source = decode_json(row["source"])
        return HeldBatch(
            id=batch_id,
            tenant_id=row["tenant_id"],
            name=row["name"],
            stages=tuple(stages),
            reads_texts=self._reads_texts(recipe),
            cache_mode=CacheMode(row["cache_mode"]),
            unknown_policy=row["unknown_policy"],
            reserve_microcredits=row["reserve_microcredits"],
            created_at=row["created_at"],
            folders=tuple(Path(folder) for folder in source.get("folders", [])),
            class_name=row["class"],
            weight=row["weight"],
            pixels_max=row["pixels_max"],
            calls_max=row["calls_max"],
            keys=keys,
            tariff=read_tariff(row["tariff"]),
            deadline_at=row["deadline_at"],
            canary=row["canary"],
            policy=self._policy_of(recipe.policy),
            recipe=recipe,
            items=row["item_count"],
            on_demand=row["on_demand"],
            hours=msgspec.convert(source.get("hours", {}), Hours),
            schedule=source.get("schedule", ""),
        )
