"""Reads what is in the deploy files, for the tests that check it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from headrace.cli.main import build_app
from headrace.config import IGNORED_VARIABLES, PREFIX, load_config

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = (ROOT / "compose.yaml", ROOT / "compose.scale.yaml")
CHART = ROOT / "deploy" / "helm" / "headrace"

# What a setting is given where its value alone is of no interest.
_VALUES = {"HEADRACE_WORKER__GATE": "auto", "HEADRACE_STORAGE__SPOOL_BYTES_MAX": "536870912"}


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, their lines joined, without its comments."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines) if name]


def last(name: str) -> str:
    """The last instruction of that name, as written."""
    return [rest for one, rest in instructions() if one == name][-1]


def image_environment() -> dict[str, str]:
    """The variables that the image sets."""
    pairs = (word.partition("=") for word in shlex.split(last("ENV")))
    return {name: value for name, _, value in pairs}


def healthcheck() -> list[str]:
    """The words of the image's own check."""
    words: list[str] = json.loads(last("HEALTHCHECK").partition("CMD")[2])
    return words


def compose(path: Path) -> dict[str, Any]:
    """A compose file, its anchors merged."""
    told: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return told


def services() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every service of every compose file, under the file's name and its own."""
    for path in COMPOSE:
        for name, service in compose(path)["services"].items():
            yield f"{path.name}:{name}", service


def variables(service: dict[str, Any]) -> dict[str, str | None]:
    """A service's variables; ``None`` for one that is passed on."""
    told = service.get("environment", {})
    return dict.fromkeys(told) if isinstance(told, list) else told


def is_read(name: str) -> bool:
    """Whether headrace reads a variable that begins with its prefix."""
    assert name.startswith(PREFIX)
    if name in IGNORED_VARIABLES:
        return True
    for value in (_VALUES.get(name, "text"), "10", "true"):
        try:
            load_config(environment={name: value})
        except Exception:  # broad: a wrong value is tried again as another type
            continue
        return True
    return False


def is_command(words: list[str]) -> bool:
    """Whether the command line takes these words, without running them."""
    try:
        build_app().parse_args(words, exit_on_error=False, print_error=False)
    except Exception:  # broad: whatever it refuses them for
        return False
    return True
