"""The picture of the states is the table of the states."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from headrace.lifecycle import AttemptState, BatchState, ItemState, page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lifecycle.md"
CORE = PAGE.parents[1] / "src/headrace/store/migrations/0001_core.sql"


def test_the_page_is_generated_from_the_tables() -> None:
    """docs/lifecycle.md is exactly what lifecycle.py generates."""
    assert PAGE.read_text(encoding="utf-8") == page()


@pytest.mark.parametrize(
    ("constraint", "states"),
    [("item_state", ItemState), ("attempt_state", AttemptState), ("batch_state", BatchState)],
)
def test_the_schema_knows_the_same_states(constraint: str, states: type[StrEnum]) -> None:
    """The database's checks name exactly the states of the tables of moves."""
    sql = CORE.read_text(encoding="utf-8")
    found = re.search(rf"CONSTRAINT {constraint} CHECK \(state IN \(([^)]*)\)", sql)
    assert found is not None
    assert set(re.findall(r"'(\w+)'", found.group(1))) == {state.value for state in states}
