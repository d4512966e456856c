"""What the work of an item costs the database does not grow with what is there already."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from headrace.config import Config
from headrace.engine import open_engine
from headrace.recipe import parse_recipe
from headrace.store import statements
from headrace.store.batches import summary
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


async def test_a_window_of_states_that_no_item_has_reads_no_item(
    database_url: str, tmp_path: Path
) -> None:
    """Who looks for failed items of a batch that has none does not read the batch."""
    config = Config(home=str(tmp_path), database_url=database_url, providers={"simulated": {}})
    async with open_engine(config, work=False) as engine:
        rows = [{"prompt": f"item {number}"} for number in range(50)]
        recipe = parse_recipe(RECIPE, "growth")
        batch = await engine.submit(rows, recipe, columns=["prompt"], terms=Terms(canary=0))
        async with engine.database.acquire() as connection:
            assert (await summary(connection, batch.uuid)).pending == 50
            window = statements.load("items/window.sql")
            asked = "EXPLAIN (ANALYZE, COSTS OFF) " + window
            plan = await connection.fetch(asked, batch.uuid, -1, 10, ["failed", "dead"], None)
            scans = [line[0] for line in plan if "Scan" in line[0] and " item" in line[0]]
            assert scans
            assert all("never executed" in line for line in scans), plan
            some = ["failed", "pending"]
            assert len(await connection.fetch(window, batch.uuid, -1, 10, some, None)) == 10
            assert len(await connection.fetch(window, batch.uuid, -1, 10, None, None)) == 10
