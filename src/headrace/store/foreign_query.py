"""Rows out of somebody's own database: one query, in a transaction that reads, within bounds."""

from __future__ import annotations

import datetime as times
from collections.abc import AsyncGenerator
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg

from headrace.errors import InputError
from headrace.source import Row
from headrace.store import statements

CONNECT_S = 10.0
LATER_S = 5.0
PAGE = 200
QUERY_CHARS_MAX = 20_000
_BEGINS = ("select", "with", "values", "table")
_LOST = (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError)


def check_query(sql: str) -> str:
    """Return a query that only reads, by its looks; raises ``InputError``.

    The transaction that it runs in is what keeps it from writing.
    """
    words = sql.split(None, 1)
    if not words or words[0].lower() not in _BEGINS or "\0" in sql or len(sql) > QUERY_CHARS_MAX:
        raise InputError(
            f"a query begins with SELECT, WITH, VALUES or TABLE, in {QUERY_CHARS_MAX:,} characters",
            place="query",
        )
    return sql


async def queried(
    url: str, sql: str, name: str, timeout_s: float
) -> AsyncGenerator[tuple[list[str], list[Row]], None]:
    """Yield the columns and rows of a query, page by page.

    Raises ``InputError``, which shows nothing of the URL: database, user and password stay
    with whoever runs headrace.
    """
    place = f"database {name!r}"
    try:
        connection = await asyncpg.connect(
            url,
            timeout=CONNECT_S,
            # The server stops it first; this is for one that answers no more.
            command_timeout=timeout_s + LATER_S,
            # Not the name of those that work on a database of headrace: see older_sessions.sql.
            server_settings={"application_name": "headrace schedule"},
        )
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise InputError(
            f"it cannot be reached: {type(error).__name__}",
            place=place,
            remedy="See that it runs, and that the url in [schedules.databases] is right.",
        ) from None
    try:
        async for page in _pages(connection, sql, place, timeout_s):
            yield page
    except _LOST as error:
        raise InputError(f"the connection was lost: {type(error).__name__}", place=place) from None
    except asyncpg.PostgresError as error:
        remedy = "Correct the query; it may only read, and takes one statement."
        if isinstance(error, asyncpg.QueryCanceledError):
            remedy = f"It has {timeout_s:g} s: read fewer rows, or raise timeout_s."
        raise InputError(f"the query failed: {error}", place=place, remedy=remedy) from None
    finally:
        connection.terminate()


async def _pages(
    connection: Any, sql: str, place: str, timeout_s: float
) -> AsyncGenerator[tuple[list[str], list[Row]], None]:
    async with connection.transaction(readonly=True):
        timeout_ms = str(int(1000 * timeout_s))
        await connection.execute(statements.load("schedules/query_timeout.sql"), timeout_ms)
        prepared = await connection.prepare(sql)
        columns = [attribute.name for attribute in prepared.get_attributes()]
        if not columns or len(set(columns)) < len(columns):
            raise InputError(
                "the query gives no columns, or two of one name", place=place, remedy="Name them."
            )
        cursor = await prepared.cursor()
        count = 0
        while found := await cursor.fetch(PAGE):
            rows = []
            for row in found:
                count += 1
                values = {name: _value(row[name], name, place) for name in columns}
                rows.append(Row(count, values, count))
            yield columns, rows


def _value(value: Any, name: str, place: str) -> Any:
    """Return a value as a row has it: text, number, truth, list or nothing."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, times.date | times.time):
        return value.isoformat()
    if isinstance(value, list | tuple):
        return [_value(one, name, place) for one in value]
    if isinstance(value, Decimal | UUID | times.timedelta):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise InputError(
            f"column {name!r} holds bytes", place=place, remedy="Select encode(column, 'base64')."
        )
    return str(value)
