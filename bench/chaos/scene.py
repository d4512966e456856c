"""What the chaos happens to: two providers, the settings of the workers, and a batch at each."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from headrace.config import Config
from headrace.engine import open_engine
from headrace.recipe import parse_recipe
from headrace.submission import Terms

HEARTBEAT_S = 10.0
IMAGE_BYTES = 20_000
KEY = "chaos"
CLASSES = ("A", "D")


def scenario(crash_class: str, per_s: float, trouble_s: float) -> dict[str, Any]:
    """Return the settings of a provider that fails in every way until ``trouble_s``."""
    faults = [
        {"kind": "503", "share": 0.05},
        {"kind": "500", "share": 0.03},
        {"kind": "reset_before", "share": 0.01},
        {"kind": "reset_after", "share": 0.02},
        {"kind": "hang", "share": 0.005, "hang_s": 20.0},
        {"kind": "503", "from_s": trouble_s / 3, "until_s": trouble_s / 3 + 5.0},
    ]
    for fault in faults:
        fault.setdefault("until_s", trouble_s)
    return {
        "seed": 7,
        "crash_class": crash_class,
        "limits": [{"dimension": "requests", "amount": per_s * 10, "window_s": 10.0}],
        "latency": {"median_s": 0.4, "sigma": 0.5},
        "output": {"image_bytes": IMAGE_BYTES},
        "faults": faults,
    }


def settings(folder: Path, blob_url: str, urls: dict[str, str]) -> Path:
    """Write the settings that all workers share; returns the file."""
    lines = [
        f'home = "{folder / "home"}"',
        f'blob_url = "{blob_url}"',
        "[worker]",
        f"heartbeat_s = {HEARTBEAT_S}",
        "call_timeout_s = 60.0",
        "[retry]",
        "attempts = 20",
        "cap_s = 8.0",
    ]
    for name, url in urls.items():
        lines += [
            f"[providers.{name.lower()}]",
            'kind = "openai"',
            f'base_url = "{url}/v1"',
            f'api_key = "{KEY}"',
            f'crash_class = "{name}"',
        ]
    path = folder / "headrace.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def store_variables(url: str) -> dict[str, str]:
    """Return how workers reach the object store at ``url``."""
    return {
        "AWS_ENDPOINT": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
    }


def recipe(crash_class: str) -> dict[str, Any]:
    """Return a recipe whose images are bought at one of the two providers."""
    stage = {
        "name": "make",
        "kind": "generate",
        "model": f"{crash_class.lower()}:gpt-image-simulated",
        "prompt": "{{ prompt }}",
    }
    return {"name": f"chaos-{crash_class}", "columns": {"required": ["prompt"]}, "stages": [stage]}


async def submitted(config: Config, items: int) -> list[UUID]:
    """Submit a batch for each class; returns their ids."""
    made = []
    async with open_engine(config, work=False) as engine:
        for crash_class in CLASSES:
            batch = await engine.submit(
                ({"prompt": f"{crash_class} item {number}"} for number in range(items)),
                parse_recipe(recipe(crash_class), "chaos"),
                columns=["prompt"],
                terms=Terms(name=f"chaos {crash_class}", unknown="retry", canary=0),
            )
            made.append(batch.uuid)
    return made
