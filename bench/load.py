"""What the HTTP API bears while a batch runs beside it: peaks by wrk, latency at half the target.

python -m bench.load                     every part, about two minutes
python -m bench.load --span 5 --only artifact
python -m bench.load --flat-out          the batch beside it has a provider without any latency
python -m bench.load --alone             no batch beside it, and the CPU that a request takes

Client, server, worker and database share this machine. wrk asks as fast as it is answered; the
client of ``bench.openloop`` asks at half of the target rate, and its requests do not wait for each
other.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.openloop import Paced, paced
from bench.throughput import loop_run

ROWS = 1_000
BESIDE_ROWS = 400_000
CONNECTIONS = 32
P99_MS_MAX = 50.0
IMAGE_BYTES = 60_000
NEEDED = """wrk was not found.
  → Install it: apt-get install wrk (Debian, Ubuntu), brew install wrk (macOS)."""

SETTINGS = """
[providers.pictures]
kind = "simulated"
body = "image"
body_bytes = {image_bytes}
concurrency = 64

[providers.beside]
kind = "simulated"
latency_s = {latency_s}
concurrency = {wide}
"""
RECIPE = """
name = "{name}"
[columns]
required = ["prompt"]
[[stages]]
name = "make"
kind = "generate"
model = "{provider}:m"
prompt = "{{{{ prompt }}}}"
"""
SCRIPT = """
local lines = {{}}
for number = 1, {rows} do
  lines[number] = wrk.format("GET", "/api/batches/{batch}/items/" .. number .. "{what}")
end
local turn = 0
request = function() turn = turn % {rows} + 1; return lines[turn] end
"""


@dataclass(frozen=True)
class Asked:
    """A kind of request, and how many a second there should be."""

    name: str
    words: str
    what: str
    target_per_s: int


KINDS = (
    Asked("artifact", f"artifact of {IMAGE_BYTES // 1000} kB", "/artifact", 1500),
    Asked("item", "status of an item", "", 800),
)


@dataclass(frozen=True)
class Served:
    """A server that is up."""

    url: str
    key: str
    home: Path
    process: psutil.Process

    def cpu_s(self) -> float:
        """Return the CPU that server, worker and database have used so far, in seconds."""
        all_ = [self.process, *self.process.children(recursive=True)]
        return sum(one.cpu_times().user + one.cpu_times().system for one in all_)

    def call(self, path: str, body: bytes | None = None) -> Any:
        """Call the API and return what it answered."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/jsonl"}
        asked = urllib.request.Request(self.url + path, body, headers)
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return json.load(answer)


@contextmanager
def served(home: Path, flat_out: bool) -> Iterator[Served]:
    """Serve with a worker, as ``headrace serve`` does."""
    latency_s, wide = (0.0, 512) if flat_out else (0.2, 64)
    told = SETTINGS.format(image_bytes=IMAGE_BYTES, latency_s=latency_s, wide=wide)
    (home / "headrace.toml").write_text(told, encoding="utf-8")
    (home / "recipes").mkdir()
    for name in ("pictures", "beside"):
        recipe = RECIPE.format(name=name, provider=name)
        (home / "recipes" / f"{name}.toml").write_text(recipe, encoding="utf-8")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace", "serve", "--port", "0", "--json"],
        cwd=home, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        up = json.loads(process.stdout.readline())
        yield Served(up["url"], up["admin_key"], home, psutil.Process(process.pid))
    finally:
        process.terminate()
        process.communicate(timeout=60)


def submitted(server: Served, recipe: str, rows: int) -> str:
    """Submit a batch of so many rows and return its id."""
    body = "".join(f'{{"prompt": "{recipe} {number}"}}\n' for number in range(rows))
    answer = server.call(f"/api/batches?recipe={recipe}&canary=0", body.encode())
    return str(answer["id"])


def ended(server: Served, batch: str, within_s: float = 120.0) -> None:
    """Return when a batch has succeeded as a whole."""
    until_s = time.monotonic() + within_s
    while (told := server.call(f"/api/batches/{batch}"))["state"] != "completed":
        if time.monotonic() > until_s:
            raise TimeoutError(told["line"])
        time.sleep(0.2)
    if told["counts"]["succeeded"] != told["total"]:
        raise RuntimeError(told["line"])


def peak(server: Served, batch: str, kind: Asked, span_s: int) -> tuple[float, int, float]:
    """Return requests answered a second, how many not as wanted, and CPU seconds for each."""
    script = server.home / f"{kind.name}.lua"
    script.write_text(SCRIPT.format(rows=ROWS, batch=batch, what=kind.what), encoding="utf-8")
    before_s = server.cpu_s()
    answer = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{span_s}s", "-s", str(script),
         "-H", f"Authorization: Bearer {server.key}", server.url],
        capture_output=True, text=True, check=True, timeout=span_s + 60,
    ).stdout  # fmt: skip
    rate = re.search(r"Requests/sec:\s+([\d.]+)", answer)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", answer)
    count = re.search(r"(\d+) requests in", answer)
    assert rate is not None, answer
    assert count is not None, answer
    cpu_s = (server.cpu_s() - before_s) / int(count[1])
    return float(rate[1]), int(bad[1]) if bad else 0, cpu_s


def at_half(server: Served, batch: str, kind: Asked, span_s: int) -> Paced:
    """Return what the paced client saw at half of the target."""
    paths = [f"/api/batches/{batch}/items/{row}{kind.what}" for row in range(1, ROWS + 1)]
    seen: Paced = loop_run(paced(server.url, server.key, paths, kind.target_per_s / 2, span_s))
    return seen


def row_of(server: Served, pictures: str, beside: str, kind: Asked, span_s: int) -> str:
    """Measure one kind of request and return its row of the table."""

    def done() -> tuple[float, int]:
        return time.perf_counter(), int(server.call(f"/api/batches/{beside}")["done"])

    began_s, before = done()
    rate, bad, cpu_s = peak(server, pictures, kind, span_s)
    middle_s, between = done()
    seen = at_half(server, pictures, kind, span_s)
    ended_s, after = done()
    if bad + seen.bad:
        raise RuntimeError(f"{bad + seen.bad} answers were not as wanted")
    return (
        f"| {kind.words} | {rate:,.0f}/s | ≥ {kind.target_per_s:,} "
        f"| {seen.quantile_ms(0.5):.1f} / {seen.quantile_ms(0.99):.1f} ms | ≤ {P99_MS_MAX:.0f} "
        f"| {(between - before) / (middle_s - began_s):,.0f}/s, "
        f"{(after - between) / (ended_s - middle_s):,.0f}/s | {cpu_s * 1e6:,.0f} µs |"
    )


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--span", type=int, default=15, help="seconds of each measurement")
    parser.add_argument("--only", choices=[kind.name for kind in KINDS])
    parser.add_argument("--flat-out", action="store_true", help="no latency in the batch beside")
    parser.add_argument("--alone", action="store_true", help="no batch beside")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        print(NEEDED, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        with served(Path(folder), options.flat_out) as server:
            pictures = submitted(server, "pictures", ROWS)
            ended(server, pictures)
            beside = submitted(server, "beside", 1 if options.alone else BESIDE_ROWS)
            print(
                "| asked for | peak, 32 connections | target "
                "| median / p99 at half of the target | target | the batch beside, in each "
                "| CPU a request, with the batch |"
            )
            print("|---|---|---|---|---|---|---|", flush=True)
            for kind in KINDS:
                if options.only in (None, kind.name):
                    row = row_of(server, pictures, beside, kind, options.span)
                    print(row, flush=True)
            server.call(f"/api/batches/{beside}/cancel", b"{}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
