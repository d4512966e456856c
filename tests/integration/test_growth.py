"""What the work of an item costs the database does not grow with what is there already."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from headrace.config import Config
from headrace.engine import open_engine
from headrace.recipe import parse_recipe
from headrace.submission import Terms

ITEMS = 600
TABLES = ["item", "attempt", "cache_entry", "artifact"]
RECIPE = {
    "name": "growth",
    "columns": {"required": ["prompt"]},
    "stages": [
        {"name": "make", "kind": "generate", "model": "simulated:m", "prompt": "{{ prompt }}"}
    ],
}
READ = """
SELECT relname, seq_tup_read FROM pg_stat_user_tables WHERE relname = ANY($1::text[])
"""


async def test_a_group_commit_reads_only_what_it_writes(database_url: str, tmp_path: Path) -> None:
    """Plans that were made while the tables were empty do not read them whole as they grow."""
    provider = {"price_microcredits": 1, "cost_microusd": 1, "concurrency": 4}
    config = Config(
        home=str(tmp_path), database_url=database_url, providers={"simulated": provider}
    )
    async with open_engine(config) as engine:
        batch = await engine.submit(
            ({"prompt": f"item {number}"} for number in range(ITEMS)),
            parse_recipe(RECIPE, "growth"),
            columns=["prompt"],
            terms=Terms(canary=0),
        )
        assert (await batch.done()).succeeded == ITEMS
    # All sessions of the engine have ended, and with that told what they read.
    connection = await asyncpg.connect(database_url)
    try:
        read = dict(await connection.fetch(READ, TABLES))
    finally:
        await connection.close()
    assert set(read) == set(TABLES)
    assert all(rows <= 10 * ITEMS for rows in read.values()), read
