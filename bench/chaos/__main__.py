"""Chaos: workers die, freeze, the database restarts, the store and the provider fail, all at once.

    python -m bench.chaos                 ten minutes of it, then as long as the work takes
    python -m bench.chaos --minutes 2     the short form

Four workers, a PostgreSQL of its own, an S3 server behind a proxy, and two simulated
providers (class A honours idempotency keys, class D offers nothing). Then everything is
audited: items, ledger, the providers' own logs of what was paid, and every body.
Ends with 1 if a promise broke.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from bench.admission.simulation import simulation
from bench.chaos.audit import audited, watched
from bench.chaos.scene import CLASSES, scenario, settings, store_variables, submitted
from bench.chaos.store import BUCKET, SERVER, FlakyStore, s3
from bench.chaos.trouble import FROZEN_S, Seen, trouble
from bench.chaos.workers import Crew
from bench.setting import fresh_database
from headrace.config import load_config
from headrace.store.embedded import open_embedded

WORKERS = 4


def environment_of(url: str, store: FlakyStore | None) -> dict[str, str]:
    """Return where workers find the database and the store."""
    found = {"HEADRACE_DATABASE_URL": url}
    if store is None:
        print("no S3 server here (`make referees` brings one): bodies go to a folder")
        return found
    return found | store_variables(store.url)


async def run(options: argparse.Namespace) -> Seen:
    """Make the trouble, wait for the end of the work, and audit."""
    seen, trouble_s = Seen(), 60.0 * options.minutes
    items = int(options.per_s * trouble_s * 0.6)
    async with contextlib.AsyncExitStack() as stack:
        place = tempfile.TemporaryDirectory(prefix="chaos-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(place))
        # As root the server runs as another user, who must be able to pass through.
        folder.chmod(0o711)
        server = await open_embedded(folder)
        stack.push_async_callback(server.close)
        url, _ = await fresh_database(server.url)
        providers = {
            name: await stack.enter_async_context(
                simulation(scenario(name, options.per_s, trouble_s))
            )
            for name in CLASSES
        }
        store = None
        if SERVER.exists():
            store = await stack.enter_async_context(s3(random.Random(options.seed + 1)))
        environment = environment_of(url, store)
        os.environ |= environment
        blob_url = str(folder / "blobs") if store is None else f"s3://{BUCKET}/headrace"
        path = settings(folder, blob_url, {name: one.url for name, one in providers.items()})
        await submitted(load_config(path), items)
        print(f"{len(CLASSES)} batches of {items}, {WORKERS} workers, {trouble_s:.0f} s of trouble")
        crew = Crew(folder, path, environment, WORKERS)
        try:
            await crew.start()
            async with trouble(random.Random(options.seed), crew, server, store, seen):
                await watched(url, crew, time.monotonic() + trouble_s, to_the_end=False)
            print("the trouble is over", flush=True)
            await watched(url, crew, time.monotonic() + options.settle_s, to_the_end=True)
            await crew.lanes()
            await watched(url, crew, time.monotonic() + options.settle_s, to_the_end=True)
        finally:
            await crew.lanes()
            statuses = await crew.close()
            tell(folder, crew, store, seen, options.keep)
        print(f"workers asked to end, with {statuses}")
        await audited(url, blob_url, providers, items * len(CLASSES), seen)
    return seen


def tell(folder: Path, crew: Crew, store: FlakyStore | None, seen: Seen, keep: str | None) -> None:
    """Say what was done to it, and keep the workers' logs where somebody wants them."""
    logs = sorted(folder.glob("worker-*.log"))
    refused = sum(log.read_text(errors="replace").count("fence lost") for log in logs)
    print(
        f"done to it: {crew.kills} workers killed -9, {seen.thaws} frozen for {FROZEN_S:.0f} s, "
        f"{seen.restarts} restarts of the database; store {dict(store.seen) if store else '-'}"
    )
    print(f"shards whose late writes a fence refused: {refused}")
    if crew.not_begun:
        print(f"started while the database was away, and started again: {crew.not_begun}")
    seen.findings += [f"a worker ended by itself with {said}" for said in crew.died]
    for log in logs if keep else ():
        shutil.copy(log, str(keep))


def main() -> int:
    """Run it, print what was seen, and return 1 if a promise broke."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--per-s", type=float, default=10.0, help="calls a second of each provider")
    parser.add_argument("--settle-s", type=float, default=300.0, help="at most so long afterwards")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", help="a folder for the workers' logs")
    return asyncio.run(run(parser.parse_args())).verdict()


if __name__ == "__main__":
    sys.exit(main())
