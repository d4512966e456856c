"""LLMock, which nobody here wrote, has real limits and judges how a client keeps to them."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.config import Config
from headrace.engine import open_engine
from headrace.lifecycle import ItemState
from headrace.providers.openai.compatible import OpenAICompatibleProvider
from headrace.recipe import parse_recipe
from headrace.request import Request
from headrace.submission import Terms
from headrace.testing import CallDesk
from tests.process.provider_batch_child import QuickClock
from tests.referees.serving import free_port, program, serving

pytestmark = pytest.mark.process
ITEMS = 90
LIMITED = ("--rpm", "60", "--tpm", "90000", "--latency-ms", "200")


@pytest.fixture
def llmock(tmp_path: Path) -> Iterator[str]:
    """Its address; with room for 60 calls and 90,000 tokens a minute for each key."""
    port = free_port()
    command = [program("llmock"), "serve", "--port", str(port), "--log-level", "warning", *LIMITED]
    with serving(command, port, tmp_path / "llmock.log") as base:
        yield base


def verdict(base: str) -> dict[str, Any]:
    """What it says of its clients."""
    with urllib.request.urlopen(f"{base}/_llmock/verdict", timeout=10) as response:
        found: dict[str, Any] = json.load(response)
        return found


async def test_ninety_items_pass_a_limit_of_sixty_a_minute(
    llmock: str, database_url: str, tmp_path: Path
) -> None:
    """All succeed, at most one call is refused, and the referee finds no fault in the client."""
    table = {"kind": "openai-compatible", "base_url": f"{llmock}/v1", "api_key": "sk-batch"}
    stage = {
        "name": "text",
        "kind": "generate",
        "model": "mine:gpt-4o-mini",
        "prompt": "{{ t }}",
        "params": {"max_tokens": 20},
    }
    config = Config(home=str(tmp_path), database_url=database_url, providers={"mine": table})
    async with asyncio.timeout(150), open_engine(config) as engine:
        rows = [{"t": f"row {number}"} for number in range(ITEMS)]
        recipe = parse_recipe({"name": "chat", "stages": [stage]}, "test")
        batch = await engine.submit(rows, recipe, columns=["t"], terms=Terms(canary=0))
        await batch.done()
        items = [item async for item in batch.items()]
    assert [item.state for item in items] == [ItemState.SUCCEEDED] * ITEMS
    said = verdict(llmock)
    assert said["passed"], said
    assert said["findings"] == []
    refused = said["attempts"] - ITEMS
    assert 0 <= refused <= 1, said


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_its_batches_are_filled_and_fetched(
    kind: str, llmock: str, database_url: str, tmp_path: Path
) -> None:
    """With a day's time, twenty items go through one batch of either API, and come back."""
    table = {
        "kind": kind,
        "base_url": f"{llmock}/v1" if kind == "openai" else f"{llmock}/anthropic",
        "api_key": "sk-batches",
    }
    model = "gpt-4o-mini" if kind == "openai" else "claude-haiku-4-5"
    stage = {
        "name": "text",
        "kind": "generate",
        "model": f"mine:{model}",
        "prompt": "{{ t }}",
        "params": {"max_tokens": 20},
    }
    config = Config(home=str(tmp_path), database_url=database_url, providers={"mine": table})
    async with asyncio.timeout(100), open_engine(config, clock=QuickClock(time.time())) as engine:
        rows = [{"t": f"row {number}"} for number in range(20)]
        recipe = parse_recipe({"name": "chat", "stages": [stage]}, "test")
        terms = Terms(canary=0, deadline_s=86_400.0)
        batch = await engine.submit(rows, recipe, columns=["t"], terms=terms)
        await batch.done()
        items = [item async for item in batch.items()]
        async with engine.database.acquire() as connection:
            lanes = await connection.fetch(
                "SELECT DISTINCT lane FROM attempt WHERE state = 'succeeded'"
            )
    assert [item.state for item in items] == [ItemState.SUCCEEDED] * 20, items[0].error
    assert [row["lane"] for row in lanes] == [f"mine/{model}/batch"]


async def test_its_drawings_are_taken_where_they_are_wanted(llmock: str) -> None:
    """Its images are SVG in a data: address: taken under ``svg = true``, and called SVG."""
    table = {"base_url": f"{llmock}/v1", "api_key": "sk-images", "svg": True, "api": "images"}
    provider = OpenAICompatibleProvider.from_config("mine", table, SystemClock())
    desk = CallDesk()
    request = Request("mine", "dall-e-3", "1", {"prompt": "a mill", "size": "1024x1024"})
    reply = await provider.call(desk.call(request))
    await provider.close()
    assert reply.media_type == "image/svg+xml"
    assert desk.body_of(reply).startswith(b"<svg")
