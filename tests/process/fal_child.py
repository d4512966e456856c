"""A process that works on a batch of films by fal's queue, to be killed and started again."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from headrace.config import Config
from tests.process.child import worked

ITEMS = 12
MODEL = "fal-ai/any/text-to-video"
RECIPE = {
    "name": "films",
    "stages": [{"name": "film", "kind": "generate", "model": f"fal:{MODEL}", "prompt": "{{ t }}"}],
}


async def main(home: Path, url: str) -> None:
    """Find or submit the batch and work until it has ended."""
    config = Config(
        home=str(home),
        database_url=os.environ["HEADRACE_DATABASE_URL"],
        providers={"fal": {"base_url": url}},
    )
    await worked(config, RECIPE, "t", (f"film {number}" for number in range(ITEMS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
