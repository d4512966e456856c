"""One process of the crash sweep: submits the batch (or finds it) and works until it has ended."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from bench.setting import simulated_config
from headrace.engine import open_engine
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


async def main(home: Path, items: int, crash_class: str, unknown: str, canary: int) -> None:
    """Work on the one batch of ``home`` until it has ended, under an idempotency key."""
    config = simulated_config(home, crash_class)
    async with open_engine(config) as engine:
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
    home, items, crash_class, unknown, canary = sys.argv[1:]
    asyncio.run(main(Path(home), int(items), crash_class, unknown, int(canary)))
