"""``keys create | list | rotate | revoke``: who may use the HTTP API, and for what."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table

if TYPE_CHECKING:
    from headrace.access import ApiKey

_SPAN = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
DAYS_MAX = 999_999
ONCE = "This is the only time that it is shown."


def create(
    name: Annotated[str, Parameter(help="What the key is for; people see it.")],
    *,
    scope: Annotated[
        Literal["admin", "submit", "read"], Parameter(help="What it allows.")
    ] = "submit",
    tenant: Annotated[str, Parameter(help="Whose it is.")] = "default",
    days: Annotated[
        int | None,
        Parameter(
            help="It expires after so many days.",
            validator=validators.Number(gte=1, lte=DAYS_MAX),
        ),
    ] = None,
    expires: Annotated[
        str | None, Parameter(help="When it expires: 12h, 90d, or 2027-01-31.")
    ] = None,
    common: Common | None = None,
) -> int:
    """Make a key. It is shown once; only its hash is kept."""

    async def work() -> int:
        from headrace.access import Scope
        from headrace.errors import UsageError
        from headrace.store import keys, tenants

        if days is not None and expires is not None:
            raise UsageError("--days and --expires say the same", remedy="Keep one of them.")
        async with engine_of(common, work=False) as engine:
            now = engine.clock.now()
            expires_at = None if days is None else now + timedelta(days=days)
            if expires is not None:
                expires_at = moment(expires, now)
            async with engine.database.transaction() as connection:
                await tenants.find(connection, tenant)
                secret, made = await keys.make(
                    connection, tenant, name, Scope(scope), now, expires_at
                )
        _show_once(secret, made, common)
        return 0

    return int(on_loop(work()))


def list_(
    *,
    tenant: Annotated[str | None, Parameter(help="Only this one's.")] = None,
    common: Common | None = None,
) -> int:
    """List the keys: their first characters, never the whole."""

    async def work() -> int:
        from headrace.store import keys

        async with engine_of(common, work=False) as engine:
            async with engine.database.acquire() as connection:
                found = await keys.listed(connection, tenant)
            now = engine.clock.now()
        head = ["key", "name", "scope", "state", "until", "used", "tenant", "id"]
        rows = [_row(key, now) for key in found]
        if common is not None and common.json:
            data([dict(zip(head, row, strict=True)) for row in rows])
        else:
            table(head, rows)
        return 0

    return int(on_loop(work()))


def rotate(
    named: Annotated[str, Parameter(name="KEY", help="Its id, or its first characters.")],
    *,
    grace: Annotated[
        str, Parameter(help="How long the old one is good still: 0s, 30m, 24h, 7d.")
    ] = "24h",
    common: Common | None = None,
) -> int:
    """Make a key that takes another's place; both are good until the grace is over."""

    async def work() -> int:
        from headrace.store import keys

        span = _span(grace)
        async with engine_of(common, work=False) as engine:
            now = engine.clock.now()
            async with engine.database.transaction() as connection:
                old = await keys.one(connection, named)
                secret, made = await keys.rotate(connection, old, span, now)
        _show_once(secret, made, common)
        if common is None or not common.json:
            line(f"{old.shown}… is good until {now + span:%Y-%m-%d %H:%M} UTC at most.")
        return 0

    return int(on_loop(work()))


def revoke(
    shown: Annotated[str, Parameter(help="The key's first characters, or its id.")],
    *,
    common: Common | None = None,
) -> int:
    """Revoke a key; servers that know it let it in for five more seconds at most."""

    async def work() -> int:
        from headrace.access import ID_PREFIX, SHOWN_CHARS
        from headrace.errors import NotFoundError
        from headrace.store import keys

        begins = shown.rstrip("…")
        async with engine_of(common, work=False) as engine:
            now = engine.clock.now()
            async with engine.database.transaction() as connection:
                if begins.startswith(ID_PREFIX):
                    key = await keys.one(connection, begins)
                    begins, revoked = key.shown, await keys.revoke_one(connection, key.id, now)
                else:
                    begins = begins[:SHOWN_CHARS]
                    revoked = await keys.revoke(connection, begins, now)
            if not revoked:
                raise NotFoundError(
                    f"no good key begins with {begins!r}", remedy="headrace keys list"
                )
        line(f"{begins}… is revoked.")
        return 0

    return int(on_loop(work()))


def _row(key: ApiKey, now: datetime) -> list[str]:
    until = "" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M}"
    used = "" if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d %H:%M}"
    return [
        key.shown + "…",
        key.name,
        key.scope.value,
        key.state(now),
        until,
        used,
        key.tenant_id,
        key.public_id,
    ]


def _show_once(secret: str, made: ApiKey, common: Common | None) -> None:
    if common is not None and common.json:
        told = {"key": secret, "shown": made.shown, "scope": made.scope.value, "name": made.name}
        data({**told, "id": made.public_id, "tenant": made.tenant_id})
    else:
        line(secret)
        line(ONCE)


def _span(text: str) -> timedelta:
    from headrace.errors import UsageError

    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is not a time span", remedy="Write 30m, 24h or 7d, say.")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def moment(text: str, now: datetime) -> datetime:
    """Return the time that a text names from ``now`` on, in UTC; raises ``UsageError``."""
    from headrace.errors import InputError, UsageError
    from headrace.period import read_time

    if _SPAN.fullmatch(text.strip()):
        return now + _span(text)
    try:
        return read_time(text, "the time")
    except InputError:
        raise UsageError(
            f"{text!r} is not a time", remedy="Write 12h, 90d, or a date such as 2027-01-31."
        ) from None
