"""What one call over HTTP costs: ours beside a bare loop, against a simulator in another process.

python -m bench.http                  chats of 2 KB, 5 rounds of 3,000 calls, 32 side by side
python -m bench.http --calls 10000 --wide 128
python -m bench.http --profile        where our CPU time goes

Both clients send the same body over the same kind of connections and read the answer's
text; the bare one does nothing else. The rounds alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import pstats
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec

from bench.throughput import loop_run
from headrace.clock import SystemClock
from headrace.providers.openai.adapter import OpenAIProvider
from headrace.request import Request
from headrace.testing import CallDesk

TEXT_TOKENS = 400
"""Makes a reply of about 2 KB."""

SCENARIO = f"""
log_calls_max = 1
[latency]
median_s = 0.0
[output]
text_tokens = {TEXT_TOKENS}
"""
CPU_US_MOST, CALLS_PER_S_LEAST = 400, 1500

Once = Callable[[int], Awaitable[None]]


@dataclass
class Seen:
    """CPU in microseconds a call, and calls a second, of each round."""

    cpu_us: list[float] = field(default_factory=list)
    calls_per_s: list[float] = field(default_factory=list)

    def line(self, name: str) -> str:
        """Return a row of the table."""
        cpu, rate = statistics.median(self.cpu_us), statistics.median(self.calls_per_s)
        least, most = min(self.cpu_us), max(self.calls_per_s)
        return f"| {name} | {cpu:.0f} ({least:.0f}) | {rate:,.0f} ({most:,.0f}) |"


@contextmanager
def simulated() -> Iterator[str]:
    """Give the address of a simulator without limits in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "scenario.toml"
        scenario.write_text(SCENARIO, encoding="utf-8")
        command = [sys.executable, "-m", "headrace", "simulate", "--port", "0", "--json"]
        process = subprocess.Popen(
            [*command, "--scenario", str(scenario)], stdout=subprocess.PIPE, text=True
        )
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}/v1"
        finally:
            process.terminate()
            process.communicate(timeout=30)


async def all_calls(once: Once, calls: int, wide: int, seen: Seen) -> None:
    """Make ``calls`` calls, ``wide`` side by side, and note what they took."""
    left = iter(range(calls))

    async def caller() -> None:
        for number in left:
            await once(number)

    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(caller() for _ in range(wide)))
    seen.cpu_us.append((time.process_time() - began_cpu_s) / calls * 1e6)
    seen.calls_per_s.append(calls / (time.perf_counter() - began_s))


async def measure(base: str, calls: int, wide: int, rounds: int) -> tuple[Seen, Seen, int]:
    """Return what was seen of the bare loop and of ours, and the bytes of a reply."""
    bare, ours, size = Seen(), Seen(), 0
    provider = OpenAIProvider.from_config("mine", {"base_url": base, "api_key": "x"}, SystemClock())
    desk = CallDesk()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1024)) as session:
        headers = {"Authorization": "Bearer x", "Content-Type": "application/json"}

        async def bare_once(number: int) -> None:
            nonlocal size
            messages = [{"role": "user", "content": f"a card for row {number}"}]
            body = msgspec.json.encode({"model": "gpt-x", "messages": messages, "max_tokens": 500})
            url = f"{base}/chat/completions"
            async with session.post(url, data=body, headers=headers) as response:
                raw = await response.read()
            size = len(raw)
            assert msgspec.json.decode(raw)["choices"][0]["message"]["content"]

        async def our_once(number: int) -> None:
            params = {"prompt": f"a card for row {number}", "max_tokens": 500}
            reply = await provider.call(desk.call(Request("mine", "gpt-x", "1", params)))
            assert reply.body

        for once in (bare_once, our_once):
            await all_calls(once, calls // 10, wide, Seen())
        for _ in range(rounds):
            await all_calls(bare_once, calls, wide, bare)
            await all_calls(our_once, calls, wide, ours)
    await provider.close()
    return bare, ours, size


async def profiled(base: str, calls: int, wide: int) -> None:
    """Print where the time of our calls goes."""
    provider = OpenAIProvider.from_config("mine", {"base_url": base, "api_key": "x"}, SystemClock())
    desk = CallDesk()

    async def once(number: int) -> None:
        params = {"prompt": f"a card for row {number}", "max_tokens": 500}
        await provider.call(desk.call(Request("mine", "gpt-x", "1", params)))

    profile = cProfile.Profile()
    profile.enable()
    await all_calls(once, calls, wide, Seen())
    profile.disable()
    await provider.close()
    pstats.Stats(profile).sort_stats("tottime").print_stats(45)


def table(calls: int, wide: int, rounds: int) -> list[str]:
    """Measure and return the lines that tell it."""
    with simulated() as base:
        bare, ours, size = loop_run(measure(base, calls, wide, rounds))
    ratios = [mine / theirs for mine, theirs in zip(ours.cpu_us, bare.cpu_us, strict=True)]
    return [
        f"Chats with a reply of {size:,} bytes, {wide} side by side, the provider in another "
        f"process; medians (and the best) of {rounds} rounds of {calls:,} calls.",
        "",
        "| client | CPU µs a call | calls/s of one process |",
        "|---|---|---|",
        bare.line("bare aiohttp"),
        ours.line("HTTP core and adapter"),
        f"| target | ≤ {CPU_US_MOST} | ≥ {CALLS_PER_S_LEAST:,} |",
        "",
        f"CPU of ours by the bare client's, median of the rounds: {statistics.median(ratios):.2f}.",
    ]


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=3_000)
    parser.add_argument("--wide", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    if options.profile:
        with simulated() as base:
            loop_run(profiled(base, options.calls, options.wide))
        return 0
    print("\n".join(table(options.calls, options.wide, options.rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
