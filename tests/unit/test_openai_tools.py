"""What a chat may say of tools, and how an answer that calls them is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InputError
from headrace.openai_answers import chat_json
from headrace.openai_body import CHAT, params_of
from headrace.openai_tools import TOOLS_MAX, check_tools
from headrace.testing import ManualClock
from headrace.tool_calls import MEDIA_TYPE, Said, function_call, judged_text, kept, said_of

HI = {"role": "user", "content": "Hi"}
CALL = function_call("f", "{}", "call_1")
ASKS = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "42"}


def tool(name: Any = "f", **more: Any) -> dict[str, Any]:
    """A function that is offered."""
    return {"type": "function", "function": {"name": name, **more}}


GOOD: list[dict[str, Any]] = [
    {},
    {"tools": None, "tool_choice": None, "parallel_tool_calls": None},
    {"tools": [], "tool_choice": "auto"},
    {"tools": [tool(parameters={"type": "object"}, description="x", strict=True), tool("g")]},
    {"tools": [tool(parameters={})], "tool_choice": "required", "parallel_tool_calls": False},
    {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "f"}}},
    {"messages": [HI, ASKS, RESULT, HI, ASKS, RESULT]},
    {"messages": [HI, {**ASKS, "content": "Well"}, {**RESULT, "content": ""}], "functions": []},
]


@pytest.mark.parametrize("more", GOOD)
def test_what_can_be_meant_is_sent_on(more: dict[str, Any]) -> None:
    """Tools, choice and messages are params, so they are part of what the cache knows."""
    body = {"model": "a:m", "messages": [HI], **more}
    params = params_of(CHAT, body)
    kept_names = {name for name, value in more.items() if value is not None}
    assert {name: params[name] for name in kept_names} == {name: more[name] for name in kept_names}


def calls(*told: Any) -> dict[str, Any]:
    """A chat whose assistant makes these calls."""
    return {"messages": [HI, {"role": "assistant", "tool_calls": [*told]}]}


WRONG: list[tuple[str, dict[str, Any]]] = [
    ("tools", {"tools": {}}),
    ("tools", {"tools": [tool(f"f{n}") for n in range(TOOLS_MAX + 1)]}),
    ("tools[0]", {"tools": ["f"]}),
    ("tools[0].type", {"tools": [{"function": {"name": "f"}}]}),
    ("tools[0].type", {"tools": [{"type": "custom", "custom": {"name": "f"}}]}),
    ("tools[0].function", {"tools": [{"type": "function", "name": "f"}]}),
    ("tools[0].function.name", {"tools": [tool("")]}),
    ("tools[0].function.name", {"tools": [tool("get weather")]}),
    ("tools[0].function.name", {"tools": [tool("x" * 65)]}),
    ("tools[1].function.name", {"tools": [tool(), tool()]}),
    ("tools[0].function.parameters", {"tools": [tool(parameters=[])]}),
    ("tools[0].function.parameters", {"tools": [tool(parameters={"type": "string"})]}),
    ("tools[0].function.strict", {"tools": [tool(strict="yes")]}),
    ("tools[0].function.description", {"tools": [tool(description=5)]}),
    ("tool_choice", {"tool_choice": "required"}),
    ("tool_choice", {"tools": [tool()], "tool_choice": "f"}),
    ("tool_choice", {"tools": [tool()], "tool_choice": {"type": "allowed_tools"}}),
    (
        "tool_choice.function.name",
        {"tools": [tool()], "tool_choice": {"type": "function", "function": {"name": "g"}}},
    ),
    ("parallel_tool_calls", {"parallel_tool_calls": "no"}),
    ("functions", {"functions": [{"name": "f"}]}),
    ("messages[1].tool_call_id", {"messages": [HI, RESULT]}),
    ("messages[3].tool_call_id", {"messages": [HI, ASKS, RESULT, RESULT]}),
    ("messages[2].tool_call_id", {"messages": [HI, ASKS, {"role": "tool", "content": "x"}]}),
    ("messages[1].tool_calls", {"messages": [HI, ASKS]}),
    ("messages[1].tool_calls", {"messages": [HI, ASKS, HI, RESULT]}),
    ("messages[0].tool_calls", {"messages": [{**ASKS, "role": "user"}]}),
    ("messages[1].tool_calls", {"messages": [HI, {"role": "assistant", "tool_calls": "x"}]}),
    ("messages[1].tool_calls[0]", calls({})),
    ("messages[1].tool_calls[0].id", calls({**CALL, "id": ""})),
    (
        "messages[1].tool_calls[0].function.arguments",
        calls({**CALL, "function": {"name": "f", "arguments": {}}}),
    ),
    ("messages[1].tool_calls[1].id", calls(CALL, CALL)),
]


@pytest.mark.parametrize(("param", "more"), WRONG)
def test_what_cannot_be_meant_names_its_field(param: str, more: dict[str, Any]) -> None:
    """The error is of the input, and says which field of it."""
    with pytest.raises(InputError) as caught:
        params_of(CHAT, {"model": "a:m", "messages": [HI], **more})
    assert caught.value.param == param
    assert caught.value.message


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("function"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "function", "name", "role", "tool_calls", "id"]) | st.text(),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(body=st.fixed_dictionaries({}, optional={n: JSON for n in ("tools", "tool_choice")}))
def test_any_tools_are_taken_or_refused(body: dict[str, Any]) -> None:
    """Whatever is said of tools ends in an error of the input at worst."""
    assert param_of({**body, "messages": [HI]}) != ""


@given(messages=JSON)
def test_any_messages_are_taken_or_refused(messages: Any) -> None:
    """Whatever stands in messages ends in an error of the input at worst."""
    assert param_of({"messages": messages}) != ""


def param_of(body: dict[str, Any]) -> str | None:
    """The field that is to blame, ``None`` where nothing is."""
    try:
        check_tools(body)
    except InputError as error:
        return error.param or ""
    return None


# -- kept ------------------------------------------------------------------------------------


def test_an_answer_with_calls_is_read_as_it_was_kept() -> None:
    """Text and calls, what is a provider's own among them; plain answers stay what they were."""
    own = function_call("f", '{"a": 1}', "call_1", {"google": {"thought_signature": "x"}})
    media_type, body = kept("Well", [own], is_json=True)
    assert media_type == MEDIA_TYPE
    assert said_of(media_type, body) == Said("Well", (own,))
    assert said_of(*kept("", [CALL], is_json=False)) == Said(None, (CALL,))
    assert kept("x", (), is_json=False) == ("text/plain", b"x")
    assert kept("{}", (), is_json=True) == ("application/json", b"{}")
    # JSON of a model's is no message, whatever it looks like.
    assert said_of("application/json", body) == Said(body.decode())


@pytest.mark.parametrize("body", [b"", b"[]", b"x", b'{"tool_calls": [{}]}', b'{"tool_calls": 5}'])
def test_bytes_that_are_no_message_are_a_text(body: bytes) -> None:
    """Nothing is raised for what another release may have kept."""
    assert said_of(MEDIA_TYPE, body) == Said(body.decode())


def test_rules_see_what_arguments_hide() -> None:
    """Escapes are undone at any depth, names are seen, half a JSON as it stands; no signatures."""
    hidden = json.dumps({"id": [{"data": "caf\\u00e9"}], "k\\u0065y": 1}).replace("\\\\", "\\")
    extra = {"anthropic": {"thinking": [{"thinking": "about it", "signature": "c2ln"}]}}
    told = [
        function_call("look", hidden, "1", extra),
        function_call("cut", '{"a": "half', "2"),
    ]
    text = judged_text(*kept("Well", told, is_json=False))
    for word in ("Well", "look", "café", "key", "half", "about it"):
        assert word in text
    assert "c2ln" not in text


@pytest.mark.parametrize(
    ("said", "facts", "finish"),
    [
        (Said("x"), {}, "stop"),
        (Said(None, (CALL,)), {}, "tool_calls"),
        (Said(None, (CALL,)), {"truncated": True}, "length"),
    ],
)
def test_why_an_answer_ends(said: Said, facts: dict[str, Any], finish: str) -> None:
    """Calls are the reason, unless they were cut off."""
    told = chat_json("x", "m", said, facts, ManualClock().now())
    (choice,) = told["choices"]
    assert choice["finish_reason"] == finish
    assert choice["message"]["content"] == said.content
    assert choice["message"].get("tool_calls", []) == [*said.calls]
