"""One process that works on a batch with a far deadline; its time passes thirty times faster."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path

from headrace.config import Config, Retry
from tests.process.child import worked

ITEMS = 30
FACTOR = 30.0
RECIPE = {
    "name": "patient",
    "columns": {"required": ["prompt"]},
    "stages": [
        {"name": "make", "kind": "generate", "model": "sim:gpt-x", "prompt": "{{ prompt }}"}
    ],
}


class QuickClock:
    """Implements ``Clock``: thirty seconds pass in each."""

    def __init__(self, begun_s: float) -> None:
        self._begun_s = begun_s

    def now(self) -> datetime:
        """Return the wall time, which begins where the processes of a test agree."""
        begun = datetime.fromtimestamp(self._begun_s).astimezone()
        return begun + timedelta(seconds=self.monotonic_s())

    def monotonic_s(self) -> float:
        """Return the seconds since the beginning."""
        return (time.time() - self._begun_s) * FACTOR

    async def sleep(self, duration_s: float) -> None:
        """Wait."""
        await asyncio.sleep(max(0.0, duration_s) / FACTOR)


async def main(home: Path, url: str, begun_s: float) -> None:
    """Submit the batch, or find it, and work until it has ended."""
    config = Config(
        home=str(home),
        database_url=os.environ["HEADRACE_DATABASE_URL"],
        retry=Retry(attempts=8, base_s=0.0, cap_s=0.0),
        providers={
            "sim": {
                "kind": "openai",
                "base_url": f"{url}/v1",
                "api_key": "sk-test",
                "batch_worth_s": 60,
            }
        },
    )
    values = (f"item {number}" for number in range(ITEMS))
    clock, day_s = QuickClock(begun_s), 24 * 3600.0
    await worked(config, RECIPE, "prompt", values, canary=0, deadline_s=day_s, clock=clock)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
