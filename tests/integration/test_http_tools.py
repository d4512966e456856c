"""Tools through /v1 with the official client: offered, called, answered; in three shapes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.integration.test_http import Served, served
from tests.integration.test_http_batches import asked as batched
from tests.integration.test_http_batches import content, line, until

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


async def test_a_stream_calls_as_a_whole_answer_does(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """Its pieces make the same message, told while it is bought and out of the cache."""
    said: Any = [{"role": "user", "content": "[talk] [call get_weather] [call get_time]"}]
    told = []
    for _ in range(2):
        async with client.chat.completions.stream(
            model="sim:m-3", messages=said, tools=TOOLS, stream_options={"include_usage": True}
        ) as stream:
            told.append(await stream.get_final_completion())
    whole = await asked(client, said)
    assert len(api.simulator.truth.calls) == 1
    for one in told:
        (choice,), (same,) = one.choices, whole.choices
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content == same.message.content
        assert choice.message.content
        assert called(choice.message) == called(same.message)
        for piece, call in zip(choice.message.tool_calls, same.message.tool_calls, strict=True):
            assert piece.id == call.id
            assert piece.model_extra.get("extra_content") == call.model_extra.get("extra_content")
        assert one.usage == whole.usage


async def test_a_stream_without_words_has_its_calls_alone(client: openai.AsyncOpenAI) -> None:
    """The first chunk names role and call, the next add to its arguments, the last says why."""
    stream = await client.chat.completions.create(
        model="sim:m-3", messages=ASKED, tools=TOOLS, stream=True
    )
    chunks = [chunk.choices[0] async for chunk in stream]
    first = chunks[0].delta
    assert (first.role, first.content) == ("assistant", None)
    assert not any(chunk.delta.role for chunk in chunks[1:])
    deltas = [call for chunk in chunks for call in chunk.delta.tool_calls or ()]
    begun = [(call.index, call.function.name, call.type) for call in deltas if call.id]
    assert begun == [(0, "get_weather", "function"), (1, "get_time", "function")]
    for index, names in enumerate(({"town", "days"}, set())):
        text = "".join(call.function.arguments for call in deltas if call.index == index)
        assert json.loads(text).keys() == names
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["tool_calls"]


async def test_the_choice_is_the_callers(
    api: Served, client: openai.AsyncOpenAI, kind: str
) -> None:
    """Required calls one, a name that one, none gives words, and only one where one is wanted."""
    hi: Any = [{"role": "user", "content": "Hi"}]
    named: Any = {"type": "function", "function": {"name": "get_time"}}
    required = await asked(client, hi, tool_choice="required")
    assert [name for name, _ in called(required.choices[0].message)] == ["get_weather"]
    chosen = await asked(client, hi, tool_choice=named)
    assert chosen.choices[0].finish_reason == "tool_calls"
    assert [name for name, _ in called(chosen.choices[0].message)] == ["get_time"]
    words = await asked(client, tool_choice="none")
    assert words.choices[0].message.content
    assert not words.choices[0].message.tool_calls
    assert len(api.simulator.truth.calls) == 3, "each choice is another request"
    if kind == "gemini":
        with pytest.raises(openai.BadRequestError, match="parallel_tool_calls"):
            await asked(client, parallel_tool_calls=False)
        return
    single = await asked(client, parallel_tool_calls=False)
    assert [name for name, _ in called(single.choices[0].message)] == ["get_weather"]


async def test_calls_go_in_batches_and_the_cache_serves_them(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """A line of a batch has the same message, which is then a hit on demand; a bad one is named."""
    body = {"model": "sim:m-3", "messages": ASKED, "tools": TOOLS}
    done = await until(client, await batched(client, [line("a", body=body)]))
    assert done.status == "completed", done.errors
    answer = (await content(client, done.output_file_id))["a"]["response"]["body"]
    chat = openai.types.chat.ChatCompletion.model_validate(answer)
    now = await client.chat.completions.with_raw_response.create(**body)
    assert now.headers["x-headrace-cache"] == "hit"
    same = now.parse()
    assert chat.choices == same.choices
    assert chat.choices[0].finish_reason == "tool_calls"
    assert len(api.simulator.truth.calls) == 1
    batch_id = f"b_{done.id.removeprefix('batch_')}"
    _, items = await api("GET", f"/api/batches/{batch_id}/items")
    assert items["items"][0]["artifact"]["media_type"].startswith("application/json")
    bad = line("b", body={**body, "tools": [{"type": "web_search"}]})
    failed = await until(client, await batched(client, [bad]))
    assert failed.errors is not None
    assert [one.param for one in failed.errors.data or []] == ["body.tools[0].type"]


async def test_a_policy_judges_arguments(
    api: Served, client: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a tool is called with is looked at as a text is; nothing of it is told."""
    made = {"town": "sex with a child", "days": 1}
    monkeypatch.setattr("headrace.simulator.calling.made_up", lambda schema, word: made)
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            await asked(client, stream=stream)
        assert caught.value.code == "content_policy_violation"


@pytest.mark.parametrize("stream", [False, True])
async def test_thinking_goes_back_with_its_calls(
    client: openai.AsyncOpenAI, kind: str, stream: bool
) -> None:
    """What a provider wants back stands in the message; without it the provider says what lacks."""
    more: Any = {"extra_body": {"thinking": {"type": "adaptive"}}} if kind == "anthropic" else {}
    if stream:
        told: Any = {"model": "sim:m-3", "messages": ASKED, "tools": TOOLS, **more}
        async with client.chat.completions.stream(**told) as streamed:
            chat: Any = await streamed.get_final_completion()
    else:
        chat = await asked(client, **more)
    message = chat.choices[0].message
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "1"} for call in message.tool_calls
    ]
    after = await asked(client, [*ASKED, message, *results], **more)
    assert after.choices[0].finish_reason == "stop"
    bare = message.model_dump(exclude_none=True)
    for call in bare["tool_calls"]:
        call.pop("extra_content", None)
    if kind == "openai":
        return
    with pytest.raises(openai.BadRequestError, match=r"thought_signature|thinking"):
        await asked(client, [*ASKED, bare, *results], **more)


@pytest.mark.parametrize("kind", ["openai"], indirect=True)
@pytest.mark.parametrize("stream", [False, True])
async def test_tools_that_cannot_be_meant_are_bad_requests(
    api: Served, client: openai.AsyncOpenAI, stream: bool
) -> None:
    """The error names the field in ``param``, and nothing is bought."""
    wrong: dict[str, Any] = {
        "tools[0].type": {"tools": [{"type": "web_search"}]},
        "tools[0].function.name": {"tools": [{"type": "function", "function": {}}]},
        "tools[1].function.name": {"tools": [TIME, TIME]},
        "tool_choice": {"tools": TOOLS, "tool_choice": "any"},
        "messages[1].tool_call_id": {
            "messages": [*ASKED, {"role": "tool", "tool_call_id": "x", "content": "1"}]
        },
    }
    for param, more in wrong.items():
        told: Any = {"model": "sim:m-3", "messages": ASKED, "stream": stream, **more}
        with pytest.raises(openai.BadRequestError) as caught:
            await client.chat.completions.create(**told)
        assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")
    assert not api.simulator.truth.calls


async def test_a_conversation_goes_on_with_another_provider(client: openai.AsyncOpenAI) -> None:
    """What one provider wants back is not told to another, whose ids may be of another kind."""
    extra = {"google": {"thought_signature": "c2lnbmVk", "id": "x"}, "anthropic": {"thinking": []}}
    call = {
        "id": "functions.get_time:0", "type": "function", "extra_content": extra,
        "function": {"name": "get_time", "arguments": "{}"},
    }  # fmt: skip
    said: Any = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "noon"},
    ]
    after = await asked(client, said)
    assert "noon" in after.choices[0].message.content


# -- responses -----------------------------------------------------------------------------------

FLAT: Any = [{"type": "function", **tool["function"]} for tool in TOOLS]


async def test_a_response_calls_and_hears_the_results(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """It is the chat in other words, out of the same cache; its items go back as they came."""
    chat = await asked(client)
    first = await client.responses.create(model="sim:m-3", input=ASKED, tools=FLAT)
    assert len(api.simulator.truth.calls) == 1
    assert [item.type for item in first.output] == ["function_call"] * 2
    told = [(one.call_id, one.name, one.arguments) for one in first.output]  # type: ignore[union-attr]
    assert told == [
        (call.id, call.function.name, call.function.arguments)
        for call in chat.choices[0].message.tool_calls
    ]
    assert (first.status, first.output_text) == ("completed", "")
    results = [
        {"type": "function_call_output", "call_id": name, "output": f"the result {place}"}
        for place, (name, _, _) in enumerate(told)
    ]
    again: Any = [*ASKED, *first.output, *results]
    after = await client.responses.create(model="sim:m-3", input=again, tools=FLAT)
    assert "the result 1" in after.output_text
    named: Any = {"type": "function", "name": "get_time"}
    chosen = await client.responses.create(
        model="sim:m-3", input="Hi", tools=FLAT, tool_choice=named
    )
    assert [item.name for item in chosen.output] == ["get_time"]  # type: ignore[union-attr]


async def test_a_responses_stream_tells_its_calls(client: openai.AsyncOpenAI) -> None:
    """In the official order, numbered; while bought and out of the cache; with words or without."""
    for words in ("", "[talk] "):
        said = words + ASKED[0]["content"]
        for _ in range(2):
            async with client.responses.stream(model="sim:m-3", input=said, tools=FLAT) as stream:
                events: list[Any] = [event async for event in stream]
                final: Any = await stream.get_final_response()
            assert [event.sequence_number for event in events] == list(range(len(events)))
            assert [item.type for item in final.output] == [
                *(["message"] if words else ()), "function_call", "function_call",
            ]  # fmt: skip
            whole: Any = await client.responses.create(model="sim:m-3", input=said, tools=FLAT)
            told = [one for one in final.output if one.type == "function_call"]
            same = [one for one in whole.output if one.type == "function_call"]
            assert [(one.call_id, one.name, one.arguments) for one in told] == [
                (one.call_id, one.name, one.arguments) for one in same
            ]
            assert final.output_text == whole.output_text
            assert bool(final.output_text) == bool(words)
            kind = "response.function_call_arguments.delta"
            text = "".join(event.delta for event in events if event.type == kind)
            assert text == "".join(one.arguments for one in same)


@pytest.mark.parametrize("kind", ["openai"], indirect=True)
async def test_responses_tools_that_cannot_be_meant_name_their_field(api: Served) -> None:
    """The field is the response's, not that of the chat that it would be."""
    call = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("tools[0].type", {"tools": [{"type": "web_search"}]}),
        ("tools[0].name", {"tools": [{"type": "function"}]}),
        ("tool_choice.name", {"tools": FLAT, "tool_choice": {"type": "function", "name": "f"}}),
        ("tool_choice", {"tool_choice": "required"}),
        ("input", {"input": [call]}),
        ("input", {"input": [{**call, "arguments": {}}]}),
        ("input", {"input": [{"type": "function_call_output", "call_id": "b", "output": "x"}]}),
        ("input", {"input": [call, {"type": "function_call_output", "call_id": "a"}]}),
        ("previous_response_id", {"previous_response_id": "x"}),
    ]
    for param, more in wrong:
        body = {"model": "sim:m-3", "input": "Hi", **more}
        status, told = await api("POST", "/v1/responses", body=body)
        assert (status, told["error"]["param"]) == (400, param)
    assert not api.simulator.truth.calls
