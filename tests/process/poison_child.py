"""A worker whose provider kills the whole process at one row, as a broken native library would."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from headrace.config import Config
from headrace.outcome import OutcomeKind
from headrace.provider import CrashClass
from tests.integration.scripted import Scripted
from tests.process.child import worked

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
    values = ("poison" if number == 7 else f"row {number}" for number in range(30))
    providers = {"scripted": Scripted(script, CrashClass.PURE)}
    await worked(config, RECIPE, "t", values, providers=providers)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
