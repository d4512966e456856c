"""The crash sweep: kill -9 at every named point and at random moments, resume, and audit.

    python -m bench.crash                    every point, and 200 random kills, 500 items
    python -m bench.crash --random 20 --items 100 --classes A,D

For each run a fresh database and a fresh log of the simulated provider; the run is
killed, then resumed, and must end with nothing lost, everything delivered once, and no
call paid twice but those of a provider that makes that impossible to know (class D, and
class C before its id was seen), which the batch has counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg

from bench.setting import fresh_database, simulated_log
from headrace.store.audit import verify
from headrace.store.database import connect
from headrace.store.embedded import open_embedded
from headrace.telemetry import CRASH_POINTS

ELSEWHERE = (
    "line", "batch-", "answers-", "spooled-", "blob-after-upload", "tick-", "expire-", "message-",
    "sweep-",
)  # fmt: skip
"""Steps of provider batches, object stores, schedules and upkeep: tests/process sweeps those
on their own."""

ONCE = ("submit", "finish", "guard", "intake", "handout")
BY_FILE = ("intake", "handout")
"""Points that one run passes once."""

CLASSES = ("A", "B", "C", "D")
AMBIGUOUS = frozenset({"C", "D"})
RUN_S_MAX = 120.0


@dataclass
class Totals:
    """What the sweep saw, over all runs."""

    runs: int = 0
    killed: int = 0
    lost: int = 0
    undelivered: int = 0
    paid_twice: int = 0
    repeats_counted: int = 0
    findings: list[str] = field(default_factory=list)
    by_point: Counter[str] = field(default_factory=Counter)


class Child:
    """A worker process of the sweep."""

    def __init__(self, folder: Path, url: str, args: list[str], crash_at: str = "") -> None:
        environment = os.environ | {"HEADRACE_DATABASE_URL": url, "HEADRACE_CRASH_AT": crash_at}
        self.log = (folder / "child.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.crash_child", str(folder), *args],
            env=environment,
            stdout=self.log,
            stderr=self.log,
        )

    def kill(self) -> None:
        """End the process as a power cut would."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Wait for the end, bounded."""
        try:
            code = self.process.wait(RUN_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code = -99
        self.log.close()
        return code


async def run_once(
    server_url: str,
    options: argparse.Namespace,
    crash_class: str,
    crash_at: str,
    kill_after_s: float | None,
    totals: Totals,
) -> float:
    """One run: start, kill, resume, audit; returns how long the first process lived."""
    with tempfile.TemporaryDirectory(prefix="crash-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        url, drop = await fresh_database(server_url)
        try:
            # Early kills at a point should meet many items at once, so no canary there.
            canary = "0" if crash_at and not crash_at.startswith("guard") else "3"
            way = "file" if crash_at.startswith(BY_FILE) else "rows"
            args = [str(options.items), crash_class, "retry", canary, way]
            started_s = time.monotonic()
            victim = Child(folder, url, args, crash_at)
            if kill_after_s is None:
                # Else the others may have done all that it would pass by before it is there.
                await begun(url, victim)
            others = [Child(folder, url, args) for _ in range(options.workers - 1)]
            if kill_after_s is not None:
                await asyncio.sleep(kill_after_s)
                victim.kill()
            code = await asyncio.to_thread(victim.wait)
            lived_s = time.monotonic() - started_s
            totals.killed += code == -signal.SIGKILL
            totals.by_point[crash_at.partition(":")[0] or "random"] += code == -signal.SIGKILL
            for other in others:
                await asyncio.to_thread(other.wait)
            code = await asyncio.to_thread(Child(folder, url, args).wait)
            label = f"class {crash_class}, {crash_at or f'killed after {kill_after_s}'}"
            if code != 0:
                tail = (folder / "child.log").read_text(errors="replace")[-2000:]
                totals.findings.append(f"{label}: the resumed run ended with {code}\n{tail}")
            await audit(url, folder, options.items, crash_class, label, totals)
        finally:
            await drop()
    return lived_s


async def begun(url: str, victim: Child) -> None:
    """Wait until a process has submitted its batch, or has ended."""
    until_s = time.monotonic() + RUN_S_MAX
    connection = await asyncpg.connect(url)
    try:
        while victim.process.poll() is None and time.monotonic() < until_s:
            with contextlib.suppress(asyncpg.UndefinedTableError):
                if await connection.fetchval("SELECT count(*) FROM batch"):
                    return
            await asyncio.sleep(0.02)
    finally:
        await connection.close()


async def audit(
    url: str, folder: Path, items: int, crash_class: str, label: str, totals: Totals
) -> None:
    """Compare the database, its ledger and the provider's own log of calls."""
    totals.runs += 1
    database = await connect(url)
    try:
        async with database.acquire() as connection:
            row = await connection.fetchrow(
                "SELECT count(*) AS items, count(*) FILTER (WHERE state = 'succeeded') AS ok "
                "FROM item"
            )
            repeats = await connection.fetchval("SELECT sum(repeats) FROM batch_progress")
            held = await connection.fetchval(
                "SELECT balance_microcredits FROM account WHERE kind = 'held'"
            )
            findings = await verify(connection)
    finally:
        await database.close()
    assert row is not None
    totals.lost += items - row["items"]
    totals.undelivered += row["items"] - row["ok"]
    totals.repeats_counted += repeats or 0
    twice = paid_twice(simulated_log(folder))
    totals.paid_twice += twice
    if twice > (repeats or 0) or (twice and crash_class not in AMBIGUOUS):
        totals.findings.append(f"{label}: {twice} calls paid twice, {repeats} counted")
    if held != 0:
        totals.findings.append(f"{label}: held is {held}, not 0")
    if row["ok"] != items:
        totals.findings.append(f"{label}: {row['ok']} of {items} delivered")
    totals.findings += [f"{label}: {finding}" for finding in findings]


def paid_twice(log: Path) -> int:
    """Return how many paid calls the provider's log has beyond one for each request."""
    if not log.exists():
        return 0
    paid: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        if entry["kind"] == "create" and entry["paid"]:
            paid[entry["fingerprint"]] += 1
    return sum(count - 1 for count in paid.values())


def classes_in(text: str) -> tuple[str, ...]:
    """Return the crash classes named in ``A,D``; raises ``ArgumentTypeError`` for another."""
    names = tuple(text.split(","))
    if not set(names) <= set(CLASSES):
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(CLASSES)}")
    return names


def classes_at(point: str, classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes for which dying at ``point`` may differ; one where it cannot."""
    if point == "after-accept":
        return tuple(name for name in classes if name == "C")
    return classes if "send" in point or "blob" in point else classes[:1]


async def sweep(options: argparse.Namespace) -> Totals:
    """Run the whole sweep on one embedded server, a fresh database for each run."""
    totals = Totals()
    dice = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="sweep-", ignore_cleanup_errors=True) as name:
        # As root the server runs as another user, who must be able to pass through.
        Path(name).chmod(0o711)
        server = await open_embedded(Path(name))
        try:
            whole_s = await at_points(server.url, options, dice, totals)
            await at_random(server.url, options, dice, whole_s, totals)
        finally:
            await server.close()
    return totals


async def at_points(
    server_url: str, options: argparse.Namespace, dice: random.Random, totals: Totals
) -> float:
    """Kill at each named point; returns how long a run lives that is not killed."""
    points = [point for point in CRASH_POINTS if not point.startswith(ELSEWHERE)]
    room = asyncio.Semaphore(options.jobs)

    async def run(point: str, crash_class: str, passage: int) -> None:
        async with room:
            await run_once(server_url, options, crash_class, f"{point}:{passage}", None, totals)
            print(f"point {point}:{passage} class {crash_class}: {_line(totals)}", flush=True)

    async with asyncio.TaskGroup() as group:
        for point in points:
            for crash_class in classes_at(point, options.classes):
                passage = 1 if point.startswith(ONCE) else dice.randint(1, 3)
                group.create_task(run(point, crash_class, passage))
    return await run_once(server_url, options, "D", "", None, totals)


async def at_random(
    server_url: str,
    options: argparse.Namespace,
    dice: random.Random,
    whole_s: float,
    totals: Totals,
) -> None:
    """Kill at random moments of a run of ``whole_s``, until so many have died."""
    wanted = totals.by_point["random"] + options.random
    for number in range(3 * options.random):
        if totals.by_point["random"] >= wanted:
            break
        after_s = dice.uniform(0.2, whole_s)
        crash_class = options.classes[number % len(options.classes)]
        await run_once(server_url, options, crash_class, "", after_s, totals)
        if number % 20 == 19:
            print(f"random, {number + 1} runs: {_line(totals)}", flush=True)


def _line(totals: Totals) -> str:
    return (
        f"runs {totals.runs} · killed {totals.killed} · lost {totals.lost} · "
        f"undelivered {totals.undelivered} · paid twice {totals.paid_twice} "
        f"(counted {totals.repeats_counted}) · findings {len(totals.findings)}"
    )


def main() -> int:
    """Sweep, print the totals, and return 1 if any promise broke."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--random", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="points that are tried side by side")
    parser.add_argument(
        "--classes", type=classes_in, default=CLASSES, metavar="A,D", help="default: all"
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    totals = asyncio.run(sweep(options))
    print(f"\n{options.workers} worker(s), {options.items} items a run: {_line(totals)}")
    print("killed at:", ", ".join(f"{name} {n}" for name, n in sorted(totals.by_point.items())))
    for finding in totals.findings[:20]:
        print("BROKEN", finding)
    return 1 if totals.findings else 0


if __name__ == "__main__":
    sys.exit(main())
