"""The page of guarantees names tests and modules that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "guarantees.md").read_text(encoding="utf-8")
SECTIONS = re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
MODULES = re.compile(r"`(src/[\w/]+\.\w+)`")


def functions_of(path: Path) -> set[str]:
    """The names of the test functions of a file, those in classes among them."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def test_every_promise_is_there_in_order() -> None:
    """G1 to G18, each once."""
    assert [section.partition(":")[0] for section in SECTIONS] == [f"G{n}" for n in range(1, 19)]


@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.partition(":")[0])
def test_each_promise_names_tests_and_modules_that_exist(section: str) -> None:
    """Every promise has tests, and the tests and modules that are named are there."""
    named, modules = NAMED.findall(section), MODULES.findall(section)
    assert named
    missing = [
        f"{file}::{test}"
        for file, test in named
        if not (ROOT / file).is_file() or test not in functions_of(ROOT / file)
    ]
    assert missing == []
    assert [path for path in modules if not (ROOT / path).is_file()] == []
    lines = [line for line in section.splitlines() if line.startswith("- ")]
    assert len(lines) == len(named), "a line of the list names no test"
