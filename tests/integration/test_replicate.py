"""The replicate provider over real connections: what is sent, and how predictions end."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config, Retry
from headrace.engine import open_engine
from headrace.errors import ConfigError, NotFoundError, RecipeError
from headrace.lifecycle import ItemState
from headrace.outcome import Outcome, OutcomeKind
from headrace.provider import CrashClass, Provider, Reply
from headrace.providers.replicate.adapter import ReplicateProvider
from headrace.providers.replicate.settings import read_replicate
from headrace.providers.simulated.png_body import PngBody
from headrace.recipe import parse_recipe
from headrace.request import Request, at_place
from headrace.store.audit import verify
from headrace.submission import Terms
from headrace.testing import CallDesk
from tests.integration.calling import failure_of, reply_of
from tests.integration.conforming import RehearsedConformance
from tests.integration.playing import HurriedClock, Played, playing
from tests.integration.speaking import Answer, Heard, closes_after, http, resets_after, says

KEY = "r8_verysecret0123456789abcdefghijklmnopqrs"
PNG = PngBody(64, 48).whole(bytes(32))
FILM = b"\0\0\0\x20ftypisom\0\0\0\0isomiso2" + bytes(4000)
FLUX = "black-forest-labs/flux-schnell"
VERSION = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"
ID = "kr2d2jhqbsrj60cjb2vtmekgh4"
RECORDED = {
    one["name"]: one
    for one in map(
        json.loads,
        (Path(__file__).parents[1] / "data/replicate_recorded.jsonl").read_text().splitlines(),
    )
}
"""Real exchanges of the years 2023 and 2024, as the official Python client's own tests and
an open tracing library recorded them; logs are cut."""


def provider_at(url: str, **table: Any) -> ReplicateProvider:
    full = {"base_url": f"{url}/v1", "api_key": KEY, **table}
    return ReplicateProvider.from_config("replicate", full, HurriedClock())


def ask(model: str = FLUX, **params: Any) -> Request:
    return Request("replicate", model, "1", {"prompt": "A card", **params})


def told(status: str = "starting", **more: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "model": FLUX,
        "version": "hidden",
        "input": {"prompt": "A card", "seed": 7},
        "output": None,
        "error": None,
        "data_removed": False,
        "status": status,
        "urls": {"get": f"https://api.replicate.com/v1/predictions/{ID}"},
        **more,
    }


def file_of(played: Played, name: str = "out-0.png") -> str:
    return f"{played.origin}/files/{name}"


@asynccontextmanager
async def played_with(*looks: Any, created: Any = None) -> AsyncIterator[Played]:
    """An API that creates a prediction which stands as ``looks`` say, and serves PNGs."""
    async with playing() as played:
        played.on("POST", "/v1/", says(created or told(), 201))
        answers = [one if callable(one) else says(one) for one in looks]
        if answers:
            played.on("GET", "/v1/predictions/", *answers)
        played.on("GET", "/files/", says(PNG, headers={"Content-Type": "image/png"}))
        yield played


async def bought(
    played: Played, request: Request | None = None, desk: CallDesk | None = None, **table: Any
) -> tuple[Reply, CallDesk]:
    desk = desk or CallDesk()
    return await reply_of(provider_at(played.origin, **table), desk.call(request or ask())), desk


async def fails(
    played: Played, request: Request | None = None, desk: CallDesk | None = None, **table: Any
) -> Outcome:
    call = (desk or CallDesk()).call(request or ask())
    return await failure_of(provider_at(played.origin, **table), call, KEY)


async def ends(*looks: Any, request: Request | None = None) -> Outcome:
    """How a prediction ends that is created once, whatever the looks say."""
    async with played_with(*looks) as played:
        outcome = await fails(played, request)
        assert len(played.heard("POST")) == 1
        return outcome


# -- what is sent ---------------------------------------------------------------------------------


async def test_a_prediction_is_created_written_down_followed_and_fetched() -> None:
    """One POST; the id is durable before the first look; the file comes back with the facts."""
    async with playing() as played:
        done = told(
            "succeeded",
            output=[file_of(played)],
            metrics={"predict_time": 3.804328, "total_time": 5, "image_count": 1},
        )
        desk = CallDesk()

        async def looked(heard: Heard, writer: asyncio.StreamWriter) -> None:
            assert desk.accepted == [(ID, None)]
            state = told("processing") if len(played.heard("GET", "/v1/")) == 1 else done
            writer.write(http(state))

        played.on("POST", "/v1/", says(told(), 201))
        played.on("GET", "/v1/predictions/", looked)
        played.on("GET", "/files/", says(PNG))
        request = ask(width="512", guidance_scale="2.5", seed=7, aspect_ratio="1:1")
        reply, desk = await bought(played, request, desk)
    create = played.heard("POST")[0]
    assert create.path == f"/v1/models/{FLUX}/predictions"
    assert create.json == {
        "input": {
            "prompt": "A card",
            "width": 512,
            "guidance_scale": 2.5,
            "seed": 7,
            "aspect_ratio": "1:1",
        }
    }
    assert create.headers["authorization"] == f"Bearer {KEY}"
    assert "prefer" not in create.headers
    assert [one.path for one in played.heard("GET", "/v1/")] == [f"/v1/predictions/{ID}"] * 2
    assert (reply.media_type, desk.body_of(reply)) == ("image/png", PNG)
    assert reply.provider_request_id == ID
    assert reply.cost_microusd is None
    assert reply.facts == {
        "model": FLUX,
        "seed": 7,
        "usage": {"predict_time_ms": 3804, "total_time_ms": 5000, "image_count": 1},
    }


@pytest.mark.parametrize(
    ("model", "path", "version"),
    [
        (FLUX, f"/v1/models/{FLUX}/predictions", None),
        (f"stability-ai/sdxl:{VERSION}", "/v1/predictions", f"stability-ai/sdxl:{VERSION}"),
        (VERSION, "/v1/predictions", VERSION),
        ("deployments/acme/cards", "/v1/deployments/acme/cards/predictions", None),
    ],
)
async def test_each_kind_of_model_has_its_address(
    model: str, path: str, version: str | None
) -> None:
    """Official models, versions and deployments are created where the API wants them."""
    async with played_with(told("succeeded", output="Words")) as played:
        await bought(played, ask(model))
    create = played.heard("POST")[0]
    assert create.path == path
    assert create.json.get("version") == version


@pytest.mark.parametrize(
    "model", ["", "flux", "a/b/c", "../x", "a/b:", "a/b?x=1", "A" * 999 + "/b"]
)
async def test_what_is_no_model_is_not_asked_for(model: str) -> None:
    """A name that leads nowhere is named before anything starts."""
    provider = provider_at("http://127.0.0.1:1")
    with pytest.raises(NotFoundError) as caught:
        provider.version(model)
    assert "owner/name" in caught.value.remedy


async def test_params_that_can_never_fit_are_named_before_anything_starts() -> None:
    """Numbers that are none, and an output below the first."""
    provider = provider_at("http://127.0.0.1:1")
    for params in ({"width": "wide"}, {"output_index": -1}, {"output_index": "one"}):
        with pytest.raises(RecipeError):
            provider.check(FLUX, params)
    provider.check(FLUX, {"width": "{{ width }}", "output_index": "2", "scheduler": "K_EULER"})
    async with played_with() as played:
        outcome = await fails(played, ask(seed="seven"))
        assert outcome.kind is OutcomeKind.INVALID
        assert played.speaker.heard == []


async def test_a_small_picture_goes_in_inline_and_a_large_one_is_uploaded() -> None:
    """Up to 256 kB as a data: address, above that as a file of the account."""
    large = PngBody(400, 400, 400_000).whole(bytes(32))
    async with played_with(told("succeeded", output="Words")) as played:
        uploaded = json.loads(json.dumps(RECORDED["uploaded"]["body"]))
        played.on("POST", "/v1/files", says(uploaded, 201))
        desk = CallDesk()
        digests = [desk.keep(body, "image/png").sha256.hex() for body in (PNG, large)]
        request = ask(image=at_place(0), references=[at_place(1), at_place(0)])
        request = replace(request, sources=tuple(digests))
        await bought(played, request, desk)
    given = played.heard("POST", "/v1/models")[0].json["input"]
    inline = "data:image/png;base64," + base64.b64encode(PNG).decode()
    assert given["image"] == inline
    assert given["references"] == [uploaded["urls"]["get"], inline]
    upload = played.heard("POST", "/v1/files")
    assert len(upload) == 1
    assert b'name="content"' in upload[0].body
    assert large in upload[0].body


async def test_an_upload_that_broke_off_has_bought_nothing() -> None:
    """It is made again, whatever became of it."""
    large = PngBody(400, 400, 400_000).whole(bytes(32))
    for answer in (says(b"<html>", 524), resets_after(b""), says({"urls": "x"}, 201)):
        async with played_with() as played:
            played.on("POST", "/v1/files", answer)
            desk = CallDesk()
            digest = desk.keep(large, "image/png").sha256.hex()
            request = replace(ask(image=at_place(0)), sources=(digest,))
            outcome = await fails(played, request, desk)
            assert outcome.kind is OutcomeKind.TRANSIENT
            assert played.heard("POST", "/v1/models") == []


async def test_the_variable_may_name_the_server_alone() -> None:
    """By custom REPLICATE_BASE_URL has no version in it; a table's base_url is taken as it is."""
    environment = {"REPLICATE_BASE_URL": "http://127.0.0.1:8080", "REPLICATE_API_TOKEN": KEY}
    settings = read_replicate("r", {}, environment)
    assert str(settings.remote.base_url) == "http://127.0.0.1:8080/v1"
    assert settings.headers() == {"Authorization": f"Bearer {KEY}"}
    table = {"base_url": "http://127.0.0.1:4010"}
    assert str(read_replicate("r", table, environment).remote.base_url) == table["base_url"]
    with pytest.raises(ConfigError, match="more than 60"):
        read_replicate("r", {"wait_s": 61}, environment)


async def test_all_models_share_the_accounts_quota() -> None:
    """The limits on creates are the account's, so there is one lane."""
    provider = provider_at("http://127.0.0.1:1")
    assert provider.lane(ask()) == provider.lane(ask("meta/llama")) == "replicate"


# -- Prefer: wait ---------------------------------------------------------------------------------


async def test_a_create_that_was_held_open_may_be_whole_at_once() -> None:
    """Recorded: 201 with all of the output while its state still says processing."""
    waited = RECORDED["waited for"]
    async with played_with(created=waited["body"]) as played:
        request = ask("meta/meta-llama-3-8b-instruct")
        reply, desk = await bought(played, request, wait_s=10)
        assert played.heard("GET") == []
    assert played.heard("POST")[0].headers["prefer"] == "wait=10"
    assert desk.accepted == [(ID, None)]
    assert reply.media_type == "text/plain"
    assert desk.body_of(reply).decode() == "".join(waited["body"]["output"])


async def test_a_wait_that_ran_out_is_followed() -> None:
    """202: what is there so far is not the result."""
    async with playing() as played:
        part = told("processing", output=["Half a"])
        played.on("POST", "/v1/", says(part, 202))
        whole = told("succeeded", output=["Half a", " sentence"])
        played.on("GET", "/v1/predictions/", says(part), says(whole))
        reply, desk = await bought(played, wait_s=5)
    assert desk.body_of(reply) == b"Half a sentence"


# -- results --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "media_type", "body"),
    [
        ("Plain words", "text/plain", b"Plain words"),
        (["One", " two", "", " three"], "text/plain", b"One two three"),
        (["see https://example.com", "!"], "text/plain", b"see https://example.com!"),
        ({"label": "mill", "score": 0.5}, "application/json", b'{"label": "mill", "score": 0.5}'),
        ([1, 2], "application/json", b"[1, 2]"),
        (42, "application/json", b"42"),
        (False, "application/json", b"false"),
        ("data:image/png;base64," + base64.b64encode(PNG).decode(), "image/png", PNG),
        (["data:text/plain,hello"], None, b""),
    ],
)
async def test_outputs_of_every_form_are_read(
    output: Any, media_type: str | None, body: bytes
) -> None:
    """Text and its pieces, JSON, and files inside of the answer."""
    async with played_with(told("succeeded", output=output)) as played:
        if media_type is None:
            assert (await fails(played)).kind is OutcomeKind.NO_OUTPUT
            return
        reply, desk = await bought(played)
    assert (reply.media_type, desk.body_of(reply)) == (media_type, body)


@pytest.mark.parametrize(
    "shape",
    [
        lambda url: url,
        lambda url: [url],
        lambda url: {"files": [{"url": url}], "note": "made"},
        lambda url: [{"image": url}],
    ],
    ids=["text", "list", "object", "list of objects"],
)
async def test_files_are_found_wherever_they_lie_in_the_output(shape: Any) -> None:
    """Alone, in a list, or inside of objects; films are files like others."""
    for body, media_type in ((PNG, "image/png"), (FILM, "video/mp4")):
        async with playing() as played:
            played.on("POST", "/v1/", says(told(), 201))
            done = told("succeeded", output=shape(file_of(played, "out")))
            played.on("GET", "/v1/predictions/", says(done))
            played.on("GET", "/files/", says(body, headers={"Content-Type": "x/y"}))
            reply, desk = await bought(played)
        assert (reply.media_type, desk.body_of(reply)) == (media_type, body)


async def test_of_several_files_the_named_one_is_the_result() -> None:
    """The first by default; one that is not there is the recipe's mistake."""
    async with playing() as played:
        outputs = [file_of(played, f"out-{number}.png") for number in range(3)]
        played.on("POST", "/v1/", says(told(), 201))
        played.on("GET", "/v1/predictions/", says(told("succeeded", output=outputs)))
        played.on("GET", "/files/", says(PNG))
        for params in ({}, {"output_index": "2"}):
            await bought(played, ask(num_outputs=3, **params))
        assert [one.path for one in played.heard("GET", "/files")] == [
            "/files/out-0.png",
            "/files/out-2.png",
        ]
        assert played.heard("POST")[1].json["input"] == {"prompt": "A card", "num_outputs": 3}
        outcome = await fails(played, ask(output_index=3))
    assert outcome.kind is OutcomeKind.INVALID
    assert "3 outputs" in outcome.reason
    assert outcome.provider_request_id == ID


async def test_a_file_is_fetched_without_the_key_of_others() -> None:
    """The key goes to base_url and to no other server, wherever the output leads."""
    async with playing() as elsewhere, playing() as played:
        elsewhere.on("GET", "/", says(PNG))
        done = told("succeeded", output=f"http://127.0.0.1:{elsewhere.speaker.port}/x.png")
        played.on("POST", "/v1/", says(told(), 201))
        played.on("GET", "/v1/predictions/", says(done))
        assert (await fails(played)).kind is OutcomeKind.LOST_RESULT
        reply, _ = await bought(played, download_hosts=["127.0.0.1"])
        assert reply.media_type == "image/png"
        assert all("authorization" not in one.headers for one in elsewhere.speaker.heard)


# -- recorded exchanges ---------------------------------------------------------------------------


async def test_a_recorded_prediction_plays_from_create_to_file() -> None:
    """Processing three times, then a file: as it was recorded, its host aside."""
    create = RECORDED["legacy created"]
    version = create["asked"]["version"]
    async with playing() as played:
        looks = []
        for number in range(1, 5):
            text = json.dumps(RECORDED[f"legacy look {number}"]["body"])
            text = text.replace("https://replicate.delivery", played.origin)
            looks.append(says(text.encode(), headers=RECORDED["succeeded"]["headers"]))
        played.on("POST", "/v1/predictions", says(create["body"], 201, create["headers"]))
        played.on("GET", "/v1/predictions/", *looks)
        played.on("GET", "/pbxt/", says(PNG))
        request = Request("replicate", version, "1", create["asked"]["input"])
        reply, desk = await bought(played, request)
    assert played.heard("POST")[0].json == create["asked"]
    assert len(played.heard("GET", "/v1/")) == 4
    assert desk.accepted == [(create["body"]["id"], None)]
    assert desk.body_of(reply) == PNG
    assert reply.facts["model"] == f"stability-ai/stable-diffusion:{version}"
    assert reply.facts["usage"]["predict_time_ms"] > 1000


async def test_a_recorded_cancelled_prediction_ends_the_item_without_another() -> None:
    """It was stopped, and what it used is billed: nothing is bought in its place."""
    outcome = await ends(RECORDED["cancelled"]["body"])
    assert outcome.kind is OutcomeKind.CANCELLED
    assert outcome.facts["usage"] == {"predict_time_ms": 128, "total_time_ms": 175}


async def test_a_recorded_rejected_key_is_told_as_that() -> None:
    """Problem JSON with status 401."""
    denied = RECORDED["unauthenticated"]
    async with playing() as played:
        played.on("POST", "/v1/", says(denied["body"], 401, denied["headers"]))
        outcome = await fails(played)
    assert outcome.kind is OutcomeKind.AUTH
    assert "valid authentication token" in outcome.reason


# -- how predictions end --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prediction", "kind"),
    [
        (told("failed", error="flagged as sensitive. (E005) (abc)"), OutcomeKind.REFUSED),
        (told("failed", error="Director: unexpected error (E1000)"), OutcomeKind.TRANSIENT),
        (told("failed", error="Model ran out of memory (E1001)"), OutcomeKind.INVALID),
        (told("failed", error=None), OutcomeKind.TRANSIENT),
        (told("failed", error={"odd": ["thing"]}), OutcomeKind.TRANSIENT),
        (told("aborted"), OutcomeKind.TRANSIENT),
        (told("failed", error="Incorrect API key provided: x"), OutcomeKind.TRANSIENT),
        (told("failed", error="Rate limit reached, try again in 9s"), OutcomeKind.TRANSIENT),
        (told("failed", error="You exceeded your current quota"), OutcomeKind.TRANSIENT),
        (told("canceled"), OutcomeKind.CANCELLED),
        (told("succeeded", output=None, data_removed=True), OutcomeKind.LOST_RESULT),
        (told("succeeded", output=None), OutcomeKind.NO_OUTPUT),
        (told("succeeded", output=[]), OutcomeKind.NO_OUTPUT),
        (told("succeeded", output=[""]), OutcomeKind.NO_OUTPUT),
        (told("succeeded", output=" \n"), OutcomeKind.NO_OUTPUT),
        ({"status": "succeeded"}, OutcomeKind.NO_OUTPUT),
    ],
)
async def test_every_end_of_a_prediction_is_told_apart(
    prediction: dict[str, Any], kind: OutcomeKind
) -> None:
    """Refused, failed, aborted, cancelled, removed, empty; each names the prediction."""
    outcome = await ends(told("processing"), prediction)
    assert outcome.kind is kind
    assert outcome.ended or kind is not OutcomeKind.TRANSIENT, "it would be followed for ever"
    assert outcome.provider_request_id == ID
    assert outcome.said is None


async def test_states_that_nobody_knows_go_on_until_the_deadline() -> None:
    """Neither a new word, nor a page, nor a list ends a prediction; the deadline leaves it open."""
    odd = [told("queued"), told(""), {"status": 5}, b"<html>", b"[]", b'"x"', b"", b"[" * 9999]
    async with played_with(*odd, told("succeeded", output="Words")) as played:
        reply, _ = await bought(played)
        assert reply.media_type == "text/plain"
        assert len(played.heard("GET")) == len(odd) + 1
    async with played_with(told("queued")) as played:
        desk = CallDesk(deadline_s=60.0)
        outcome = await fails(played, desk=desk)
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert outcome.provider_request_id == ID


@pytest.mark.parametrize(
    "answer",
    [
        says({"detail": "Request was throttled.", "retry_after": 5}, 429),
        says({"title": "Unauthenticated", "detail": "no", "status": 401}, 401),
        says({"detail": "no credit", "status": 402}, 402),
        says(b"<html>520</html>", 520),
        says({"detail": "Internal"}, 500),
        closes_after(b""),
        resets_after(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    ],
    ids=["429", "401", "402", "520", "500", "closed", "cut"],
)
async def test_a_look_that_fails_says_nothing_of_the_prediction(answer: Answer) -> None:
    """Whatever is wrong with a look, the prediction is followed, not made again."""
    async with played_with(answer, answer, told("succeeded", output="Words")) as played:
        reply, _ = await bought(played)
        assert len(played.heard("POST")) == 1
    assert reply.media_type == "text/plain"
    async with played_with(answer) as played:
        outcome = await fails(played)
        assert len(played.heard("POST")) == 1
    assert outcome.kind is OutcomeKind.UNKNOWN


async def test_a_prediction_that_is_not_known_yet_is_waited_for_and_one_that_is_gone_is_lost() -> (
    None
):
    """A 404 right after the create may be a lag; one that stays is an end."""
    missing = says({"title": "Not Found", "detail": "gone", "status": 404}, 404)
    async with played_with(missing, missing, told("succeeded", output="Words")) as played:
        reply, _ = await bought(played)
        assert reply.media_type == "text/plain"
    outcome = await ends(missing)
    assert outcome.kind is OutcomeKind.LOST_RESULT


async def test_a_file_that_is_gone_is_a_lost_result_and_one_that_breaks_is_fetched_again() -> None:
    """The download is repeated by itself; a prediction is never made again for it."""
    async with playing() as played:
        played.on("POST", "/v1/", says(told(), 201))
        done = told("succeeded", output=[file_of(played)])
        played.on("GET", "/v1/predictions/", says(done))
        played.on("GET", "/files/", says(b"busy", 503), closes_after(b""), says(PNG))
        reply, _ = await bought(played)
        assert reply.media_type == "image/png"
        played.on("GET", "/files/", says(b"Not Found", 404))
        outcome = await fails(played)
        assert (outcome.kind, outcome.provider_request_id) == (OutcomeKind.LOST_RESULT, ID)
        played.on("GET", "/files/", says(b"<html>a page</html>"))
        assert (await fails(played)).kind is OutcomeKind.NO_OUTPUT
        assert len(played.heard("POST")) == 3


# -- how creates end ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (says({"detail": "- input.prompt is required", "status": 422}, 422), OutcomeKind.INVALID),
        (says({"title": "Insufficient credit", "detail": "x"}, 402), OutcomeKind.QUOTA_EXHAUSTED),
        (says({"detail": "not found", "status": 404}, 404), OutcomeKind.INVALID),
        (says(b"<html>cloudflare</html>", 520), OutcomeKind.UNKNOWN),
        (says(b"<html>cloudflare</html>", 524), OutcomeKind.UNKNOWN),
        (says({"detail": "Internal"}, 500), OutcomeKind.TRANSIENT),
        (says({"detail": "unavailable"}, 503), OutcomeKind.OVERLOADED),
        (resets_after(b""), OutcomeKind.UNKNOWN),
        (says(b"{}", 201), OutcomeKind.LOST_RESULT),
        (says(b"[]", 201), OutcomeKind.LOST_RESULT),
        (says(told(id="../../account"), 201), OutcomeKind.LOST_RESULT),
        (says(told(id=5), 201), OutcomeKind.LOST_RESULT),
        (says(b'{"id": "' + b"x" * 300 + b'"}', 201), OutcomeKind.LOST_RESULT),
    ],
)
async def test_a_create_without_a_prediction_ends_as_its_answer_says(
    answer: Answer, kind: OutcomeKind
) -> None:
    """Sent once; what was made and cannot be followed is lost, not bought again in silence."""
    async with playing() as played:
        played.on("POST", "/v1/", answer)
        desk = CallDesk()
        outcome = await fails(played, desk=desk)
        assert len(played.speaker.heard) == 1
        assert desk.accepted == []
    assert outcome.kind is kind


async def test_a_throttled_create_tells_its_wait_and_its_limit() -> None:
    """The low-credit 429 as reported: five seconds, six a minute."""
    body = {
        "detail": "Request was throttled. Your rate limit for creating predictions is reduced to "
        "6 requests per minute with a burst of 1 requests while you have less than $5.0 in credit. "
        "Your rate limit resets in ~5s.",
        "status": 429,
        "retry_after": 5,
    }
    async with playing() as played:
        played.on("POST", "/v1/", says(body, 429))
        outcome = await fails(played)
    assert (outcome.kind, outcome.wait_s) == (OutcomeKind.RATE_LIMITED, 5.0)
    assert outcome.said is not None
    assert [(one.amount, one.window_s) for one in outcome.said.limits] == [(6.0, 60.0)]


# -- going on and stopping ------------------------------------------------------------------------


async def test_resume_looks_and_never_creates() -> None:
    """After a crash the prediction is followed by its id, at once when it is ready."""
    async with playing() as played:
        played.on("GET", "/files/", says(PNG))
        done = told("succeeded", output=[file_of(played)])
        played.on("GET", "/v1/predictions/", says(done))
        provider = provider_at(played.origin)
        reply = await provider.resume(CallDesk().call(ask()), ID, None)
        await provider.close()
        assert reply.provider_request_id == ID
        assert played.heard("POST") == []
        assert len(played.heard("GET", "/v1/")) == 1
    assert provider.crash_class is CrashClass.POLLED


async def test_a_worker_that_stops_leaves_the_prediction_alone() -> None:
    """Cancelling our call sends nothing: it is followed later."""
    async with played_with(told("processing")) as played:
        provider = provider_at(played.origin)
        looked = asyncio.Event()

        async def look(heard: Heard, writer: asyncio.StreamWriter) -> None:
            looked.set()
            writer.write(http(told("processing")))

        played.on("GET", "/v1/predictions/", look)
        desk = CallDesk(deadline_s=1e9)
        task = asyncio.create_task(provider.call(desk.call(ask())))
        await asyncio.wait_for(looked.wait(), 60)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await provider.close()
        assert [one.path for one in played.heard("POST")] == [f"/v1/models/{FLUX}/predictions"]


async def test_cancel_asks_replicate_to_stop() -> None:
    """A POST to the prediction's own address."""
    async with playing() as played:
        played.on("POST", "/v1/", says(RECORDED["cancelled"]["body"]))
        provider = provider_at(played.origin)
        await provider.cancel(ID, None)
        await provider.close()
    assert [one.path for one in played.heard("POST")] == [f"/v1/predictions/{ID}/cancel"]


class TestConformance(RehearsedConformance):
    """The promises of every provider, against the simulated Replicate."""

    unknown_model = "no-owner"
    shape = "replicate"

    def calling(self, url: str) -> Provider:
        return provider_at(url)

    def make_request(self, provider: Provider, number: int) -> Request:
        return Request(provider.name, FLUX, provider.version(FLUX), {"prompt": f"{number}"})

    async def make_failing(self, provider: Provider) -> Request | None:
        return ask(prompt="refuse")


async def engine_buys(
    played: Played, database_url: str, folder: Path, count: int, unknown: str = "retry"
) -> list[ItemState]:
    """How the items of a batch end that the whole engine buys here."""
    table = {"base_url": f"{played.origin}/v1", "limits": {"requests_per_second": 1000}}
    stage = {"kind": "generate", "model": f"replicate:{FLUX}", "prompt": "{{ t }}"}
    recipe = parse_recipe({"name": "paint", "stages": [{"name": "make", **stage}]}, "test")
    config = Config(
        home=str(folder),
        database_url=database_url,
        providers={"replicate": table},
        retry=Retry(attempts=3, base_s=0.0, cap_s=0.0),
    )
    async with open_engine(config) as engine:
        given = [{"t": f"row {number}"} for number in range(count)]
        batch = await engine.submit(given, recipe, columns=["t"], terms=Terms(unknown=unknown))
        while (now := await batch.summary()).open > now.unknown:
            await asyncio.sleep(0)
        items = [item async for item in batch.items()]
        async with engine.database.acquire() as connection:
            assert await verify(connection) == []
    return [item.state for item in items]


@pytest.mark.parametrize(
    ("unknown", "state", "bought"),
    [
        ("hold", ItemState.UNKNOWN, 1),
        ("refund", ItemState.FAILED, 1),
        ("retry", ItemState.FAILED, 2),
    ],
)
async def test_a_file_that_is_gone_is_not_looked_for_again_but_left_to_the_policy(
    database_url: str, tmp_path: Path, unknown: str, state: ItemState, bought: int
) -> None:
    """Its prediction is looked at once: held for a person, refunded, or bought again once."""
    async with playing() as played:
        done = told("succeeded", output=[file_of(played)])
        played.on("POST", "/v1/", says(told(), 201))
        played.on("GET", "/v1/predictions/", says(done))
        played.on("GET", "/files/", says(b"Not Found", 404))
        assert await engine_buys(played, database_url, tmp_path, 1, unknown) == [state]
        assert len(played.heard("POST")) == bought
        assert len(played.heard("GET", "/files/")) == bought


async def test_a_file_that_cannot_be_had_now_is_looked_for_again_and_its_prediction_not_bought(
    database_url: str, tmp_path: Path
) -> None:
    """While its server is in trouble the prediction is followed, with every try of the item."""
    async with playing() as played:
        done = told("succeeded", output=[file_of(played)])
        played.on("POST", "/v1/", says(told(), 201))
        played.on("GET", "/v1/predictions/", says(done))
        played.on("GET", "/files/", *[says(b"busy", 503)] * 6, says(PNG))
        states = await engine_buys(played, database_url, tmp_path, 1, "hold")
        assert states == [ItemState.SUCCEEDED]
        assert len(played.heard("POST")) == 1


async def test_an_aborted_prediction_is_made_again_and_the_item_delivered(
    database_url: str, tmp_path: Path
) -> None:
    """It never began and costs nothing; each item is delivered in the end."""
    async with playing() as played:
        done = says(told("succeeded", output="Words"))
        played.on("POST", "/v1/", says(told(), 201))
        played.on("GET", "/v1/predictions/", says(told("aborted")), done)
        states = await engine_buys(played, database_url, tmp_path, 3)
        assert states == [ItemState.SUCCEEDED] * 3
        assert len(played.heard("POST")) == 4
