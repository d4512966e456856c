"""What bad answers do to a batch: nothing wrong is delivered, nothing is bought twice unasked."""

from __future__ import annotations

import asyncio
import base64
import io
from pathlib import Path
from typing import Any

from PIL import Image

from headrace.config import Config, Retry
from headrace.engine import Engine, open_engine
from headrace.lifecycle import ItemState
from headrace.recipe import Recipe, parse_recipe
from headrace.submission import Terms
from headrace.watching import Batch
from tests.integration.speaking import Answer, Heard, Speaker, http, speaking

OLD, NEW = "sk-the-old-key-0123456789", "sk-the-new-key-0123456789"
TEXT = http({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]})
REVOKED = http({"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}, 401)


def config(home: Path, database_url: str, speaker: Speaker, **table: Any) -> Config:
    limits = {"requests_per_second": 1000, "concurrency": 2}
    mine = {"kind": "openai", "base_url": speaker.url, "api_key": OLD, "limits": limits, **table}
    return Config(
        home=str(home),
        database_url=database_url,
        providers={"mine": mine},
        retry=Retry(attempts=3, base_s=0.0, cap_s=0.0),
    )


def recipe(*more: dict[str, Any], **params: Any) -> Recipe:
    stage = {"name": "made", "kind": "generate", "model": "mine:m", "prompt": "{{ t }}"}
    return parse_recipe({"name": "r", "stages": [{**stage, "params": params}, *more]}, "test")


async def submit(engine: Engine, made: Recipe, count: int, **terms: Any) -> Batch:
    rows = [{"t": f"row {number}"} for number in range(count)]
    return await engine.submit(rows, made, columns=["t"], terms=Terms(**terms))


async def until(batch: Batch, state: ItemState, count: int) -> list[Any]:
    """The items, as soon as ``count`` of them are in ``state``."""
    async with asyncio.timeout(60):
        while True:
            items = [item async for item in batch.items()]
            if sum(item.state is state for item in items) >= count:
                return items
            await batch.changed(0.02)


def delivers(picture: Image.Image) -> Answer:
    out = io.BytesIO()
    picture.save(out, "PNG")
    raw = http({"data": [{"b64_json": base64.b64encode(out.getvalue()).decode()}]})

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(raw)

    return answer


async def test_a_black_image_fails_a_check_that_asks_for_more(
    database_url: str, tmp_path: Path
) -> None:
    """A picture of one color, which APIs send in place of what they censor, is not delivered."""
    made = recipe({"name": "look", "kind": "check", "not_blank": True}, api="images")
    async with (
        speaking(delivers(Image.new("RGB", (64, 64)))) as speaker,
        open_engine(config(tmp_path, database_url, speaker)) as engine,
    ):
        batch = await submit(engine, made, 2)
        await batch.done()
        items = [item async for item in batch.items()]
    assert {item.state for item in items} == {ItemState.FAILED}
    assert all("one single color" in item.error["reason"] for item in items)
    assert len(speaker.heard) == 2


async def test_a_revoked_key_holds_the_batch_and_a_new_one_lets_it_go_on(
    database_url: str, tmp_path: Path
) -> None:
    """Items wait while the key is rejected, few calls find out, none is lost or bought twice."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        revoked = heard.headers["authorization"] == f"Bearer {OLD}" and len(speaker.heard) > 4
        writer.write(REVOKED if revoked else TEXT)

    async with speaking(answer) as speaker:
        async with open_engine(config(tmp_path, database_url, speaker)) as engine:
            batch = await submit(engine, recipe(), 20, canary=0)
            waiting = await until(batch, ItemState.WAITING, 1)
            batch_id = batch.id
        rejected = len(speaker.heard) - 4
        assert not any(item.state is ItemState.FAILED for item in waiting)
        assert rejected <= 2, "as many as were in flight"
        renewed = config(tmp_path, database_url, speaker, api_key=NEW)
        async with open_engine(renewed) as engine:
            batch = engine.batch(batch_id)
            await batch.resume()
            await asyncio.wait_for(batch.done(), 60)
            items = [item async for item in batch.items()]
    assert [item.state for item in items] == [ItemState.SUCCEEDED] * 20
    assert len(speaker.heard) == 20 + rejected
    assert not any(OLD in str(item.error) or NEW in str(item.error) for item in items)


async def test_a_result_that_expired_is_not_bought_again_unasked(
    database_url: str, tmp_path: Path
) -> None:
    """An address that is gone leaves the item to the batch's policy: here, to a person."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        gone = http(b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message>", 403)
        writer.write(gone if heard.method == "GET" else http({"data": [{"url": "/files/1.png"}]}))

    async with (
        speaking(answer) as speaker,
        open_engine(config(tmp_path, database_url, speaker)) as engine,
    ):
        batch = await submit(engine, recipe(api="images"), 1, unknown="hold")
        items = await until(batch, ItemState.UNKNOWN, 1)
    assert "no longer there" in items[0].error["reason"]
    assert sum(heard.method == "POST" for heard in speaker.heard) == 1
