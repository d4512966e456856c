"""The picture of the states is the table of the states."""

from __future__ import annotations

from pathlib import Path

from headrace.lifecycle import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lifecycle.md"


def test_the_page_is_generated_from_the_tables() -> None:
    """docs/lifecycle.md is exactly what lifecycle.py generates."""
    assert PAGE.read_text(encoding="utf-8") == page()
