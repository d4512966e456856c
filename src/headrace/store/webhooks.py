"""Webhooks at rest: endpoints, and how the events that they want become messages to be sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from headrace import webhook
from headrace.errors import ConflictError, NotFoundError
from headrace.held import decode_json, encode_json
from headrace.identity import new_uuid, show_id
from headrace.master_key import MasterKeys
from headrace.store import statements
from headrace.store.webhook_secrets import seal_secret

WEBHOOKS_MAX = 20
"""Endpoints of one tenant."""
GATHER_S = 1.0
"""So long the first item's event waits for others to go with it."""
GROUPS_MAX = 50


@dataclass(frozen=True, slots=True)
class Webhook:
    """An endpoint as it may be shown: its secret is not among it."""

    id: UUID
    tenant_id: str
    url: str
    events: list[str]
    state: str
    reason: str | None
    failing_since: datetime | None
    old_secret_until: datetime | None
    created_at: datetime

    def check_enabled(self) -> None:
        """Raise ``ConflictError`` where it is sent nothing."""
        if self.state != "enabled":
            raise ConflictError(
                "the webhook is disabled",
                remedy='Enable it first, over HTTP: PATCH {"state": "enabled"}.',
            )


async def insert(
    connection: Any,
    masters: MasterKeys,
    tenant_id: str,
    url: str,
    events: list[str],
    secret: str,
    now: datetime,
) -> UUID:
    """Write an endpoint down, its secret sealed.

    Raises ``ConflictError`` when the tenant has too many, ``ConfigError`` of the master key.
    """
    webhook_id = new_uuid(now)
    kept = await seal_secret(connection, masters, tenant_id, webhook_id, secret)
    await connection.execute(statements.load("webhooks/lock_tenant.sql"), tenant_id)
    inserted: UUID | None = await connection.fetchval(
        statements.load("webhooks/insert.sql"),
        webhook_id,
        tenant_id,
        url,
        events,
        kept.text,
        kept.master_id,
        now,
        WEBHOOKS_MAX,
    )
    if inserted is None:
        raise ConflictError(
            f"there are {WEBHOOKS_MAX} webhooks already", remedy="Delete one, or change one."
        )
    return inserted


async def listed(connection: Any, tenant_id: str) -> list[Webhook]:
    """Return a tenant's endpoints, the oldest first."""
    rows = await connection.fetch(statements.load("webhooks/list.sql"), tenant_id)
    return [Webhook(**row) for row in rows]


async def find(connection: Any, tenant_id: str, webhook_id: UUID) -> Webhook:
    """Return a tenant's endpoint; raises ``NotFoundError``."""
    row = await connection.fetchrow(statements.load("webhooks/find.sql"), tenant_id, webhook_id)
    if row is None:
        raise _gone(webhook_id)
    return Webhook(**row)


async def change(
    connection: Any,
    tenant_id: str,
    webhook_id: UUID,
    url: str | None,
    events: list[str] | None,
    state: str | None,
    now: datetime,
) -> None:
    """Change what is not ``None``; raises ``NotFoundError``. A disabled one is sent nothing."""
    sql = statements.load("webhooks/change.sql")
    if await connection.fetchval(sql, tenant_id, webhook_id, url, events, state) is None:
        raise _gone(webhook_id)
    if state == "disabled":
        await connection.execute(statements.load("webhooks/give_up.sql"), webhook_id, now)


async def delete(connection: Any, tenant_id: str, webhook_id: UUID) -> None:
    """Delete an endpoint with its log; raises ``NotFoundError``."""
    sql = statements.load("webhooks/delete.sql")
    if await connection.fetchval(sql, tenant_id, webhook_id) is None:
        raise _gone(webhook_id)


async def rotate(
    connection: Any,
    masters: MasterKeys,
    tenant_id: str,
    webhook_id: UUID,
    secret: str,
    now: datetime,
) -> datetime:
    """Give an endpoint another secret, sealed; returns until when the old one signs as well.

    Raises ``NotFoundError``, and ``ConfigError`` of the master key.
    """
    until = now + timedelta(seconds=webhook.ROTATION_S)
    kept = await seal_secret(connection, masters, tenant_id, webhook_id, secret)
    told = (tenant_id, webhook_id, kept.text, kept.master_id, until)
    if await connection.fetchval(statements.load("webhooks/rotate.sql"), *told) is None:
        raise _gone(webhook_id)
    return until


def _gone(webhook_id: UUID) -> NotFoundError:
    name = show_id(webhook.WEBHOOK_PREFIX, webhook_id)
    return NotFoundError(f"there is no webhook {name}", remedy="headrace webhooks list")


async def note_file_batch(connection: Any, batch_id: UUID, now: datetime) -> None:
    """Tell that a batch out of a file has ended, in the transaction of its end."""
    await connection.execute(statements.load("webhooks/note_file_batch.sql"), batch_id, now)


async def ping(connection: Any, webhook_id: UUID, now: datetime) -> UUID:
    """Write a message that only says hello; returns its id."""
    name = show_id(webhook.WEBHOOK_PREFIX, webhook_id)
    return await _add(connection, webhook_id, webhook.PING, None, now, {"id": name}, now)


async def pack(connection: Any, now: datetime) -> int:
    """Make messages of what lies in the outboxes long enough; returns how many.

    In the caller's transaction, one process at a time, so that what waits together goes
    together. One message tells of one batch's end, or of items that ended in the same way.
    """
    if not await connection.fetchval(statements.load("webhooks/alone.sql")):
        return 0
    await connection.execute(statements.load("webhooks/drop_outbox.sql"))
    ripe = await connection.fetch(
        statements.load("webhooks/ripe.sql"),
        now - timedelta(seconds=GATHER_S),
        webhook.ITEMS_MAX,
        GROUPS_MAX,
    )
    for group in ripe:
        webhook_id, batch_id, event = group["webhook_id"], group["batch_id"], group["event"]
        most = 1 if event in webhook.BATCH_EVENTS else webhook.ITEMS_MAX
        rows = await connection.fetch(
            statements.load("webhooks/take.sql"), webhook_id, batch_id, event, most
        )
        if rows:
            at = max(row["at"] for row in rows)
            await _add(connection, webhook_id, event, batch_id, at, _data(event, group, rows), now)
    return len(ripe)


def _data(event: str, group: Any, rows: list[Any]) -> dict[str, Any]:
    if event in webhook.BATCH_EVENTS:
        counts = decode_json(rows[0]["counts"]) if rows[0]["counts"] else None
        return webhook.batch_data(group["batch_id"], rows[0]["is_of_file"], counts)
    ordered = sorted(rows, key=lambda row: int(row["seq"]))
    return webhook.items_data(group["batch_id"], [(row["idx"], row["code"]) for row in ordered])


async def _add(
    connection: Any,
    webhook_id: UUID,
    event: str,
    batch_id: UUID | None,
    at: datetime,
    data: dict[str, Any],
    now: datetime,
) -> UUID:
    delivery_id = new_uuid(now)
    body = encode_json(webhook.message(delivery_id, event, at, data)).decode()
    await connection.execute(
        statements.load("webhooks/add.sql"), delivery_id, webhook_id, event, batch_id, body, now
    )
    return delivery_id
