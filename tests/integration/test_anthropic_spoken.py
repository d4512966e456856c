"""The anthropic provider answered in pieces: what is said, what it makes, and every broken end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.outcome import Outcome, OutcomeKind
from headrace.provider import Reply
from tests.integration.calling import listened_at
from tests.integration.speaking import Answer, Heard, http, says, speaks
from tests.integration.test_anthropic import TOOL, USAGE, ask, made, text

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1", "type": "message", "model": "claude-x-1", "content": [],
        "stop_reason": None, "usage": {"input_tokens": 9, "output_tokens": 1},
    },
}  # fmt: skip
STOP = [{"type": "content_block_stop", "index": 0}, {"type": "message_stop"}]


def block(place: int, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": place, "content_block": more}


def delta(place: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": place, "delta": more}


def words(text: str) -> dict[str, Any]:
    return delta(type="text_delta", text=text)


def ends(why: str | None = "end_turn") -> list[dict[str, Any]]:
    usage = {"output_tokens": 12, "input_tokens": None}
    return [{"type": "message_delta", "delta": {"stop_reason": why}, "usage": usage}, *STOP]


def streams(*events: dict[str, Any]) -> Answer:
    raw = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in events)
    return speaks(http(raw.encode(), headers={"Content-Type": "text/event-stream"}))


async def heard_of(
    answer: Answer, params: dict[str, Any] | None = None, **table: Any
) -> tuple[Reply | Outcome, list[str], Heard]:
    """How one call ends that somebody listens to, what was said, and what the server heard."""
    return await listened_at(answer, made(**table), ask(**params or {}))


async def test_a_message_in_pieces_is_the_message_that_came_whole() -> None:
    """Text, usage, model, id and the reason to stop are those of a whole answer."""
    pieces = [block(0, type="text", text=""), {"type": "ping"}, words("Grüße, "), words("世界")]
    told, said, heard = await heard_of(streams(START, *pieces, *ends()))
    assert (heard.json["stream"], said) == (True, ["Grüße, ", "世界"])
    whole, nothing, heard = await heard_of(says(text("Grüße, 世界")), streams=False)
    assert "stream" not in heard.json
    assert (told, nothing) == (whole, [])
    assert isinstance(told, Reply)
    assert told.facts["usage"] == USAGE
    cut, _, _ = await heard_of(streams(START, *pieces, *ends("max_tokens")))
    assert isinstance(cut, Reply)
    assert cut.facts["truncated"] is True


@pytest.mark.parametrize(
    "events",
    [[START, words("half")], [START, words("half"), *STOP], [START, words("half"), *ends()[:-1]]],
    ids=["nothing more", "no reason", "no end"],
)
async def test_half_a_text_is_no_result(events: list[dict[str, Any]]) -> None:
    """An answer that does not say why it stops, and that it has, is lost."""
    outcome, said, _ = await heard_of(streams(*events))
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, said) == (OutcomeKind.LOST_RESULT, ["half"])


async def test_an_error_or_a_refusal_midway_is_what_it_says() -> None:
    """The kind is the error's own; a refusal is refused although words came before it."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    broken, _, _ = await heard_of(streams(START, words("half"), error))
    assert isinstance(broken, Outcome)
    assert broken.kind is OutcomeKind.OVERLOADED
    refused, _, _ = await heard_of(streams(START, words("half"), *ends("refusal")))
    assert isinstance(refused, Outcome)
    assert refused.kind is OutcomeKind.REFUSED


async def test_a_tool_in_pieces_is_the_tool_that_came_whole() -> None:
    """A forced tool's input is no text: it is asked for whole; one not forced is told apart."""
    choice = {"type": "tool", "name": "card"}
    forced = {"tools": [TOOL], "tool_choice": choice}
    given = text("")
    given["content"] = [{"type": "tool_use", "name": "card", "input": {"a": 1}}]
    reply, said, heard = await heard_of(says(given), forced)
    assert isinstance(reply, Reply)
    assert (reply.body, said) == (b'{"a":1}', [])
    assert "stream" not in heard.json
    pieces = [block(0, type="tool_use", name="card", input={}), *(
        delta(type="input_json_delta", partial_json=one) for one in ('{"a"', ": 1}")
    )]  # fmt: skip
    asked, _, _ = await heard_of(streams(START, *pieces, *ends("tool_use")), {"tools": [TOOL]})
    assert isinstance(asked, Outcome)
    assert asked.kind is OutcomeKind.INVALID
