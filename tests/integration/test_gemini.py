"""The gemini provider over real connections: what is sent, and how every answer ends."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.config import Config
from headrace.engine import open_engine
from headrace.errors import ConfigError, NotFoundError, RecipeError
from headrace.lifecycle import ItemState
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import CrashClass, Provider, Reply
from headrace.providers.google import gemini_messages as messages
from headrace.providers.google.gemini import GeminiProvider
from headrace.providers.google.gemini_settings import read_gemini
from headrace.providers.simulated.png_body import PngBody
from headrace.recipe import parse_recipe
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.calling import Made, bought_at, fails_at, peak_bytes_of
from tests.integration.conforming import SpokenConformance
from tests.integration.speaking import (
    Answer,
    Heard,
    Speaker,
    closes_after,
    drips,
    http,
    in_parts,
    resets_after,
    says,
    speaking,
    speaks,
)

KEY = "AIza-very-secret-0123456789"
CLOCK = SystemClock()
PNG = PngBody(64, 48).whole(bytes(32))
LARGE_PNG = PngBody(256, 256, 700_000).whole(bytes(32))
SIGNATURE = base64.b64encode(bytes(range(256)) * 3200).decode()
RECORDED = {
    one["name"]: one
    for one in json.loads(
        (Path(__file__).parents[1] / "data/recorded/google.json").read_text("utf-8")
    )
}
PAINTER = "gemini-2.5-flash-image"
USAGE = {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14}


def whole(value: Any, image: bytes) -> Any:
    """A recorded answer with an image and signatures of the recorded weight put in again."""
    if isinstance(value, dict):
        return {key: whole(one, image) for key, one in value.items()}
    if isinstance(value, list):
        return [whole(one, image) for one in value]
    return {"@image": base64.b64encode(image).decode(), "@signature": SIGNATURE}.get(
        value if isinstance(value, str) else "", value
    )


def said(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> dict[str, Any]:
    candidate = {"content": {"role": "model", "parts": [*parts]}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": USAGE, **more}


def picture(body: bytes, **more: Any) -> dict[str, Any]:
    data = base64.b64encode(body).decode()
    return {"inlineData": {"mimeType": "image/png", "data": data}, **more}


def provider_at(url: str, **table: Any) -> GeminiProvider:
    table = {"base_url": url, "api_key": KEY, **table}
    return GeminiProvider.from_config("mine", table, CLOCK)


def made(**table: Any) -> Made:
    return lambda speaker: provider_at(speaker.origin, **table)


def ask(model: str = "gemini-x", **params: Any) -> Request:
    return Request("mine", model, "1", {"prompt": "A card", **params})


async def bought(
    answer: Answer, request: Request | None = None, **table: Any
) -> tuple[Reply, bytes, Heard]:
    """The reply to one call, its bytes, and what the server heard."""
    return await bought_at(answer, made(**table), request or ask())


async def fails(
    answer: Answer, request: Request | None = None, deadline_s: float = 30, **table: Any
) -> Outcome:
    """How one call ends that the server heard exactly once."""
    return await fails_at(answer, made(**table), request or ask(), KEY, deadline_s)


# -- what is sent --------------------------------------------------------------------------------


async def test_a_text_is_one_post_and_comes_back() -> None:
    """Path, key and body are Google's; text, usage, model and the id of the call come back."""
    answer = said(
        {"text": "Grüße, "}, {"text": "世界"}, modelVersion="gemini-x-001", responseId="r7"
    )
    reply, body, heard = await bought(says(answer), ask(system="Be brief", max_tokens="50"))
    assert (heard.method, heard.path) == ("POST", "/v1beta/models/gemini-x:generateContent")
    assert heard.headers["x-goog-api-key"] == KEY
    assert heard.headers["content-type"] == "application/json"
    assert "authorization" not in heard.headers
    assert heard.json == {
        "contents": [{"role": "user", "parts": [{"text": "A card"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief"}]},
        "generationConfig": {"maxOutputTokens": 50},
    }
    assert (reply.media_type, body.decode()) == ("text/plain", "Grüße, 世界")
    assert reply.provider_request_id == "r7"
    assert reply.cost_microusd is None
    assert reply.facts == {"usage": USAGE, "model": "gemini-x-001"}
    assert reply.said is not None
    assert reply.said.tokens == 9, "limits of tokens count what goes in"


async def test_another_version_and_a_tuned_model_have_their_paths() -> None:
    """The version of the API is a setting; tuned models lie beside the others."""
    _, _, heard = await bought(says(said({"text": "x"})), ask("tunedModels/my-1"), api_version="v1")
    assert heard.path == "/v1/tunedModels/my-1:generateContent"


async def test_json_is_called_json_when_it_was_asked_for() -> None:
    """A schema goes along with its media type, and the answer is application/json."""
    request = ask(response_schema={"type": "OBJECT"})
    reply, body, heard = await bought(says(said({"text": '{"a": 1}'})), request)
    assert heard.json["generationConfig"]["responseMimeType"] == "application/json"
    assert (reply.media_type, json.loads(body)) == ("application/json", {"a": 1})


async def test_pictures_go_in_beside_the_prompt() -> None:
    """Sources are read before anything is sent, and known by their bytes."""
    async with speaking(says(said(picture(PNG)))) as speaker:
        provider, desk = provider_at(speaker.origin), CallDesk()
        digests = tuple(desk.keep(body, "x/y").sha256.hex() for body in (PNG, b"\xff\xd8\xff" * 9))
        params = {"prompt": "Add a hat", "image": [{"source": 1}, {"source": 0}]}
        await provider.call(desk.call(Request("mine", PAINTER, "1", params, digests)))
        odd = desk.keep(b"#!/bin/sh", "image/png").sha256.hex()
        params = {"prompt": "x", "image": {"source": 0}}
        with pytest.raises(CallFailed, match="no picture") as caught:
            await provider.call(desk.call(Request("mine", PAINTER, "1", params, (odd,))))
        assert caught.value.outcome.kind is OutcomeKind.INVALID
        with pytest.raises(CallFailed, match="does not have"):
            await provider.call(desk.call(Request("mine", PAINTER, "1", params)))
        await provider.close()
    assert len(speaker.heard) == 1
    parts = speaker.heard[0].json["contents"][0]["parts"]
    assert [part.get("inlineData", {}).get("mimeType") for part in parts] == [
        "image/jpeg",
        "image/png",
        None,
    ]
    assert base64.b64decode(parts[1]["inlineData"]["data"]) == PNG
    assert parts[2] == {"text": "Add a hat"}


@pytest.mark.parametrize("params", [{"temperature": "hot"}, {"stream": True}])
async def test_what_cannot_be_sent_is_not(params: dict[str, Any]) -> None:
    """A wrong param of a row ends as invalid before any connection."""
    provider = provider_at("http://127.0.0.1:9")
    with pytest.raises(CallFailed) as caught:
        await provider.call(CallDesk().call(ask(**params)))
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    with pytest.raises(RecipeError):
        provider.check("gemini-x", params)
    provider.check("gemini-x", {"temperature": "{{ warmth }}", "image": {"source": 0}})


# -- recorded exchanges ----------------------------------------------------------------------------


@pytest.mark.parametrize("image", [PNG, LARGE_PNG], ids=["held", "spooled"])
async def test_a_recorded_image_with_signatures_as_heavy_as_itself(image: bytes) -> None:
    """Words and signatures of thoughts are passed over; the image is the result."""
    recorded = RECORDED["image with words"]
    request = Request(
        "mine",
        "gemini-3-pro-image-preview",
        "1",
        {"prompt": recorded["asked"]["contents"][0]["parts"][0]["text"]},
    )
    reply, body, heard = await bought(says(whole(recorded["answered"], image)), request)
    assert heard.path == recorded["path"]
    assert heard.json == recorded["asked"]
    assert (reply.media_type, body) == ("image/png", image)
    assert (reply.artifact is None) == (image is PNG)
    assert reply.provider_request_id == "QV8oae6ZGKGnmtkPoanu6A0"
    assert reply.facts == {
        "model": "gemini-3-pro-image-preview",
        "usage": {
            "candidatesTokenCount": 1283,
            "candidatesImageTokenCount": 1120,
            "promptTokenCount": 14,
            "promptTextTokenCount": 14,
            "thoughtsTokenCount": 174,
            "totalTokenCount": 1471,
        },
    }


async def test_a_recorded_text_that_was_withheld() -> None:
    """Recorded with finishReason SAFETY and an empty content: refused, with usage."""
    recorded = RECORDED["text withheld"]
    asked = recorded["asked"]
    request = Request(
        "mine",
        "gemini-1.5-flash",
        "1",
        {
            "prompt": asked["contents"][0]["parts"][0]["text"],
            "system": asked["systemInstruction"],
            "safetySettings": asked["safetySettings"],
        },
    )
    outcome = await fails(says(recorded["answered"]), request)
    assert (outcome.kind, outcome.provider_request_id) == (
        OutcomeKind.REFUSED,
        "5lpeaLOIBf__698Pv8HGgAg",
    )
    assert "SAFETY" in outcome.reason
    assert outcome.facts["usage"]["promptTokenCount"] == 14


@pytest.mark.parametrize("name", ["text in pieces", "text in pieces again"])
async def test_recorded_thoughts_are_no_part_of_the_text(name: str) -> None:
    """The pieces that were recorded, as the one answer that they are without streaming."""
    pieces = RECORDED[name]["answered"]
    parts = [p for piece in pieces for p in piece["candidates"][0]["content"]["parts"]]
    assert any(part.get("thought") for part in parts)
    answer = {**pieces[-1], "candidates": [{**pieces[-1]["candidates"][0]}]}
    answer["candidates"][0]["content"] = {"parts": parts, "role": "model"}
    reply, body, _ = await bought(says(whole(answer, PNG)), ask("gemini-flash-latest"))
    assert body.decode() == "".join(p["text"] for p in parts if not p.get("thought"))
    assert 0 < len(body) < 200
    assert reply.facts["usage"]["thoughtsTokenCount"] > 0


# -- answers ---------------------------------------------------------------------------------------


async def test_the_image_is_the_first_that_is_no_thought() -> None:
    """A picture of the thinking, also one that is none, does not become the result."""
    answer = said(
        picture(LARGE_PNG, thought=True),
        picture(b"no image at all, but long enough", thought=True),
        {"text": "Here"},
        picture(PNG),
        picture(LARGE_PNG),
    )
    _, body, _ = await bought(says(answer), ask(PAINTER))
    assert body == PNG


async def test_an_image_is_known_by_its_bytes() -> None:
    """Sound under the name of a picture is no result; a later picture is."""
    _, body, _ = await bought(says(said(picture(b"ID3" + bytes(60)), picture(PNG))), ask(PAINTER))
    assert body == PNG
    outcome = await fails(says(said(picture(b"ID3" + bytes(60)))), ask(PAINTER))
    assert outcome.kind is OutcomeKind.NO_OUTPUT
    assert "audio/mpeg" in outcome.reason


async def test_words_instead_of_an_image_are_told() -> None:
    """HTTP 200 with words alone is no image: tried again, and the words are the reason."""
    answer = said({"text": f"I cannot draw {KEY}"})
    outcome = await fails(says(answer), ask(PAINTER))
    assert outcome.kind is OutcomeKind.NO_OUTPUT
    assert "I cannot draw [key]" in outcome.reason
    assert outcome.facts["usage"] == USAGE


async def test_a_truncated_text_is_a_success_that_says_so() -> None:
    """FinishReason MAX_TOKENS with text is delivered, with a fact."""
    reply, body, _ = await bought(says(said({"text": "half a"}, finish="MAX_TOKENS")))
    assert (body, reply.facts["truncated"]) == (b"half a", True)


NO_RESULT = {
    "blocked": ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": USAGE},
                OutcomeKind.REFUSED),
    "no parts": (said(finish="STOP"), OutcomeKind.NO_OUTPUT),
    "no candidates": ({"candidates": [], "usageMetadata": USAGE}, OutcomeKind.NO_OUTPUT),
    "only thoughts": (said({"text": "Hm", "thought": True}), OutcomeKind.NO_OUTPUT),
    "cut off": (said(finish="MAX_TOKENS"), OutcomeKind.INVALID),
    "a call": (said({"functionCall": {"name": "f"}}), OutcomeKind.INVALID),
    "an error": ({"error": {"code": 503, "message": "The model is overloaded."}},
                 OutcomeKind.OVERLOADED),
    "an error beside words": (said({"text": "ha"}, error={"code": 429, "message": "Slow down"}),
                              OutcomeKind.RATE_LIMITED),
    "nothing": ({}, OutcomeKind.NO_OUTPUT),
    "another API": ({"choices": [{"message": {"content": "hi"}}]}, OutcomeKind.NO_OUTPUT),
    "odd types": ({"candidates": {"content": 5}, "usageMetadata": "x"}, OutcomeKind.NO_OUTPUT),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_RESULT)
async def test_answers_without_a_result_are_told_apart(name: str) -> None:
    """Refused, empty, cut off before the first word, an error under 200, and another form."""
    answer, kind = NO_RESULT[name]
    assert (await fails(says(answer))).kind is kind


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Welcome to the hotel's network</body></html>",
        b"[]",
        b'"words"',
        b"\xff\xfe",
        b"[" * 99999,
        b'{"candidates": ' + b'{"a": ' * 5000,
    ],
    ids=["empty", "html", "array", "string", "not UTF-8", "deep", "deeper"],
)
@pytest.mark.parametrize("model", ["gemini-x", PAINTER])
async def test_a_success_that_cannot_be_read_is_no_success(body: bytes, model: str) -> None:
    """Whatever comes as 200 and is no answer ends the call with an outcome."""
    assert (await fails(says(body), ask(model))).kind is not OutcomeKind.SUCCESS


async def test_an_image_that_breaks_off_is_lost() -> None:
    """After a status of 200 the work is done: it is not repeated without asking."""
    raw = json.dumps(said(picture(LARGE_PNG))).encode()
    cut = http(raw[:300_000], claimed_bytes=900_000)
    for answer in (speaks(http(raw[:300_000])), closes_after(cut), resets_after(cut)):
        assert (await fails(answer, ask(PAINTER))).kind is OutcomeKind.LOST_RESULT


async def test_a_body_without_end_is_bounded() -> None:
    """What stands beside the images is capped; a drip ends at the deadline."""
    long = says(b'{"text": "' + b"x" * (17 * 1024 * 1024))
    assert (await fails(long)).kind is OutcomeKind.LOST_RESULT
    assert (await fails(long, ask(PAINTER))).kind is OutcomeKind.NO_OUTPUT
    found: list[Speaker] = []
    raw = http(b"{", claimed_bytes=100_000)
    async with speaking(drips(raw, lambda: found[0])) as speaker:
        found.append(speaker)
        provider = provider_at(speaker.origin)
        with pytest.raises(CallFailed) as caught:
            await provider.call(CallDesk(deadline_s=0.4).call(ask()))
        await provider.close()
    assert caught.value.outcome.kind is OutcomeKind.LOST_RESULT


async def test_large_images_at_once_take_little_memory(tmp_path: Path) -> None:
    """Eight images of 4 MB with signatures arrive side by side in the memory of two."""
    body = PngBody(256, 256, 4_000_000).whole(bytes(32))
    raw = http(whole(RECORDED["image with words"]["answered"], body))
    many = [ask(PAINTER, seed=seed) for seed in range(8)]
    async with speaking(in_parts(raw)) as speaker:
        peak_bytes = await peak_bytes_of(provider_at(speaker.origin), many, body, tmp_path)
    assert peak_bytes < 8_000_000, peak_bytes


# -- costs -----------------------------------------------------------------------------------------

PRICES = {
    "gemini-3-pro-image-preview": {
        "input_usd_per_million": 2,
        "output_usd_per_million": 12,
        "image_output_usd_per_million": 120,
    },
    "gemini-x": {"input_usd_per_million": 1, "output_usd_per_million": 10},
}


async def test_a_recorded_image_is_estimated_by_its_tokens() -> None:
    """Words in, words and thoughts out, and the image's own tokens, each at its price."""
    request = ask("gemini-3-pro-image-preview")
    answer = says(whole(RECORDED["image with words"]["answered"], PNG))
    reply, _, _ = await bought(answer, request, prices=PRICES)
    assert reply.cost_microusd is None
    assert reply.estimate_microusd == 14 * 2 + (1283 - 1120 + 174) * 12 + 1120 * 120


async def test_what_another_price_holds_for_is_not_estimated() -> None:
    """Other tiers and tools that run at Google are unknown, never wrong."""
    for usage in ({**USAGE, "serviceTier": "flex"}, {**USAGE, "trafficType": "PROVISIONED"}):
        answer = {**said({"text": "x"}), "usageMetadata": usage}
        reply, _, _ = await bought(says(answer), prices=PRICES)
        assert reply.estimate_microusd is None
    for params in ({"tools": [{"google_search": {}}]}, {"service_tier": "priority"}):
        reply, _, _ = await bought(says(said({"text": "x"})), ask(**params), prices=PRICES)
        assert reply.estimate_microusd is None
    ordinary = {**USAGE, "serviceTier": "standard", "trafficType": "ON_DEMAND"}
    answer = {**said({"text": "x"}), "usageMetadata": ordinary}
    reply, _, _ = await bought(says(answer), prices=PRICES)
    assert reply.estimate_microusd == 9 + 50


async def test_failures_that_used_tokens_are_estimated_too() -> None:
    """A text that was withheld has a usage, and so a price."""
    outcome = await fails(says(said(finish="SAFETY")), prices=PRICES)
    assert outcome.estimate_microusd == 9 + 50


def test_the_most_a_call_can_cost() -> None:
    """Known where the output has a most of its own and nothing but text goes in."""
    provider = provider_at("http://127.0.0.1:9", prices=PRICES)
    request = ask(max_tokens="100")
    size = len(messages.body_of(request))
    assert provider.price(request).cost_microusd_max == size + 1000
    painted = ask("gemini-3-pro-image-preview", config={"maxOutputTokens": 2000})
    size = len(messages.body_of(painted))
    assert provider.price(painted).cost_microusd_max == size * 2 + 2000 * 120
    unknown = [
        ask(),
        ask(max_tokens=9, tools=[]),
        ask(max_tokens=9, cached_content="x"),
        ask(max_tokens="many"),
        ask(max_tokens=9, contents=[{"parts": [{"fileData": {}}]}]),
        Request("mine", "gemini-x", "1", {"prompt": "x", "max_tokens": 9}, ("ab",)),
    ]
    assert {provider.price(one).cost_microusd_max for one in unknown} == {None}


# -- what goes wrong -------------------------------------------------------------------------------


def samples() -> Iterator[Any]:
    """The error responses that are known of Google's API, with what they mean."""
    path = Path(__file__).parents[1] / "data/error_responses.jsonl"
    for line in path.read_text("utf-8").splitlines():
        sample = json.loads(line)
        if sample["provider"] == "gemini" and sample["status"] != 200:
            yield pytest.param(sample, id=sample["id"])


@pytest.mark.parametrize("sample", [*samples()])
async def test_known_errors_end_as_they_are_known_to(sample: dict[str, Any]) -> None:
    """Class and wait of every error that was collected; a day's quota waits for midnight."""
    outcome = await fails(says(sample["body"], sample["status"]))
    assert outcome.kind.value == sample["expect"]["class"]
    if outcome.kind is OutcomeKind.QUOTA_EXHAUSTED:
        assert outcome.wait_s is not None
        assert 1 <= outcome.wait_s <= 25 * 3600
        assert "California" in outcome.remedy
    else:
        assert outcome.wait_s == sample["expect"]["wait_s"]


async def test_a_key_that_is_not_valid_is_said_without_the_key() -> None:
    """Google answers 400 to a wrong key, and some servers quote it."""
    error = {"code": 400, "message": f"API key not valid: {KEY}", "status": "INVALID_ARGUMENT"}
    outcome = await fails(says({"error": error}, 400))
    assert outcome.kind is OutcomeKind.AUTH


async def test_redirects_are_not_followed() -> None:
    """The key goes to base_url's host and to no other."""
    async with speaking(says(said({"text": "x"}))) as other:
        for status in (302, 307):
            await fails(says(b"", status, {"Location": f"{other.origin}/v1beta"}))
        assert other.heard == []


async def test_a_call_that_was_sent_and_not_answered_is_unknown() -> None:
    """A reset or a close after the request: it may have been done."""
    for answer in (resets_after(b""), closes_after(b"HTTP/1.1 20")):
        assert (await fails(answer)).kind is OutcomeKind.UNKNOWN


# -- settings --------------------------------------------------------------------------------------


def test_settings_and_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the API is by default, whose key, and which names are no models."""
    env = {"GEMINI_API_KEY": "k1", "GOOGLE_GEMINI_BASE_URL": "https://proxy.example/g/"}
    settings = read_gemini("gemini", {}, env)
    assert str(settings.remote.base_url) == "https://proxy.example/g"
    assert settings.headers() == {"x-goog-api-key": "k1"}
    assert "k1" not in repr(settings)
    assert str(read_gemini("gemini", {}, {}).remote.base_url) == (
        "https://generativelanguage.googleapis.com"
    )
    with pytest.raises(ConfigError, match="api_version"):
        read_gemini("gemini", {"api_version": "../v1"}, {})
    provider = provider_at("http://127.0.0.1:9", models=["gemini-x"])
    assert provider.lane(ask()) == "mine/gemini-x"
    assert provider.crash_class is CrashClass.BLIND
    for name in ("gemini-y", "../gemini-x", "models/gemini-x", "a?key=1", "", "a b"):
        with pytest.raises(NotFoundError):
            provider.version(name)


async def test_a_key_can_be_tried_without_buying() -> None:
    """The list of models is asked for; without a key the error names the variable."""
    async with speaking(says({"models": []}), says({"error": {"code": 403}}, 403)) as speaker:
        provider = provider_at(speaker.origin)
        first, second = await provider.probe(), await provider.probe()
        await provider.close()
    assert first is not None
    assert second is not None
    assert (first.kind, second.kind) == (OutcomeKind.SUCCESS, OutcomeKind.AUTH)
    assert (speaker.heard[0].method, speaker.heard[0].path) == ("GET", "/v1beta/models")
    remote = GeminiProvider.from_config("mine", {"api_key_env": "NO_SUCH_VARIABLE_SET"}, CLOCK)
    with pytest.raises(ConfigError, match="NO_SUCH_VARIABLE_SET"):
        await remote.open()


class TestConformance(SpokenConformance):
    """The promises of every provider, over a real connection."""

    unknown_model = "another"
    refusal = http(said(finish="SAFETY"))

    def calling(self, speaker: Speaker) -> Provider:
        return provider_at(speaker.origin, models=["gemini-x"])

    def result(self, number: int) -> bytes:
        return http(said({"text": f"text {number}"}))

    def make_request(self, provider: Provider, number: int) -> Request:
        return Request(provider.name, "gemini-x", provider.version("gemini-x"), {"prompt": "p"})

    async def make_failing(self, provider: Provider) -> Request | None:
        return ask(prompt="refuse")


async def test_a_picture_is_painted_and_painted_on_by_the_engine(
    database_url: str, tmp_path: Path
) -> None:
    """From a table in the settings to delivered items: the second stage is sent the first's."""
    second = PngBody(32, 32).whole(bytes(32))

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        given = [part for part in heard.json["contents"][0]["parts"] if "inlineData" in part]
        assert all(base64.b64decode(one["inlineData"]["data"]) == LARGE_PNG for one in given)
        writer.write(http(said(picture(second if given else LARGE_PNG))))

    stage = {"kind": "generate", "model": f"mine:{PAINTER}"}
    stages = [
        {**stage, "name": "paint", "prompt": "{{ t }}", "params": {"aspect_ratio": "{{ a }}"}},
        {**stage, "name": "hat", "prompt": "Add a hat", "image": "previous"},
    ]
    recipe = parse_recipe({"name": "hats", "stages": stages}, "test")
    async with speaking(answer) as speaker:
        table = {
            "kind": "gemini",
            "base_url": speaker.origin,
            "limits": {"requests_per_second": 99},
        }
        config = Config(home=str(tmp_path), database_url=database_url, providers={"mine": table})
        async with open_engine(config) as engine:
            given = [{"t": f"row {number}", "a": "16:9"} for number in range(3)]
            batch = await engine.submit(given, recipe, columns=["t", "a"])
            await batch.done()
            items = [item async for item in batch.items()]
    assert {item.state for item in items} == {ItemState.SUCCEEDED}
    assert {item.artifact and item.artifact.sha256 for item in items} == {
        hashlib.sha256(second).digest()
    }
    first = next(one.json for one in speaker.heard if b"row 1" in one.body)
    assert first["generationConfig"]["imageConfig"] == {"aspectRatio": "16:9"}
    # All rows gave the same picture, and the same work is bought once.
    assert len(speaker.heard) == 4
