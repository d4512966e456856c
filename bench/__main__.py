"""All benchmarks, one after the other; the figures go to docs/benchmarks.md.

python -m bench                 the usual sizes, some minutes
python -m bench --million       with a million rows, and its memory
python -m bench --only render   one part
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import memory, startup, throughput
from bench.throughput import loop_run

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def part_throughput(home: Path, options: argparse.Namespace) -> list[str]:
    """Measure submit, walk, cached and on demand."""
    seen = loop_run(throughput.measure(home, options.items, options.rounds))
    return [
        f"Batches of {options.items:,} items, provider of zero latency with a price, one worker; "
        f"medians of {options.rounds} rounds.",
        "",
        "| what | measured | target |",
        "|---|---|---|",
        f"| submit | {seen['submit_rows_per_s']:,.0f} rows/s | ≥ 30,000 |",
        f"| end to end, durable | {seen['items_per_s']:,.0f} items/s | ≥ 5,000 |",
        f"| all from cache | {seen['cached_items_per_s']:,.0f} items/s | ≥ 10,000 |",
        f"| on demand, cache hit (median) | {seen['on_demand_hit_ms']:.2f} ms | ≤ 2 ms |",
        f"| CPU of our process | {seen['cpu_us_per_item']:.0f} µs/item, submit included | |",
    ]


def part_size(home: Path, options: argparse.Namespace) -> list[str]:
    """Measure the cost per item as batches grow."""
    sizes = [1_000, 10_000, 100_000] + ([1_000_000] if options.million else [])
    cost = loop_run(throughput.by_size(home, sizes))
    lines = ["| items in the batch | wall time per item, submit included |", "|---|---|"]
    return lines + [f"| {size:,} | {cost[size]:.0f} µs |" for size in sizes]


def part_memory(home: Path, options: argparse.Namespace) -> list[str]:
    """Measure peaks of memory."""
    items = 1_000_000 if options.million else 100_000
    peak, rates = loop_run(memory.rows(home, items))
    pictures, size = options.images, 4_000_000
    images, image_rates = loop_run(memory.images(home, pictures, size))
    return [
        "| what | our process | with the database's processes | rate |",
        "|---|---|---|---|",
        f"| {items:,} rows submitted and run | {peak.own_mib:.0f} MiB | {peak.all_mib:.0f} MiB "
        f"| {rates['items_per_s']:,.0f} items/s |",
        f"| {pictures:,} images of 4 MB, concurrency 12 | {images.own_mib:.0f} MiB (at the start "
        f"{images.base_mib:.0f}) | {images.all_mib:.0f} MiB "
        f"| {image_rates['items_per_s']:,.1f} images/s |",
    ]


def part_startup(home: Path, options: argparse.Namespace) -> list[str]:
    """Measure how long commands take to start."""
    seen = startup.measure(home)
    return [
        "| what | median | target |",
        "|---|---|---|",
        f"| `headrace --help` | {seen['help_s']:.2f} s | < 0.3 s |",
        f"| `headrace run` of one cached row, server started and stopped "
        f"| {seen['cached_row_s']:.2f} s | < 1.5 s |",
    ]


def part_http(home: Path, options: argparse.Namespace) -> list[str]:
    """Measure what a call over HTTP costs beside a bare client."""
    from bench import http

    return http.table(calls=3_000, wide=32, rounds=options.rounds)


def part_render(home: Path, options: argparse.Namespace) -> list[str]:
    """Measure rendering against bare Typst on the same cores."""
    from bench import render

    seen = asyncio.run(render.measure())
    return [
        "The same product cards through bare Typst (one compiler a core) and through the renderer,",
        "taken in turns.",
        "",
        "| what | measured | target |",
        "|---|---|---|",
        f"| bare Typst | {statistics.median(seen.bare_per_s):.1f} cards/s | |",
        f"| renderer | {statistics.median(seen.renderer_per_s):.1f} cards/s | |",
        f"| median of the ratios | {seen.ratio:.3f} | ≥ 0.90 |",
    ]


PARTS: dict[str, tuple[str, Callable[[Path, argparse.Namespace], list[str]]]] = {
    "throughput": ("Items per second", part_throughput),
    "size": ("Cost per item by batch size", part_size),
    "memory": ("Memory", part_memory),
    "startup": ("Start", part_startup),
    "http": ("Calls over HTTP", part_http),
    "render": ("Rendering against bare Typst", part_render),
}


def main() -> int:
    """Run the parts asked for, print them, and write the page when all were run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--million", action="store_true")
    options = parser.parse_args()
    page = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Machines are noisy: medians, and ratios within one run.",
        "",
        f"Measured on {os.cpu_count()} cores, {platform.system()}, Python "
        f"{platform.python_version()}, the embedded PostgreSQL on the same cores.",
    ]
    for name, (title, part) in PARTS.items():
        if options.only not in (None, name):
            continue
        with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
            Path(folder).chmod(0o711)
            lines = part(Path(folder), options)
        page += ["", f"## {title}", "", *lines]
        print("\n".join([f"## {title}", "", *lines, ""]), flush=True)
    if options.only is None:
        PAGE.write_text("\n".join(page) + "\n", encoding="utf-8")
        print(f"written to {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
