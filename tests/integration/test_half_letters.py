"""Answers that hold half a letter: an error is what it says, a result is not thrown away."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import Reply
from headrace.providers.anthropic.adapter import AnthropicProvider
from headrace.providers.google.gemini import GeminiProvider
from headrace.providers.openai.adapter import OpenAIProvider
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.speaking import http, speaking, speaks

DONE = "[DONE]"
HALF = "half \ud83d here"
MENDED = "half \ufffd here"
KINDS: dict[str, Any] = {
    "openai": OpenAIProvider,
    "anthropic": AnthropicProvider,
    "gemini": GeminiProvider,
}
ERRORS: dict[str, Any] = {
    "openai": {"error": {"message": HALF, "type": "server_error", "code": "rate_limit_exceeded"}},
    "anthropic": {"type": "error", "error": {"type": "overloaded_error", "message": HALF}},
    "gemini": {"error": {"code": 503, "message": HALF, "status": "UNAVAILABLE"}},
}
WHOLE: dict[str, Any] = {
    "openai": {"model": HALF, "choices": [{"message": {"content": HALF}, "finish_reason": "stop"}]},
    "anthropic": {
        "model": HALF, "content": [{"type": "text", "text": HALF}], "stop_reason": "end_turn",
    },
    "gemini": {
        "modelVersion": HALF,
        "candidates": [{"content": {"parts": [{"text": HALF}]}, "finishReason": "STOP"}],
    },
}  # fmt: skip
PIECES: dict[str, list[Any]] = {
    "openai": [
        {"model": HALF, "choices": [{"index": 0, "delta": {"content": HALF}}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        DONE,
    ],
    "anthropic": [
        {"type": "message_start", "message": {"model": HALF, "usage": {}}},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": HALF}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "message_stop"},
    ],
    "gemini": [WHOLE["gemini"]],
}


def stream(*events: Any) -> bytes:
    raw = "".join(f"data: {one if one == DONE else json.dumps(one)}\n\n" for one in events)
    return http(raw.encode(), headers={"Content-Type": "text/event-stream"})


async def end_of(kind: str, answer: bytes, *, listens: bool) -> Reply | Outcome:
    """How one call ends that is answered with these bytes."""
    async with speaking(speaks(answer)) as speaker:
        url = f"http://127.0.0.1:{speaker.port}{'/v1' if kind == 'openai' else ''}"
        table = {"base_url": url, "api_key": "a-secret-of-some-length"}
        provider = KINDS[kind].from_config("mine", table, SystemClock())
        call = CallDesk().call(Request("mine", "model-x", "1", {"prompt": "A card"}))
        try:
            end: Reply = await provider.call(
                replace(call, say=(lambda _: None) if listens else None)
            )
        except CallFailed as failure:
            return failure.outcome
        finally:
            await provider.close()
        return end


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_in_a_stream_is_what_it_says(kind: str) -> None:
    """It ends as the error's own kind and words, to be tried again, not as a fault of ours."""
    outcome = await end_of(kind, stream(ERRORS[kind]), listens=True)
    assert isinstance(outcome, Outcome)
    wanted = OutcomeKind.RATE_LIMITED if kind == "openai" else OutcomeKind.OVERLOADED
    assert outcome.kind is wanted
    assert outcome.reason.startswith("half ")
    assert outcome.reason.encode()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("listens", [False, True])
async def test_a_result_is_kept_without_the_half(kind: str, listens: bool) -> None:
    """The text and the model's name have U+FFFD in its place, in pieces as whole."""
    answer = stream(*PIECES[kind]) if listens else http(WHOLE[kind])
    reply = await end_of(kind, answer, listens=listens)
    assert isinstance(reply, Reply)
    assert reply.body == MENDED.encode()
    assert reply.facts["model"] == MENDED
