"""A next release of headrace: a copy of this one's sources with migrations that its code uses."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.process.terminal import SOURCES

VERSION = "99.0.0"
EXPANSION = """-- What the next release knows of its calls.
-- rolling: expands
ALTER TABLE attempt ADD COLUMN made_by text;
CREATE TABLE release_call (
    release  text NOT NULL,
    number   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
);
CREATE INDEX release_call_of ON release_call (release);
"""
INDEX = """-- rolling: expands
CREATE INDEX CONCURRENTLY attempt_made_by ON attempt (made_by) WHERE made_by IS NOT NULL;
"""
CONTRACTION = """-- What only releases before the last one read.
-- rolling: contracts, needs {needs}
ALTER TABLE worker DROP COLUMN draining_at;
"""


class NextRelease:
    """Sources of its own; ``schema`` is what they know."""

    def __init__(self, folder: Path) -> None:
        self.sources = folder / "src"
        shutil.copytree(SOURCES, self.sources, ignore=shutil.ignore_patterns("__pycache__"))
        self._package = self.sources / "headrace"
        self._migrations = self._package / "store" / "migrations"
        self.schema = max(path.name for path in self._migrations.glob("*.sql"))[:4]
        self._change("version.py", 'VERSION = "', f'VERSION = "{VERSION}" #')

    def expand(self) -> None:
        """Add a column, a table and two indexes, and code that reads and writes them."""
        self._add("release_calls", EXPANSION)
        self._add("made_by", INDEX)
        # Every call of a worker of this release leaves its mark in the transaction that ends it.
        self._change(
            "store/sql/attempts/end.sql",
            "WITH told AS (",
            "WITH marked AS (\n"
            f"    INSERT INTO release_call (release) SELECT '{VERSION}'\n"
            "    FROM unnest($1::uuid[]) AS one (id)\n"
            "), told AS (",
        )
        self._change(
            "store/sql/attempts/end.sql",
            "    SET state = told.state,",
            f"    SET made_by = coalesce(attempt.made_by, '{VERSION}'), state = told.state,",
        )

    def contract(self) -> str:
        """Take a column away that only older code uses; returns the schema that is needed."""
        needs = self.schema
        self._add("fewer_columns", CONTRACTION.format(needs=needs))
        self._change(
            "store/sql/workers/beat.sql",
            ", draining_at = CASE WHEN $3 THEN coalesce(draining_at, $2) END",
            ", ended_at = CASE WHEN $3 THEN NULL ELSE ended_at END",
        )
        self._change("store/sql/workers/list.sql", "worker.draining_at", "NULL AS draining_at")
        return needs

    def _add(self, name: str, text: str) -> None:
        self.schema = f"{int(self.schema) + 1:04}"
        path = self._migrations / f"{self.schema}_{name}.sql"
        path.write_text(text, encoding="utf-8")

    def _change(self, name: str, before: str, after: str) -> None:
        path = self._package / name
        text = path.read_text(encoding="utf-8")
        assert text.count(before) == 1, f"{name} has changed: {before!r}"
        path.write_text(text.replace(before, after), encoding="utf-8")
