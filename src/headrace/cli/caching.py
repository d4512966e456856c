"""``cache stats | prune``: what is kept, and removing what is past its time."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line


def stats(*, common: Common | None = None) -> int:
    """Say how many results are cached, how large they are, and how old."""

    async def work() -> int:
        from headrace.store import statements

        async with engine_of(common, work=False) as engine, engine.database.acquire() as connection:
            row = await connection.fetchrow(statements.load("cache/stats.sql"), engine.clock.now())
        found = dict(row or {})
        if common is not None and common.json:
            data(found)
        else:
            line(
                f"{found['live']} live results ({found['live_bytes'] / 1e6:.1f} MB), "
                f"{found['expired']} expired, {found['being_bought']} being bought"
            )
        return 0

    return int(on_loop(work()))


def prune(
    *,
    everything: Annotated[
        bool, Parameter(name="--all", help="Live results too, not only expired ones.")
    ] = False,
    common: Common | None = None,
) -> int:
    """Forget results past their time; delivered items keep their files."""

    async def work() -> int:
        from headrace.store import cache_secrets, statements

        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            rows = await connection.fetch(
                statements.load("cache/prune.sql"), engine.clock.now(), everything
            )
            if everything:
                await cache_secrets.renew(connection, (row["tenant_id"] for row in rows))
        removed = sum(row["removed"] for row in rows)
        if common is not None and common.json:
            data({"removed": removed})
        else:
            line(f"{removed} results removed from the cache.")
        return 0

    return int(on_loop(work()))
