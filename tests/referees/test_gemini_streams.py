"""LLMock and aimock, which nobody here wrote, play Google's models: a text in pieces and whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.provider import Reply
from headrace.providers.google.gemini import GeminiProvider
from headrace.request import Request
from headrace.testing import CallDesk
from tests.referees.serving import free_port, program, serving

pytestmark = pytest.mark.process
PONG = "pong, and again pong, and so on for a while"
FIXTURES = [{"match": {"userMessage": "ping"}, "response": {"content": PONG}}]
CHAT: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "ping"},
]


@pytest.fixture(params=["llmock", "aimock"])
def referee(request: Any, tmp_path: Any) -> Iterator[str]:
    """The address of one of them."""
    port, name = free_port(), request.param
    if name == "llmock":
        command = [program("llmock"), "serve", "--port", str(port), "--log-level", "warning"]
    else:
        fixtures = tmp_path / "fixtures.json"
        fixtures.write_text(json.dumps({"fixtures": FIXTURES}), "utf-8")
        # The package calls this program llmock, too: an older name of its own.
        command = [program("aimock").with_name("llmock"), "-p", str(port), "-f", str(fixtures)]
    with serving(command, port, tmp_path / "log") as base:
        yield f"{base}/gemini" if name == "llmock" else base


async def made(base: str, said: list[str] | None) -> Reply:
    """The reply to one chat; ``said`` collects what is heard of it."""
    table = {"base_url": base, "api_key": "anything"}
    provider = GeminiProvider.from_config("mine", table, SystemClock())
    params = {"messages": CHAT, "max_completion_tokens": 50}
    call = CallDesk().call(Request("mine", "gemini-2.5-flash", "1", params))
    try:
        return await provider.call(replace(call, say=None if said is None else said.append))
    finally:
        await provider.close()


async def test_a_text_in_pieces_is_the_text_that_comes_whole(referee: str) -> None:
    """A chat in OpenAI's words is understood, and its stream is put together as it was cut."""
    said: list[str] = []
    pieces, whole = await made(referee, said), await made(referee, None)
    assert len(said) > 1
    assert "".join(said).encode() == pieces.body == whole.body
    assert pieces.body
    assert pieces.facts["usage"]["totalTokenCount"] >= 0
