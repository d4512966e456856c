"""Settles a second on one tenant's account: charged, refunded and counted, through group commit.

python -m bench.ledger                    20,000 items, median of three rounds
python -m bench.ledger --items 50000 --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from bench.throughput import loop_run
from headrace.clock import SystemClock
from headrace.config import Config
from headrace.engine import Engine, open_engine
from headrace.event import EventKind
from headrace.lifecycle import ItemState
from headrace.store import batches, shards
from headrace.store.audit import verify
from headrace.store.batches import NewBatch, NewItem
from headrace.store.writes import Settle
from headrace.writer import Writer

LEAST_PER_S = 2_000
RESERVE, PRICE = 1_000_000, 640_001


async def submitted(engine: Engine, items: int) -> tuple[UUID, int]:
    """Submit a batch that nobody works on, and return it with its claimed shard."""
    new = NewBatch(
        id=uuid4(),
        tenant_id="default",
        name="ledger",
        class_name="batch",
        recipe_name="none",
        recipe_version=b"none",
        recipe="{}",
        columns=None,
        cache_mode="off",
        unknown_policy="retry",
        idempotency_key=None,
        request_digest=None,
        reserve_microcredits=RESERVE,
        source="{}",
    )
    now = datetime.now(UTC)
    async with engine.database.transaction() as connection:
        given = (NewItem("{}") for _ in range(items))
        await batches.submit(connection, engine.accounts, new, given, now)
        shard_id = await shards.cut_for_now(connection, new.id, now)
        worker_id = await connection.fetchval(
            "INSERT INTO worker (host, pid, version, shards_held, started_at) "
            "VALUES ('bench', 0, '0', 0, $1) RETURNING id",
            now,
        )
        await shards.claim(connection, shard_id, worker_id)
    return new.id, shard_id


def settle_of(batch_id: UUID, shard_id: int, idx: int) -> Settle:
    """Return the settle of a delivered item: a part of its reserve charged, the rest returned."""
    return Settle(
        batch_id=batch_id,
        idx=idx,
        version=0,
        from_state=ItemState.PENDING,
        to_state=ItemState.SUCCEEDED,
        tenant_id="default",
        shard_id=shard_id,
        fence=1,
        round=1,
        stage=1,
        tries=0,
        spent_microcredits=PRICE,
        post_microcredits=PRICE,
        void_microcredits=RESERVE - PRICE,
        reason="delivered",
        event=EventKind.ITEM_SUCCEEDED,
    )


async def round_of(engine: Engine, items: int, wide: int) -> float:
    """Settle ``items``, ``wide`` of them waiting at any time; return how many a second."""
    batch_id, shard_id = await submitted(engine, items)
    writer = Writer(engine.database, SystemClock())
    writer.start()
    left = iter(range(items))

    async def one_after_another() -> None:
        for idx in left:
            if not await writer.settles.hand_in(settle_of(batch_id, shard_id, idx)):
                raise RuntimeError(f"item {idx} did not settle")

    begun_s = time.perf_counter()
    await asyncio.gather(*(one_after_another() for _ in range(wide)))
    took_s = time.perf_counter() - begun_s
    await writer.stop()
    return items / took_s


async def measure(home: Path, items: int, wide: int, rounds: int) -> list[float]:
    """Return the settles a second of each round; raises ``RuntimeError`` for wrong books."""
    async with open_engine(Config(home=str(home)), work=False) as engine:
        rates = [await round_of(engine, items, wide) for _ in range(rounds)]
        async with engine.database.acquire() as connection:
            findings = await verify(connection)
        if findings:
            raise RuntimeError("\n".join(findings))
    return rates


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--wide", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        rates = loop_run(measure(Path(folder), options.items, options.wide, options.rounds))
    told = ", ".join(f"{rate:,.0f}" for rate in rates)
    print(f"settles a second on one account: {told}")
    print(f"median {statistics.median(rates):,.0f} of {len(rates)}, target ≥ {LEAST_PER_S:,}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
