"""The stability provider over real connections: what is sent, and how every answer ends."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import SystemClock
from headrace.errors import NotFoundError, RecipeError
from headrace.limits import Dimension
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import Provider, Reply
from headrace.providers.simulated.png_body import PngBody
from headrace.providers.stability import SOURCE_BYTES_MAX, StabilityProvider
from headrace.request import Request, at_place
from headrace.testing import CallDesk
from tests.integration.conforming import SpokenConformance
from tests.integration.speaking import Answer, Heard, Speaker, closes_after, http, says, speaking

KEY = "sk-very-secret-0123456789"
PNG = PngBody(64, 48).whole(bytes(32))
LARGE_PNG = PngBody(256, 256, 700_000).whole(bytes(32))
MADE = {
    "Content-Type": "image/png",
    "finish-reason": "SUCCESS",
    "seed": "343940597",
    "x-request-id": "req-7",
}


def provider_at(url: str, **table: Any) -> StabilityProvider:
    named = {"base_url": url, "api_key": KEY, **table}
    return StabilityProvider.from_config("mine", named, SystemClock())


def ask(model: str = "core", sources: tuple[bytes, ...] = (), **params: Any) -> Request:
    digests = tuple(CallDesk().keep(one, "").sha256.hex() for one in sources)
    return Request("mine", model, "1", {"prompt": "Grüße, Mühle", **params}, digests)


def fields(heard: Heard) -> dict[str, bytes]:
    """The parts of a form by name, as they came."""
    mark = re.fullmatch(r"multipart/form-data; boundary=([\w-]+)", heard.headers["content-type"])
    assert mark is not None
    found: dict[str, bytes] = {}
    for part in heard.body.split(b"--" + mark[1].encode())[1:-1]:
        head, _, body = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        assert name is not None
        found[name[1].decode()] = body.removesuffix(b"\r\n")
    return found


async def made(
    answer: Answer, request: Request | None = None, *kept: bytes, **table: Any
) -> tuple[CallDesk, Reply | Outcome, list[Heard]]:
    """One call: where it came from, its reply or outcome, what was heard."""
    desk = CallDesk()
    for one in kept:
        desk.keep(one, "")
    async with speaking(answer) as speaker:
        provider = provider_at(speaker.url, **table)
        work = provider.call(desk.call(request or ask()))
        ended = (await asyncio.gather(work, return_exceptions=True))[0]
        await provider.close()
        heard = list(speaker.heard)
    if isinstance(ended, CallFailed):
        assert ended.__cause__ is None
        assert KEY not in repr(ended.outcome)
        assert ended.outcome.reason
        return desk, ended.outcome, heard
    if isinstance(ended, BaseException):
        raise ended
    return desk, ended, heard


async def bought(*given: Any, **table: Any) -> tuple[Reply, bytes, Heard]:
    desk, reply, heard = await made(*given, **table)
    assert isinstance(reply, Reply), reply
    assert len(heard) == 1
    return reply, desk.body_of(reply), heard[0]


async def fails(*given: Any, **table: Any) -> Outcome:
    _, outcome, heard = await made(*given, **table)
    assert isinstance(outcome, Outcome)
    assert len(heard) == 1, "not sent exactly once"
    return outcome


async def test_a_picture_is_asked_for_by_a_form_without_a_file() -> None:
    """All params are fields, the bytes come back with seed, id and model."""
    reply, body, heard = await bought(
        says(PNG, headers=MADE), ask(seed="7", aspect_ratio="16:9", output_format="png")
    )
    assert (heard.method, heard.path) == ("POST", "/v1/stable-image/generate/core")
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert heard.headers["accept"] == "image/*"
    assert fields(heard) == {
        "prompt": "Grüße, Mühle".encode(),
        "seed": b"7",
        "aspect_ratio": b"16:9",
        "output_format": b"png",
    }
    assert body == PNG
    assert (reply.media_type, reply.provider_request_id) == ("image/png", "req-7")
    assert reply.facts == {"model": "core", "seed": 343940597, "usage": {"images": 1}}
    assert (reply.cost_microusd, reply.estimate_microusd) == (None, None)


async def test_list_prices_are_estimates() -> None:
    """By the picture, for the models of both kinds; only at the official address or when told."""
    reply, _, _ = await bought(says(PNG, headers=MADE), prices={"core": {"image_usd": 0.03}})
    assert (reply.cost_microusd, reply.estimate_microusd) == (None, 30_000)
    official = StabilityProvider.from_config("stability", {"api_key": KEY}, SystemClock())
    found = [official.price(ask(one)).cost_microusd_max for one in ("ultra", "upscale/fast")]
    assert found == [80_000, 2_000]


@pytest.mark.parametrize(
    ("model", "path", "named"),
    [
        ("ultra", "generate/ultra", None),
        ("sd3", "generate/sd3", None),
        ("sd3.5-large", "generate/sd3", b"sd3.5-large"),
    ],
)
async def test_models_have_their_paths(model: str, path: str, named: bytes | None) -> None:
    """What is named sd3… shares a path and says its name in the form."""
    _, _, heard = await bought(says(PNG, headers=MADE), ask(model))
    assert heard.path == f"/v1/stable-image/{path}"
    assert fields(heard).get("model") == named
    assert "mode" not in fields(heard)


async def test_a_picture_goes_in_as_a_file() -> None:
    """Its kind is known by its bytes; sd3 is told that it is made from another."""
    request = ask("sd3.5-large", (PNG,), image=at_place(0), strength=" 0.60")
    _, _, heard = await bought(says(PNG, headers=MADE), request, PNG)
    form = fields(heard)
    assert form["image"] == PNG
    assert b'filename="image.png"' in heard.body
    assert b"Content-Type: image/png" in heard.body
    assert (form["strength"], form["mode"]) == (b"0.6", b"image-to-image")
    request = Request("mine", "upscale/fast", "1", {"image": at_place(0)}, request.sources)
    _, _, heard = await bought(says(PNG, headers=MADE), request, PNG)
    assert heard.path == "/v1/stable-image/upscale/fast"
    assert set(fields(heard)) == {"image"}


async def test_a_large_picture_is_streamed_to_the_spool() -> None:
    """It arrives in pieces and is an artifact, not a body."""
    desk, reply, _ = await made(says(LARGE_PNG, headers=MADE))
    assert isinstance(reply, Reply)
    assert reply.body is None
    assert desk.spools[0].pieces > 5
    assert desk.body_of(reply) == LARGE_PNG


async def test_a_picture_in_json_is_taken_out_of_it() -> None:
    """A stand-in may answer in JSON although it was not asked to."""
    told = {"image": base64.b64encode(LARGE_PNG).decode(), "finish_reason": "SUCCESS", "seed": 1}
    desk, reply, _ = await made(says(json.dumps(told).encode()))
    assert isinstance(reply, Reply)
    assert desk.body_of(reply) == LARGE_PNG
    told["finish_reason"] = "CONTENT_FILTERED"
    assert (await fails(says(json.dumps(told).encode()))).kind is OutcomeKind.REFUSED


LOCKED_OUT = (
    "You have exceeded the rate limit of 150 requests within a 10 second period, "
    "and have been timed out for 60 seconds."
)
ENDS: dict[str, tuple[Answer, OutcomeKind]] = {
    "blurred": (
        says(PNG, headers=MADE | {"finish-reason": "CONTENT_FILTERED"}),
        OutcomeKind.REFUSED,
    ),
    "moderated": (
        says(
            {"id": "1", "name": "content_moderation", "errors": ["Your request was flagged"]}, 403
        ),
        OutcomeKind.REFUSED,
    ),
    "key": (says({"name": "unauthorized", "errors": [f"bad key {KEY}"]}, 401), OutcomeKind.AUTH),
    "forbidden": (says({"name": "forbidden", "errors": ["no"]}, 403), OutcomeKind.AUTH),
    "money": (
        says({"name": "payment_required", "errors": ["x"]}, 402),
        OutcomeKind.QUOTA_EXHAUSTED,
    ),
    "input": (says({"name": "bad_request", "errors": ["seed: x"]}, 400), OutcomeKind.INVALID),
    "large": (says({"name": "payload_too_large", "errors": ["x"]}, 413), OutcomeKind.INVALID),
    "fault": (says({"name": "internal_error", "errors": ["x"]}, 500), OutcomeKind.TRANSIENT),
    "gateway": (says(b"<html>", 502), OutcomeKind.TRANSIENT),
    "text": (says(b"I cannot draw", headers={"Content-Type": "text/plain"}), OutcomeKind.NO_OUTPUT),
    "list": (says(b"[]"), OutcomeKind.NO_OUTPUT),
    "empty": (says(b"", headers=MADE), OutcomeKind.NO_OUTPUT),
    "cut": (says(PNG[:-20], headers=MADE), OutcomeKind.NO_OUTPUT),
    "breaks off": (closes_after(http(PNG, 200, MADE, 9_999)), OutcomeKind.LOST_RESULT),
    "silent": (closes_after(b""), OutcomeKind.UNKNOWN),
    "json without": (says({"seed": 1, "finish_reason": "SUCCESS"}), OutcomeKind.NO_OUTPUT),
    "json nonsense": (says(b'{"image": "no*base64", "seed": 1}'), OutcomeKind.NO_OUTPUT),
    "json huge": (says(b'{"x": "' + b" " * 2_000_000 + b'"}'), OutcomeKind.NO_OUTPUT),
}


@pytest.mark.parametrize("name", ENDS)
async def test_every_answer_ends_as_it_should(name: str) -> None:
    """Refusals hide in a success and in a 403; what is no picture is no output."""
    answer, kind = ENDS[name]
    assert (await fails(answer)).kind is kind


async def test_the_penalty_is_waited_for() -> None:
    """The text of a 429 tells for how long one is shut out."""
    outcome = await fails(says({"name": "rate_limit_exceeded", "errors": [LOCKED_OUT]}, 429))
    assert (outcome.kind, outcome.wait_s) == (OutcomeKind.RATE_LIMITED, 60)


def test_the_documented_limit_is_kept_to_unless_another_is_told() -> None:
    """150 requests in ten seconds, in one lane for the account."""
    provider = provider_at("http://127.0.0.1:9")
    (limit,) = provider.quota.limits
    assert (limit.dimension, limit.amount, limit.window_s) == (Dimension.REQUESTS, 150, 10)
    assert provider.quota.pinned
    assert provider.lane(ask("core")) == provider.lane(ask("ultra")) == "mine"
    told = provider_at("http://127.0.0.1:9", limits={"requests_per_second": 40}).quota.limits
    assert [(limit.amount, limit.window_s) for limit in told] == [(40, 1)]


PICTURE = {"image": at_place(0)}


@pytest.mark.parametrize(
    ("model", "params"),
    [
        ("core", {"seed": "x"}),
        ("core", {"strength": "much"}),
        ("core", {"output_format": "gif"}),
        ("core", {"model": "x"}),
        ("core", {"style": {"a": 1}}),
        ("core", {"prompt": "x" * 100_001}),
        ("sd3", PICTURE),
        ("upscale/fast", {}),
    ],
)
async def test_what_cannot_be_sent_is_told_when_the_recipe_is_read(
    model: str, params: dict[str, Any]
) -> None:
    """And again when a row fills it in; nothing is sent."""
    provider = provider_at("http://127.0.0.1:9")
    with pytest.raises(RecipeError):
        provider.check(model, params)
    given = {"prompt": "A mill"} | params
    request = Request("mine", model, "1", given, ask(sources=(PNG,)).sources)
    with pytest.raises(CallFailed) as caught:
        await provider.call(CallDesk().call(request))
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    provider.check("sd3", PICTURE | {"strength": "{{ strength }}"})
    provider.check("upscale/fast", PICTURE)
    with pytest.raises(NotFoundError):
        provider.check("upscale/creative", {})


@pytest.mark.parametrize("source", [b"no picture", PNG + bytes(SOURCE_BYTES_MAX)])
async def test_sources_that_cannot_go_in_send_nothing(source: bytes) -> None:
    """Other kinds and too many bytes are invalid."""
    request = ask("upscale/fast", (source,), image=at_place(0))
    _, outcome, heard = await made(says(PNG), request, source)
    assert isinstance(outcome, Outcome)
    assert (outcome.kind, heard) == (OutcomeKind.INVALID, [])


@given(st.text(), st.none() | st.text() | st.floats() | st.integers() | st.lists(st.integers()))
def test_any_param_is_judged(name: str, value: Any) -> None:
    """A param of any name and value is wrong or not, and nothing breaks."""
    provider = provider_at("http://127.0.0.1:9")
    for one in (name, "seed", "strength", "output_format"):
        assert isinstance(provider.wrong_param(one, value), str)


class TestConformance(SpokenConformance):
    """The promises of every provider, over a real connection."""

    unknown_model = "upscale/creative"
    refusal = http({"name": "content_moderation", "errors": ["no"]}, 403)

    def calling(self, speaker: Speaker) -> Provider:
        return provider_at(speaker.url)

    def result(self, number: int) -> bytes:
        return http(PNG, 200, MADE)

    def make_request(self, provider: Provider, number: int) -> Request:
        return Request(provider.name, "core", provider.version("core"), {"prompt": f"{number}"})

    async def make_failing(self, provider: Provider) -> Request | None:
        return ask(prompt="refuse")
