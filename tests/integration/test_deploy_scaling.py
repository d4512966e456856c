"""The query by which workers are scaled, on a real database."""

from __future__ import annotations

from pathlib import Path

import yaml

from headrace.config import Config
from headrace.engine import open_engine
from headrace.recipe import parse_recipe
from headrace.submission import Terms
from tests.deploy_files import CHART

RECIPE = {
    "name": "scaled",
    "columns": {"required": ["prompt"]},
    "stages": [
        {"name": "make", "kind": "generate", "model": "simulated:m", "prompt": "{{ prompt }}"},
    ],
}


async def test_the_query_counts_the_items_that_wait(database_url: str, tmp_path: Path) -> None:
    """Items of running batches count, those of paused batches do not."""
    query = yaml.safe_load((CHART / "values.yaml").read_text())["autoscaling"]["query"]
    config = Config(home=str(tmp_path), database_url=database_url, providers={"simulated": {}})
    async with open_engine(config, work=False) as engine:

        async def counted() -> int:
            async with engine.database.acquire() as connection:
                return int(await connection.fetchval(query))

        assert await counted() == 0
        rows = [{"prompt": f"mill {number}"} for number in range(7)]
        recipe = parse_recipe(RECIPE, "scaled")
        batch = await engine.submit(rows, recipe, terms=Terms(canary=0))
        assert await counted() == 7
        await batch.pause()
        assert await counted() == 0
