"""Keys of providers at rest: sealed under the master key, each for its tenant and provider."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.errors import InputError, UsageError
from headrace.identity import new_uuid
from headrace.master_key import VARIABLE, MasterKeys
from headrace.sealing import seal, unseal
from headrace.store import statements, webhook_secrets

SECRET_CHARS_MAX = 8192


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A key as it may be shown; ``tenant_id`` is ``None`` for everybody's.

    ``id`` changes whenever another key takes its place.
    """

    tenant_id: str | None
    provider: str
    id: UUID
    master_id: str
    created_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return what people and programs see of it: not the key."""
        return {
            "tenant": self.tenant_id,
            "provider": self.provider,
            "master": self.master_id,
            "created_at": self.created_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key with what is sealed of it."""

    key: ProviderKey
    body: bytes

    def open(self, masters: MasterKeys) -> str:
        """Return the key itself; raises ``ConfigError``."""
        return unseal(masters.find(self.key.master_id), self.body, _about(self.key))


async def put(
    connection: Any,
    masters: MasterKeys,
    tenant_id: str | None,
    provider: str,
    secret: str,
    now: datetime,
) -> ProviderKey:
    """Keep a key in the caller's transaction, instead of the one before; raises ``InputError``."""
    if not 0 < len(secret) <= SECRET_CHARS_MAX or not secret.isascii() or not _is_word(secret):
        raise InputError(
            "this is no key of a provider: it is empty, or holds a space or another character "
            "that no key has",
            remedy="Copy it again, without what stands around it.",
        )
    # First the lock: a rotation of the master key sees what was sealed before it, and what
    # comes after it is sealed with the new one.
    await connection.execute(statements.load("provider_keys/lock_one.sql"))
    master = masters.current()
    key = ProviderKey(tenant_id, provider, new_uuid(now), master.id, now)
    await connection.execute(
        statements.load("provider_keys/put.sql"),
        tenant_id,
        provider,
        key.id,
        master.id,
        seal(master, secret, _about(key)),
        now,
    )
    return key


async def listed(connection: Any, tenant_id: str | None) -> list[ProviderKey]:
    """Return a tenant's keys, or with ``None`` all of them, those of everybody first."""
    rows = await connection.fetch(
        statements.load("provider_keys/list.sql"), tenant_id, tenant_id is None
    )
    return [ProviderKey(**row) for row in rows]


async def in_force(connection: Any, tenant_id: str) -> list[SealedKey]:
    """Return the keys that a tenant buys with, one for a provider: its own before everybody's."""
    rows = await connection.fetch(statements.load("provider_keys/in_force.sql"), tenant_id)
    return [_sealed(row) for row in rows]


async def remove(connection: Any, tenant_id: str | None, provider: str) -> bool:
    """Remove a key; ``False`` where there is none."""
    if not provider.isprintable():
        return False
    removed = await connection.fetchval(
        statements.load("provider_keys/delete.sql"), tenant_id, provider
    )
    return removed is not None


async def rotate_master(connection: Any, masters: MasterKeys) -> int:
    """Seal every key, and secret of a webhook, under a new master key; returns how many.

    In the caller's transaction.

    A fresh one is put before those in the file; in the variable it has to stand there
    already. Whoever dies in between leaves keys that open: call ``drop_old`` after the commit.
    Raises ``ConfigError`` where a master key is missing, and ``UsageError``.
    """
    await connection.execute(statements.load("provider_keys/lock.sql"))
    sealed = [
        _sealed(row) for row in await connection.fetch(statements.load("provider_keys/all.sql"))
    ]
    opened = [(one.key, one.open(masters)) for one in sealed]
    hooks, needed = await webhook_secrets.opened(connection, masters)
    needed |= {key.master_id for key, _ in opened}
    master = masters.current() if masters.is_variable else masters.put_before()
    if masters.is_variable and needed <= {master.id}:
        raise UsageError(
            f"every key is sealed under the first master key of {VARIABLE} already",
            remedy=f"Put a new one before it, with a comma: {VARIABLE}=NEW,OLD",
        )
    for key, secret in opened:
        body = seal(master, secret, _about(key))
        await connection.execute(
            statements.load("provider_keys/reseal.sql"), key.id, master.id, body
        )
    await webhook_secrets.reseal(connection, masters, master, hooks)
    return len(opened) + len(hooks)


async def sealed_under(connection: Any) -> dict[str, tuple[int, int]]:
    """Return by master key how many keys of providers and secrets of webhooks it seals."""
    rows = await connection.fetch(statements.load("provider_keys/masters.sql"))
    return {row["master_id"]: (row["keys"], row["webhooks"]) for row in rows}


async def drop_old(connection: Any, masters: MasterKeys) -> None:
    """Drop master keys from the file that nothing is sealed under any more."""
    if masters.is_variable:
        return
    await connection.execute(statements.load("provider_keys/lock.sql"))
    rows = await connection.fetch(statements.load("provider_keys/all.sql"))
    _, needed = await webhook_secrets.opened(connection, masters)
    masters.drop_unused({row["master_id"] for row in rows} | needed)


def _about(key: ProviderKey) -> list[str | None]:
    return ["provider key", key.tenant_id, key.provider]


def _is_word(secret: str) -> bool:
    return secret.isprintable() and " " not in secret


def _sealed(row: Any) -> SealedKey:
    values = dict(row)
    body = values.pop("body")
    return SealedKey(ProviderKey(**values), body)
