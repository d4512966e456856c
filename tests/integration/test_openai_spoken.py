"""The openai provider answered in pieces: what is said, what it makes, and every broken end."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from headrace.outcome import Outcome, OutcomeKind
from headrace.provider import Reply
from headrace.providers.remote import server_events
from tests.integration.calling import listened_at
from tests.integration.speaking import Answer, Heard, http, resets_after, says, speaks
from tests.integration.test_openai import ask, made

USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
ABOUT = {"id": "chatcmpl-7", "model": "gpt-x-2026", "object": "chat.completion.chunk"}
EVENTS = {"Content-Type": "text/event-stream; charset=utf-8"}


def chunk(content: Any = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    told = {**delta} if content is None else {"content": content, **delta}
    return {**ABOUT, "choices": [{"index": 0, "delta": told, "finish_reason": finish}]}


END = [chunk(finish="stop"), {**ABOUT, "choices": [], "usage": USAGE}, "[DONE]"]


def stream(events: Iterable[Any], end: str = "\n") -> bytes:
    """The events as they go over the wire."""
    told = [one if isinstance(one, str) else json.dumps(one) for one in events]
    return "".join(f"data: {one}{end}{end}" for one in told).encode()


def streams(events: Iterable[Any], end: str = "\n") -> Answer:
    return speaks(http(stream(events, end), headers=EVENTS))


async def heard_of(
    answer: Answer, params: dict[str, Any] | None = None, **table: Any
) -> tuple[Reply | Outcome, list[str], Heard]:
    """How one call ends that somebody listens to, what was said, and what the server heard."""
    return await listened_at(answer, made(**table), ask(**params or {}))


async def reply_of(answer: Answer, **table: Any) -> tuple[Reply, list[str]]:
    reply, said, _ = await heard_of(answer, **table)
    assert isinstance(reply, Reply), reply
    return reply, said


async def outcome_of(answer: Answer, **table: Any) -> tuple[Outcome, list[str]]:
    outcome, said, _ = await heard_of(answer, **table)
    assert isinstance(outcome, Outcome)
    return outcome, said


async def test_a_chat_in_pieces_is_the_chat_that_came_whole() -> None:
    """Each piece is said once; text, usage, cost, model and id are those of a whole answer."""
    pieces = [chunk(role="assistant", content=""), chunk("Grüße, "), chunk("世界")]
    prices = {"prices": {"gpt-x": {"input_usd_per_million": 1, "output_usd_per_million": 2}}}
    reply, said, heard = await heard_of(streams([*pieces, *END]), **prices)
    assert said == ["Grüße, ", "世界"]
    assert heard.json["stream"] is True
    assert heard.json["stream_options"] == {"include_usage": True}
    message = {"role": "assistant", "content": "Grüße, 世界"}
    told = {**ABOUT, "choices": [{"message": message, "finish_reason": "stop"}], "usage": USAGE}
    whole, _, heard = await heard_of(says(told), **prices, streams=False)
    assert reply == whole
    assert "stream" not in heard.json
    assert isinstance(reply, Reply)
    assert reply.estimate_microusd == 9 + 24


async def test_a_response_in_pieces_is_the_response_that_came_whole() -> None:
    """The deltas are said; the last event holds all of it."""
    part = {"type": "output_text", "text": "Hi you"}
    whole = {"status": "completed", "output": [{"type": "message", "content": [part]}]}
    kind = "response.output_text.delta"
    events = [{"type": kind, "delta": "Hi "}, {"type": kind, "delta": "you"}]
    end = {"type": "response.completed", "response": whole}
    reply, said = await reply_of(streams([*events, end]), params={"api": "responses"})
    assert (said, reply.body) == (["Hi ", "you"], b"Hi you")
    failed, _ = await outcome_of(streams(events), params={"api": "responses"})
    assert failed.kind is OutcomeKind.LOST_RESULT


async def test_a_server_that_answers_whole_is_taken_at_that() -> None:
    """Nothing is said, and the result is the same."""
    told = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    reply, said = await reply_of(says(told))
    assert (said, reply.body) == ([], b"Hi")


@pytest.mark.parametrize(
    "events",
    [
        [chunk("half a")],
        [chunk("half a"), "[DONE]"],
        [chunk("all of it"), chunk(finish="stop")],
        [chunk("half a"), '{"choices": ['],
        ["[DONE]"],
        [],
    ],
    ids=["nothing more", "no reason", "no end", "half a chunk", "nothing", "silence"],
)
async def test_half_a_text_is_no_result(events: list[Any]) -> None:
    """An answer that does not say why it ends, and that it is done, is lost."""
    outcome, _ = await outcome_of(streams(events))
    assert outcome.kind is OutcomeKind.LOST_RESULT
    assert outcome.remedy


async def test_a_reset_midway_is_a_lost_result() -> None:
    """What was said until then was said; the call has no result."""
    raw = http(stream([chunk("half a")]), headers=EVENTS, claimed_bytes=10_000)
    outcome, _ = await outcome_of(resets_after(raw))
    assert outcome.kind is OutcomeKind.LOST_RESULT


async def test_an_error_midway_is_read_as_any_error() -> None:
    """The kind is what the error says, and there is no cost that nobody told."""
    error = {"error": {"message": "Overloaded", "type": "overloaded_error", "code": 529}}
    outcome, said = await outcome_of(streams([chunk("half a"), error]))
    assert outcome.kind in (OutcomeKind.OVERLOADED, OutcomeKind.TRANSIENT)
    assert "Overloaded" in outcome.reason
    assert (said, outcome.cost_microusd) == (["half a"], None)


async def test_refusals_and_cuts_are_those_of_whole_answers() -> None:
    """A refusal is refused with its words, a filter too; a text at its most tokens is cut."""
    refused, said = await outcome_of(
        streams([chunk(refusal="I "), chunk(refusal="will not"), *END])
    )
    assert (refused.kind, said) == (OutcomeKind.REFUSED, [])
    assert "I will not" in refused.reason
    filtered, _ = await outcome_of(streams([chunk("so"), chunk(finish="content_filter"), "[DONE]"]))
    assert filtered.kind is OutcomeKind.REFUSED
    cut, _ = await reply_of(streams([chunk("so"), chunk(finish="length"), "[DONE]"]))
    assert cut.facts["truncated"] is True


async def test_odd_but_lawful_events_are_read() -> None:
    """Other line ends, comments, names of events, lines without an end, empty data, parts."""
    raw = stream([chunk("a"), chunk([{"type": "text", "text": "b"}])], "\r\n")
    raw = b": hello\r\n\r\nevent: ping\r\ndata:\r\n\r\n" + raw + stream(END).rstrip(b"\n") + b"\n"
    reply, said = await reply_of(speaks(http(raw, headers=EVENTS)))
    assert (said, reply.body) == (["a", "b"], b"ab")


async def test_a_letter_in_two_halves_is_said_whole() -> None:
    """Half a surrogate pair waits for the other; one that stays alone is replaced."""
    halves = ["\\ud83d", "\\ude00 ok ", "\\ud83d"]
    events = [json.dumps(chunk("X")).replace("X", half) for half in halves]
    reply, said = await reply_of(streams([*events, *END]))
    assert said == ["😀 ok ", "\ufffd"]
    assert reply.body == "😀 ok \ufffd".encode()


async def test_what_is_endless_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a line without an end nor events without number fill the memory."""
    monkeypatch.setattr(server_events, "EVENT_BYTES_MAX", 1_000)
    long, _ = await outcome_of(speaks(http(b"data: " + b"x" * 5_000, headers=EVENTS)))
    many, _ = await outcome_of(speaks(http(b"data: x\n" * 5_000, headers=EVENTS)))
    assert {long.kind, many.kind} == {OutcomeKind.LOST_RESULT}
    empty, _ = await outcome_of(speaks(http(b"data:\n" * 5_000, headers=EVENTS)))
    assert empty.reason == many.reason


async def test_another_choice_says_nothing() -> None:
    """Only the first choice is the answer."""
    other = chunk("no")
    other["choices"][0]["index"] = 1
    reply, said = await reply_of(streams([chunk("yes"), other, *END]))
    assert (said, reply.body) == (["yes"], b"yes")


def called(index: int | None, name: str | None, arguments: str, **more: Any) -> dict[str, Any]:
    """A chunk that adds to a call; the first of a call names it."""
    told = {} if index is None else {"index": index}
    about = {} if name is None else {"id": f"call_{name}", "type": "function", **more}
    function = {"arguments": arguments} if name is None else {"name": name, "arguments": arguments}
    return chunk(tool_calls=[{**told, **about, "function": function}])


OWN = {"extra_content": {"google": {"thought_signature": "x"}}}
DEALT = {
    "by index": [
        called(0, "f", "", **OWN), called(0, None, '{"a"'), called(1, "g", ""),
        called(0, None, ": 1}"), called(1, None, "{}"),
    ],
    "one index for all": [called(0, "f", '{"a": 1}', **OWN), called(0, "g", "{}")],
    "no index": [called(None, "f", '{"a": 1}', **OWN), called(None, "g", "{}")],
}  # fmt: skip


@pytest.mark.parametrize("pieces", DEALT.values(), ids=DEALT.keys())
async def test_calls_in_pieces_are_the_calls_that_came_whole(pieces: list[Any]) -> None:
    """However a server deals them out; what it wants back is kept, and no word is said of them."""
    tools = {"params": {"tools": [{"type": "function", "function": {"name": "f"}}]}}
    reply, said = await reply_of(streams([*pieces, chunk(finish="tool_calls"), *END[1:]]), **tools)
    calls = [
        {"id": "call_f", "type": "function",
         "function": {"name": "f", "arguments": '{"a": 1}'}, **OWN},
        {"id": "call_g", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ]  # fmt: skip
    assert json.loads(reply.body or b"") == {"content": None, "tool_calls": calls}
    assert said == []
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    told = {**ABOUT, "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    whole, _ = await reply_of(says({**told, "usage": USAGE}), **tools)
    assert whole == reply
    outcome, _ = await outcome_of(says({**told, "usage": USAGE}))
    assert outcome.kind is OutcomeKind.NO_OUTPUT, "nobody offered a function"
