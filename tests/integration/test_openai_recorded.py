"""Exchanges that were recorded with the real APIs: we send the same, and understand the answer.

``openai_recorded.jsonl`` holds requests and answers of OpenAI (2026), OpenRouter and Together,
shortened and without anybody's names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.outcome import CallFailed, OutcomeKind
from headrace.provider import Reply
from headrace.providers.openai.compatible import OpenAICompatibleProvider
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.speaking import Heard, says, speaking

LINES = (Path(__file__).parents[1] / "data" / "openai_recorded.jsonl").read_text(encoding="utf-8")
RECORDED: dict[str, dict[str, Any]] = {
    row["id"]: row for row in map(json.loads, LINES.splitlines())
}

ASKED: dict[str, dict[str, Any]] = {
    "responses-text": {
        "api": "responses",
        "prompt": "Reply with exactly: pong",
        "include": ["reasoning.encrypted_content"],
        "reasoning": {"effort": "low"},
        "store": False,
    },
    "chat-moderated": {
        "prompt": "A sentence that was flagged.",
        "moderation": {
            "model": "omni-moderation-latest",
            "policy": {"input": {"mode": "block"}, "output": {"mode": "block"}},
        },
    },
    "image-unknown-param": {
        "api": "images",
        "prompt": "a white siamese cat",
        "n": 1,
        "quality": "standard",
        "size": "256x256",
        "response_format": "b64_json",
    },
    "openrouter-429": {"system": "Be helpful.", "prompt": "Tell me a joke."},
    "together-chat": {"prompt": "Tell me a joke about OpenTelemetry."},
}
"""The params of a stage that make each recorded request."""


async def replayed(name: str) -> tuple[Reply | CallFailed, Heard]:
    """What becomes of a call that is answered as recorded, and what was sent."""
    row = RECORDED[name]
    async with speaking(says(row["body"], row["status"], row["headers"])) as speaker:
        table: dict[str, Any] = {"base_url": speaker.url, "api_key": "sk-x"}
        if name == "openrouter-429":
            table["profile"] = "openrouter"
        provider = OpenAICompatibleProvider.from_config("mine", table, SystemClock())
        asked = Request("mine", row["request"]["model"], "1", ASKED[name])
        try:
            ended: Reply | CallFailed = await provider.call(CallDesk().call(asked))
        except CallFailed as failure:
            ended = failure
        await provider.close()
        return ended, speaker.heard[0]


@pytest.mark.parametrize("name", RECORDED)
async def test_the_recorded_request_is_what_we_send(name: str) -> None:
    """The params of a stage become the recorded body, at the recorded path."""
    _, heard = await replayed(name)
    row = RECORDED[name]
    assert row["url"].endswith(heard.path.removeprefix("/v1"))
    sent = heard.json
    if name == "image-unknown-param":
        assert sent.pop("response_format") == "b64_json"
    assert sent == row["request"]


async def test_recorded_texts_are_understood() -> None:
    """Text, usage, model, id and limits of a response and of two chats come back."""
    ended, _ = await replayed("responses-text")
    assert isinstance(ended, Reply)
    assert (ended.body, ended.facts["model"]) == (b"pong", "gpt-5.5-2026-04-23")
    assert ended.facts["usage"]["total_tokens"] == 16
    assert ended.provider_request_id == "req_c6713bbdac8d4639a5ea09cb6c5eb5a9"
    assert ended.said is not None
    assert sorted(limit.amount or 0 for limit in ended.said.limits) == [15_000, 40_000_000]
    ended, _ = await replayed("chat-moderated")
    assert isinstance(ended, Reply)
    assert ended.facts["usage"]["reasoning_tokens"] == 1536
    ended, _ = await replayed("together-chat")
    assert isinstance(ended, Reply)
    assert ended.said is not None
    assert ended.said.tokens == 53


async def test_recorded_errors_are_understood() -> None:
    """A param that is not known is invalid; OpenRouter's 429 is one for the rate."""
    ended, _ = await replayed("image-unknown-param")
    assert isinstance(ended, CallFailed)
    assert ended.outcome.kind is OutcomeKind.INVALID
    assert "quality" in ended.outcome.reason
    ended, _ = await replayed("openrouter-429")
    assert isinstance(ended, CallFailed)
    assert ended.outcome.kind is OutcomeKind.RATE_LIMITED
