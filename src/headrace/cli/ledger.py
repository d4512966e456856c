"""``ledger show | verify | grant``: balances, entries, the audit, more credits."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter, validators

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table

ENTRIES = 20


def show(
    *,
    batch: Annotated[str | None, Parameter(help="Only the entries of this batch.")] = None,
    limit: Annotated[
        int,
        Parameter(help="How many entries, the latest first.", validator=validators.Number(gte=1)),
    ] = ENTRIES,
    common: Common | None = None,
) -> int:
    """Show the balances of all accounts and the latest entries."""

    async def work() -> int:
        from headrace.identity import read_batch_id
        from headrace.price import credits
        from headrace.store import statements

        batch_id = read_batch_id(batch) if batch is not None else None
        async with engine_of(common, work=False) as engine, engine.database.acquire() as connection:
            balances = await connection.fetch(statements.load("ledger/balances.sql"))
            entries = await connection.fetch(statements.load("ledger/entries.sql"), batch_id, limit)
        if common is not None and common.json:
            data({"balances": [dict(r) for r in balances], "entries": [dict(r) for r in entries]})
            return 0
        table(
            ["account", "credits"],
            [[f"{r['owner']}:{r['kind']}", credits(r["balance_microcredits"])] for r in balances],
        )
        if entries:
            line()
            table(
                ["entry", "kind", "credits", "from", "to", "row", "why"],
                [
                    [
                        str(r["id"]),
                        r["kind"],
                        credits(r["amount_microcredits"]),
                        r["debit"],
                        r["credit"],
                        "" if r["idx"] is None else str(r["idx"] + 1),
                        r["reason"],
                    ]
                    for r in entries
                ],
            )
        return 0

    return int(on_loop(work()))


def verify(*, common: Common | None = None) -> int:
    """Audit ledger, items and counts; exit 1 when anything does not add up."""

    async def work() -> int:
        from headrace.store.audit import CHECKS
        from headrace.store.audit import verify as audit

        async with (
            engine_of(common, work=False) as engine,
            engine.database.acquire("repeatable_read") as connection,
        ):
            findings = await audit(connection)
        if common is not None and common.json:
            data({"checks": [name for name, _ in CHECKS], "findings": findings})
        else:
            for finding in findings:
                line(finding)
            line(f"{len(CHECKS)} checks, {len(findings)} findings")
        return 1 if findings else 0

    return int(on_loop(work()))


def grant(
    amount: Annotated[str, Parameter(help="Credits, up to six decimals.")],
    *,
    tenant: Annotated[str, Parameter(help="Who gets them.")] = "default",
    reason: Annotated[str, Parameter(help="Stands in the entry.")] = "granted",
    reference: Annotated[
        str | None, Parameter(help="An invoice, say: of one reference there is one grant.")
    ] = None,
    expires: Annotated[
        str | None, Parameter(help="When what is left expires: 90d, or 2027-01-31.")
    ] = None,
    common: Common | None = None,
) -> int:
    """Give a tenant credits."""
    from headrace.cli.keys import moment
    from headrace.price import read_credits

    micro = read_credits(amount)

    async def work() -> int:
        from headrace.price import credits
        from headrace.store import ledger

        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            now = engine.clock.now()
            end = None if expires is None else moment(expires, now)
            made = await ledger.grant(
                connection, engine.accounts, tenant, micro, reason, now, reference, end
            )
        when = "" if made.is_new else f" already, at {made.created_at.isoformat()}"
        until = "" if end is None else f", until {end:%Y-%m-%d %H:%M} UTC"
        line(f"{credits(micro)} credits granted to {tenant}{when}{until}.")
        return 0

    return int(on_loop(work()))
