"""A worker whose provider kills the whole process at one row, as a broken native library would."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from headrace.config import Config
from headrace.engine import open_engine
from headrace.outcome import OutcomeKind
from headrace.provider import CrashClass
from headrace.recipe import parse_recipe
from headrace.submission import Terms
from tests.integration.scripted import Scripted

RECIPE = {
    "name": "poison",
    "stages": [{"name": "make", "kind": "generate", "model": "scripted:m", "prompt": "{{ t }}"}],
}


def script(prompt: str, nth: int) -> OutcomeKind | None:
    """Die at the poison row."""
    if prompt == "poison":
        os.kill(os.getpid(), signal.SIGKILL)
    return None


async def main(home: Path) -> None:
    """Find or submit the batch and work until it has ended."""
    config = Config(home=str(home), database_url=os.environ["HEADRACE_DATABASE_URL"])
    rows = [{"t": "poison" if number == 7 else f"row {number}"} for number in range(30)]
    async with open_engine(
        config, providers={"scripted": Scripted(script, CrashClass.PURE)}
    ) as engine:
        batch = await engine.submit(
            rows,
            parse_recipe(RECIPE, "poison"),
            columns=["t"],
            terms=Terms(idempotency_key="poison"),
            digest=b"poison",
        )
        await batch.done()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
