"""Every statement under sql/ is understood by PostgreSQL as the schema stands."""

from __future__ import annotations

import pytest

from headrace.errors import NotFoundError
from headrace.store import statements
from headrace.store.database import Database


@pytest.mark.parametrize("name", statements.names())
async def test_each_file_is_one_statement_that_fits_the_schema(
    database: Database, name: str
) -> None:
    """A .sql file holds one statement whose tables, columns and types exist."""
    async with database.acquire() as connection:
        await connection.prepare(statements.load(name))


def test_an_unknown_name_says_what_was_meant() -> None:
    """A mistyped name is answered with the nearest one."""
    with pytest.raises(NotFoundError, match=r"schema/version\.sql"):
        statements.load("schema/versoin.sql")
