"""Secrets of webhooks at rest: sealed under the master key, each for its tenant and endpoint.

Those that a release before this one kept as they are get sealed when a deliverer first looks.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from headrace.errors import ConfigError, NotFoundError
from headrace.identity import show_id
from headrace.master_key import MasterKeys
from headrace.sealing import Master, seal, unseal
from headrace.store import statements
from headrace.webhook import WEBHOOK_PREFIX


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A secret as it is kept: base64 of what ``master_id`` opens, or plain where that is none."""

    text: str
    master_id: str | None

    def open(self, masters: MasterKeys, tenant_id: str, webhook_id: UUID) -> str:
        """Return the secret itself; raises ``ConfigError``."""
        if self.master_id is None:
            return self.text
        try:
            body = base64.b64decode(self.text)
            return unseal(masters.find(self.master_id), body, _about(tenant_id, webhook_id))
        except ValueError:
            error = ConfigError("it was changed")
        except ConfigError as found:
            error = found
        name = show_id(WEBHOOK_PREFIX, webhook_id)
        raise ConfigError(
            f"the secret of the webhook {name} cannot be opened: {error.message}",
            place=error.place,
            remedy=f"Bring the master key back, or make a new secret: headrace webhooks rotate "
            f"{name}",
        )


async def seal_secret(
    connection: Any, masters: MasterKeys, tenant_id: str, webhook_id: UUID, secret: str
) -> KeptSecret:
    """Return a secret to be kept in the caller's transaction.

    Raises ``ConfigError`` and ``StorageError`` of the master key.
    """
    # As for keys of providers: a rotation of the master key sees what was sealed before it.
    await connection.execute(statements.load("provider_keys/lock_one.sql"))
    return _sealed(masters.current(), tenant_id, webhook_id, secret)


async def of(
    connection: Any, masters: MasterKeys, tenant_id: str, webhook_id: UUID, now: datetime
) -> list[str]:
    """Return the secrets that sign for an endpoint now, the one in force first.

    Raises ``NotFoundError`` and ``ConfigError``.
    """
    row = await connection.fetchrow(statements.load("webhooks/secrets.sql"), tenant_id, webhook_id)
    if row is None:
        raise NotFoundError(
            f"there is no webhook {show_id(WEBHOOK_PREFIX, webhook_id)}",
            remedy="headrace webhooks list",
        )
    kept = [KeptSecret(row["secret"], row["secret_master"])]
    if row["old_secret_until"] is not None and row["old_secret_until"] > now:
        kept.append(KeptSecret(row["old_secret"], row["old_secret_master"]))
    return [one.open(masters, tenant_id, webhook_id) for one in kept]


async def seal_plain(connection: Any, masters: MasterKeys) -> int:
    """Seal what is kept plain, in the caller's transaction; returns for how many endpoints.

    Raises ``ConfigError`` and ``StorageError`` of the master key.
    """
    await connection.execute(statements.load("provider_keys/lock_one.sql"))
    rows = await connection.fetch(statements.load("webhooks/all_secrets.sql"), True)
    if not rows:
        return 0
    await _seal(connection, masters, masters.current(), rows)
    return len(rows)


async def look(connection: Any, master_ids: list[str]) -> tuple[bool, int, list[str]]:
    """Tell whether a secret is kept plain, and for how many endpoints nobody can sign here.

    ``master_ids`` are the master keys that are here; last come those that are not, and are needed.
    """
    row = await connection.fetchrow(statements.load("webhooks/look.sql"), master_ids)
    return row["is_plain"], row["unsigned"], row["missing"] or []


async def opened(connection: Any, masters: MasterKeys) -> tuple[list[Any], set[str]]:
    """Return all endpoints with their secrets, locked, and the master keys that these need.

    Raises ``ConfigError`` where one of them cannot be opened.
    """
    rows = await connection.fetch(statements.load("webhooks/all_secrets.sql"), False)
    for row in rows:
        for one in _kept(row):
            one.open(masters, row["tenant_id"], row["id"])
    return rows, {one.master_id for row in rows for one in _kept(row) if one.master_id}


async def reseal(connection: Any, masters: MasterKeys, master: Master, rows: list[Any]) -> None:
    """Seal the secrets of ``opened`` under another master key, in the caller's transaction."""
    await _seal(connection, masters, master, rows)


async def _seal(connection: Any, masters: MasterKeys, master: Master, rows: list[Any]) -> None:
    for row in rows:
        tenant_id, webhook_id = row["tenant_id"], row["id"]
        now = [
            _sealed(master, tenant_id, webhook_id, one.open(masters, tenant_id, webhook_id))
            for one in _kept(row)
        ]
        old = now[1] if len(now) > 1 else KeptSecret("", None)
        await connection.execute(
            statements.load("webhooks/seal.sql"),
            webhook_id,
            now[0].text,
            now[0].master_id,
            old.text or None,
            old.master_id,
        )


def _kept(row: Any) -> list[KeptSecret]:
    kept = [KeptSecret(row["secret"], row["secret_master"])]
    if row["old_secret"] is not None:
        kept.append(KeptSecret(row["old_secret"], row["old_secret_master"]))
    return kept


def _sealed(master: Master, tenant_id: str, webhook_id: UUID, secret: str) -> KeptSecret:
    body = seal(master, secret, _about(tenant_id, webhook_id))
    return KeptSecret(base64.b64encode(body).decode("ascii"), master.id)


def _about(tenant_id: str, webhook_id: UUID) -> list[str | None]:
    return ["webhook secret", tenant_id, str(webhook_id)]
