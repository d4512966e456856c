"""Attempts: acceptance by the provider, and what is read back of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.errors import FenceLostError
from headrace.store import statements
from headrace.store.writes import Accept


async def accept(connection: Any, accepts: list[Accept]) -> Sequence[FenceLostError | None]:
    """Write the provider's ids of calls, each under its shard's fence; repeatable."""
    rows = await connection.fetch(
        statements.load("shards/lock.sql"), list({accept.shard_id for accept in accepts})
    )
    live = {row["id"]: row["fence"] for row in rows}
    told = [accept for accept in accepts if live.get(accept.shard_id) == accept.fence]
    if told:
        await connection.execute(
            statements.load("attempts/accept.sql"),
            [a.batch_id for a in told],
            [a.idx for a in told],
            [a.number for a in told],
            [a.provider_request_id for a in told],
            [a.provider_url for a in told],
        )
    lost = FenceLostError("another worker holds the shard")
    return [None if live.get(a.shard_id) == a.fence else lost for a in accepts]
