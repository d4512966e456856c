"""One process of the crash sweep: submits the batch (or finds it) and works until it has ended."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from bench.setting import simulated_config
from headrace.engine import Engine, open_engine
from headrace.file_batches import KeyReusedError
from headrace.files import show_file_id
from headrace.openai_body import IMAGES
from headrace.recipe import parse_recipe
from headrace.submission import Terms

CALL_MICROUSD = 40_000
RECIPE = {
    "name": "crash",
    "columns": {"required": ["prompt"]},
    "stages": [
        {"name": "make", "kind": "generate", "model": "simulated:m", "prompt": "{{ prompt }}"},
        {"name": "name", "kind": "write", "file": "{{ prompt }}"},
    ],
}


async def by_file(engine: Engine, items: int) -> None:
    """Work on a file batch of so many lines until it has ended."""
    found = await engine.file_batches.listed("default", None, 1)
    if not found:
        name = "in.jsonl"
        body = "\n".join(
            f'{{"custom_id": "{number}", "method": "POST", "url": "{IMAGES}", '
            f'"body": {{"model": "simulated:m", "prompt": "item {number}"}}}}'
            for number in range(items)
        )
        made = await engine.blobs.put(body.encode(), "application/jsonl")
        file = await engine.files.add(engine.files.new("default", name, "batch", made, None))
        # Of several processes at a time one is the first; the others have other files.
        with suppress(KeyReusedError):
            await engine.file_batches.create(
                "default", UUID(int=1), show_file_id(file.id), IMAGES, idempotency_key="crash"
            )
        found = await engine.file_batches.listed("default", None, 1)
    while found[0].state in ("validating", "in_progress"):
        await engine.clock.sleep(0.05)
        found = await engine.file_batches.listed("default", None, 1)


async def main(
    home: Path, items: int, crash_class: str, unknown: str, canary: int, way: str
) -> None:
    """Work on the one batch of ``home`` until it has ended, under an idempotency key."""
    config = simulated_config(home, crash_class)
    async with open_engine(config) as engine:
        if way == "file":
            await by_file(engine, items)
            return
        rows = ({"prompt": f"item {number}"} for number in range(items))
        # Enough to the cent where no purchase is ever made twice, for the others with room.
        twice = 1 if crash_class in ("A", "B") else 2
        terms = Terms(
            name="crash",
            unknown=unknown,
            idempotency_key="crash",
            canary=canary,
            cost_cap_microusd=twice * items * CALL_MICROUSD,
        )
        batch = await engine.submit(
            rows,
            parse_recipe(RECIPE, "crash"),
            columns=["prompt"],
            terms=terms,
            digest=b"crash",
        )
        await batch.done()


if __name__ == "__main__":
    home, items, crash_class, unknown, canary, way = sys.argv[1:]
    asyncio.run(main(Path(home), int(items), crash_class, unknown, int(canary), way))
