"""``providers``: what is configured, and whether it works, without buying anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, line, table

if TYPE_CHECKING:
    from headrace.engine import Shelf
    from headrace.provider import Provider

KEYS = {None: "none needed", True: "set", False: "missing"}


def list_(*, common: Common | None = None) -> int:
    """List the providers: kind, address, key, what is done after a crash, limits told."""
    from headrace.engine import shelf_of

    common = common or Common()
    shelf = shelf_of(common.settings())
    found = [_told(name, shelf) for name in shelf]
    if common.json:
        data({"providers": found, "kinds": shelf.kinds()})
        return 0
    rows = [
        [
            one["name"],
            one["kind"],
            one["error"] or one["base_url"] or "this machine",
            KEYS[one["key"]],
            one["crash_class"],
            "; ".join(one["limits"]) or "found out",
        ]
        for one in found
    ]
    table(["name", "kind", "where", "key", "class", "limits"], rows)
    line()
    line(f"Kinds that a [providers.NAME] table can have: {', '.join(shelf.kinds())}.")
    return 0


def check(
    names: Annotated[list[str] | None, Parameter(help="Which; all by default.")] = None,
    *,
    model: Annotated[str | None, Parameter(help="Say the price of this model, too.")] = None,
    common: Common | None = None,
) -> int:
    """Try the keys of providers; exit 1 when one does not work. Nothing is bought."""
    from headrace.engine import shelf_of

    common = common or Common()
    shelf = shelf_of(common.settings())
    wanted = names or [*shelf]

    async def work() -> list[dict[str, Any]]:
        try:
            return [await _checked(shelf, name, model) for name in wanted]
        finally:
            await shelf.close()

    results = on_loop(work())
    if common.json:
        data(results)
    else:
        for one in results:
            for text in _lines(one):
                line(text)
    return 1 if any(one["state"] == "fail" for one in results) else 0


def _named(shelf: Shelf, name: str) -> Provider:
    from headrace.errors import NotFoundError
    from headrace.nearest import did_you_mean

    try:
        return shelf[name]
    except KeyError:
        raise NotFoundError(
            f"there is no provider {name!r}", remedy=did_you_mean(name, shelf)
        ) from None


def _told(name: str, shelf: Shelf) -> dict[str, Any]:
    from headrace.errors import HeadraceError

    told: dict[str, Any] = {
        "name": name, "kind": shelf.kind(name), "base_url": None, "key": None,
        "crash_class": "", "limits": [], "error": "",
    }  # fmt: skip
    try:
        provider = shelf[name]
    except HeadraceError as error:
        return told | {"error": f"{error.place} {error.message}".strip()}
    remote = getattr(provider, "remote", None)
    if remote is not None:
        wants_key = bool(remote.api_key_env) and not remote.is_local
        told["base_url"] = str(remote.base_url)
        told["key"] = bool(remote.api_key) if wants_key or remote.api_key else None
    told["crash_class"] = provider.crash_class.value
    told["limits"] = limit_words(provider)
    return told


def limit_words(provider: Provider) -> list[str]:
    """Return the limits that a provider's table tells, in words."""
    from headrace.forecast import per_time

    words = []
    for limit in provider.quota.limits:
        if limit.amount is None:
            continue
        if limit.window_s is None:
            words.append(f"{limit.amount:g} in flight")
        else:
            words.append(per_time(limit.amount / limit.window_s, limit.dimension.value))
    return words


async def _checked(shelf: Shelf, name: str, model: str | None) -> dict[str, Any]:
    """Return how one provider does; a table that is wrong says so and stops no other."""
    from headrace.errors import ConfigError

    try:
        provider = _named(shelf, name)
    except ConfigError as error:
        seen = f"{error.place}: {error.message}" if error.place else error.message
        return {"name": name, "state": "fail", "seen": seen, "remedy": error.remedy}
    return await _tried(provider, model)


async def _tried(provider: Provider, model: str | None) -> dict[str, Any]:
    from headrace.errors import HeadraceError
    from headrace.outcome import OutcomeKind
    from headrace.price import usd
    from headrace.request import Request

    told: dict[str, Any] = {"name": provider.name, "state": "ok", "seen": "", "remedy": ""}
    probe = getattr(provider, "probe", None)
    try:
        if probe is None:
            await provider.open()
            told["seen"] = "runs on this machine" if not hasattr(provider, "remote") else "opens"
        else:
            found = await probe()
            if found is None:
                await provider.open()
                told |= {"state": "warn", "seen": "nothing to try the key on without paying"}
            elif found.kind is OutcomeKind.SUCCESS:
                told["seen"] = "the key works"
                told["limits"] = [_limit(limit) for limit in found.limits]
            else:
                told |= {"state": "fail", "seen": found.reason, "remedy": found.remedy}
        if model is not None:
            price = provider.price(Request(provider.name, model, provider.version(model), {}))
            told["price"] = usd(price.cost_microusd_max)
    except HeadraceError as error:
        told |= {"state": "fail", "seen": error.message, "remedy": error.remedy}
    finally:
        # A shelf closes what it opened, and this one opened nothing.
        await provider.close()
    return told


def _limit(limit: Any) -> dict[str, Any]:
    return {
        "dimension": limit.dimension.value,
        "amount": limit.amount,
        "window_s": limit.window_s,
        "remaining": limit.remaining,
    }


def _lines(one: dict[str, Any]) -> list[str]:
    from headrace.cli.doctor import MARKS

    lines = [f"{MARKS[one['state']]} {one['name']}: {one['seen']}"]
    for limit in one.get("limits", []):
        window = "" if limit["window_s"] is None else f" in {limit['window_s']:g} s"
        amount = "?" if limit["amount"] is None else f"{limit['amount']:g}"
        left = "" if limit["remaining"] is None else f", {limit['remaining']:g} left"
        lines.append(f"    {amount} {limit['dimension']}{window}{left}")
    if "price" in one:
        lines.append(f"    a call costs at most {one['price']}")
    if one["remedy"]:
        lines.append(f"    → {one['remedy']}")
    return lines
