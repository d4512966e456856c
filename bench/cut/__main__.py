"""Hosts lose the database's network; the books are right at the end, and nobody is restarted.

    python -m bench.cut                 cuts of 60 s: one host, the other, and one way only
    python -m bench.cut --cut-s 20 --short    the short form: one host

Two hosts with a worker each, and a hub with PostgreSQL, an S3 server and two simulated
providers (class A honours idempotency keys, class D offers nothing), in network namespaces.
A host that is cut off still reaches the providers. Ends with 1 if a promise broke, with 2
where no namespaces can be made.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import asyncpg

from bench.admission.simulation import Simulation, simulation
from bench.chaos.audit import audited, counts
from bench.chaos.scene import CLASSES, settings, store_variables
from bench.chaos.store import BUCKET, SERVER, s3
from bench.chaos.trouble import Seen
from bench.cut.crew import Host
from bench.cut.hosts import DATA_HUB, OUT_HUB, Network, become_the_hub, hindrance
from bench.cut.scene import (
    BETWEEN_S,
    LOOK_S,
    WARM_S,
    Scene,
    limited,
    places,
    scenario,
    submitted,
)
from bench.cut.services import database, relay
from bench.cut.watch import Watch
from headrace.config import load_config

HOSTS = ("a", "b")
REFUSED_MAX, REFUSED_SHORT_MAX = 0.03, 0.10
"""Of a lane whose rate is hidden: in the short form learning it is most of the run."""


async def ended(url: str, within_s: float) -> None:
    """Wait until the work is done, for a while."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        found = await counts(url)
        print("  " + " · ".join(f"{name} {n}" for name, n in sorted(found.items())), flush=True)
        if found["open batches"] == 0:
            return
        await asyncio.sleep(5.0)


async def run(options: argparse.Namespace) -> Seen:
    """Make hosts and services, cut, join, and audit."""
    seen, task = Seen(), asyncio.current_task()
    assert task is not None
    # The first process of a namespace hears nothing that it does not listen for.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    network = Network(list(HOSTS))
    network.make()
    async with contextlib.AsyncExitStack() as stack:
        place = tempfile.TemporaryDirectory(prefix="cut-", ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(place))
        # As root the server runs as another user, who must be able to pass through.
        folder.chmod(0o711)
        url = await stack.enter_async_context(database(folder))
        providers, urls = {}, {}
        for name in CLASSES:
            started = simulation(scenario(name, options.per_s))
            providers[name] = await stack.enter_async_context(started)
            urls[name] = await stack.enter_async_context(relay(OUT_HUB, providers[name].url))
        environment, blob_url = await _store(stack, folder)
        environment["HEADRACE_DATABASE_URL"] = url
        os.environ |= environment
        path = settings(folder, blob_url, urls)
        limited(path, options.per_s)
        phases = 1 if options.short else 3
        items = int(options.per_s * (phases * (options.cut_s + BETWEEN_S + LOOK_S) + WARM_S))
        await submitted(load_config(path), items)
        print(f"{len(CLASSES)} batches of {items}, for {options.per_s:g} calls a second each")
        hosts = {name: Host(network, name, folder) for name in HOSTS}
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        try:
            for host in hosts.values():
                await host.start(path, environment)
            scene = Scene(network, hosts, Watch(connection), providers, options, seen)
            await scene.play()
            await ended(url, options.settle_s)
        finally:
            statuses = [await host.close() for host in hosts.values()]
            for host in hosts.values() if options.keep else ():
                shutil.copy(host.log, options.keep)
        print(f"workers asked to end, with {statuses}")
        print(f"shards whose late writes a fence refused: {sum(h.refused for h in hosts.values())}")
        await _quotas(providers, options, seen)
        await audited(url, blob_url, providers, items * len(CLASSES), seen)
    return seen


async def _store(stack: contextlib.AsyncExitStack, folder: Path) -> tuple[dict[str, str], str]:
    """Return how workers reach the store, and its URL."""
    if not SERVER.exists():
        print("no S3 server here (`make referees` brings one): bodies go to a folder")
        return {}, str(folder / "blobs")
    store = await stack.enter_async_context(s3(random.Random(1)))
    reached = await stack.enter_async_context(relay(DATA_HUB, store.url))
    return store_variables(reached), f"s3://{BUCKET}/headrace"


async def _quotas(
    providers: dict[str, Simulation], options: argparse.Namespace, seen: Seen
) -> None:
    for name, provider in providers.items():
        truth = await provider.ask("truth")
        print(
            f"provider {name}: {truth['requests']} calls, {truth['refused']} refused "
            f"({truth['refused_share']:.1%}), {truth['in_flight_max']} in flight at most"
        )
        if truth["refused_share"] > (REFUSED_SHORT_MAX if options.short else REFUSED_MAX):
            seen.findings.append(f"provider {name} refused {truth['refused_share']:.1%}")
    most = (await providers["D"].ask("truth"))["in_flight_max"]
    if most > places(options.per_s):
        seen.findings.append(f"provider D saw {most} calls in flight")


def main() -> int:
    """Run it in namespaces of its own, and return 1 if a promise broke."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cut-s", type=float, default=60.0)
    parser.add_argument("--short", action="store_true", help="one host only")
    parser.add_argument("--per-s", type=float, default=8.0, help="calls a second of each provider")
    parser.add_argument("--settle-s", type=float, default=180.0, help="at most so long afterwards")
    parser.add_argument("--keep", help="a folder for the workers' logs")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        if (why := hindrance()) is not None:
            print(f"hosts cannot be made here: {why}")
            return 2
        become_the_hub(["-m", "bench.cut", "--inside", *sys.argv[1:]])
    return asyncio.run(run(options)).verdict()


if __name__ == "__main__":
    sys.exit(main())
