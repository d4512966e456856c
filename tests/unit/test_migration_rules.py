"""Migrations are what they say: one that expands takes nothing away and holds up nobody."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

import pytest

from headrace.errors import DatabaseError
from headrace.store import schema
from headrace.store.schema import MIGRATIONS, TOLD_FROM

# The release of the queue whose tables go with a schema. Another release of it comes with a
# migration that says, for those tables too, who may run beside it.
QUEUE = {"0020": "1.6.0"}

FORBIDDEN = {
    r"\bDROP\s+(?!CONSTRAINT\b)": "drops something",
    r"\bRENAME\b": "renames something",
    r"\bTRUNCATE\b|\bDELETE\s+FROM\b": "removes rows",
    r"\bALTER\s+(?:COLUMN\s+)?\w+\s+(?:SET\s+DATA\s+)?TYPE\b|\bALTER\s+TYPE\b": "changes a type",
    r"\bSET\s+NOT\s+NULL\b": "makes a column required",
    r"\bCREATE\s+(?:CONSTRAINT\s+)?TRIGGER\b|\bCREATE\s+OR\s+REPLACE\b|\bCREATE\s+RULE\b":
        "changes what writes of older releases do",
    r"\bVALIDATE\s+CONSTRAINT\b": "reads a whole table under a lock",
    r"\bLOCK\s+TABLE\b": "locks a table",
}  # fmt: skip
TABLE = re.compile(r"\bCREATE\s+(?:UNLOGGED\s+)?TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?(\w+)", re.I)
INDEX = re.compile(
    r"\bCREATE\s+(UNIQUE\s+)?INDEX\s+(CONCURRENTLY\s+)?(?:IF\s+NOT\s+EXISTS\s+)?\w+\s+ON\s+(\w+)",
    re.I,
)
ALTER = re.compile(r"\bALTER\s+TABLE\s+(?:ONLY\s+)?(\w+)\s+(.*)", re.I | re.S)
NO_COLUMN = {
    r"^(?!.*\bDEFAULT\b).*\bNOT\s+NULL\b": "adds a required column without a default",
    r"\bUNIQUE\b|\bPRIMARY\s+KEY\b": "makes rows unique that older releases write",
    r"\bDEFAULT\s+\(?\s*(?:gen_random_uuid|random|clock_timestamp)\b|\bGENERATED\b":
        "rewrites a table under a lock",
}  # fmt: skip


def faults(text: str) -> list[str]:
    """What an expansion may not do, of what a file does."""
    bare = re.sub(r"--.*", "", text)
    found = [why for pattern, why in FORBIDDEN.items() if re.search(pattern, bare, re.I)]
    new = {name.lower() for name in TABLE.findall(bare)}
    for unique, concurrently, table in INDEX.findall(bare):
        if table.lower() in new:
            continue
        if unique:
            found.append("makes rows unique that older releases write")
        if not concurrently:
            found.append("builds an index of an old table under a lock")
    for statement in bare.split(";"):
        match = ALTER.search(statement)
        if match is not None and match[1].lower() not in new:
            found += _faults_of_change(match[2], bare)
    if re.search(r"^\s*UPDATE\b", bare, re.I | re.M):
        found.append("rewrites rows while others write them")
    return found


def _faults_of_change(change: str, bare: str) -> list[str]:
    found = []
    for action in re.split(r",\s*(?=ADD\b|ALTER\b|DROP\b)", change, flags=re.I):
        named = re.search(r"\b(ADD|DROP)\s+CONSTRAINT\s+(?:IF\s+EXISTS\s+)?(\w+)", action, re.I)
        if named is not None:
            found += _faults_of_constraint(named[1].upper(), named[2], action, bare)
        elif re.search(r"\bADD\b", action, re.I):
            found += [why for pattern, why in NO_COLUMN.items() if re.search(pattern, action, re.I)]
    return found


def _faults_of_constraint(verb: str, name: str, action: str, bare: str) -> list[str]:
    other = "DROP" if verb == "ADD" else "ADD"
    pair = rf"\b{other}\s+CONSTRAINT\s+(?:IF\s+EXISTS\s+)?{name}\b"
    found = []
    if not re.search(pair, bare, re.I):
        found.append("binds what older releases write, or widens nothing")
    if verb == "ADD" and not re.search(r"\bNOT\s+VALID\b", action, re.I):
        found.append("reads a whole table under a lock")
    return found


@pytest.mark.parametrize("path", sorted(MIGRATIONS.glob("*.sql")), ids=lambda path: path.name)
def test_every_migration_is_what_it_says(path: Path) -> None:
    """An expansion only adds; each file since releases run side by side says which it is."""
    one = next(one for one in schema.read() if one.path == path)
    if one.number >= TOLD_FROM and not one.contracts:
        assert faults(one.text) == []


@pytest.mark.parametrize(
    "text",
    [
        "DROP TABLE a",
        "ALTER TABLE a DROP COLUMN b",
        "ALTER TABLE a DROP b",
        "DROP INDEX a_b",
        "ALTER TABLE a RENAME b TO c",
        "ALTER TABLE a ALTER COLUMN b TYPE bigint",
        "ALTER TABLE a ALTER b SET DATA TYPE bigint",
        "ALTER TYPE kind ADD VALUE 'x'",
        "ALTER TABLE a ALTER b SET NOT NULL",
        "ALTER TABLE a ADD COLUMN b text NOT NULL",
        "ALTER TABLE a ADD COLUMN b int DEFAULT 1, ADD COLUMN c text NOT NULL",
        "ALTER TABLE a ADD b uuid DEFAULT gen_random_uuid()",
        "ALTER TABLE a ADD b bigint GENERATED ALWAYS AS IDENTITY",
        "ALTER TABLE a ADD b text UNIQUE",
        "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0)",
        "ALTER TABLE a ADD CONSTRAINT c CHECK (b > 0) NOT VALID",
        "ALTER TABLE a DROP CONSTRAINT c",
        "CREATE INDEX a_b ON a (b)",
        "CREATE UNIQUE INDEX CONCURRENTLY a_b ON a (b)",
        "CREATE TRIGGER t BEFORE UPDATE ON a FOR EACH ROW EXECUTE FUNCTION f()",
        "UPDATE a SET b = 1",
        "DELETE FROM a",
        "-- nothing\nalter table a\n  drop\n  column b",
    ],
)
def test_what_an_expansion_may_not_do_is_found(text: str) -> None:
    """The rule sees what would break or hold up a release that runs."""
    assert faults(text)


@pytest.mark.parametrize(
    "text",
    [
        "ALTER TABLE a ADD COLUMN b text",
        "ALTER TABLE a ADD b int NOT NULL DEFAULT 0 CHECK (b >= 0), ADD c timestamptz",
        "CREATE TABLE n (x int PRIMARY KEY, y text NOT NULL); CREATE UNIQUE INDEX n_y ON n (y)",
        "CREATE INDEX CONCURRENTLY a_b ON a (b)",
        "-- DROP TABLE a is for later\nALTER TABLE a ADD b text",
        "ALTER TABLE a DROP CONSTRAINT a_kind;"
        " ALTER TABLE a ADD CONSTRAINT a_kind CHECK (kind IN ('x', 'y')) NOT VALID",
    ],
)
def test_what_an_expansion_may_do_passes(text: str) -> None:
    """Columns, tables, indexes built beside the work, and a wider list of words."""
    assert faults(text) == []


def lay(folder: Path, text: str) -> Path:
    """Files up to the first that has to say who may run beside it."""
    for number in range(int(TOLD_FROM)):
        (folder / f"{number:04}_a.sql").write_text("SELECT 1")
    (folder / f"{TOLD_FROM}_b.sql").write_text(text)
    return folder


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1",
        "-- rolling: perhaps\nSELECT 1",
        "-- rolling: contracts\nSELECT 1",
        "-- rolling: contracts, needs 0022\nSELECT 1",
        "-- rolling: expands\n-- rolling: contracts, needs 0021\nSELECT 1",
    ],
)
def test_a_file_that_does_not_say_who_may_run_is_refused(tmp_path: Path, text: str) -> None:
    """No file is applied of which nobody knows what it does to the release before."""
    with pytest.raises(DatabaseError, match=r"0021_b\.sql.*who may run beside it"):
        schema.read(lay(tmp_path, text))


@pytest.mark.parametrize(
    "text",
    [
        "CREATE INDEX CONCURRENTLY a_b ON a (b); SELECT 1",
        "CREATE INDEX CONCURRENTLY ON a (b)",
        "SELECT 1; CREATE INDEX CONCURRENTLY a_b ON a (b)",
        "DROP INDEX CONCURRENTLY a_b",
    ],
)
def test_what_cannot_be_undone_stands_alone(tmp_path: Path, text: str) -> None:
    """Outside of a transaction there is one statement, which can be done again."""
    with pytest.raises(DatabaseError, match="stands alone"):
        schema.read(lay(tmp_path, f"-- rolling: expands\n{text}"))


def test_each_file_raises_what_it_needs_and_no_more(tmp_path: Path) -> None:
    """The oldest schema that may run stays where the last contraction put it."""
    folder = lay(tmp_path, "-- rolling: expands\nSELECT 1")
    (folder / "0022_c.sql").write_text("-- rolling: contracts, needs 0021\nSELECT 1")
    (folder / "0023_d.sql").write_text("-- rolling: expands\nSELECT 1")
    found = schema.read(folder)
    oldest = {number: schema.oldest_after(found, number) for number in ("0020", "0021", "0022")}
    assert oldest == {"0020": "0020", "0021": "0020", "0022": "0021"}
    assert schema.oldest_after(found, "0023") == "0021"


def test_another_release_of_the_queue_comes_with_a_migration() -> None:
    """Its tables are upgraded with ours, so a migration says who may run beside them."""
    assert importlib.metadata.version("pgqueuer") == QUEUE[max(QUEUE)], (
        "write a migration that says who may run on the queue's new tables, and name it here"
    )
