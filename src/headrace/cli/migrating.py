"""``migrate``: bring the database up to date before the processes of a new release start."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, line

if TYPE_CHECKING:
    from headrace.store.schema import Connection


def migrate(
    *,
    look: Annotated[
        bool, Parameter(help="Only say what there is to do, and who is in its way.", negative="")
    ] = False,
    anyway: Annotated[
        bool, Parameter(help="Do not ask who runs: older releases fail and end.", negative="")
    ] = False,
    common: Common | None = None,
) -> int:
    """Bring the database up to date; processes do so themselves when they start."""
    common = common or Common()

    async def work() -> int:
        from headrace.store.database import open_database

        config = common.settings()
        async with open_database(
            config.database_url, Path(config.home), direct_url=config.database_direct_url,
            as_it_is=True,
        ) as database:  # fmt: skip
            applied = [] if look else await database.migrate(anyway=anyway)
            async with database.acquire() as connection:
                told = await _told(connection)
        told["applied"] = applied
        if common.json:
            data(told)
        else:
            _say(told, look)
        return 1 if told["in_the_way"] and not anyway else 0

    return int(on_loop(work()))


async def _told(connection: Connection) -> dict[str, Any]:
    from headrace.store import schema
    from headrace.store.migrate import missing

    migrations, stands = schema.read(), await schema.standing(connection, waits=False)
    if stands is not None:
        schema.refuse_too_old(stands, migrations[-1].number)
    left = missing(migrations, stands.version if stands is not None else None)
    in_the_way = []
    if stands is not None:
        for one in left:
            if one.contracts and one.needs is not None:
                in_the_way += await schema.older_sessions(connection, one.needs)
    return {
        "schema": stands.version if stands is not None else None,
        "oldest": stands.oldest if stands is not None else None,
        "release": migrations[-1].number,
        "missing": [
            {"file": one.path.name, "needs": one.needs if one.contracts else None} for one in left
        ],
        "in_the_way": schema.told_of(in_the_way) if in_the_way else "",
    }


def _say(told: dict[str, Any], look: bool) -> None:
    for number in told["applied"]:
        line(f"applied {number}")
    for one in told["missing"]:
        rule = f"ends releases that know less than {one['needs']}" if one["needs"] else "expands"
        line(f"missing {one['file']}: {rule}")
    if told["in_the_way"]:
        line(f"in the way, of older releases: {told['in_the_way']}")
    if told["schema"] is None:
        line("the database is empty")
    else:
        line(
            f"the database is at schema {told['schema']}, this release knows {told['release']}; "
            f"releases that know {told['oldest']} may run"
        )
