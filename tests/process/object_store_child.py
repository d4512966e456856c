"""A process that makes a batch of pictures whose artifacts go to an object store."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from headrace.config import Config, Run, Storage
from tests.process.child import worked

ITEMS = 40
SPOOL_BYTES_MAX = 2 * 1024 * 1024
RECIPE = {
    "name": "pictures",
    "stages": [
        {"name": "make", "kind": "generate", "model": "sim:gpt-image-1", "prompt": "{{ t }}"}
    ],
}


async def main(home: Path, url: str) -> None:
    """Find or submit the batch and work until it has ended."""
    config = Config(
        home=str(home),
        database_url=os.environ["HEADRACE_DATABASE_URL"],
        blob_url="s3://pictures/studio",
        run=Run(canary=0),
        storage=Storage(spool_bytes_max=SPOOL_BYTES_MAX),
        providers={
            "sim": {
                "kind": "openai",
                "base_url": f"{url}/v1",
                "api_key": "sk-test",
                "concurrency": 8,
            }
        },
    )
    await worked(config, RECIPE, "t", (f"picture {number}" for number in range(ITEMS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
