"""``forget``: remove a batch's rows, results and events; its sums stay."""

from __future__ import annotations

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line


def forget(batch: str, *, common: Common | None = None) -> int:
    """Forget a batch that has ended: rows, results, events. It cannot be undone."""

    async def work() -> int:
        from headrace.forgetting import Forgetting
        from headrace.identity import read_batch_id

        known = read_batch_id(batch)
        async with engine_of(common, work=False) as engine:
            await Forgetting(engine.database, engine.clock).batch(known)
        if common is not None and common.json:
            data({"batch": batch, "forgotten": True})
        else:
            line(f"{batch} is forgotten. Bytes that nobody else has go within hours of work.")
        return 0

    return int(on_loop(work()))
