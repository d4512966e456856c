"""APIs described in a table: what is sent, and how every answer ends; the examples are true."""

from __future__ import annotations

import base64
import tomllib
from pathlib import Path
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.errors import ConfigError
from headrace.outcome import CallFailed, OutcomeKind
from headrace.provider import CrashClass, Provider
from headrace.providers.declared.adapter import HttpProvider
from headrace.providers.declared.settings import read_declared
from headrace.providers.imejis import ImejisProvider
from headrace.providers.shelf import Shelf
from headrace.providers.simulated.png_body import PngBody
from headrace.request import Request
from headrace.testing import CallDesk
from headrace.testing.conformance import ProviderConformance
from tests.integration.speaking import Answer, Speaker, closes_after, says, speaking

EXAMPLES = Path(__file__).parents[2] / "examples" / "http-providers.toml"
KEY = "sk-very-secret-0123456789"
PNG = PngBody(64, 48).whole(bytes(32))
IMAGE = {"Content-Type": "image/png"}


def example(name: str, base_url: str, **more: Any) -> HttpProvider:
    """The provider of an example's table, at another address."""
    table = tomllib.loads(EXAMPLES.read_text(encoding="utf-8"))["providers"][name]
    table.pop("kind")
    table |= {"base_url": base_url, "api_key": KEY, **more}
    return HttpProvider.from_config(name, table, SystemClock())


def request(model: str, **params: Any) -> Request:
    """A request with these params."""
    return Request("mine", model, "1", params)


async def ending(provider: Provider, asked: Request) -> Any:
    """How a call ends."""
    with pytest.raises(CallFailed) as caught:
        await provider.call(CallDesk().call(asked))
    await provider.close()
    return caught.value.outcome


# -- a template API ----------------------------------------------------------------------------


async def test_the_template_example_sends_its_fields_and_takes_the_body() -> None:
    """The design is the path, the fields are the body, the key is in its own header."""
    async with speaking(says(PNG, headers=IMAGE)) as speaker:
        provider, desk = example("cards", speaker.url), CallDesk()
        asked = request("a design/7", title="Grüße", price="")
        reply = await provider.call(desk.call(asked))
        assert provider.lane(asked) == "cards"
        await provider.close()
    heard = speaker.heard[0]
    assert (heard.method, heard.path) == ("POST", "/v1/a%20design/7?format=png")
    assert heard.json == {"headline": {"text": "Grüße"}, "price": {}}
    assert heard.headers["x-cards-key"] == KEY
    assert "authorization" not in heard.headers
    assert desk.body_of(reply) == PNG


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {"success": False, "error": "Key not found"}, OutcomeKind.AUTH),
        (404, {"success": False, "error": "Design not found"}, OutcomeKind.INVALID),
        (429, {"reason": "no-plan"}, OutcomeKind.QUOTA_EXHAUSTED),
        (200, {"success": False, "error": "Something"}, OutcomeKind.TRANSIENT),
        (503, {}, OutcomeKind.OVERLOADED),
    ],
)
async def test_rules_of_the_table_come_before_the_general_ones(
    status: int, body: dict[str, Any], kind: OutcomeKind
) -> None:
    """A 404 about the key is no matter of the row; JSON where bytes were due is no result."""
    async with speaking(says(body, status)) as speaker:
        outcome = await ending(example("cards", speaker.url), request("d", title="x"))
    assert outcome.kind is kind
    assert KEY not in outcome.reason


async def test_the_wait_is_read_where_the_table_says() -> None:
    """A date in the body is the wait of a spent month."""
    body = {"success": False, "data": {"resetAt": "2099-01-01T00:00:00Z"}}
    async with speaking(says(body, 429)) as speaker:
        outcome = await ending(example("cards", speaker.url), request("d", title="x"))
    assert outcome.kind is OutcomeKind.QUOTA_EXHAUSTED
    assert outcome.wait_s is not None
    assert outcome.wait_s > 86_400


@pytest.mark.parametrize("model", ["..", "a/../b", "."])
async def test_no_row_changes_where_a_call_goes(model: str) -> None:
    """What fills a path is one piece of it, whatever it holds."""
    table = {"base_url": "http://127.0.0.1:9/v1", "request": {"path": "x/{{ model }}/{{ name }}"}}
    provider = HttpProvider.from_config("x", table, SystemClock())
    outcome = await ending(provider, request(model, name="y"))
    assert outcome.kind is OutcomeKind.INVALID
    outcome = await ending(provider, request("m", name=".."))
    assert outcome.kind is OutcomeKind.INVALID
    provider = HttpProvider.from_config("x", table, SystemClock())
    url = provider._address({"model": "m", "name": "../a?b#c/%2e"})
    assert url.raw_path == "/v1/x/m/..%2Fa%3Fb%23c%2F%252e"
    assert not url.query_string


# -- a queue ----------------------------------------------------------------------------------


def painter(*answers: Answer) -> Any:
    """A server of the queue's example."""
    return speaking(*answers)


def taken_in(speaker: Speaker) -> dict[str, Any]:
    """What the queue says to a submission."""
    polling = f"http://127.0.0.1:{speaker.port}/v1/get_result?id=job-7"
    return {"id": "job-7", "polling_url": polling, "cost": 4.0}


async def test_the_queue_example_is_followed_to_its_image() -> None:
    """The id is written down first, the job is looked at, the image fetched."""
    answers: list[Any] = [None, {"status": "Pending"}, {"status": "Whatever new"}, None, PNG]

    async def answer(heard: Any, writer: Any) -> None:
        said = answers.pop(0)
        if said is None and heard.method == "POST":
            said = taken_in(speaker)
        elif said is None:
            said = {"status": "Ready", "result": {"sample": f"{speaker.url}/out.png?sig=a%2Fb"}}
        await says(said)(heard, writer)

    async with speaking(answer) as speaker:
        provider, desk = example("painter", speaker.url), CallDesk()
        asked = request("flux", prompt="a mill", seed=7)
        reply = await provider.call(desk.call(asked))
        await provider.close()
    assert provider.crash_class is CrashClass.POLLED
    assert speaker.heard[0].path == "/v1/v1/flux"
    assert speaker.heard[0].json == {"prompt": "a mill", "width": 1024, "height": 768, "seed": 7}
    assert [heard.method for heard in speaker.heard[1:]] == ["GET"] * 4
    assert speaker.heard[-1].path == "/v1/out.png?sig=a%2Fb"
    assert desk.accepted == [("job-7", f"http://127.0.0.1:{speaker.port}/v1/get_result?id=job-7")]
    assert desk.body_of(reply) == PNG
    assert reply.provider_request_id == "job-7"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("Request Moderated", OutcomeKind.REFUSED),
        ("Content Moderated", OutcomeKind.REFUSED),
        ("Task not found", OutcomeKind.LOST_RESULT),
        ("Error", OutcomeKind.TRANSIENT),
    ],
)
async def test_a_job_ends_as_its_rules_say(status: str, kind: OutcomeKind) -> None:
    """An ending told with HTTP 200 is none of success; it is said under the job's id."""

    async def answer(heard: Any, writer: Any) -> None:
        said = taken_in(speaker) if heard.method == "POST" else {"status": status}
        await says(said)(heard, writer)

    async with speaking(answer) as speaker:
        outcome = await ending(example("painter", speaker.url), request("flux", prompt="x"))
    # A rule that says transient of a job is about the job: it is not looked at again.
    assert outcome.kind is kind
    assert outcome.ended
    assert outcome.provider_request_id == "job-7"


async def test_a_job_is_resumed_by_looking_only() -> None:
    """After a crash nothing is submitted again."""
    ready = {"status": "Ready", "result": {"sample": "data:image/png;base64," + _b64(PNG)}}
    async with speaking(says(ready)) as speaker:
        provider, desk = example("painter", speaker.url), CallDesk()
        url = f"http://127.0.0.1:{speaker.port}/v1/get_result?id=job-7"
        await provider.resume(desk.call(request("flux", prompt="x")), "job-7", url)
        await provider.close()
    assert [heard.method for heard in speaker.heard] == ["GET"]


@pytest.mark.parametrize(
    "body",
    [[1], "text", {"id": ""}, {"id": None}, {"id": "x"}, {"id": True, "polling_url": "y"}],
)
async def test_a_submission_without_an_id_is_no_job(body: Any) -> None:
    """What cannot be followed is not called accepted."""
    async with speaking(says(_json(body))) as speaker:
        desk = CallDesk()
        provider = example("painter", speaker.url)
        with pytest.raises(CallFailed):
            await provider.call(desk.call(request("flux", prompt="x")))
        await provider.close()
    assert desk.accepted == []


async def test_the_key_is_not_taken_to_a_foreign_host() -> None:
    """A polling address on somebody else's host is not asked."""
    told = {"id": "job-7", "polling_url": "https://evil.example/get?id=1"}
    async with speaking(says(told)) as speaker:
        outcome = await ending(example("painter", speaker.url), request("flux", prompt="x"))
    assert "not its own" in outcome.reason


# -- other forms ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "body", "wanted"),
    [
        ({"result": "images.0.b64", "as": "base64"}, {"images": [{"b64": "PNG"}]}, PNG),
        ({"result": "out", "as": "text"}, {"out": ["eine ", "Mühle"]}, "eine Mühle".encode()),
        ({"result": "out", "as": "json"}, {"out": {"b": 1, "a": [2]}}, b'{"a":[2],"b":1}'),
        ({"as": "json"}, {"b": 1}, b'{"b":1}'),
    ],
)
async def test_results_come_in_every_form(
    answer: dict[str, Any], body: dict[str, Any], wanted: bytes
) -> None:
    """Base64, texts, pieces of text, and JSON are taken from where the path leads."""
    text = _json(body).replace(b'"PNG"', b'"' + _b64(PNG).encode() + b'"')
    async with speaking(says(text)) as speaker:
        table = {"base_url": speaker.url, "answer": answer}
        provider, desk = HttpProvider.from_config("x", table, SystemClock()), CallDesk()
        reply = await provider.call(desk.call(request("m", prompt="x")))
        await provider.close()
    assert desk.body_of(reply) == wanted


@pytest.mark.parametrize(
    ("sent_as", "said"),
    [("json", b'{"prompt": "a & b"}'), ("form", b"prompt=a+%26+b"), ("multipart", b"a & b")],
)
async def test_params_are_sent_in_every_form(sent_as: str, said: bytes) -> None:
    """JSON, a web form and a multipart form carry the same fields."""
    async with speaking(says(PNG, headers=IMAGE)) as speaker:
        table = {"base_url": speaker.url, "request": {"sent_as": sent_as}}
        provider = HttpProvider.from_config("x", table, SystemClock())
        await provider.call(CallDesk().call(request("m", prompt="a & b")))
        await provider.close()
    assert said in speaker.heard[0].body


async def test_a_get_that_breaks_off_is_unknown() -> None:
    """Where the answer is a result, asking may cost as much as posting."""
    async with speaking(closes_after(b"")) as speaker:
        table = {"base_url": speaker.url, "request": {"method": "GET"}}
        outcome = await ending(
            HttpProvider.from_config("x", table, SystemClock()), request("m", prompt="x")
        )
    assert outcome.kind is OutcomeKind.UNKNOWN


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({}, ""),
        ({"auth": "Host"}, "auth"),
        ({"auth": "a b"}, "auth"),
        ({"auth_prefix": "x\ny"}, "auth_prefix"),
        ({"headers": {"Authorization": "x"}}, "headers"),
        ({"headers": {"X": "a\r\nb"}}, "headers X"),
        ({"headers": ["x"]}, "headers"),
        ({"lane": "key"}, "lane"),
        ({"crash_class": "B"}, "crash_class"),
        ({"crash_class": "C"}, "crash_class"),
        ({"request": {"methods": "GET"}}, "request"),
        ({"request": {"path": "{{ }}"}}, "request path"),
        ({"request": {"body": "x"}}, "request body"),
        ({"request": {"defaults": 1}}, "request defaults"),
        ({"request": {"method": "GET", "body": {"a": 1}}}, "request"),
        ({"answer": {"result": "a..b"}}, "answer result"),
        ({"answer": {"as": "url"}}, "answer result"),
        ({"answer": {"result": "a", "as": "body"}}, "answer result"),
        ({"answer": {"cost_usd_each": -1}}, "answer cost_usd_each"),
        ({"job": {"status": "s", "done": ["x"]}}, "job url"),
        ({"job": {"url": "u", "status": "s", "done": "x"}}, "job done"),
        ({"job": {"url": "u", "status": "s", "done": ["x"]}}, "answer id"),
        ({"job": {"url": "u", "status": "s", "done": ["x"]}, "answer": {"id": "i"}}, "answer as"),
        ({"errors": {}}, "errors"),
        ({"errors": [{"class": "refused"}]}, "errors 1 status"),
        ({"errors": [{"status": 5, "class": "refused"}]}, "errors 1 status"),
        ({"errors": [{"status": 429, "class": "success"}]}, "errors 1 class"),
        ({"errors": [{"status": 429, "is": "x", "class": "auth"}]}, "errors 1 at"),
    ],
)
def test_a_wrong_table_names_its_place(table: dict[str, Any], place: str) -> None:
    """Every mistake in the description is found before the first call."""
    whole = {"base_url": "https://a.example", **table} if place else table
    with pytest.raises(ConfigError) as caught:
        read_declared("mine", whole, {})
    assert caught.value.place.startswith(f"[providers.mine] {place}".strip())


def test_the_examples_can_be_read_by_the_shelf() -> None:
    """Both tables are what their kind says."""
    tables = tomllib.loads(EXAMPLES.read_text(encoding="utf-8"))["providers"]
    shelf = Shelf(tables, (), SystemClock())
    assert isinstance(shelf["cards"], HttpProvider)
    assert shelf["painter"].quota.pinned


class TestDeclaredConformance(ProviderConformance):
    """The suite, on the template example."""

    @pytest.fixture(autouse=True)
    async def _speaker(self) -> Any:
        async with speaking(says(PNG, headers=IMAGE)) as speaker:
            self.url = speaker.url
            yield

    async def make_provider(self) -> Provider:
        return example("cards", self.url)

    def make_request(self, provider: Provider, number: int) -> Request:
        return request("d", title=f"row {number}")

    async def make_failing(self, provider: Provider) -> Request | None:
        return request("..", title="nowhere")


# -- imejis ------------------------------------------------------------------------------------


def imejis(speaker: Speaker, **more: Any) -> ImejisProvider:
    """The adapter, at the speaker."""
    table = {"base_url": speaker.url, "api_key": KEY, **more}
    return ImejisProvider.from_config("imejis", table, SystemClock())


async def test_a_design_is_rendered_with_its_fields() -> None:
    """Fields go into the body as they are, asked-for forms into the query."""
    async with speaking(says(PNG, headers=IMAGE)) as speaker:
        provider, desk = imejis(speaker), CallDesk()
        asked = request("d/7", headline={"text": "Hi"}, format="webp", quality=80)
        reply = await provider.call(desk.call(asked))
        await provider.close()
    heard = speaker.heard[0]
    assert heard.path == "/v1/d%2F7?format=webp&quality=80"
    assert heard.json == {"headline": {"text": "Hi"}}
    assert heard.headers["dma-api-key"] == KEY
    assert desk.body_of(reply) == PNG


async def test_a_hosted_image_is_fetched_and_its_warnings_kept() -> None:
    """An image that is only named is fetched at once; a field that went nowhere is told."""
    told = {"success": True, "url": "/v1/out.png", "warnings": ["no field 'headlin'"]}
    async with speaking(says(told), says(PNG)) as speaker:
        provider, desk = imejis(speaker), CallDesk()
        reply = await provider.call(desk.call(request("d", headlin="x", delivery="hosted")))
        await provider.close()
    assert desk.body_of(reply) == PNG
    assert reply.facts == {"warnings": ["no field 'headlin'"]}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, {"success": False, "error": "Key not found"}, OutcomeKind.AUTH),
        (404, {"success": False, "error": "Design not found"}, OutcomeKind.INVALID),
        (
            429,
            {"success": False, "reason": "quota", "data": {"resetAt": "2099-01-01T00:00:00Z"}},
            OutcomeKind.QUOTA_EXHAUSTED,
        ),
        (200, {"success": False, "error": "odd"}, OutcomeKind.TRANSIENT),
        (200, {}, OutcomeKind.NO_OUTPUT),
    ],
)
async def test_imejis_errors_are_told_apart(
    status: int, body: dict[str, Any], kind: OutcomeKind
) -> None:
    """A bad key, a bad design and a spent month have three different ends."""
    async with speaking(says(body, status)) as speaker:
        outcome = await ending(imejis(speaker), request("d", a="b"))
    assert outcome.kind is kind


async def test_imejis_params_are_checked_before_they_are_sent() -> None:
    """A format that there is not costs no render."""
    async with speaking(says({})) as speaker:
        outcome = await ending(imejis(speaker), request("d", format="tiff"))
    assert outcome.kind is OutcomeKind.INVALID
    assert speaker.heard == []


class TestImejisConformance(TestDeclaredConformance):
    """The suite, on imejis."""

    async def make_provider(self) -> Provider:
        table = {"base_url": self.url, "api_key": KEY}
        return ImejisProvider.from_config("imejis", table, SystemClock())


def _b64(body: bytes) -> str:
    return base64.b64encode(body).decode()


def _json(body: Any) -> bytes:
    import json

    return json.dumps(body).encode()
