"""``keys create | list | revoke``: who may use the HTTP API, and for what."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from cyclopts import Parameter, validators

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table


def create(
    name: Annotated[str, Parameter(help="What the key is for; people see it.")],
    *,
    scope: Annotated[
        Literal["admin", "submit", "read"], Parameter(help="What it allows.")
    ] = "submit",
    days: Annotated[
        int | None,
        Parameter(help="It expires after so many days.", validator=validators.Number(gte=1)),
    ] = None,
    common: Common | None = None,
) -> int:
    """Make a key. It is shown once; only its hash is kept."""

    async def work() -> int:
        from headrace.access import Scope
        from headrace.store import keys

        async with engine_of(common, work=False) as engine:
            now = engine.clock.now()
            expires_at = None if days is None else now + timedelta(days=days)
            async with engine.database.transaction() as connection:
                secret, made = await keys.make(
                    connection, "default", name, Scope(scope), now, expires_at
                )
        if common is not None and common.json:
            data({"key": secret, "shown": made.shown, "scope": scope, "name": name})
        else:
            line(secret)
            line("This is the only time that it is shown.")
        return 0

    return int(on_loop(work()))


def list_(*, common: Common | None = None) -> int:
    """List the keys: their first characters, never the whole."""

    async def work() -> int:
        from headrace.store import keys

        async with engine_of(common, work=False) as engine:
            async with engine.database.acquire() as connection:
                found = await keys.listed(connection, None)
            now = engine.clock.now()
        rows = []
        for key in found:
            state = "good" if key.is_good(now) else "revoked" if key.revoked_at else "expired"
            until = "" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d}"
            rows.append([key.shown + "…", key.name, key.scope.value, state, until])
        head = ["key", "name", "scope", "state", "until"]
        if common is not None and common.json:
            data([dict(zip(head, row, strict=True)) for row in rows])
        else:
            table(head, rows)
        return 0

    return int(on_loop(work()))


def revoke(
    shown: Annotated[str, Parameter(help="The key's first characters, as 'keys list' says.")],
    *,
    common: Common | None = None,
) -> int:
    """Revoke a key; servers that know it let it in for five more seconds at most."""

    async def work() -> int:
        from headrace.access import SHOWN_CHARS
        from headrace.errors import NotFoundError
        from headrace.store import keys

        begins = shown.rstrip("…")[:SHOWN_CHARS]
        async with engine_of(common, work=False) as engine:
            async with engine.database.transaction() as connection:
                revoked = await keys.revoke(connection, begins, engine.clock.now())
            if not revoked:
                raise NotFoundError(
                    f"no good key begins with {begins!r}", remedy="headrace keys list"
                )
        line(f"{begins}… is revoked.")
        return 0

    return int(on_loop(work()))
