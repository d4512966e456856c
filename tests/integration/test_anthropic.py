"""The anthropic provider over real connections: what is sent, and how every answer ends."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.clock import SystemClock
from headrace.errors import ConfigError, RecipeError
from headrace.limits import Dimension, Load
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import CrashClass, Provider, Reply
from headrace.providers.anthropic import messages
from headrace.providers.anthropic.adapter import AnthropicProvider
from headrace.providers.anthropic.settings import read_anthropic
from headrace.providers.simulated.png_body import PngBody
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.calling import Made, bought_at, fails_at
from tests.integration.conforming import SpokenConformance
from tests.integration.speaking import (
    Answer,
    Heard,
    Speaker,
    closes_after,
    http,
    resets_after,
    says,
    speaking,
)

KEY = "sk-ant-very-secret-0123456789"
CLOCK = SystemClock()
PNG = PngBody(64, 48).whole(bytes(32))
RECORDED = {
    one["name"]: one
    for one in json.loads(
        (Path(__file__).parents[1] / "data/recorded/anthropic.json").read_text("utf-8")
    )
}
USAGE = {"input_tokens": 9, "output_tokens": 12}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
TOOL = {"name": "card", "input_schema": SCHEMA}


def text(words: str, **more: Any) -> dict[str, Any]:
    return message({"type": "text", "text": words}, **more)


def message(*blocks: Any, stop: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x-1",
        "content": [*blocks], "stop_reason": stop, "usage": USAGE, **more,
    }  # fmt: skip


def provider_at(url: str, **table: Any) -> AnthropicProvider:
    table = {"base_url": url, "api_key": KEY, **table}
    return AnthropicProvider.from_config("mine", table, CLOCK)


def made(**table: Any) -> Made:
    return lambda speaker: provider_at(speaker.origin, **table)


def ask(**params: Any) -> Request:
    return Request("mine", "claude-x", "1", {"prompt": "A card", **params})


async def bought(
    answer: Answer, request: Request | None = None, desk: CallDesk | None = None, **table: Any
) -> tuple[Reply, bytes, Heard]:
    """The reply to one call, its bytes, and what the server heard."""
    return await bought_at(answer, made(**table), request or ask(), desk)


async def fails(answer: Answer, request: Request | None = None) -> Outcome:
    """How one call ends that the server heard exactly once."""
    return await fails_at(answer, made(), request or ask(), KEY)


# -- what is sent --------------------------------------------------------------------------------


async def test_a_message_is_one_post_and_its_text_comes_back() -> None:
    """Path, key and version are Anthropic's; text, usage, model and the call's id come back."""
    usage = {**USAGE, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 3}
    answer = says(text("Grüße, 世界", usage=usage), headers={"request-id": "req_5"})
    request = ask(
        system="Be brief", temperature="0.5", stop="END", metadata={"user_id": "u"}, top_k="3"
    )
    reply, body, heard = await bought(answer, request)
    assert (heard.method, heard.path) == ("POST", "/v1/messages")
    assert heard.headers["x-api-key"] == KEY
    assert heard.headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in heard.headers
    assert "anthropic-beta" not in heard.headers
    assert heard.json == {
        "model": "claude-x",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "A card"}],
        "system": "Be brief",
        "temperature": 0.5,
        "top_k": 3,
        "stop_sequences": ["END"],
        "metadata": {"user_id": "u"},
    }
    assert (reply.media_type, body.decode()) == ("text/plain", "Grüße, 世界")
    assert reply.provider_request_id == "req_5"
    assert reply.cost_microusd is None
    assert reply.facts == {"usage": usage, "model": "claude-x-1"}
    assert reply.said is not None
    assert reply.said.tokens == 24, "what is read from the cache does not count"


async def test_version_betas_and_bearer_are_settings() -> None:
    """Newer versions of the API take the key as a bearer token."""
    table = {"api_version": "2026-10-21", "auth": "bearer", "betas": ["a-1", "b-2"]}
    _, _, heard = await bought(says(text("x")), **table)
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert "x-api-key" not in heard.headers
    assert heard.headers["anthropic-version"] == "2026-10-21"
    assert heard.headers["anthropic-beta"] == "a-1,b-2"


async def test_a_schema_and_a_forced_tool_give_json() -> None:
    """A schema goes into output_config; a tool that must be called gives its input."""
    reply, body, heard = await bought(
        says(text('{"a": 1}')), ask(response_schema=SCHEMA, output_config={"effort": "low"})
    )
    assert heard.json["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": SCHEMA},
    }
    assert "response_schema" not in heard.json
    assert (reply.media_type, json.loads(body)) == ("application/json", {"a": 1})
    called = message(
        {"type": "text", "text": "Here"},
        {"type": "tool_use", "id": "t", "name": "card", "input": {"a": 2}},
        stop="tool_use",
    )
    forced = ask(tools=[TOOL], tool_choice={"type": "tool", "name": "card"})
    reply, body, heard = await bought(says(called), forced)
    assert heard.json["tools"] == [TOOL]
    assert (reply.media_type, json.loads(body)) == ("application/json", {"a": 2})


async def test_messages_stand_before_the_prompt() -> None:
    """Messages of the params are sent as they are, the prompt follows as the last one."""
    before = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    _, _, heard = await bought(says(text("x")), ask(messages=before))
    assert heard.json["messages"] == [*before, {"role": "user", "content": "A card"}]


WRONG = [
    ("max_tokens", 0), ("max_tokens", "many"), ("temperature", []), ("stream", True), ("n", 2),
    ("response_format", {"type": "json_object"}), ("response_schema", "x"), ("messages", "x"),
    ("stop_sequences", 5), ("output_config", "x"), ("model", "y"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WRONG)
async def test_what_cannot_be_sent_is_not(name: str, value: Any) -> None:
    """A wrong param ends as invalid before any connection, and a recipe is told before."""
    provider = provider_at("http://127.0.0.1:9")
    request = Request("mine", "claude-x", "1", {"prompt": "p", name: value})
    with pytest.raises(CallFailed, match=name) as caught:
        await provider.call(CallDesk().call(request))
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    with pytest.raises(RecipeError, match=name):
        provider.check("claude-x", {name: value})


# -- recorded exchanges ----------------------------------------------------------------------------


def unstreamed(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The events of a recorded stream as the one message that they are without streaming."""
    whole: dict[str, Any] = {}
    for event in events:
        if event["type"] == "message_start":
            whole = event["message"]
        elif event["type"] == "content_block_start":
            whole["content"].append(event["content_block"])
        elif event["type"] == "content_block_delta":
            whole["content"][event["index"]]["text"] += event["delta"]["text"]
        elif event["type"] == "message_delta":
            whole |= event["delta"]
            whole["usage"] |= event["usage"]
    return whole


@pytest.mark.parametrize("name", RECORDED)
async def test_recorded_messages(name: str) -> None:
    """What was recorded is asked in the same words; text, usage and limits come back."""
    recorded = RECORDED[name]
    asked = {key: value for key, value in recorded["asked"].items() if key != "stream"}
    blocks = asked["messages"][0]["content"]
    desk, pictures = CallDesk(), [one for one in blocks if one["type"] == "image"]
    digests = tuple(
        desk.keep(base64.b64decode(one["source"]["data"]), "x").sha256.hex() for one in pictures
    )
    params = {
        "prompt": blocks[-1]["text"],
        "max_tokens": asked["max_tokens"],
        "temperature": asked["temperature"],
        **({"image": {"source": 0}} if digests else {}),
    }
    request = Request("mine", asked["model"], "1", params, digests)
    answer = unstreamed(recorded["events"])
    reply, body, heard = await bought(says(answer, headers=recorded["headers"]), request, desk)
    sent = heard.json
    if not digests:
        asked["messages"] = [{"role": "user", "content": blocks[0]["text"]}]
    assert sent == asked
    assert heard.headers["anthropic-version"] == recorded["version"]
    assert body.decode() == answer["content"][0]["text"]
    assert reply.provider_request_id == recorded["headers"]["request-id"]
    assert reply.facts["usage"]["output_tokens"] == answer["usage"]["output_tokens"]
    assert reply.said is not None
    assert reply.said.tokens == (answer["usage"]["input_tokens"] + answer["usage"]["output_tokens"])
    amounts = {limit.dimension: limit.amount for limit in reply.said.limits}
    assert amounts == {Dimension.REQUESTS: 20_000, Dimension.TOKENS: 2_400_000}


# -- answers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["max_tokens", "model_context_window_exceeded"])
async def test_a_truncated_text_is_a_success_that_says_so(stop: str) -> None:
    """A text that was cut off is delivered, with a fact."""
    reply, body, _ = await bought(says(text("half a", stop=stop)))
    assert (body, reply.facts["truncated"]) == (b"half a", True)


async def test_thinking_is_no_part_of_the_text() -> None:
    """Blocks of other kinds are passed over, also those of a kind that is not known."""
    answer = message(
        {"type": "thinking", "thinking": "Hm", "signature": "x"},
        {"type": "text", "text": "One, "},
        {"type": "a_new_one", "text": "no"},
        5,
        {"type": "text", "text": "two"},
    )
    _, body, _ = await bought(says(answer))
    assert body == b"One, two"


FORCED = {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "card"}}
HALF = {"type": "tool_use", "name": "card", "input": {}}
NO_RESULT: dict[str, tuple[dict[str, Any], dict[str, Any], OutcomeKind]] = {
    "refused": (message(stop="refusal"), {}, OutcomeKind.REFUSED),
    "refused midway": (text(f"I won't {KEY}", stop="refusal"), {}, OutcomeKind.REFUSED),
    "cut off": (message(stop="max_tokens"), {}, OutcomeKind.INVALID),
    "full": (message(stop="model_context_window_exceeded"), {}, OutcomeKind.INVALID),
    "paused": (text("so far", stop="pause_turn"), {}, OutcomeKind.INVALID),
    "a tool": (text("Let me", stop="tool_use"), {"tools": [TOOL]}, OutcomeKind.INVALID),
    "half a tool": (message(HALF, stop="max_tokens"), FORCED, OutcomeKind.INVALID),
    "another tool": (message({**HALF, "name": "x"}, stop="tool_use"), FORCED,
                     OutcomeKind.NO_OUTPUT),
    "nothing": (message(), {}, OutcomeKind.NO_OUTPUT),
    "no reason": (message(stop=None), {}, OutcomeKind.NO_OUTPUT),
    "an error": ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
                 {}, OutcomeKind.OVERLOADED),
    "no message": ({}, {}, OutcomeKind.NO_OUTPUT),
    "odd types": ({"content": {"text": "x"}, "stop_reason": 5, "usage": []}, {},
                  OutcomeKind.NO_OUTPUT),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_RESULT)
async def test_every_documented_ending_without_a_result(name: str) -> None:
    """Refused, cut off, paused, a tool that nobody calls, an error under 200, another form."""
    answer, params, kind = NO_RESULT[name]
    outcome = await fails(says(answer, headers={"request-id": "req_9"}), ask(**params))
    assert outcome.kind is kind
    assert outcome.provider_request_id == "req_9"
    if answer.get("stop_reason") in ("refusal", "max_tokens"):
        assert outcome.facts["usage"] == USAGE
        assert outcome.said is not None
        assert outcome.said.tokens == 21


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>no</html>", b"[]", b'"words"', b"\xff\xfe", b"[" * 99999],
    ids=["empty", "html", "array", "string", "not UTF-8", "deep"],
)
async def test_a_success_that_cannot_be_read_is_no_success(body: bytes) -> None:
    """Whatever comes as 200 and is no answer ends the call with an outcome."""
    assert (await fails(says(body))).kind is not OutcomeKind.SUCCESS


def error(kind: str, status: int, words: str = "No.", **details: Any) -> Answer:
    told = {"type": kind, "message": words, "details": details}
    body = {"type": "error", "error": told, "request_id": "req_x"}
    return says(body, status, {"request-id": "req_x", "retry-after": "30"})


ERRORS = {
    "bad request": (error("invalid_request_error", 400), OutcomeKind.INVALID, None),
    "key": (error("authentication_error", 401, f"invalid {KEY}"), OutcomeKind.AUTH, None),
    "forbidden": (error("permission_error", 403), OutcomeKind.AUTH, None),
    "no model": (error("not_found_error", 404), OutcomeKind.INVALID, None),
    "too large": (error("request_too_large", 413), OutcomeKind.INVALID, None),
    "rate": (error("rate_limit_error", 429), OutcomeKind.RATE_LIMITED, 30),
    "ramp": (error("rate_limit_error", 429, error_code="ramp_limit_exceeded"),
             OutcomeKind.RATE_LIMITED, 30),
    "money": (error("rate_limit_error", 429, error_code="enforced_spend_limit_reached"),
              OutcomeKind.QUOTA_EXHAUSTED, None),
    "server": (error("api_error", 500), OutcomeKind.TRANSIENT, 30),
    "overloaded": (error("overloaded_error", 529), OutcomeKind.OVERLOADED, 30),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
async def test_every_documented_error(name: str) -> None:
    """Class, wait and the id that support asks for; the key is never repeated."""
    answer, kind, wait_s = ERRORS[name]
    outcome = await fails(answer)
    assert (outcome.kind, outcome.wait_s) == (kind, wait_s)
    assert outcome.provider_request_id == "req_x"
    if name == "ramp":
        assert outcome.said is not None
        assert outcome.said.ramp


async def test_what_breaks_off() -> None:
    """Unknown before a status, lost after a success, known after a failure."""
    cut = http(json.dumps(text("x" * 5000)).encode()[:2000], claimed_bytes=9000)
    assert (await fails(resets_after(b""))).kind is OutcomeKind.UNKNOWN
    assert (await fails(closes_after(cut))).kind is OutcomeKind.LOST_RESULT
    cut = http(b'{"type": "err', 529, claimed_bytes=900)
    assert (await fails(closes_after(cut))).kind is OutcomeKind.OVERLOADED


async def test_redirects_are_not_followed() -> None:
    """The key goes to base_url's host and to no other."""
    async with speaking(says(text("x"))) as other:
        await fails(says(b"", 307, {"Location": f"{other.origin}/v1/messages"}))
        assert other.heard == []


# -- values ----------------------------------------------------------------------------------------


KEYS = [
    *("content", "type", "text", "input", "name", "stop_reason", "usage", "error", "id"),
    *("input_tokens", "output_tokens", "tool_use", "model"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(KEYS),
            inner | st.sampled_from(["text", "tool_use", "refusal", "max_tokens"]),
            max_size=5,
        )
    ),
    max_leaves=25,
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(JSON, st.sampled_from(["", "card"]))
def test_any_json_is_a_result_or_an_outcome(value: Any, tool: str) -> None:
    """Whatever form an answer has, nothing is raised."""
    told = messages.read_told(json.dumps(value).encode())
    if told is not None:
        assert isinstance(messages.result_of(told, tool), bytes | Outcome)
        told.facts()


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(st.sampled_from([*messages._NUMBERS, "prompt", "tool_choice", "stop"]), JSON)
)
def test_any_params_are_a_body_or_invalid(params: dict[str, Any]) -> None:
    """Whatever a row or recipe holds: JSON, or an outcome that says what is wrong."""
    request = Request("mine", "claude-x", "1", params)
    assert messages.load_of(request).tokens >= 8
    messages.wants_json(request)
    try:
        json.loads(messages.body_of(request))
    except CallFailed as failure:
        kind = failure.outcome.kind
        assert kind is OutcomeKind.INVALID


def test_the_load_is_input_and_the_most_of_output() -> None:
    """Four bytes a token, max_tokens or its default, and 1600 for each picture."""
    assert messages.load_of(ask(prompt="a" * 400)) == Load(tokens=108 + 4096, tokens_in=108)
    two = ask(prompt="", max_tokens="10", pictures=[{"source": 0}] * 2)
    assert messages.load_of(two) == Load(tokens=3208 + 10, tokens_in=3208)


async def test_costs_are_estimated_by_tokens() -> None:
    """Recorded usage at list prices; beforehand the bytes that go in and max_tokens."""
    prices = {"claude-x": {"input_usd_per_million": 3, "output_usd_per_million": 15}}
    recorded = RECORDED["two names"]
    answer = unstreamed(recorded["events"])
    reply, _, _ = await bought(says(answer), prices=prices)
    assert (reply.cost_microusd, reply.estimate_microusd) == (None, 17 * 3 + 10 * 15)
    usage = {**USAGE, "service_tier": "priority"}
    reply, _, _ = await bought(says(text("x", usage=usage)), prices=prices)
    assert reply.estimate_microusd is None
    provider = provider_at("http://127.0.0.1:9", prices=prices)
    size = len(messages.body_of(ask()))
    assert provider.price(ask()).cost_microusd_max == size * 3 + 4096 * 15
    picture = {"role": "user", "content": [{"type": "image", "source": {}}]}
    unknown: list[dict[str, Any]] = [
        {"tools": []},
        {"messages": [picture]},
        {"response_schema": {}},
        {"inference_geo": "us"},
        {"n": 2},
    ]
    for params in unknown:
        assert provider.price(ask(**params)).cost_microusd_max is None


def test_settings() -> None:
    """Where the API is, whose key, and what is no setting."""
    env = {"ANTHROPIC_API_KEY": "k1", "ANTHROPIC_BASE_URL": "https://proxy.example"}
    found = read_anthropic("a", {}, env)
    assert str(found.remote.base_url) == "https://proxy.example"
    assert found.headers() == {"anthropic-version": "2023-06-01", "x-api-key": "k1"}
    assert "k1" not in repr(found)
    for table, words in (
        ({"api_version": "latest"}, "a date"),
        ({"auth": "basic"}, "auth"),
        ({"betas": ["a b\n"]}, "beta"),
        ({"betas": "a"}, "list"),
    ):
        with pytest.raises(ConfigError) as caught:
            read_anthropic("a", table, {})
        assert words in str(caught.value)
    provider = provider_at("http://127.0.0.1:9")
    assert provider.lane(ask()) == "mine/claude-x"
    assert provider.crash_class is CrashClass.BLIND


async def test_a_key_can_be_tried_without_buying() -> None:
    """The list of models is asked for."""
    async with speaking(says({"data": []})) as speaker:
        provider = provider_at(speaker.origin)
        probe = await provider.probe()
        await provider.close()
    assert probe is not None
    assert probe.kind is OutcomeKind.SUCCESS
    assert (speaker.heard[0].method, speaker.heard[0].path) == ("GET", "/v1/models")


class TestConformance(SpokenConformance):
    """The promises of every provider, over a real connection."""

    unknown_model = "another"
    refusal = http(message(stop="refusal"))

    def calling(self, speaker: Speaker) -> Provider:
        return provider_at(speaker.origin, models=["claude-x"])

    def result(self, number: int) -> bytes:
        return http(text(f"text {number}"))

    def make_request(self, provider: Provider, number: int) -> Request:
        return ask(temperature=number / 100)

    async def make_failing(self, provider: Provider) -> Request | None:
        return ask(prompt="refuse")
