"""A batch at a provider of zero latency, and how it is followed to its end."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from bench.scale.place import Place
from headrace.config import load_config
from headrace.engine import open_engine
from headrace.recipe import parse_recipe
from headrace.submission import Terms

RECIPE = {
    "name": "scale",
    "columns": {"required": ["prompt"]},
    "stages": [
        {"name": "make", "kind": "generate", "model": "simulated:m", "prompt": "{{ prompt }}"},
        {"name": "name", "kind": "write", "file": "{{ prompt }}"},
    ],
}
LOOK_S = 0.05
_ENDED = "SELECT succeeded FROM batch_progress WHERE batch_id = $1"


def provider_lines(wide: int) -> list[str]:
    """Return the settings of a provider that answers at once, ``wide`` calls at a time."""
    return [
        "[providers.simulated]",
        "price_microcredits = 1000000",
        "cost_microusd = 40000",
        f"concurrency = {wide}",
    ]


async def submitted(
    place: Place,
    items: int,
    salt: str = "item",
    shape: dict[str, Any] = RECIPE,
    cache: str = "reuse",
) -> tuple[UUID, float]:
    """Submit a batch without working on it; returns its id, and the seconds it took."""
    config = msgspec.structs.replace(load_config(place.config), database_url=place.url)
    async with open_engine(config, work=False) as engine:
        began_s = time.perf_counter()
        batch = await engine.submit(
            ({"prompt": f"{salt} {number}"} for number in range(items)),
            parse_recipe(shape, str(shape["name"])),
            columns=["prompt"],
            terms=Terms(name=salt, cache=cache, canary=0),
        )
        return batch.uuid, time.perf_counter() - began_s


@dataclass
class Progress:
    """How many items had ended so many seconds after the batch was there."""

    at_s: float
    ended: int


async def followed(connection: Any, batch_id: UUID, items: int, limit_s: float) -> list[Progress]:
    """Follow a batch to its end; raises ``TimeoutError`` with how far it came."""
    began_s, seen = time.perf_counter(), [Progress(0.0, 0)]
    while seen[-1].ended < items:
        ended = await connection.fetchval(_ENDED, batch_id)
        seen.append(Progress(time.perf_counter() - began_s, ended))
        if seen[-1].at_s > limit_s:
            raise TimeoutError(f"{ended} of {items} after {limit_s:.0f} s")
        await asyncio.sleep(LOOK_S)
    return seen
