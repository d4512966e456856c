"""What is cut and when: two providers, a batch at each, and what must be seen meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import time
from pathlib import Path
from typing import Any

from bench.admission.simulation import Simulation
from bench.chaos.scene import CLASSES, HEARTBEAT_S, recipe
from bench.chaos.trouble import Seen
from bench.cut.crew import Host
from bench.cut.hosts import Network
from bench.cut.watch import Watch, rate
from headrace.config import Config
from headrace.engine import open_engine
from headrace.recipe import parse_recipe
from headrace.store import tenants
from headrace.submission import Terms

START_S_MAX = 120.0
WARM_S, BETWEEN_S = 10.0, 20.0
LOOK_S = 12.0
LATENCY_S = 1.5
TAKEN_S_MAX = 2 * HEARTBEAT_S + 5.0
BACK_S_MAX = 10.0
FULL = 0.7
"""What part of the calls before a cut the other host makes at least while one is cut off: on a busy
machine calls take longer. The short form has too few calls to say so."""


def scenario(crash_class: str, per_s: float) -> dict[str, Any]:
    """Return the settings of a provider that does nothing wrong: A has a hidden rate, D places."""
    limit: dict[str, Any] = {"dimension": "requests", "amount": per_s * 2, "window_s": 2.0}
    if crash_class == "D":
        limit = {"dimension": "concurrency", "kind": "concurrency", "amount": places(per_s)}
    return {
        "seed": 7,
        "crash_class": crash_class,
        "limits": [limit],
        "latency": {"median_s": LATENCY_S, "sigma": 0.3},
        "output": {"image_bytes": 20_000},
    }


def places(per_s: float) -> int:
    """Return how many calls in flight make this rate."""
    return round(per_s * LATENCY_S)


async def submitted(config: Config, items: int) -> None:
    """Submit a batch for each class, each of a tenant of its own, so that both are worked on."""
    async with open_engine(config, work=False) as engine:
        for name in CLASSES:
            tenant_id = f"cut-{name.lower()}"
            async with engine.database.transaction() as connection:
                now = engine.clock.now()
                await tenants.make(connection, tenant_id, now, unlimited=True)
            await engine.submit(
                ({"prompt": f"{name} item {number}"} for number in range(items)),
                parse_recipe(recipe(name), "cut"),
                columns=["prompt"],
                terms=Terms(name=f"cut {name}", tenant_id=tenant_id, unknown="retry", canary=0),
            )


def limited(path: Path, per_s: float) -> None:
    """Tell the workers of provider D's limit; that of A they have to find out."""
    text = path.read_text()
    told = f"limits = {{ concurrency = {places(per_s)} }}\n"
    path.write_text(text.replace("[providers.d]\n", "[providers.d]\n" + told))


class Scene:
    """The hosts, what they work with, and what is done to their network."""

    def __init__(
        self,
        network: Network,
        hosts: dict[str, Host],
        watch: Watch,
        providers: dict[str, Simulation],
        options: argparse.Namespace,
        seen: Seen,
    ) -> None:
        self._network, self._hosts, self._watch = network, hosts, watch
        self._providers, self._options, self._seen = providers, options, seen

    async def cut(self, name: str, *, one_way: bool = False) -> None:
        """Cut a host off for a while, look at who has its work, join it and wait for it."""
        host, cut_s = self._hosts[name], self._options.cut_s
        what = "answers to it vanish" if one_way else "cut off"
        before, held = await self._rates(), await self._watch.held(host)
        print(f"host {name}, holding {held} shards: {what} for {cut_s:.0f} s", flush=True)
        end_s = time.monotonic() + cut_s
        (self._network.silence if one_way else self._network.cut)(name)
        try:
            taken_s = await self._watch.until_taken(host, min(TAKEN_S_MAX, cut_s))
            self._tell(taken_s, f"others hand out the shards of {name} again", TAKEN_S_MAX)
            await asyncio.sleep(max(0.0, end_s - time.monotonic() - LOOK_S))
            self._compare(before, await self._rates())
        finally:
            self._network.join(name)
        back_s, calls_s = await self._watch.until_back(host, 3 * BACK_S_MAX)
        self._tell(back_s, f"{name} is signed in again", BACK_S_MAX)
        self._tell(calls_s, f"{name} makes calls again", 3 * BACK_S_MAX)
        if host.has_ended:
            self._seen.findings.append(f"the worker of {name} ended")

    async def _rates(self) -> list[float]:
        return await asyncio.gather(*(rate(one, LOOK_S) for one in self._providers.values()))

    def _compare(self, before: list[float], now: list[float]) -> None:
        told = " and ".join(f"{a:.1f} for {b:.1f}" for a, b in zip(now, before, strict=True))
        print(f"  the other host alone: {told} calls a second before", flush=True)
        if not self._options.short and any(a < FULL * b for a, b in zip(now, before, strict=True)):
            self._seen.findings.append(f"the other host made only {told} calls a second before")

    def _tell(self, after_s: float | None, what: str, most_s: float) -> None:
        print(f"  {what}: {'never' if after_s is None else f'after {after_s:.1f} s'}", flush=True)
        if after_s is None or after_s > most_s:
            self._seen.findings.append(f"{what}: not within {most_s:.0f} s")

    async def play(self) -> None:
        """All cuts, one after the other."""
        for host in self._hosts.values():
            if await self._watch.until_calls(host, START_S_MAX) is None:
                raise RuntimeError(f"the worker of {host.name} makes no calls")
        await asyncio.sleep(WARM_S)
        await self.cut("a")
        if self._options.short:
            return
        await asyncio.sleep(BETWEEN_S)
        await self.cut("b")
        await asyncio.sleep(BETWEEN_S)
        await self.cut("a", one_way=True)
