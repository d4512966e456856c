"""The bfl provider over real connections: what is sent, and how tasks end."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config, Retry
from headrace.engine import open_engine
from headrace.errors import NotFoundError, RecipeError
from headrace.limits import Dimension, Limit
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import CrashClass, Provider, Reply
from headrace.providers.bfl.adapter import BFL, BflProvider
from headrace.providers.remote.settings import Table, read_remote
from headrace.providers.simulated.png_body import PngBody
from headrace.recipe import parse_recipe
from headrace.request import Request, at_place
from headrace.testing import CallDesk
from tests.integration.calling import failure_of, reply_of
from tests.integration.conforming import RehearsedConformance
from tests.integration.playing import HurriedClock, Played, playing
from tests.integration.speaking import Answer, Heard, closes_after, http, resets_after, says

KEY = "bfl-very-secret-0123456789"
PNG = PngBody(64, 48).whole(bytes(32))
ID = "8c7d9c5e-36a6-4a4f-9f5f-1f0f8f1f2f3f"


def provider_at(url: str, **table: Any) -> BflProvider:
    full = {"base_url": url, "api_key": KEY, **table}
    return BflProvider.from_config("bfl", full, HurriedClock())


def ask(model: str = "flux-2-pro", **params: Any) -> Request:
    return Request("bfl", model, "1", {"prompt": "A card", **params})


def taken(played: Played, **more: Any) -> dict[str, Any]:
    """A submit's answer, as the official schema has it."""
    url = f"{played.origin}/v1/get_result?id={ID}"
    return {"id": ID, "polling_url": url, "cost": 4.5, "input_mp": 0, "output_mp": 1.05, **more}


def told(status: str, **more: Any) -> dict[str, Any]:
    blank = {"result": None, "progress": None, "details": None, "preview": None}
    return {"id": ID, "status": status, **blank, **more}


def ready(played: Played, **more: Any) -> dict[str, Any]:
    sample = f"{played.origin}/delivery/sample.png?sig=a%2Fb"
    return told("Ready", result={"sample": sample, "prompt": "A card", "seed": 42, **more})


@asynccontextmanager
async def played_with(*looks: Any) -> AsyncIterator[Played]:
    """An API that takes tasks in, which stand as ``looks`` say; no look is a ready task."""
    async with playing() as played:
        played.on("POST", "/v1/", says(taken(played)))
        answers = [one if callable(one) else says(one) for one in looks or (ready(played),)]
        played.on("GET", "/v1/get_result", *answers)
        played.on("GET", "/delivery/", says(PNG))
        yield played


async def bought(
    played: Played, request: Request | None = None, desk: CallDesk | None = None, **table: Any
) -> tuple[Reply, CallDesk]:
    desk = desk or CallDesk()
    return await reply_of(provider_at(played.origin, **table), desk.call(request or ask())), desk


async def fails(
    played: Played, request: Request | None = None, desk: CallDesk | None = None
) -> Outcome:
    call = (desk or CallDesk()).call(request or ask())
    return await failure_of(provider_at(played.origin), call, KEY)


# -- what is sent ---------------------------------------------------------------------------------


async def test_a_task_is_submitted_written_down_followed_and_fetched() -> None:
    """One POST; id, address and cost are durable before the first look; the picture follows."""
    async with playing() as played:
        desk = CallDesk()
        address = f"{played.origin}/v1/get_result?id={ID}"

        async def looked(heard: Heard, writer: Any) -> None:
            assert desk.accepted == [(ID, f"{address}#cost_microusd=45000")]
            first = len(played.heard("GET", "/v1/")) == 1
            writer.write(http(told("Pending") if first else ready(played)))

        played.on("POST", "/v1/", says(taken(played)))
        played.on("GET", "/v1/get_result", looked)
        played.on("GET", "/delivery/", says(PNG))
        request = ask(width="1024", safety_tolerance=2, prompt_upsampling="true", guidance="2.5")
        reply, desk = await bought(played, request, desk)
    submit = played.heard("POST")[0]
    assert submit.path == "/v1/flux-2-pro"
    assert submit.headers["x-key"] == KEY
    assert "authorization" not in submit.headers
    assert submit.json == {
        "prompt": "A card",
        "width": 1024,
        "safety_tolerance": 2,
        "prompt_upsampling": True,
        "guidance": 2.5,
    }
    assert [one.path for one in played.heard("GET", "/v1/")] == [f"/v1/get_result?id={ID}"] * 2
    assert [one.path for one in played.heard("GET", "/delivery")] == [
        "/delivery/sample.png?sig=a%2Fb"
    ]
    assert (reply.media_type, desk.body_of(reply)) == ("image/png", PNG)
    assert reply.provider_request_id == ID
    assert reply.cost_microusd == 45_000
    assert reply.facts == {"seed": 42, "output_mp": 1.05}


async def test_a_picture_goes_in_as_base64() -> None:
    """Under the param's own name, without a data: address; a list is the recipe's mistake."""
    async with played_with() as played:
        desk = CallDesk()
        digest = desk.keep(PNG, "image/png").sha256.hex()
        request = replace(ask(input_image=at_place(0)), sources=(digest,))
        await bought(played, request, desk)
        assert played.heard("POST")[0].json["input_image"] == base64.b64encode(PNG).decode()
        listed = replace(ask(input_image=[at_place(0)]), sources=(digest,))
        outcome = await fails(played, listed, desk)
        assert outcome.kind is OutcomeKind.INVALID
        assert "input_image_2" in outcome.remedy
        assert len(played.heard("POST")) == 1


async def test_what_can_never_be_sent_is_named_before_anything_starts() -> None:
    """Webhooks, numbers and flags that are none, and names that are no model's."""
    provider = provider_at("http://127.0.0.1:1")
    for params in (
        {"webhook_url": "https://example.com"},
        {"width": "wide"},
        {"prompt_upsampling": "perhaps"},
        {"steps": 1.5},
    ):
        with pytest.raises(RecipeError):
            provider.check("flux-2-pro", params)
    provider.check("flux-2-pro", {"width": "{{ width }}", "raw": "true", "output_format": "png"})
    for model in ("", "../credits", "a/b", "Flux", "x?y", "f" * 200):
        with pytest.raises(NotFoundError):
            provider.version(model)
    async with played_with() as played:
        assert (await fails(played, ask(seed="seven"))).kind is OutcomeKind.INVALID
        assert played.speaker.heard == []


def settings_of(**table: Any) -> Any:
    return read_remote(Table("bfl", table, environment={}), BFL)


async def test_the_documented_limit_of_tasks_holds_unless_another_is_told() -> None:
    """24 active tasks of the account, in one lane for all models."""
    provider = provider_at("http://127.0.0.1:1")
    assert provider.quota.limits == (Limit(Dimension.CONCURRENCY, 24.0),)
    assert (provider.quota.concurrency, provider.quota.pinned) == (24, False)
    assert provider.lane(ask()) == provider.lane(ask("flux-dev")) == "bfl"
    told_more = settings_of(limits={"concurrency": 100}).quota
    assert (told_more.concurrency, told_more.pinned) == (100, True)
    rate = settings_of(limits={"requests_per_minute": 60}).quota
    assert {one.dimension for one in rate.limits} == {Dimension.CONCURRENCY, Dimension.REQUESTS}


async def test_a_task_is_looked_at_in_its_region_with_the_key_and_nowhere_else() -> None:
    """Regional hosts of bfl.ai get the key; any other host does not, and is not asked."""
    provider = BflProvider(settings_of(api_key=KEY), name="bfl", clock=HurriedClock())
    followed = provider.http.addresses.followed
    regional = f"https://api.us1.bfl.ai/v1/get_result?id={ID}"
    assert str(followed(regional)) == regional
    for other in (f"https://api.bfl.ai.evil.example/x?id={ID}", "http://api.bfl.ai/x", "https://"):
        with pytest.raises(CallFailed):
            followed(other)


@pytest.mark.parametrize(
    "address",
    [
        None,
        "https://evil.example/v1/get_result?id=1",
        "ftp://x",
        ["x"],
        7,
        "https://api.us1.bfl.ai/v1/get_result?id=" + ID,
    ],
)
async def test_a_polling_address_that_is_none_of_theirs_is_replaced(address: Any) -> None:
    """The task is paid for: it is looked at below base_url by its id."""
    async with played_with() as played:
        played.on("POST", "/v1/", says(taken(played, polling_url=address)))
        reply, _ = await bought(played)
        assert reply.provider_request_id == ID
        assert [one.path for one in played.heard("GET", "/v1/")] == [f"/v1/get_result?id={ID}"]


# -- how tasks end --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        (told("Request Moderated", details={"Moderation Reasons": ["X"]}), OutcomeKind.REFUSED),
        (told("Content Moderated"), OutcomeKind.REFUSED),
        (told("Error"), OutcomeKind.TRANSIENT),
        (told("Error", error="content_policy_violation"), OutcomeKind.REFUSED),
        (told("Error", details=["odd"]), OutcomeKind.TRANSIENT),
        (told("Ready"), OutcomeKind.NO_OUTPUT),
        (told("Ready", result={}), OutcomeKind.NO_OUTPUT),
        (told("Ready", result="x"), OutcomeKind.NO_OUTPUT),
        (told("Ready", result={"sample": None}), OutcomeKind.NO_OUTPUT),
        (told("Ready", result={"sample": 5}), OutcomeKind.NO_OUTPUT),
        (told("Ready", result={"sample": "data:text/plain,no"}), OutcomeKind.NO_OUTPUT),
    ],
)
async def test_every_end_of_a_task_is_told_apart(task: dict[str, Any], kind: OutcomeKind) -> None:
    """Moderated before or after, failed, empty; each names the task."""
    async with played_with(told("Pending"), task) as played:
        outcome = await fails(played)
        assert len(played.heard("POST")) == 1
    assert (outcome.kind, outcome.provider_request_id) == (kind, ID)
    assert outcome.ended or kind is not OutcomeKind.TRANSIENT, "it would be followed for ever"


async def test_states_that_nobody_knows_go_on_until_the_deadline() -> None:
    """A new word, a page or a list is no end."""
    odd = [told("Queued"), {"status": ["Ready"]}, b"<html>", b"[]", b"", b"\xff"]
    async with played_with(*odd, told("Processing")) as played:
        outcome = await fails(played, desk=CallDesk(deadline_s=60.0))
        assert len(played.heard("POST")) == 1
    assert (outcome.kind, outcome.provider_request_id) == (OutcomeKind.UNKNOWN, ID)


async def test_task_not_found_is_a_lag_at_first_and_then_a_lost_result() -> None:
    """Right after the submit another machine may not know it yet; later it is gone."""
    missing = told("Task not found")
    async with played_with(missing, missing) as played:
        outcome = await fails(played)
    assert (outcome.kind, outcome.provider_request_id) == (OutcomeKind.LOST_RESULT, ID)
    async with playing() as played:
        played.on("POST", "/v1/", says(taken(played)))
        played.on("GET", "/v1/get_result", says(missing), says(b"", 404), says(ready(played)))
        played.on("GET", "/delivery/", says(PNG))
        reply, _ = await bought(played)
    assert reply.media_type == "image/png"


@pytest.mark.parametrize(
    "answer",
    [
        says({"error": "rate_limit_exceeded", "retry_after": 5}, 429),
        says({"detail": "Not authenticated"}, 403),
        says({"detail": "Insufficient credits"}, 402),
        says({"detail": [{"msg": "x"}]}, 422),
        says(b"<html>", 502),
        closes_after(b""),
    ],
    ids=["429", "403", "402", "422", "502", "closed"],
)
async def test_a_look_that_fails_says_nothing_of_the_task(answer: Answer) -> None:
    """The task is followed, not made again."""
    async with playing() as played:
        played.on("POST", "/v1/", says(taken(played)))
        played.on("GET", "/v1/get_result", answer, says(ready(played)))
        played.on("GET", "/delivery/", says(PNG))
        reply, _ = await bought(played)
        assert reply.cost_microusd == 45_000
        played.on("GET", "/v1/get_result", answer)
        assert (await fails(played)).kind is OutcomeKind.UNKNOWN
        assert len(played.heard("POST")) == 2


async def test_an_address_that_has_expired_is_a_lost_result_with_its_cost() -> None:
    """Ten minutes are over: it was made, it is paid, and it is gone."""
    async with played_with() as played:
        played.on("GET", "/delivery/", says(b"<Error>Request has expired</Error>", 403))
        outcome = await fails(played)
        assert len(played.heard("POST")) == 1
    assert outcome.kind is OutcomeKind.LOST_RESULT
    assert (outcome.cost_microusd, outcome.provider_request_id) == (45_000, ID)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (says({"detail": "Insufficient credits"}, 402), OutcomeKind.QUOTA_EXHAUSTED),
        (says({"detail": [{"loc": ["body"], "msg": "bad"}]}, 422), OutcomeKind.INVALID),
        (says({"detail": "Not authenticated"}, 403), OutcomeKind.AUTH),
        (says({"detail": "Internal"}, 500), OutcomeKind.TRANSIENT),
        (says(b"<html>", 524), OutcomeKind.UNKNOWN),
        (resets_after(b""), OutcomeKind.UNKNOWN),
        (says(b"[]"), OutcomeKind.LOST_RESULT),
        (says({"id": "a b", "polling_url": "x"}), OutcomeKind.LOST_RESULT),
        (says({"id": None}), OutcomeKind.LOST_RESULT),
    ],
)
async def test_a_submit_without_a_task_ends_as_its_answer_says(
    answer: Answer, kind: OutcomeKind
) -> None:
    """Sent once; what was taken in and cannot be followed is lost, not bought again in silence."""
    async with playing() as played:
        played.on("POST", "/v1/", answer)
        desk = CallDesk()
        outcome = await fails(played, desk=desk)
        assert len(played.speaker.heard) == 1
        assert desk.accepted == []
    assert outcome.kind is kind


async def test_too_many_tasks_is_a_refusal_of_concurrency() -> None:
    """A 429 says nothing of a rate: a task has to end first."""
    body = {"error": "rate_limit_exceeded", "message": "Too many requests", "retry_after": 5}
    async with playing() as played:
        played.on("POST", "/v1/", says(body, 429))
        outcome = await fails(played)
    assert (outcome.kind, outcome.wait_s) == (OutcomeKind.RATE_LIMITED, 5.0)
    assert outcome.said is not None
    assert outcome.said.bucket is Dimension.CONCURRENCY


# -- going on -------------------------------------------------------------------------------------


async def test_resume_looks_at_the_kept_address_and_remembers_the_cost() -> None:
    """After a crash nothing is submitted, and what the task costs is still known."""
    async with played_with() as played:
        provider = provider_at(played.origin)
        desk = CallDesk()
        first = await provider.call(desk.call(ask()))
        again = await provider.resume(desk.call(ask()), *desk.accepted[0])
        without = await provider.resume(desk.call(ask()), ID, None)
        await provider.close()
        assert len(played.heard("POST")) == 1
        assert all("#" not in one.path for one in played.speaker.heard)
    assert first.cost_microusd == again.cost_microusd == 45_000
    assert without.cost_microusd is None
    assert again.facts == {"seed": 42}
    assert provider.crash_class is CrashClass.POLLED


async def test_a_cost_that_is_not_told_is_estimated_by_the_image() -> None:
    """Without the submit's answer a list price stands in, also where the picture is gone."""
    prices = {"flux-2-pro": {"image_usd": 0.03}}
    async with played_with() as played:
        provider, desk = provider_at(played.origin, prices=prices), CallDesk()
        told = await provider.call(desk.call(ask()))
        untold = await provider.resume(desk.call(ask()), ID, None)
        played.on("GET", "/delivery/", says(b"", 404))
        with pytest.raises(CallFailed) as caught:
            await provider.resume(desk.call(ask()), ID, None)
        await provider.close()
    lost = caught.value.outcome
    assert provider.price(ask()).cost_microusd_max == 30_000
    assert (told.cost_microusd, told.estimate_microusd) == (45_000, None)
    for ended in (untold, lost):
        assert (ended.cost_microusd, ended.estimate_microusd) == (None, 30_000)


async def test_a_task_whose_picture_takes_two_rounds_to_fetch_costs_once(
    database_url: str, tmp_path: Path
) -> None:
    """Its cost is told at each end, and counted at the last: the task was bought once."""
    table = {"kind": "bfl"}
    async with played_with() as played:
        played.on("GET", "/delivery/", *[says(b"busy", 503)] * 5, says(PNG))
        config = Config(
            home=str(tmp_path),
            database_url=database_url,
            providers={"bfl": {**table, "base_url": played.origin}},
            retry=Retry(attempts=3, base_s=0.0, cap_s=0.0),
        )
        stage = {"name": "make", "kind": "generate", "model": "bfl:flux-2-pro", "prompt": "{{ t }}"}
        recipe = parse_recipe({"name": "paint", "stages": [stage]}, "test")
        async with open_engine(config) as engine:
            batch = await engine.submit([{"t": "A mill"}], recipe, columns=["t"])
            summary = await batch.done()
            attempts = await batch.attempts(0)
        assert (summary.succeeded, summary.cost_microusd) == (1, 45_000)
        assert [one["outcome"] for one in attempts] == ["unknown", "success"]
        assert len(played.heard("POST")) == 1


class TestConformance(RehearsedConformance):
    """The promises of every provider, against the simulated BFL."""

    unknown_model = "no/model"
    shape = "bfl"

    def calling(self, url: str) -> Provider:
        return provider_at(url)

    def make_request(self, provider: Provider, number: int) -> Request:
        version = provider.version("flux-2-pro")
        return Request(provider.name, "flux-2-pro", version, {"prompt": f"{number}"})

    async def make_failing(self, provider: Provider) -> Request | None:
        return ask(prompt="refuse")
