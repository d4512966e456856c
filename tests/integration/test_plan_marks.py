"""The mark of a plan: nothing goes out without it by silence, films and earlier stages included."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config
from headrace.engine import Engine, open_engine
from headrace.errors import RecipeError
from headrace.film_body import FILM
from headrace.generation import GenerationError
from headrace.lifecycle import ItemState
from headrace.marking import STAGE
from headrace.provider import Call, Reply
from headrace.providers.declared.adapter import HttpProvider
from headrace.recipe import Recipe, parse_recipe
from headrace.store.audit import verify
from headrace.submission import Terms
from headrace.testing import ManualClock
from tests.integration.scripted import Scripted
from tests.integration.test_http import ended, served
from tests.integration.test_tenants import tenant
from tests.unit.test_containers import FORMATS


class Camera(Scripted):
    """Gives films, whatever it is asked for; nobody knows that before."""

    async def call(self, call: Call) -> Reply:
        self.prompts.append(call.request.params["prompt"])
        return Reply("video/mp4", body=FILM.read_bytes(), cost_microusd=40_000)


def recipe(model: str, *more: dict[str, Any]) -> Recipe:
    first = {"name": "take", "kind": "generate", "model": model, "prompt": "{{ t }}"}
    return parse_recipe(
        {"name": "films", "columns": {"required": ["t"]}, "stages": [first, *more]}, "test"
    )


@asynccontextmanager
async def studio(url: str, home: Path) -> AsyncIterator[tuple[Engine, Camera]]:
    films = {"kind": "simulated", "body": "video"}
    config = Config(home=str(home), database_url=url, providers={"films-only": films})
    camera = Camera(name="camera")
    async with open_engine(config, providers={"camera": camera}) as engine:
        yield engine, camera


async def test_what_is_sure_to_make_films_is_refused_at_submit(
    database_url: str, tmp_path: Path
) -> None:
    """Under a plan with a watermark nothing is bought for it; under another plan it is made."""
    async with studio(database_url, tmp_path) as (engine, camera):
        await tenant(engine, watermark="TRIAL")
        for refused in (
            recipe("films-only:m"),
            recipe("camera:m", {"name": "still", "kind": "poster"}),
        ):
            with pytest.raises(RecipeError, match="watermark cannot be put") as caught:
                await engine.submit([{"t": "a"}], refused, terms=Terms(tenant_id="acme"))
            assert caught.value.remedy
        assert camera.prompts == []
        batch = await engine.submit([{"t": "a"}], recipe("films-only:m"))
        assert (await batch.done()).succeeded == 1


async def test_a_film_that_nobody_foresaw_is_not_handed_out_unmarked(
    database_url: str, tmp_path: Path
) -> None:
    """Its row fails with the reason and sound accounts; on demand it is the same, once bought."""
    async with studio(database_url, tmp_path) as (engine, camera):
        await engine.generate("camera:m", "a")
        await tenant(engine, watermark="TRIAL")
        batch = await engine.submit(
            [{"t": "a"}], recipe("camera:m"), terms=Terms(tenant_id="acme", canary=0)
        )
        await batch.done()
        (item,) = [item async for item in batch.items()]
        assert item.state is ItemState.FAILED
        assert "watermark cannot be put" in (item.error or {})["reason"]
        for _ in range(2):
            with pytest.raises(GenerationError, match="watermark cannot be put"):
                await engine.generate("camera:m", "a", tenant_id="acme")
        assert len(camera.prompts) == 2
        async with engine.database.acquire() as connection:
            assert await verify(connection) == []


async def test_the_picture_without_its_mark_is_handed_out_to_nobody(
    database_url: str, tmp_path: Path
) -> None:
    """By the address of an earlier stage, too, there is only what carries the mark."""
    async with served(database_url, tmp_path) as api:

        async def call(call: Call) -> Reply:
            return Reply("image/png", body=FORMATS["png"], cost_microusd=40_000)

        api.scripted.call = call  # type: ignore[method-assign]
        asked = {"recipe": "words", "rows": [{"t": "mill"}]}
        _, plain = await api("POST", "/api/batches", body=asked)
        await ended(api, plain["id"])
        async with api.engine.database.transaction() as connection:
            await connection.execute("UPDATE plan SET watermark = 'TRIAL' WHERE name = 'default'")
        api.engine.marks._known.clear()
        _, marked = await api("POST", "/api/batches", body=asked)
        await ended(api, marked["id"])
        stage = (await api.engine.batch(plain["id"]).stage_names())[0]
        at = "/api/batches/{}/items/1/outputs/{}"
        headers = {"Authorization": f"Bearer {api.keys['read']}"}
        found = {}
        for path in (
            at.format(plain["id"], stage),
            at.format(marked["id"], stage),
            at.format(marked["id"], STAGE),
        ):
            async with api.http.get(api.url + path, headers=headers) as answer:
                found[path] = answer.status
        assert list(found.values()) == [200, 404, 200]


def test_a_declared_api_tells_whether_it_makes_films() -> None:
    """The media that its table names decide."""
    table = {"base_url": "https://api.example", "request": {"path": "/x"}}
    for media, films in (("video", True), ("image", False), ("any", False)):
        answer = {"result": "url", "as": "url", "media": media}
        made = HttpProvider.from_config("mine", {**table, "answer": answer}, ManualClock())
        assert made.films_only is films
