"""Messages to webhooks at rest: claimed, tried, ended, looked at, and sent once more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from headrace import webhook
from headrace.errors import ConflictError, NotFoundError
from headrace.identity import show_id
from headrace.master_key import MasterKeys
from headrace.store import statements
from headrace.store.webhook_secrets import KeptSecret
from headrace.webhook import DeliveryState

GONE = 410


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message to be sent now. ``tries`` is this one's number, and the fence of its end."""

    id: UUID
    webhook_id: UUID
    body: str
    tries: int
    tries_before: int
    url: str
    tenant_id: str
    secret: str
    secret_master: str | None
    old_secret: str | None
    old_secret_master: str | None

    def secrets(self, masters: MasterKeys) -> list[str]:
        """Return what signs the message, the secret in force first; raises ``ConfigError``."""
        kept = [KeptSecret(self.secret, self.secret_master)]
        if self.old_secret is not None:
            kept.append(KeptSecret(self.old_secret, self.old_secret_master))
        return [one.open(masters, self.tenant_id, self.webhook_id) for one in kept]


@dataclass(frozen=True, slots=True)
class Tried:
    """How a try went: the answer's status if one came, why it was no success, how long it took."""

    status: int | None
    error: str | None
    excerpt: str
    duration_s: float


async def claim(
    connection: Any,
    now: datetime,
    lease_s: float,
    per_endpoint: int,
    most: int,
    master_ids: list[str],
    *,
    failing: bool,
) -> list[Claimed]:
    """Take messages that are due; nobody else has them until the lease ends.

    ``master_ids`` are the master keys that are here: what others sign is left to them.
    """
    rows = await connection.fetch(
        statements.load("webhooks/claim.sql"),
        now,
        now + timedelta(seconds=lease_s),
        per_endpoint,
        most,
        failing,
        master_ids,
    )
    return [Claimed(**row) for row in rows]


async def give_back(connection: Any, held: list[Claimed]) -> None:
    """Let others make tries that were cut short."""
    await connection.execute(
        statements.load("webhooks/give_back.sql"),
        [one.id for one in held],
        [one.tries for one in held],
    )


async def end_try(
    connection: Any, claimed: Claimed, tried: Tried, now: datetime, random: Random
) -> bool:
    """Write down how a try went, and when the next is; ``False`` when the lease was over.

    An endpoint that says it is gone, or has taken nothing for days, is disabled.
    """
    wait_s = None
    if tried.error is not None:
        wait_s = webhook.wait_s(claimed.tries - claimed.tries_before, random)
    state = DeliveryState.DELIVERED if tried.error is None else DeliveryState.FAILED
    if wait_s is not None:
        state = DeliveryState.PENDING
    due_at = None if wait_s is None else now + timedelta(seconds=wait_s)
    ended = await connection.fetchval(
        statements.load("webhooks/end_try.sql"),
        claimed.id, claimed.tries, state.value, due_at, now,
    )  # fmt: skip
    if ended is None:
        return False
    await connection.execute(
        statements.load("webhooks/log_try.sql"),
        claimed.id, claimed.tries, tried.status, tried.error, tried.excerpt,
        round(tried.duration_s * 1000), now,
    )  # fmt: skip
    await _judge(connection, claimed.webhook_id, tried, now)
    return True


async def _judge(connection: Any, webhook_id: UUID, tried: Tried, now: datetime) -> None:
    if tried.error is None:
        await connection.execute(statements.load("webhooks/went_well.sql"), webhook_id)
        return
    is_gone = tried.status == GONE
    days = webhook.FAILING_S_MAX // 86_400
    reason = "it said that it is gone (410)" if is_gone else f"it took nothing for {days} days"
    state = await connection.fetchval(
        statements.load("webhooks/went_wrong.sql"),
        webhook_id, now, now - timedelta(seconds=webhook.FAILING_S_MAX), reason, is_gone,
    )  # fmt: skip
    if state == "disabled":
        await connection.execute(statements.load("webhooks/give_up.sql"), webhook_id, now)


async def listed(
    connection: Any, webhook_id: UUID, before: UUID | None, count: int
) -> list[dict[str, Any]]:
    """Return an endpoint's messages before one of them, the latest first."""
    rows = await connection.fetch(
        statements.load("webhooks/deliveries.sql"), webhook_id, before, count
    )
    return [dict(row) for row in rows]


async def find(
    connection: Any, tenant_id: str, webhook_id: UUID, delivery_id: UUID
) -> dict[str, Any]:
    """Return a message with its ``body`` and its ``tries_made``; raises ``NotFoundError``."""
    row = await connection.fetchrow(
        statements.load("webhooks/delivery.sql"), tenant_id, webhook_id, delivery_id
    )
    if row is None:
        name = show_id(webhook.DELIVERY_PREFIX, delivery_id)
        raise NotFoundError(f"there is no delivery {name}")
    tries = await connection.fetch(statements.load("webhooks/tries.sql"), delivery_id)
    return dict(row) | {"tries_made": [dict(one) for one in tries]}


async def redeliver(connection: Any, delivery_id: UUID, now: datetime) -> None:
    """Let a message be sent once more; raises ``ConflictError`` while it is being sent."""
    sql = statements.load("webhooks/redeliver.sql")
    if await connection.fetchval(sql, delivery_id, now) is None:
        raise ConflictError("the message is being sent right now", remedy="Look again in a while.")


async def prune(connection: Any, before: datetime) -> None:
    """Forget some messages that ended before then, with their tries."""
    await connection.execute(statements.load("webhooks/prune.sql"), before)
