"""Tools of OpenAI's chats, said in Anthropic's and in Google's words, and read back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.providers.anthropic import messages as anthropic
from headrace.providers.anthropic.chats import in_anthropics_words
from headrace.providers.anthropic.tools import answer_of
from headrace.providers.google import gemini_messages as gemini
from headrace.providers.google.gemini_chats import in_googles_words
from headrace.providers.google.gemini_replies import read_told, unfit
from headrace.providers.google.gemini_tools import calls_of
from headrace.providers.openai import messages as openai
from headrace.providers.openai.replies import read_chat
from headrace.request import Request
from headrace.simulator.shapes import (
    anthropic_requests,
    anthropic_tools,
    gemini_tools,
    openai_tools,
)
from headrace.tool_calls import function_call, said_of

HI = {"role": "user", "content": "Hi"}
SCHEMA = {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]}
TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather", "description": "Of a town", "parameters": SCHEMA, "strict": True,
        },
    },
    {"type": "function", "function": {"name": "time"}},
]  # fmt: skip
THOUGHT = {"type": "thinking", "thinking": "Hm", "signature": "c2ln"}
CALLS = [
    function_call("weather", '{"town":"Ulm"}', "a.1", {"anthropic": {"thinking": [THOUGHT]}}),
    function_call("time", "", "b", {"google": {"thought_signature": "c2ln", "id": "g1"}}),
]
ASKS = {"role": "assistant", "content": "Let me see.", "tool_calls": CALLS}
RESULTS = [
    {"role": "tool", "tool_call_id": "b", "name": "time", "content": '{"hour": 5}'},
    {"role": "tool", "tool_call_id": "a.1", "content": [{"type": "text", "text": "rain"}]},
]
TALK = [HI, ASKS, *RESULTS, {"role": "user", "content": "And?"}]


def ask(*said: Any, **params: Any) -> Request:
    return Request("p", "m", "1", {"messages": [*said] or [HI], **params})


def claude(*said: Any, **params: Any) -> dict[str, Any]:
    """The body that Anthropic is sent."""
    told: dict[str, Any] = json.loads(anthropic.body_of(in_anthropics_words(ask(*said, **params))))
    return told


def google(*said: Any, **params: Any) -> dict[str, Any]:
    """The body that Google is sent."""
    told: dict[str, Any] = json.loads(gemini.body_of(in_googles_words(ask(*said, **params))))
    return told


# -- definitions and choice --------------------------------------------------------------------


def test_functions_are_defined_in_each_ones_words() -> None:
    """Schemas go on as they are; a function without any takes nothing."""
    assert claude(tools=TOOLS)["tools"] == [
        {"name": "weather", "description": "Of a town", "input_schema": SCHEMA, "strict": True},
        {"name": "time", "input_schema": {"type": "object", "properties": {}}},
    ]
    (declared,) = google(tools=TOOLS)["tools"]
    assert declared["functionDeclarations"] == [
        {"name": "weather", "description": "Of a town", "parametersJsonSchema": SCHEMA},
        {"name": "time", "description": ""},
    ]


NAMED = {"type": "function", "function": {"name": "time"}}


@pytest.mark.parametrize(
    ("choice", "anthropics", "mode", "names"),
    [
        (None, None, "VALIDATED", None),
        ("auto", {"type": "auto"}, "VALIDATED", None),
        ("required", {"type": "any"}, "ANY", None),
        ("none", {"type": "none"}, "NONE", None),
        (NAMED, {"type": "tool", "name": "time"}, "ANY", ["time"]),
    ],
)
def test_the_choice_is_said_in_each_ones_words(
    choice: Any, anthropics: Any, mode: str, names: Any
) -> None:
    """What is left out is left to each API; strict functions want arguments that fit."""
    more = {} if choice is None else {"tool_choice": choice}
    assert claude(tools=TOOLS, **more).get("tool_choice") == anthropics
    calling = google(tools=TOOLS, **more)["toolConfig"]["functionCallingConfig"]
    assert (calling["mode"], calling.get("allowedFunctionNames")) == (mode, names)
    loose = google(tools=TOOLS[1:], **more)["toolConfig"]["functionCallingConfig"]
    assert loose["mode"] == ("AUTO" if mode == "VALIDATED" else mode)


def test_one_call_at_a_time_is_said_or_refused() -> None:
    """Anthropic has a word for it, beside every choice but none; Google has none."""
    single = {"tools": TOOLS, "parallel_tool_calls": False}
    alone = {"disable_parallel_tool_use": True}
    assert claude(**single)["tool_choice"] == {"type": "auto", **alone}
    assert claude(**single, tool_choice="required")["tool_choice"] == {"type": "any", **alone}
    assert claude(**single, tool_choice="none")["tool_choice"] == {"type": "none"}
    with pytest.raises(CallFailed, match="parallel_tool_calls"):
        google(**single)
    assert "parallel_tool_calls" not in google(tools=TOOLS, parallel_tool_calls=True)


def test_no_tools_are_not_sent() -> None:
    """An empty list, and a choice that asks for nothing, leave nothing behind."""
    for body in (claude(tools=[], tool_choice="auto"), google(tools=[], tool_choice="none")):
        assert not body.keys() & {"tools", "tool_choice", "toolConfig"}


def test_tools_in_a_providers_own_words_go_on() -> None:
    """A recipe's tools are not ours to change."""
    card = {"name": "card", "input_schema": SCHEMA}
    forced = {"type": "tool", "name": "card"}
    body = claude(tools=[card], tool_choice=forced)
    assert (body["tools"], body["tool_choice"]) == ([card], forced)
    search = [{"google_search": {}}]
    assert google(tools=search)["tools"] == search


# -- calls and results ---------------------------------------------------------------------------


def test_calls_and_results_are_said_to_anthropic() -> None:
    """Thinking first, then words and calls; all results in one message; ids that it can take."""
    told = claude(*TALK, tools=TOOLS)["messages"]
    assert told[1:3] == [
        {
            "role": "assistant",
            "content": [
                THOUGHT,
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a_1", "name": "weather", "input": {"town": "Ulm"}},
                {"type": "tool_use", "id": "b", "name": "time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "b", "content": '{"hour": 5}'},
                {
                    "type": "tool_result",
                    "tool_use_id": "a_1",
                    "content": [{"type": "text", "text": "rain"}],
                },
            ],
        },
    ]
    assert told[3] == {"role": "user", "content": "And?"}


def test_calls_and_results_are_said_to_google() -> None:
    """Signatures and ids go back where they came from; a text is an output, an object itself."""
    told = google(*TALK, tools=TOOLS)["contents"]
    assert told[1:3] == [
        {
            "role": "model",
            "parts": [
                {"text": "Let me see."},
                {"functionCall": {"name": "weather", "args": {"town": "Ulm"}}},
                {
                    "functionCall": {"id": "g1", "name": "time", "args": {}},
                    "thoughtSignature": "c2ln",
                },
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "g1", "name": "time", "response": {"hour": 5}}},
                {"functionResponse": {"name": "weather", "response": {"output": "rain"}}},
            ],
        },
    ]
    assert told[3] == {"role": "user", "parts": [{"text": "And?"}]}


@pytest.mark.parametrize("say", [claude, google])
@pytest.mark.parametrize("arguments", ["[]", '{"a":', "5"])
def test_arguments_that_are_no_object_are_not_sent(say: Any, arguments: str) -> None:
    """OpenAI's shape has any text there; the others have objects."""
    asks = {"role": "assistant", "tool_calls": [function_call("f", arguments, "1")]}
    with pytest.raises(CallFailed, match="arguments") as caught:
        say(HI, asks, {"role": "tool", "tool_call_id": "1", "content": "x"})
    assert caught.value.outcome.kind is OutcomeKind.INVALID


@pytest.mark.parametrize("say", [claude, google])
def test_what_does_not_belong_together_is_not_sent(say: Any) -> None:
    """Also where no door has looked at it: a recipe's messages."""
    for said in ([RESULTS[0]], [HI, ASKS, HI], [HI, ASKS]):
        with pytest.raises(CallFailed) as caught:
            say(*said)
        assert caught.value.outcome.kind is OutcomeKind.INVALID


# -- answers -------------------------------------------------------------------------------------


def anthropics(*blocks: Any, stop: str = "tool_use") -> Any:
    """What an answer of Anthropic's is to who offers functions."""
    told = anthropic.read_told(
        json.dumps({"id": "m", "content": [*blocks], "stop_reason": stop}).encode()
    )
    assert told is not None
    return answer_of(told, is_json=False)


USE = {"type": "tool_use", "id": "t1", "name": "time", "input": {"a": 1}}


def test_anthropics_calls_are_read() -> None:
    """With words and thinking; without; and what is cut off is no call."""
    said = said_of(*anthropics(THOUGHT, {"type": "text", "text": "Well"}, USE, {**USE, "id": "t2"}))
    own = {"anthropic": {"thinking": [THOUGHT]}}
    assert said.content == "Well"
    assert said.calls == (
        function_call("time", '{"a":1}', "t1", own), function_call("time", '{"a":1}', "t2"),
    )  # fmt: skip
    assert said_of(*anthropics(USE)).content is None
    words = anthropics({"type": "text", "text": "Well"}, stop="end_turn")
    assert words == ("text/plain", b"Well")
    for stop, kind in (("max_tokens", OutcomeKind.INVALID), ("refusal", OutcomeKind.REFUSED)):
        outcome = anthropics(USE, stop=stop)
        assert isinstance(outcome, Outcome)
        assert outcome.kind is kind


def test_googles_calls_are_read() -> None:
    """Each with what is Google's own; one without an id gets one, the same each time."""
    parts = [
        {"text": "Hm", "thought": True},
        {"functionCall": {"name": "weather", "args": {"data": "x"}, "id": "g"}},
        {"functionCall": {"name": "time"}, "thoughtSignature": "c2ln"},
    ]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": "STOP"}]}
    told = read_told(json.dumps(body).encode())
    assert told is not None
    first, second = calls_of(told)
    assert first == function_call("weather", '{"data":"x"}', "g", {"google": {"id": "g"}})
    assert (second["function"], second["id"][:5]) == ({"name": "time", "arguments": "{}"}, "call_")
    assert second["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    assert calls_of(told)[1] == second
    assert unfit(told, False, offers=True) is None
    assert unfit(told, False) is not None


@pytest.mark.parametrize(
    ("finish", "kind"),
    [
        ("MAX_TOKENS", OutcomeKind.INVALID),
        ("SAFETY", OutcomeKind.REFUSED),
        ("MALFORMED_RESPONSE", OutcomeKind.NO_OUTPUT),
    ],
)
def test_googles_calls_that_ended_badly_are_none(finish: str, kind: OutcomeKind) -> None:
    """Cut off, withheld or broken: the outcome says which."""
    parts = [{"functionCall": {"name": "time"}}]
    body = {"candidates": [{"content": {"parts": parts}, "finishReason": finish}]}
    told = read_told(json.dumps(body).encode())
    assert told is not None
    outcome = unfit(told, False, offers=True)
    assert outcome is not None
    assert outcome.kind is kind


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "function", "name", "arguments", "extra_content"]) | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(told=JSON)
def test_any_tool_calls_are_read_or_passed_over(told: Any) -> None:
    """Whatever an OpenAI-shaped server writes there, what is read has the shape of a call."""
    message = {"content": None, "tool_calls": told}
    text = read_chat(json.dumps({"choices": [{"message": message}]}).encode())
    assert text is not None
    for call in text.calls:
        assert isinstance(call["id"], str)
        assert call["id"]
        assert isinstance(call["function"]["arguments"], str)


# -- what they weigh -----------------------------------------------------------------------------


def test_definitions_count() -> None:
    """For limits of tokens and for the worst case of the price, at each API."""
    large: Any = [
        {"type": "function", "function": {"name": "f", "description": "x" * 4000}},
    ]
    plain, offered = ask(max_tokens=5), ask(max_tokens=5, tools=large)
    spelling = openai.Spelling()
    assert openai.text_load(offered).tokens - openai.text_load(plain).tokens > 1000
    most = openai.text_most(offered, spelling, "chat")
    assert most is not None
    assert most.input_tokens > 4000
    for words, module in ((in_anthropics_words, anthropic), (in_googles_words, gemini)):
        light, heavy = words(plain), words(offered)
        assert module.load_of(heavy).tokens - module.load_of(light).tokens > 1000
        most = module.most_of(heavy)
        assert most is not None
        assert most.input_tokens > 4000
    claudes = in_anthropics_words(offered)
    most = anthropic.most_of(claudes)
    assert most is not None
    assert most.input_tokens == len(anthropic.body_of(claudes)) + anthropic.TOOLS_TOKENS
    talk = in_anthropics_words(ask(*TALK, tools=TOOLS))
    assert anthropic.most_of(talk) is None, "what was thought weighs nobody knows what"
    assert gemini.most_of(in_googles_words(ask(*TALK, tools=TOOLS, max_tokens=5))) is not None


def test_tools_that_run_at_the_provider_have_no_known_price() -> None:
    """A search is billed beside the tokens, also where functions stand beside it."""
    functions = {"functionDeclarations": [{"name": "f"}]}
    search: Any = {"google_search": {}}
    for tools, known in (([functions], True), ([functions, search], False), ([search], False)):
        request = Request("g", "m", "1", {"prompt": "x", "max_tokens": 5, "tools": tools})
        assert (gemini.most_of(request) is not None) == known
    server: Any = {"type": "web_search_20250305", "name": "web_search"}
    request = Request("a", "m", "1", {"prompt": "x", "tools": [server]})
    assert anthropic.most_of(request) is None


def test_servers_of_openais_shape_get_back_what_they_gave() -> None:
    """Google's own endpoint of that shape wants its signatures; OpenAI's takes nothing else."""
    for takes_back, kept in (
        (True, {"google": {"thought_signature": "c2ln", "id": "g1"}}),
        (False, None),
    ):
        spelling = openai.Spelling(takes_back=takes_back)
        body = json.loads(openai.chat_body(ask(*TALK, tools=TOOLS), spelling, {}))
        first, second = body["messages"][1]["tool_calls"]
        assert "extra_content" not in first, "Anthropic's thinking is nobody else's"
        assert second.get("extra_content") == kept
        assert body["messages"][2:] == TALK[2:]
        assert body["tools"] == TOOLS


def test_tools_of_a_chat_are_not_said_to_the_api_of_responses() -> None:
    """A provider that is set to that API says so; functions in that API's own words go on."""
    with pytest.raises(CallFailed, match="asked for responses"):
        openai.responses_body(ask(tools=TOOLS), openai.Spelling(), {})
    flat = [{"type": "function", "name": "f"}]
    body = json.loads(openai.responses_body(ask(tools=flat), openai.Spelling(), {}))
    assert body["tools"] == flat


# -- the simulator -------------------------------------------------------------------------------

ODD: Any = [None, 5, "x", [], {}, [None], ["x"], [{}], [{"function": 5}], [{"name": 5}]]


@pytest.mark.parametrize("odd", ODD)
def test_the_simulator_lives_through_any_tools(odd: Any) -> None:
    """What is no request of tools ends in the API's own error, or in an answer without calls."""
    for key in ("tools", "tool_choice", "toolConfig", "messages", "contents"):
        chat = {"messages": [HI], key: odd}
        if isinstance(chat["messages"], list):
            assert isinstance(openai_tools.wrong_tools(chat), str)
        assert openai_tools.wish_of(chat).calls(1) == []
        message = {"model": "m", "max_tokens": 5, "messages": [HI], key: odd}
        if not anthropic_requests.wrong(message):
            assert anthropic_tools.wish_of(message).calls(1) == []
        content = {"contents": [{"parts": [{"text": "Hi"}]}], key: odd}
        assert isinstance(gemini_tools.wrong_tools(content, "m-3"), str)
        assert gemini_tools.wish_of(content).calls(1) == []
    blocks = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": odd}]}
    assert isinstance(anthropic_requests.wrong(blocks), str)
    for kind in ("tool_use", "tool_result", "thinking"):
        blocks["messages"] = [{"role": "user", "content": [{"type": kind, "id": odd}]}]
        assert anthropic_requests.wrong(blocks)
