"""Tools through /v1 with the official client: offered, called, answered; in three shapes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.integration.test_http import Served, served

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a town",
        "parameters": {
            "type": "object",
            "properties": {"town": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["town", "days"],
            "additionalProperties": False,
        },
    },
}
TIME: Any = {"type": "function", "function": {"name": "get_time"}}
TOOLS: Any = [WEATHER, TIME]
ASKED: Any = [{"role": "user", "content": "Well? [call get_weather] [call get_time]"}]
PRICES = {"input_usd_per_million": 1000.0, "output_usd_per_million": 2000.0}


@pytest.fixture(params=["openai", "anthropic", "gemini"])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of the provider behind the server."""
    return str(request.param)


@pytest.fixture
async def api(database_url: str, tmp_path: Path, kind: str) -> AsyncIterator[Served]:
    table = {"kind": kind, "models": ["m-3"], "prices": {"m-3": PRICES}}
    async with served(database_url, tmp_path, sim=table) as one:
        yield one


@pytest.fixture
async def client(api: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with api.client() as one:
        yield one


async def asked(client: openai.AsyncOpenAI, messages: Any = ASKED, **more: Any) -> Any:
    """One chat with the tools."""
    return await client.chat.completions.create(
        model="sim:m-3", messages=messages, tools=TOOLS, **more
    )


def called(message: Any) -> list[tuple[str, Any]]:
    """Names and arguments of the calls of a message."""
    return [
        (call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls
    ]


async def test_a_model_calls_and_hears_the_results(api: Served, client: openai.AsyncOpenAI) -> None:
    """Calls come as the client reads them; sent back with their results, the model goes on."""
    chat = await asked(client)
    (choice,) = chat.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    (weather, given), (clock, nothing) = called(choice.message)
    assert (weather, clock, nothing) == ("get_weather", "get_time", {})
    assert given.keys() == {"town", "days"}
    ids = [call.id for call in choice.message.tool_calls]
    assert len(set(ids)) == 2
    assert chat.usage.prompt_tokens > 30
    results = [
        {"role": "tool", "tool_call_id": name, "content": f"the result {place}"}
        for place, name in enumerate(ids)
    ]
    after = await asked(client, [*ASKED, choice.message, *results])
    assert after.choices[0].finish_reason == "stop"
    assert "the result 0" in after.choices[0].message.content
    assert "the result 1" in after.choices[0].message.content
    assert not after.choices[0].message.tool_calls
    assert len(api.simulator.truth.calls) == 2
