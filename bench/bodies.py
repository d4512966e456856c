"""Large bodies through a small process: 300 images of 1 to 4 MB at a concurrency of twelve.

    python -m bench.bodies                       as base64 (OpenAI's shape) and by address (fal's)
    python -m bench.bodies --edits               300 pictures of 3 MB go in, as base64, and come out
    python -m bench.bodies --limit-mib 200

The engine runs in a process of its own whose private memory the kernel limits once it is
open (RLIMIT_DATA: heap, stacks and anonymous maps; it stands for a container's limit and is
the stricter one, because pages that were asked for and never touched count, too). What it
really held at most is its peak resident set. The provider, a simulator, and PostgreSQL are
other processes and not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

from bench.peak import MIB, peak_mib
from bench.throughput import engine_at
from headrace.bytes_budget import SHARE
from headrace.config import Config, Limits
from headrace.providers.simulated.png_body import PngBody
from headrace.recipe import parse_recipe
from headrace.submission import Terms

SIZES_MB = (1, 2, 3, 4)
CONCURRENCY = 12
MODELS = {"openai": "gpt-image-2", "fal": "fal-ai/any/picture"}
EDITS = {"fal": "fal-ai/any/edit", "bfl": "flux-2-pro"}
"""Models that are asked to change a picture: it goes in as base64."""
SOURCE_MB = 3


def limit_memory(limit_mib: int) -> None:
    """Let the kernel refuse this process more private memory; processes it started keep theirs."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (limit_mib * MIB, limit_mib * MIB))


@contextlib.contextmanager
def simulated(image_bytes: int, folder: Path) -> Iterator[str]:
    """Give the address of a provider in another process, with images of that size."""
    scenario = folder / f"images-{image_bytes}.toml"
    scenario.write_text(f"[latency]\nmedian_s = 0.1\n[output]\nimage_bytes = {image_bytes}\n")
    command = [sys.executable, "-m", "headrace", "simulate", "--port", "0", "--json"]
    with subprocess.Popen(
        [*command, "--scenario", str(scenario)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.communicate(timeout=60)


def config_at(home: Path, kind: str, url: str, limit_mib: int) -> Config:
    """Return a configuration with the one provider, twelve calls in flight."""
    # What a container's limit would make of it: the limit comes once the engine is open.
    limits = Limits(bodies_bytes_max=limit_mib * MIB // SHARE)
    paths = {"openai": "/v1", "fal": "/fal", "bfl": ""}
    table = {
        "kind": kind,
        "base_url": f"{url}{paths[kind]}",
        "limits": {"concurrency": CONCURRENCY},
    }
    return Config(home=str(home), providers={"images": table}, limits=limits)


def sources_in(folder: Path) -> list[str]:
    """Make twelve different pictures of ``SOURCE_MB`` in a folder; return their names."""
    folder.mkdir()
    picture = PngBody(64, 64, SOURCE_MB * 1_000_000)
    names = [f"{number}.png" for number in range(CONCURRENCY)]
    for number, name in enumerate(names):
        (folder / name).write_bytes(picture.whole(bytes([number]) * 32))
    return names


async def work(home: Path, kind: str, url: str, items: int, limit_mib: int) -> dict[str, Any]:
    """Buy ``items`` images under the limit; return what it took."""
    is_edit = kind.startswith("edit-")
    kind, photos = kind.removeprefix("edit-"), home.parent / "photos"
    model = f"images:{(EDITS if is_edit else MODELS)[kind]}"
    stage = {"name": "image", "kind": "generate", "model": model, "prompt": "{{ t }}"}
    if is_edit:
        stage |= {"sources": {"input_image" if kind == "bfl" else "image": "{{ photo }}"}}
    names = sources_in(photos) if is_edit else [""]
    recipe = parse_recipe({"name": "bodies", "stages": [stage]}, "bench")
    async with engine_at(config_at(home, kind, url, limit_mib)) as engine:
        limit_memory(limit_mib)
        base_mib, begun_s = peak_mib(), perf_counter()
        rows = [
            {"t": f"{url} {number}", "photo": names[number % len(names)]} for number in range(items)
        ]
        terms = Terms(name="bodies", folders=(str(photos),) if is_edit else ())
        batch = await engine.submit(rows, recipe, columns=["t", "photo"], terms=terms)
        await batch.done()
        took_s = perf_counter() - begun_s
        sizes = [one.artifact.size_bytes async for one in batch.items() if one.artifact]
    return {
        "items": items,
        "succeeded": len(sizes),
        "mb": sum(sizes) / 1e6,
        "took_s": took_s,
        "base_mib": base_mib,
        "peak_mib": peak_mib(),
    }


def measure(kind: str, items: int, limit_mib: int) -> list[dict[str, Any]]:
    """Run the work once for each size, each in a fresh process and home."""
    found = []
    sizes_mb = (1,) if kind.startswith("edit-") else SIZES_MB
    for megabytes in sizes_mb:
        with (
            tempfile.TemporaryDirectory(prefix="headrace-bodies-") as name,
            simulated(megabytes * 1_000_000, Path(name)) as url,
        ):
            Path(name).chmod(0o711)
            words = ["--measure", kind, url, str(items // len(sizes_mb)), str(limit_mib), name]
            found.append(measured(words))
    return found


def measured(words: list[str]) -> dict[str, Any]:
    """Run one measurement in a process of its own; return what it tells."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.bodies", *words],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
        # Stacks and arenas that threads ask for and never touch: no container counts them.
        env=os.environ | {"MALLOC_ARENA_MAX": "2"},
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def main() -> int:
    """Measure both shapes and print a table; 1 where something was lost or the limit passed."""
    options = argparse.ArgumentParser(prog="bench.bodies")
    options.add_argument("--items", type=int, default=300)
    options.add_argument("--limit-mib", type=int, default=256)
    options.add_argument("--only", choices=[*MODELS, *EDITS])
    options.add_argument("--edits", action="store_true")
    options.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    told = options.parse_args()
    if told.measure:
        kind, url, items, limit_mib, home = told.measure
        threading.stack_size(MIB)
        seen = asyncio.run(work(Path(home) / "home", kind, url, int(items), int(limit_mib)))
        print(json.dumps(seen))
        return 0
    what = f"images of {SIZES_MB[0]} to {SIZES_MB[-1]} MB"
    kinds = [told.only] if told.only else list(EDITS if told.edits else MODELS)
    if told.edits:
        what = f"edits with a source of {SOURCE_MB} MB"
        kinds = [f"edit-{kind}" for kind in kinds]
    print(
        f"{told.items} {what}, {CONCURRENCY} in flight, "
        f"at most {told.limit_mib} MiB of private memory\n"
    )
    print("| shape | images | MB | time | MB/s | peak RSS | before |")
    print("|---|---|---|---|---|---|---|")
    is_good = True
    for kind in kinds:
        rounds = measure(kind, told.items, told.limit_mib)
        items, mb, took_s = (sum(one[key] for one in rounds) for key in ("items", "mb", "took_s"))
        peak, base = (max(one[key] for one in rounds) for key in ("peak_mib", "base_mib"))
        lost = items - sum(one["succeeded"] for one in rounds)
        is_good = is_good and not lost and peak <= told.limit_mib
        print(
            f"| {kind} | {items}{f' ({lost} lost)' if lost else ''} | {mb:,.0f} | {took_s:.1f} s "
            f"| {mb / took_s:.0f} | {peak:.0f} MiB | {base:.0f} MiB |"
        )
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
