"""``ledger prices | price | limit``: what results cost tenants, and who may spend how much."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table


def prices(
    *,
    every: Annotated[
        bool, Parameter(name="--all", help="Also rules that ended, or that are to come.")
    ] = False,
    common: Common | None = None,
) -> int:
    """Show the price book: what results cost tenants."""

    async def work() -> int:
        from headrace.store import price_book

        async with engine_of(common, work=False) as engine, engine.database.acquire() as connection:
            now = engine.clock.now()
            if every:
                rules = await price_book.history(connection, limit=10_000)
            else:
                rules = await price_book.in_force(connection, now)
        told = [rule.to_json() for rule in rules]
        if common is not None and common.json:
            data({"rules": told})
        elif told:
            table(["what", "name", "price", "cached", "from"], [_row(rule) for rule in told])
        else:
            line("The price book is empty: results cost what price_microcredits of the providers")
            line("says. Add a price: headrace ledger price model mine:gpt-x --credits 2")
        return 0

    return int(on_loop(work()))


def _row(rule: dict[str, Any]) -> list[str]:
    price = "ended"
    if "credits" in rule:
        price = f"{rule['credits']} credits"
    elif "margin" in rule:
        price = f"cost + {rule['margin']} of it, {rule['credits_per_usd']} credits a dollar"
        price += "" if rule["at_most"] is None else f", at most {rule['at_most']}"
    return [rule["kind"], rule["name"], price, rule.get("cached_credits", ""), rule["valid_from"]]


def price(
    kind: Annotated[str, Parameter(help="model, recipe, provider or default.")],
    name: Annotated[str, Parameter(help="Whose: provider:model, a recipe, a provider.")] = "",
    *,
    credits: Annotated[str | None, Parameter(help="A fixed price, in credits.")] = None,
    margin: Annotated[
        str | None, Parameter(help="Or: the true cost and so much of it on top, 0.3 for 30 %.")
    ] = None,
    credits_per_usd: Annotated[
        str | None, Parameter(help="Credits that a dollar of cost is; 1.")
    ] = None,
    at_most: Annotated[
        str | None, Parameter(help="The most that a result is charged over its cost.")
    ] = None,
    cached_credits: Annotated[
        str | None, Parameter(help="What a result from the cache costs; 0.")
    ] = None,
    begins: Annotated[
        str | None, Parameter(name="--from", help="A time to come, from which on it holds.")
    ] = None,
    end: Annotated[bool, Parameter(help="End the rule: less exact ones count again.")] = False,
    common: Common | None = None,
) -> int:
    """Add a price to the price book; batches keep the one they were submitted under."""
    told = {
        "kind": kind,
        "name": name,
        "credits": credits,
        "margin": margin,
        "credits_per_usd": credits_per_usd,
        "at_most": at_most,
        "cached_credits": cached_credits,
        "from": begins,
        "end": end,
    }

    async def work() -> int:
        from headrace.price_book import read_rule
        from headrace.store import price_book

        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            now = engine.clock.now()
            made = await price_book.add(connection, read_rule(told, now), now)
        if common is not None and common.json:
            data(made.to_json())
        else:
            what, who, said, *_ = _row(made.to_json())
            line(f"{what} {who}".strip() + f": {said}, from {made.valid_from.isoformat()}.")
        return 0

    return int(on_loop(work()))


def limit(
    tenant: Annotated[str, Parameter(help="Whose.")] = "default",
    *,
    off: Annotated[bool, Parameter(help="Without a limit: what is missing is granted.")] = False,
    common: Common | None = None,
) -> int:
    """Let a tenant spend only the credits that it was granted (or, with --off, any)."""

    async def work() -> int:
        from headrace.price import credits as shown
        from headrace.store import credits as store

        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            await store.set_unlimited(connection, tenant, off)
            found = await store.balance(connection, tenant)
        has = f"{shown(found.available_microcredits)} credits available"
        line(f"{tenant} spends {'without a limit' if off else 'what it has'}; {has}.")
        return 0

    return int(on_loop(work()))
