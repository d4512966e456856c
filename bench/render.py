"""Measures what the renderer costs over bare Typst: the same cards, the same cores.

``python -m bench.render [--rows 40] [--rounds 7]`` prints cards per second of both, taken
in turns so that the machine's moods hit both alike, and the median of the ratios.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typst

from headrace.providers.typst_engine import Renderer, RenderJob, builtin_templates
from headrace.providers.typst_engine.catalog import builtin_fonts

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
COLUMNS = ["title", "subtitle", "price", "currency", "brand", "category", "url", "photo", "accent"]


@dataclass(frozen=True)
class Measured:
    """Cards per second of each round, and the median of the ratios of the rounds."""

    bare_per_s: tuple[float, ...]
    renderer_per_s: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The renderer's throughput as a share of bare Typst's."""
        pairs = zip(self.renderer_per_s, self.bare_per_s, strict=True)
        return statistics.median(ours / bare for ours, bare in pairs)


def read_rows(count: int, mark: int) -> list[dict[str, Any]]:
    """Return rows that no round has seen before: neither side may answer from its memory."""
    with (EXAMPLES / "products.csv").open(encoding="utf-8", newline="") as file:
        rows = [{name: row[name] or None for name in COLUMNS} for row in csv.DictReader(file)]
    found = [rows[number % len(rows)] for number in range(count)]
    return [{**row, "title": f"{row['title']} {mark}.{n}"} for n, row in enumerate(found)]


class BareTypst:
    """One process per core, each with one warm compiler, rows dealt in equal parts."""

    def __init__(self, cores: int) -> None:
        self._root = Path(tempfile.mkdtemp(prefix="headrace-bench-"))
        shutil.copytree(builtin_templates(), self._root, dirs_exist_ok=True)
        shutil.copytree(EXAMPLES / "photos", self._root / "photos")
        self._pipes = []
        context = multiprocessing.get_context("spawn")
        for _ in range(cores):
            ours, theirs = context.Pipe()
            context.Process(
                target=_bare_worker, args=(str(self._root), theirs), daemon=True
            ).start()
            self._pipes.append(ours)

    def render(self, rows: Sequence[dict[str, Any]]) -> float:
        started = time.perf_counter()
        for number, pipe in enumerate(self._pipes):
            pipe.send(rows[number :: len(self._pipes)])
        for pipe in self._pipes:
            pipe.recv()
        return len(rows) / (time.perf_counter() - started)

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.send(None)
        shutil.rmtree(self._root, ignore_errors=True)


def _bare_worker(root: str, pipe: Any) -> None:
    os.environ["RAYON_NUM_THREADS"] = "1"
    fonts = typst.Fonts(
        include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(builtin_fonts())]
    )
    compiler = typst.Compiler(root=root, font_paths=fonts, ignore_system_fonts=True)
    while (rows := pipe.recv()) is not None:
        for row in rows:
            photo = f"/{row['photo']}" if row["photo"] else None
            compiler.compile_with_warnings(
                Path(root) / "product.typ",
                format="png",
                ppi=72.0,
                sys_inputs={"row": json.dumps({**row, "photo": photo})},
            )
        pipe.send(len(rows))


async def through_renderer(renderer: Renderer, rows: Sequence[dict[str, Any]]) -> float:
    started = time.perf_counter()
    jobs = [RenderJob("product", row, photo_folders=(EXAMPLES,)) for row in rows]
    await asyncio.gather(*(renderer.render(job) for job in jobs))
    return len(rows) / (time.perf_counter() - started)


async def measure(rows_count: int = 40, rounds: int = 7) -> Measured:
    bare_per_s, renderer_per_s = [], []
    async with Renderer() as renderer:
        bare = BareTypst(renderer.workers)
        try:
            for number in range(rounds + 1):
                rows = read_rows(rows_count, number)
                order = number % 2
                if order:
                    ours = await through_renderer(renderer, rows)
                theirs = bare.render(rows)
                if not order:
                    ours = await through_renderer(renderer, rows)
                if number:  # the first round warms both
                    bare_per_s.append(theirs)
                    renderer_per_s.append(ours)
        finally:
            bare.close()
    return Measured(tuple(bare_per_s), tuple(renderer_per_s))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.render", description=__doc__)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    result = asyncio.run(measure(given.rows, given.rounds))
    for name, values in (("bare Typst", result.bare_per_s), ("Renderer", result.renderer_per_s)):
        spread = f"{min(values):.1f}-{max(values):.1f}"
        print(f"{name:11} median {statistics.median(values):6.1f} cards/s  {spread}")
    print(f"ratio       median {result.ratio:.3f}")


if __name__ == "__main__":
    main()
