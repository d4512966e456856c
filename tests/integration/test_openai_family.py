"""Responses, edits, every shape of delivery, and the servers that are only like OpenAI."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from headrace.clock import SystemClock
from headrace.errors import ConfigError
from headrace.limits import Load
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import Provider, Reply
from headrace.providers.openai.adapter import OpenAIProvider
from headrace.providers.openai.compatible import OpenAICompatibleProvider, read_compatible
from headrace.providers.openai.profiles import PROFILES
from headrace.providers.shelf import Shelf
from headrace.providers.simulated.png_body import PngBody
from headrace.refusals import PROFILES as TABLES
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.calling import failure_of, reply_of
from tests.integration.conforming import SpokenConformance
from tests.integration.speaking import Answer, Heard, Speaker, http, says, speaking, speaks

KEY = "sk-very-secret-0123456789"
PNG = PngBody(64, 48).whole(bytes(32))
LARGE_PNG = PngBody(256, 256, 1_500_000).whole(bytes(32))
SVG = b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'><rect/></svg>\n"
CHAT = {"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}


def ask(model: str = "m", sources: tuple[str, ...] = (), **params: Any) -> Request:
    return Request("mine", model, "1", {"prompt": "A card", **params}, sources)


def made(url: str, **table: Any) -> OpenAIProvider:
    """The provider of a table: the plain one, or with ``profile`` one like it."""
    kind = OpenAICompatibleProvider if "profile" in table or "svg" in table else OpenAIProvider
    return kind.from_config("mine", {"base_url": url, "api_key": KEY, **table}, SystemClock())


async def bought(
    answer: Answer, request: Request, desk: CallDesk | None = None, **table: Any
) -> tuple[Reply, bytes, Heard]:
    """The reply to one call, its bytes, and the request that was heard first."""
    async with speaking(answer) as speaker:
        desk = desk or CallDesk()
        reply = await reply_of(made(speaker.url, **table), desk.call(request))
        return reply, desk.body_of(reply), speaker.heard[0]


async def fails(
    answer: Answer, request: Request, desk: CallDesk | None = None, **table: Any
) -> Outcome:
    """How one call ends, the key in no part of it."""
    async with speaking(answer) as speaker:
        call = (desk or CallDesk()).call(request)
        return await failure_of(made(speaker.url, **table), call, KEY)


# -- responses -----------------------------------------------------------------------------------

# The fields of a recorded answer of the real API, 2026-05, without its encrypted reasoning.
PONG = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "model": "gpt-5.5-2026-04-23",
    "output": [
        {"id": "rs_1", "type": "reasoning", "summary": []},
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "pong", "annotations": []}],
        },
    ],
    "usage": {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 19,
        "output_tokens_details": {"reasoning_tokens": 12},
        "total_tokens": 30,
    },
}


def response(*content: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**PONG, "output": [{"type": "message", "content": list(content)}], **more}


async def test_a_response_is_one_post_and_its_text_comes_back() -> None:
    """The system is its instructions, the prompt its input; text, usage and model come back."""
    request = ask("gpt-5.5", api="responses", system="Be brief", max_output_tokens="50")
    reply, body, heard = await bought(says(PONG), request)
    assert (heard.method, heard.path) == ("POST", "/v1/responses")
    assert heard.json == {
        "model": "gpt-5.5",
        "instructions": "Be brief",
        "input": [{"role": "user", "content": "A card"}],
        "max_output_tokens": 50,
    }
    assert (body, reply.media_type, reply.provider_request_id) == (b"pong", "text/plain", "resp_1")
    assert reply.facts == {
        "model": "gpt-5.5-2026-04-23",
        "usage": {
            "input_tokens": 11,
            "output_tokens": 19,
            "reasoning_tokens": 12,
            "total_tokens": 30,
        },
    }
    assert reply.said is not None
    assert reply.said.tokens == 30


async def test_the_table_can_choose_responses() -> None:
    """An api of "responses" in the settings holds for every stage that says nothing else."""
    _, _, heard = await bought(says(PONG), ask(), api="responses")
    assert heard.path == "/v1/responses"


async def test_a_response_in_a_json_format_is_json() -> None:
    """text.format other than text makes the result application/json."""
    request = ask(api="responses", text={"format": {"type": "json_object"}})
    reply, _, _ = await bought(says(response({"type": "output_text", "text": "{}"})), request)
    assert reply.media_type == "application/json"


NO_TEXT = response({"type": "output_text", "text": ""})
ENDS = {
    "refusal": (response({"type": "refusal", "refusal": "I cannot"}), OutcomeKind.REFUSED),
    "filter": (
        {**NO_TEXT, "status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
        OutcomeKind.REFUSED,
    ),
    "cut": (
        {**NO_TEXT, "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
        OutcomeKind.INVALID,
    ),
    "failed": (
        {**PONG, "status": "failed", "error": {"code": "server_error", "message": "Oops"}},
        OutcomeKind.TRANSIENT,
    ),
    "failed by rate": (
        {
            **PONG,
            "status": "failed",
            "error": {"code": "rate_limit_exceeded", "message": "Rate limit reached"},
        },
        OutcomeKind.RATE_LIMITED,
    ),
    "empty": ({**PONG, "output": []}, OutcomeKind.NO_OUTPUT),
    "thoughts only": ({**PONG, "output": PONG["output"][:1]}, OutcomeKind.NO_OUTPUT),  # type: ignore[index]
    "odd": ({**PONG, "output": "pong"}, OutcomeKind.NO_OUTPUT),
    "odd content": ({**PONG, "output": [{"type": "message", "content": 7}]}, OutcomeKind.NO_OUTPUT),
}


@pytest.mark.parametrize("name", ENDS)
async def test_responses_without_text_are_told_apart(name: str) -> None:
    """Refused, filtered, cut off, failed inside of a success, and empty."""
    reply, kind = ENDS[name]
    outcome = await fails(says(reply), ask(api="responses"))
    assert outcome.kind is kind
    if name not in ("odd",):
        assert outcome.facts["usage"]["total_tokens"] == 30


async def test_a_response_that_was_cut_off_is_a_success_that_says_so() -> None:
    """Text with incomplete_details is delivered, with a fact."""
    more = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    given = response({"type": "output_text", "text": "half a"}, **more)
    reply, body, _ = await bought(says(given), ask(api="responses"))
    assert body == b"half a"
    assert reply.facts["truncated"] is True


async def test_an_image_of_the_image_tool_is_the_result() -> None:
    """A response whose tools make images gives the image of its image_generation_call."""
    call = {
        "type": "image_generation_call",
        "output_format": "png",
        "quality": "high",
        "result": base64.b64encode(LARGE_PNG).decode(),
    }
    request = ask(api="responses", tools=[{"type": "image_generation"}])
    given = {**PONG, "output": [{"type": "reasoning"}, call]}
    reply, body, _ = await bought(says(given), request)
    assert body == LARGE_PNG
    assert (reply.media_type, reply.provider_request_id) == ("image/png", "resp_1")
    assert reply.facts["usage"]["total_tokens"] == 30
    outcome = await fails(says(PONG), request)
    assert outcome.kind is OutcomeKind.NO_OUTPUT, "words where an image was due"


def test_a_background_response_is_refused_before_it_is_sent() -> None:
    """What would have to be asked for again later is not supported, and says so."""
    provider = made("http://127.0.0.1:9/v1")
    assert "background" in provider.wrong_param("background", True)
    assert provider.wrong_param("background", "transparent") == ""


def test_the_most_of_a_response_is_known_where_nothing_else_is_billed() -> None:
    """Text with a most of its own has a worst case; with a tool of the server's nobody knows."""
    provider = made("https://api.openai.com/v1")
    request = ask("gpt-5.5", api="responses", max_output_tokens="50")
    most = provider.most(request)
    assert most is not None
    assert most.output_tokens == 50
    assert most.input_tokens > len("A card")
    tool = {"type": "function", "name": "f"}
    assert provider.most(ask(api="responses", max_output_tokens=50, tools=[tool])) is not None
    for more in (
        {"tools": [{"type": "web_search"}]},
        {"tools": [{"type": "image_generation"}]},
        {"service_tier": "priority"},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_image"}]}]},
    ):
        assert provider.most(ask(api="responses", max_output_tokens=50, **more)) is None
    assert provider.most(ask(api="responses")) is None


# -- pictures that go in -------------------------------------------------------------------------


def desk_with(*bodies: bytes) -> tuple[CallDesk, tuple[str, ...]]:
    desk = CallDesk()
    return desk, tuple(desk.keep(body, "image/png").sha256.hex() for body in bodies)


async def test_an_edit_is_a_form_with_its_pictures() -> None:
    """Sources go to images/edits as files; every other param is a text field."""
    desk, sources = desk_with(PNG, LARGE_PNG, PNG)
    request = ask(
        "gpt-image-2",
        sources,
        image=[{"source": 0}, {"source": 1}],
        mask={"source": 2},
        size="64x48",
        output_compression="80",
    )
    given = {"data": [{"b64_json": base64.b64encode(PNG).decode()}]}
    reply, body, heard = await bought(says(given), request, desk)
    assert (heard.method, heard.path) == ("POST", "/v1/images/edits")
    assert heard.headers["content-type"].startswith("multipart/form-data; boundary=")
    names = [part.split(b'"')[1].decode() for part in heard.body.split(b"form-data; name=")[1:]]
    assert sorted(names) == sorted(
        ["model", "prompt", "size", "output_compression", "image[]", "image[]", "mask"]
    )
    assert LARGE_PNG in heard.body
    assert b"Content-Type: image/png" in heard.body
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert body == PNG
    assert reply.media_type == "image/png"


@pytest.mark.parametrize(
    ("params", "body"),
    [
        ({"image": {"source": 0}}, b"these are words, no picture"),
        ({"style": {"source": 0}}, PNG),
        ({"mask": {"source": 0}}, PNG),
        ({"image": [{"source": 0}] * 17}, PNG),
    ],
    ids=["words", "no such place", "only a mask", "seventeen"],
)
async def test_sources_that_cannot_be_sent_are_invalid(params: dict[str, Any], body: bytes) -> None:
    """What the form has no place for, or is no image, is refused before anything is sent."""
    desk, sources = desk_with(body)
    async with speaking(says(CHAT)) as speaker:
        provider = made(speaker.url)
        with pytest.raises(CallFailed) as caught:
            await provider.call(desk.call(ask("gpt-image-2", sources, **params)))
        await provider.close()
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    assert caught.value.outcome.remedy
    assert speaker.heard == []


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_pictures_stand_beside_the_prompt(api: str) -> None:
    """A text model sees its sources as data: addresses; the load counts them."""
    desk, sources = desk_with(PNG)
    request = ask("gpt-x", sources, api=api, image={"source": 0})
    _, _, heard = await bought(says(CHAT if api == "chat" else PONG), request, desk)
    sent = heard.json
    url = "data:image/png;base64," + base64.b64encode(PNG).decode()
    content = (sent["messages"] if api == "chat" else sent["input"])[0]["content"]
    assert content == [
        {"type": "text" if api == "chat" else "input_text", "text": "A card"},
        {"type": "image_url", "image_url": {"url": url}}
        if api == "chat"
        else {"type": "input_image", "image_url": url, "detail": "auto"},
    ]
    assert "image" not in sent
    assert made("http://127.0.0.1:9/v1").load(request) == Load(tokens=1034 + 1024, tokens_in=1034)


# -- the shapes of delivery ----------------------------------------------------------------------


def address(url: str) -> dict[str, Any]:
    return {"created": 1, "data": [{"url": url}]}


def inline(body: bytes, media_type: str) -> str:
    return f"data:{media_type};base64,{base64.b64encode(body).decode()}"


SHAPES: dict[str, bytes] = {
    "b64_json": http({"data": [{"b64_json": base64.b64encode(LARGE_PNG).decode()}]}),
    "Together": http(
        {
            "data": [
                {"index": 0, "type": "b64_json", "b64_json": base64.b64encode(LARGE_PNG).decode()}
            ]
        }
    ),
    "both": http({"data": [{"url": None, "b64_json": base64.b64encode(LARGE_PNG).decode()}]}),
    "data:": http(address(inline(LARGE_PNG, "image/png"))),
    "data: escaped": http(
        json.dumps(address(inline(LARGE_PNG, "image/png"))).replace("/", "\\/").encode()
    ),
    "raw": http(LARGE_PNG, headers={"Content-Type": "image/png"}),
    "raw, mislabelled": http(LARGE_PNG, headers={"Content-Type": "image/webp"}),
    "raw, unlabelled": http(LARGE_PNG, headers={"Content-Type": "application/octet-stream"}),
}


@pytest.mark.parametrize("name", SHAPES)
async def test_an_image_is_found_in_every_shape(name: str) -> None:
    """However a server delivers, the bytes are the server's and the type is theirs."""
    reply, body, _ = await bought(speaks(SHAPES[name]), ask(api="images"))
    assert body == LARGE_PNG
    assert (reply.media_type, reply.artifact is not None) == ("image/png", True)


@pytest.mark.parametrize("url", ["/files/1.png", "http://{host}/files/1.png"])
async def test_an_address_is_fetched(url: str) -> None:
    """A relative address and one of the server itself are fetched, usage is kept."""

    async def answer(heard: Heard, writer: Any) -> None:
        if heard.method == "GET":
            assert heard.path == "/files/1.png"
            writer.write(http(LARGE_PNG))
            return
        told = address(url.format(host=heard.headers["host"]))
        writer.write(http({**told, "usage": {"total_tokens": 7}}))

    reply, body, heard = await bought(answer, ask(api="images"))
    assert heard.json["response_format"] == "b64_json"
    assert body == LARGE_PNG
    assert reply.facts == {"usage": {"total_tokens": 7}}


async def test_an_address_elsewhere_gets_no_key() -> None:
    """A download from another host goes without the key, and only where the owner named it."""
    async with speaking(says(PNG)) as files:
        told = address(f"http://127.0.0.1:{files.port}/1.png")
        _, body, _ = await bought(says(told), ask(api="images"), download_hosts=["127.0.0.1"])
        assert body == PNG
        assert "authorization" not in files.heard[0].headers
        refused = await fails(says(told), ask(api="images"))
        assert refused.kind is OutcomeKind.LOST_RESULT
        assert "download_hosts" in refused.remedy
        assert len(files.heard) == 1


async def test_an_expired_address_is_a_lost_result() -> None:
    """What was made and is gone is not bought again without asking."""

    async def answer(heard: Heard, writer: Any) -> None:
        writer.write(
            http(b"AccessDenied: Request has expired", 403)
            if heard.method == "GET"
            else http(address("/files/1.png"))
        )

    assert (await fails(answer, ask(api="images"))).kind is OutcomeKind.LOST_RESULT


@pytest.mark.parametrize(
    "body",
    [
        {"data": []},
        {"data": [{}]},
        {"data": [{"url": 7}]},
        {"data": [{"url": ""}]},
        {"data": [{"b64_json": ""}]},
        {"data": [{"url": "data:image/png"}]},
        {"data": [{"url": "data:image/png;base64,!!!!"}]},
        {"data": [{"url": "javascript:alert(1)"}]},
        {"data": "x"},
        CHAT,
    ],
)
async def test_emptiness_in_any_shape_is_no_output(body: dict[str, Any]) -> None:
    """Nothing, half an address, words where an image was due: tried again, never delivered."""
    assert (await fails(says(body), ask(api="images"))).kind is OutcomeKind.NO_OUTPUT


async def test_a_drawing_is_an_image_only_where_it_was_asked_for() -> None:
    """SVG is text that can hold scripts: the table or output_format has to say so."""
    for url in (inline(SVG, "image/svg+xml"), "data:image/svg+xml," + quote(SVG)):
        given = says(address(url))
        assert (await fails(given, ask(api="images"))).kind is OutcomeKind.NO_OUTPUT
        for request, table in (
            (ask(api="images"), {"svg": True}),
            (ask(api="images", output_format="svg"), {}),
        ):
            reply, body, _ = await bought(given, request, **table)
            assert (reply.media_type, body) == ("image/svg+xml", SVG)
    page = says(address(inline(b"<html><svg></svg></html>", "image/svg+xml")))
    assert (await fails(page, ask(api="images"), svg=True)).kind is OutcomeKind.NO_OUTPUT


async def test_an_image_inside_of_a_chat_is_the_result() -> None:
    """Modalities that hold "image" ask a chat for one: it comes as a data: address."""
    picture = {"type": "image_url", "image_url": {"url": inline(LARGE_PNG, "image/png")}}
    given = {"choices": [{"message": {"content": "Here", "images": [picture]}}]}
    request = ask(modalities=["image", "text"])
    _, body, _ = await bought(says(given), request, profile="openrouter")
    assert body == LARGE_PNG
    assert (await fails(says(CHAT), request)).kind is OutcomeKind.NO_OUTPUT


async def test_a_moderated_image_says_its_categories() -> None:
    """A refusal keeps the stage and the categories that the API names."""
    error = {
        "message": "Your request was rejected by the safety system.",
        "type": "image_generation_user_error",
        "code": "moderation_blocked",
        "moderation_details": {"moderation_stage": "output", "categories": ["violence", 7]},
    }
    outcome = await fails(says({"error": error}, 400), ask("gpt-image-2"))
    assert outcome.kind is OutcomeKind.REFUSED
    assert outcome.facts == {"moderation": {"stage": "output", "categories": ["violence"]}}


# -- profiles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_builds(name: str) -> None:
    """A table with nothing but the profile is enough; its error tables exist."""
    settings, profile = read_compatible("mine", {"profile": name}, {})
    assert str(settings.remote.base_url) == profile.base_url
    assert profile.signals in TABLES
    assert settings.remote.api_key_env == profile.key_env
    tables = {"mine": {"kind": "openai-compatible", "profile": name}}
    assert Shelf(tables, (), SystemClock())["mine"].name == "mine"


def test_a_server_of_no_known_kind_needs_its_address() -> None:
    """Without a profile there is no default address; the error lists the profiles."""
    with pytest.raises(ConfigError, match="where the server is") as caught:
        read_compatible("mine", {}, {})
    assert "openrouter" in caught.value.remedy
    with pytest.raises(ConfigError, match="not known") as caught:
        read_compatible("mine", {"profile": "vlm"}, {})
    assert "vllm" in caught.value.remedy
    settings, _ = read_compatible("mine", {"base_url": "http://10.0.0.5:9000/v1"}, {})
    assert settings.remote.api_key_env == ""


async def test_a_key_is_wanted_only_where_the_profile_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenRouter names its variable; a server of one's own on another machine needs no key."""
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    table: dict[str, Any] = {"profile": "openrouter"}
    remote = OpenAICompatibleProvider.from_config("mine", table, SystemClock())
    with pytest.raises(ConfigError, match="there is no key") as caught:
        await remote.open()
    assert "OPENROUTER_API_KEY" in caught.value.remedy
    table = {"profile": "vllm", "base_url": "http://10.0.0.5:8000/v1"}
    own = OpenAICompatibleProvider.from_config("mine", table, SystemClock())
    await own.open()
    await own.close()


async def test_together_is_asked_in_its_own_words() -> None:
    """Numbers of its own leave as numbers, and base64 is asked for by its word."""
    request = ask("flux", api="images", width="1024", height="768", steps="4", seed="7")
    given = {"data": [{"index": 0, "b64_json": base64.b64encode(PNG).decode()}]}
    _, _, heard = await bought(says(given), request, profile="together")
    assert heard.json == {
        "model": "flux",
        "prompt": "A card",
        "width": 1024,
        "height": 768,
        "steps": 4,
        "seed": 7,
        "response_format": "base64",
    }
    assert (await fails(says(CHAT), ask("flux", api="images", steps="x"), profile="together")).kind


async def test_a_server_without_edits_takes_no_pictures() -> None:
    """Together wants addresses in its own params: a file is invalid before it is sent."""
    desk, sources = desk_with(PNG)
    request = ask("flux", sources, api="images", image={"source": 0})
    outcome = await fails(says(CHAT), request, desk, profile="together")
    assert outcome.kind is OutcomeKind.INVALID


COSTS = {
    "litellm": (says(CHAT, headers={"x-litellm-response-cost": "0.00042"}), 420),
    "litellm, tiny": (says(CHAT, headers={"x-litellm-response-cost": "1.4e-6"}), 1),
    "litellm, zero": (says(CHAT, headers={"x-litellm-response-cost": "0.0"}), None),
    "litellm, odd": (says(CHAT, headers={"x-litellm-response-cost": "free"}), None),
    "litellm, huge": (says(CHAT, headers={"x-litellm-response-cost": "1e300"}), None),
    "litellm, none": (says(CHAT), None),
    "openrouter": (says({**CHAT, "usage": {"cost": 0.95, "total_tokens": 3}}), 950_000),
    "openrouter, odd": (says({**CHAT, "usage": {"cost": [1]}}), None),
    "openrouter, free": (says({**CHAT, "usage": {"cost": 0}}), 0),
}


@pytest.mark.parametrize("name", COSTS)
async def test_a_true_cost_is_kept_where_it_is_told(name: str) -> None:
    """In a header, or in the usage; nonsense is no cost, and neither is a zero of LiteLLM's."""
    answer, cost = COSTS[name]
    reply, _, _ = await bought(answer, ask(), profile=name.partition(",")[0])
    assert reply.cost_microusd == cost


DIALECTS = {
    # As OpenRouter, LiteLLM and Ollama were heard to answer.
    "openrouter": (
        200,
        {"error": {"code": 429, "message": "Provider returned error", "metadata": {"raw": "x"}}},
        {},
        OutcomeKind.RATE_LIMITED,
    ),
    "litellm": (
        429,
        {
            "error": {
                "message": "No deployments available for selected model.",
                "type": "internal_server_error",
                "code": "429",
            }
        },
        {"llm_provider-retry-after": "9"},
        OutcomeKind.RATE_LIMITED,
    ),
    "ollama": (
        503,
        {"error": "server busy, please try again.  maximum pending requests exceeded"},
        {},
        OutcomeKind.OVERLOADED,
    ),
    "vllm": (400, {"detail": [{"msg": "field required"}]}, {}, OutcomeKind.INVALID),
    "llama-cpp": (500, {"error": "slot unavailable"}, {}, OutcomeKind.TRANSIENT),
}


@pytest.mark.parametrize("name", DIALECTS)
async def test_each_server_is_understood_in_its_own_words(name: str) -> None:
    """Errors inside of a success, renamed headers, plain strings and lists of details."""
    status, body, headers, kind = DIALECTS[name]
    outcome = await fails(says(body, status, headers), ask(), profile=name)
    assert outcome.kind is kind
    if headers:
        assert outcome.wait_s == 9


class TestConformance(SpokenConformance):
    """The promises of every provider, kept by a profile over a real connection."""

    unknown_model = "another"
    refusal = http({"error": "content policy violation"}, 400)

    def calling(self, speaker: Speaker) -> Provider:
        return made(speaker.url, models=["m"], profile="litellm", api="images")

    def result(self, number: int) -> bytes:
        return http(address("/files/1.png"))

    async def answer(self, heard: Heard, writer: Any) -> None:
        if heard.method == "GET":
            writer.write(http(PNG))
            return
        await super().answer(heard, writer)

    def make_request(self, provider: Provider, number: int) -> Request:
        return Request(provider.name, "m", provider.version("m"), {"prompt": f"{number}"})

    async def make_failing(self, provider: Provider) -> Request | None:
        return ask(prompt="refuse")
