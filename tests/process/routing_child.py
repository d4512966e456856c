"""One process that works on a batch whose stage may be made by two models, until it has ended."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from headrace.config import Config, Retry
from headrace.outcome import OutcomeKind
from headrace.provider import CrashClass
from headrace.providers.simulated.adapter import SimulatedProvider
from headrace.providers.simulated.settings import SimulatedSettings
from tests.process.child import worked

ITEMS = 60
RECIPE = {
    "name": "routed",
    "columns": {"required": ["prompt"]},
    "stages": [
        {
            "name": "make",
            "kind": "generate",
            "models": ["first:m", "second:m"],
            "prompt": "{{ prompt }}",
        }
    ],
}
FAILURES = {
    "first": {OutcomeKind.QUOTA_EXHAUSTED: 0.05, OutcomeKind.TRANSIENT: 0.3},
    "second": {OutcomeKind.TRANSIENT: 0.1},
}


async def main(home: Path, crash_class: str) -> None:
    """Submit the batch, or find it, and work until it has ended."""
    providers = {
        name: SimulatedProvider(
            SimulatedSettings(
                crash_class=CrashClass(crash_class),
                failures=failures,
                # Short: whose answer is unseen when the lane is shut waits for that very lane.
                retry_after_s=1.0,
                concurrency=8,
                cost_microusd=40_000,
                price_microcredits=1_000_000,
                log_path=home / f"{name}.log",
            ),
            name=name,
        )
        for name, failures in FAILURES.items()
    }
    config = Config(
        home=str(home),
        database_url=os.environ["HEADRACE_DATABASE_URL"],
        retry=Retry(attempts=8, base_s=0.0, cap_s=0.0),
    )
    values = (f"item {number}" for number in range(ITEMS))
    await worked(config, RECIPE, "prompt", values, canary=0, providers=providers)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
