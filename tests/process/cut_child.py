"""The scene of ``test_cut.py``: a hub with a database, and a host whose network is cut off.

``python -m tests.process.cut_child FOLDER`` is the hub, in namespaces of its own; it starts
``… host URL`` on the host. Both print what happened and after how many seconds, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg

from bench.cut.hosts import Network
from bench.cut.services import database
from headrace.store.database import connect

LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
LONG_S = 60.0
LOCK = 4711


def tell(what: object) -> None:
    """Say it to whoever started this."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def after(began_s: float, ending: Any) -> float:
    """Return after how many seconds something ended, by whatever error."""
    try:
        async with asyncio.timeout(LONG_S):
            await ending
    except LOST:
        pass
    return round(time.monotonic() - began_s, 1)


async def host(url: str) -> dict[str, float]:
    """Be cut off with three sessions: one waits for an answer, one listens, one is in the pool."""
    works = await connect(url)
    waiting, listening = await works.session(), await works.session()
    ended = asyncio.Event()
    listening.add_termination_listener(lambda _: ended.set())
    await listening.execute("SELECT pg_advisory_lock($1)", LOCK)
    with contextlib.suppress(*LOST):
        async with works.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK + 1)
            tell("holding")
            await asyncio.to_thread(sys.stdin.readline)
            began_s = time.monotonic()
            found = await asyncio.gather(
                after(began_s, waiting.execute("SELECT pg_sleep(3600)")),
                after(began_s, ended.wait()),
                after(began_s, connection.execute("SELECT 1")),
            )
    tell(dict(zip(("waiting", "listening", "pool"), found, strict=True)))
    await asyncio.to_thread(sys.stdin.readline)
    began_s = time.monotonic()
    while True:
        try:
            async with works.acquire() as connection:
                await connection.execute("SELECT 1")
            return {"back": round(time.monotonic() - began_s, 1)}
        except LOST:
            await asyncio.sleep(0.1)


async def hub(folder: Path) -> dict[str, float]:
    """Cut the host off, and see when what it held is free."""
    network = Network(["a"])
    network.make()
    async with database(folder) as url:
        process = await asyncio.create_subprocess_exec(
            *network.inside("a"), sys.executable, "-m", "tests.process.cut_child", "host", url,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert await process.stdout.readline() == b'"holding"\n'
        locks = [await asyncpg.connect(url) for _ in range(2)]
        network.cut("a")
        process.stdin.write(b"cut\n")
        began_s = time.monotonic()
        lock = "SELECT pg_advisory_lock($1)"
        session_s, transaction_s = await asyncio.gather(
            *(after(began_s, one.execute(lock, LOCK + n)) for n, one in enumerate(locks))
        )
        found = json.loads(await process.stdout.readline())
        network.join("a")
        process.stdin.write(b"joined\n")
        found |= json.loads(await process.stdout.readline())
        await process.wait()
        for one in locks:
            await one.close()
    return found | {"session lock": session_s, "transaction lock": transaction_s}


async def main(words: list[str]) -> None:
    """Be the one or the other."""
    if words[0] == "host":
        tell(await host(words[1]))
    else:
        tell(await hub(Path(words[0])))


if __name__ == "__main__":
    os.environ.pop("HEADRACE_DATABASE_URL", None)
    asyncio.run(main(sys.argv[1:]))
