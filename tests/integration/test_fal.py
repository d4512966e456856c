"""The fal provider over real connections: what is sent, how jobs end, what is never lost."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.errors import RecipeError
from headrace.film_body import FILM
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import Provider, Reply
from headrace.providers.fal.adapter import SOURCE_BYTES_MAX, FalProvider
from headrace.providers.simulated.png_body import PngBody
from headrace.request import Request, at_place
from headrace.testing import CallDesk, ManualClock
from tests.integration.calling import peak_bytes_of
from tests.integration.conforming import SpokenConformance
from tests.integration.speaking import Heard, Speaker, http, in_parts, speaking

KEY = "key-id:very-secret-0123456789"
MODEL = "fal-ai/flux/dev"
JOB = "764cabcf-b745-4b3e-ae38-1200304cf45b"
PNG = PngBody(64, 48).whole(bytes(32))
BASE = "/v1/fal-ai/flux/requests/" + JOB


def ask(model: str = MODEL, **params: Any) -> Request:
    return Request("fal", model, "1", {"prompt": "A mill", **params})


@dataclass(frozen=True)
class Said:
    """A response of the queue."""

    body: bytes
    status: int
    headers: dict[str, str]


@dataclass
class Queue:
    """A queue that a test words: the answers by what is asked, each once, the last for ever."""

    submit: list[Said] = field(default_factory=list)
    status: list[Said] = field(default_factory=list)
    result: list[Said] = field(default_factory=list)
    file: list[Said] = field(default_factory=list)
    cancel: list[Said] = field(default_factory=list)

    async def __call__(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        if heard.path.startswith("/files/"):
            left = self.file
        elif heard.method == "POST":
            left = self.submit
        elif heard.method == "PUT":
            left = self.cancel
        else:
            left = self.status if heard.path.endswith("/status") else self.result
        said = left.pop(0) if len(left) > 1 else left[0]
        body = said.body.replace(b"HOST", heard.headers["host"].encode())
        writer.write(http(body, said.status, said.headers))


def reply(body: Mapping[str, Any] | bytes, status: int = 200, **headers: str) -> Said:
    """A response; HOST in its body becomes the server's own."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Said(body if isinstance(body, bytes) else json.dumps(body).encode(), status, named)


TAKEN = reply(
    {
        "request_id": JOB,
        "response_url": f"http://HOST{BASE}",
        "status_url": f"http://HOST{BASE}/status",
        "cancel_url": f"http://HOST{BASE}/cancel",
        "queue_position": 0,
        "status": "IN_QUEUE",
    }
)
WAITS = reply({"status": "IN_QUEUE", "queue_position": 3}, 202)
RUNS = reply({"status": "IN_PROGRESS", "logs": []}, 202)
ODD = reply({"status": "PONDERING"}, 202)
DONE = reply({"status": "COMPLETED", "logs": [], "metrics": {"inference_time": 1.25}})
FAILED = reply({"status": "COMPLETED", "error": "no luck", "error_type": "request_error"})
PICTURE = {
    "images": [{"url": "http://HOST/files/1", "width": 64, "height": 48}],
    "seed": 42,
    "has_nsfw_concepts": [False],
    "timings": {},
    "prompt": "A mill",
}
GOOD = reply(PICTURE, x_fal_billable_units="1.5", x_fal_request_id=JOB)
FILE = reply(PNG)


def queue(**said: Said | list[Said]) -> Queue:
    usual = {"submit": TAKEN, "status": [WAITS, RUNS, ODD, DONE], "result": GOOD, "file": FILE}
    told = {name: one if isinstance(one, list) else [one] for name, one in (usual | said).items()}
    return Queue(**told)


def detail(kind: str, status: int = 422, **headers: str) -> Said:
    told = [{"loc": ["body", "prompt"], "msg": "said so", "type": kind}]
    return reply({"detail": told}, status, x_fal_error_type=kind, **headers)


def provider_at(url: str, clock: Any = None, **table: Any) -> FalProvider:
    named = {"base_url": url, "api_key": KEY, **table}
    return FalProvider.from_config("fal", named, clock or SystemClock())


async def moved(clock: ManualClock, work: Any) -> Any:
    """Await something of the network; while nothing moves there, move the clock on."""
    task = asyncio.ensure_future(work)
    for _ in range(3000):
        for _ in range(30):
            await asyncio.sleep(0)
        if task.done():
            break
        left_s = clock.next_wake_s
        if left_s is not None:
            await clock.advance(left_s)
    return await asyncio.wait_for(task, 60)


@dataclass
class Made:
    """One call made, and what there is to see of it."""

    desk: CallDesk
    speaker: Speaker
    reply: Reply | None = None
    outcome: Outcome | None = None

    @property
    def posts(self) -> int:
        return sum(heard.method == "POST" for heard in self.speaker.heard)


async def make(
    said: Queue,
    request: Request | None = None,
    *,
    resume: tuple[str, str | None] | None = None,
    prepare: Callable[[CallDesk], None] | None = None,
    **table: Any,
) -> Made:
    """Make one call, or resume one, against a queue."""
    clock, desk = ManualClock(), CallDesk(deadline_s=300)
    if prepare is not None:
        prepare(desk)
    async with speaking(said) as speaker:
        made = Made(desk, speaker)
        # "files" lie beside /v1 on the same server.
        provider = provider_at(speaker.url, clock, **table)
        call = desk.call(request or ask())
        work = provider.call(call) if resume is None else provider.resume(call, *resume)
        ended = (await asyncio.gather(moved(clock, work), return_exceptions=True))[0]
        await provider.close()
    if isinstance(ended, CallFailed):
        made.outcome = ended.outcome
        assert ended.__cause__ is None, "a cause may hold the request's headers"
        assert KEY not in repr(made.outcome)
        assert made.outcome.reason
    elif isinstance(ended, BaseException):
        raise ended
    else:
        made.reply = ended
    return made


async def fails(said: Queue, request: Request | None = None, **more: Any) -> Outcome:
    made = await make(said, request, **more)
    assert made.outcome is not None, "it succeeded"
    assert made.posts == (0 if "resume" in more else 1), "submitted more than once"
    return made.outcome


# -- what is sent, and what comes back -----------------------------------------------------------


async def test_a_job_is_submitted_written_down_followed_and_fetched() -> None:
    """One POST, then status until it is done, the result and its file; facts come along."""
    made = await make(queue(), ask(num_inference_steps="20", seed=42))
    heard = made.speaker.heard
    assert [(one.method, one.path) for one in heard] == [
        ("POST", "/v1/fal-ai/flux/dev"),
        *[("GET", f"{BASE}/status")] * 4,
        ("GET", BASE),
        ("GET", "/files/1"),
    ]
    assert heard[0].json == {"prompt": "A mill", "num_inference_steps": 20, "seed": 42}
    assert {one.headers["authorization"] for one in heard} == {f"Key {KEY}"}
    assert made.desk.accepted == [(JOB, f"http://127.0.0.1:{made.speaker.port}{BASE}/status")]
    assert made.reply is not None
    assert made.desk.body_of(made.reply) == PNG
    assert (made.reply.media_type, made.reply.provider_request_id) == ("image/png", JOB)
    assert made.reply.cost_microusd is None
    assert made.reply.facts == {
        "model": MODEL,
        "seed": 42,
        "width": 64,
        "height": 48,
        "billable_units": 1.5,
        "inference_time_s": 1.25,
        "usage": {"images": 1},
    }


async def test_units_have_their_true_cost_where_the_price_is_told() -> None:
    """Billable units times the price of the model, in micro-USD."""
    made = await make(queue(), unit_prices={MODEL: 0.025, "fal-ai/other": 9})
    assert made.reply is not None
    assert made.reply.cost_microusd == 37_500


async def test_without_units_a_picture_is_estimated_by_the_list() -> None:
    """Where its price is known, at the official address or in the table; a told cost wins."""
    prices = {MODEL: {"image_usd": 0.03}}
    made = await make(queue(), prices=prices)
    assert made.reply is not None
    assert (made.reply.cost_microusd, made.reply.estimate_microusd) == (None, 30_000)
    provider = provider_at("http://127.0.0.1:9", prices=prices)
    assert provider.price(ask()).cost_microusd_max == 30_000
    made = await make(queue(), prices=prices, unit_prices={MODEL: 0.025})
    assert made.reply is not None
    assert (made.reply.cost_microusd, made.reply.estimate_microusd) == (37_500, None)


async def test_more_headers_go_to_the_queue() -> None:
    """A header of the table goes out with every call."""
    made = await make(queue(), headers={"x-fal-target-host": "queue.fal.run"})
    assert {one.headers["x-fal-target-host"] for one in made.speaker.heard} == {"queue.fal.run"}


async def test_official_addresses_are_followed_below_base_url() -> None:
    """A stand-in that answers with fal's own addresses is asked itself, below its prefix."""
    official = "https://queue.fal.run" + BASE.removeprefix("/v1")
    told = {"request_id": JOB, "response_url": official, "status_url": f"{official}/status"}
    made = await make(queue(submit=reply(told)))
    assert made.reply is not None
    assert [one.path for one in made.speaker.heard[-3:]] == [f"{BASE}/status", BASE, "/files/1"]
    assert made.desk.accepted[0][0] == JOB


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/x", "ftp://x", 7, None, ["x"], "http://127.0.0.1:1/x", "x" * 9000],
)
async def test_addresses_that_lead_astray_cost_neither_key_nor_job(address: Any) -> None:
    """The documented addresses are asked instead: the job is taken in by then."""
    told = {"request_id": JOB, "response_url": address, "status_url": address}
    made = await make(queue(submit=reply(told)))
    assert made.reply is not None
    assert [one.path for one in made.speaker.heard[-3:]] == [f"{BASE}/status", BASE, "/files/1"]


async def test_films_sounds_and_chosen_pictures_come_back() -> None:
    """The kind of a result is known by its bytes; a place and an index choose one of many."""
    film = reply({"video": {"url": "http://HOST/files/f", "content_type": "image/png"}})
    made = await make(queue(result=film, file=reply(FILM.read_bytes())), ask("fal-ai/wan/video"))
    assert made.reply is not None
    assert made.reply.media_type == "video/mp4"
    assert made.desk.body_of(made.reply) == FILM.read_bytes()
    sound = reply({"stems": [{"url": "http://HOST/no"}, {"url": "http://HOST/files/s"}]})
    made = await make(
        queue(result=sound, file=reply(b"fLaC" + bytes(60))),
        ask(output="stems", output_index="1"),
    )
    assert made.reply is not None
    assert made.reply.media_type == "audio/flac"
    assert made.speaker.heard[-1].path == "/files/s"
    assert "output" not in made.speaker.heard[0].json


async def test_a_text_comes_back_where_it_was_named() -> None:
    """``output`` can name a place with words."""
    made = await make(queue(result=reply({"output": "Ein Mühlrad"})), ask(output="output"))
    assert made.reply is not None
    assert (made.reply.media_type, made.reply.body) == ("text/plain", "Ein Mühlrad".encode())


async def test_sources_go_in_as_data_addresses() -> None:
    """``image`` is fal's ``image_url``; lists stay lists; kinds are known by the bytes."""
    kept: list[str] = []

    def prepare(desk: CallDesk) -> None:
        kept.append(desk.keep(PNG, "text/plain").sha256.hex())
        kept.append(desk.keep(FILM.read_bytes(), "text/plain").sha256.hex())

    digests = [CallDesk().keep(one, "").sha256.hex() for one in (PNG, FILM.read_bytes())]
    params = {"prompt": "x", "image": at_place(0), "reference_urls": [at_place(0), at_place(1)]}
    request = Request("fal", MODEL, "1", params, tuple(digests))
    made = await make(queue(), request, prepare=prepare)
    png = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    sent = made.speaker.heard[0].json
    assert sent["image_url"] == png
    assert sent["reference_urls"][0] == png
    assert sent["reference_urls"][1].startswith("data:video/mp4;base64,")
    assert set(sent) == {"prompt", "image_url", "reference_urls"}


@pytest.mark.parametrize("source", [b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(SOURCE_BYTES_MAX)])
async def test_sources_that_cannot_go_in_send_nothing(source: bytes) -> None:
    """Unknown kinds and too many bytes are invalid before anything is sent."""
    digest = CallDesk().keep(source, "").sha256.hex()
    request = Request("fal", MODEL, "1", {"image_url": at_place(0)}, (digest,))
    made = await make(queue(), request, prepare=lambda desk: desk.keep(source, "") and None)
    assert made.outcome is not None
    assert made.outcome.kind is OutcomeKind.INVALID
    assert made.speaker.heard == []


async def test_twelve_large_results_at_once_take_little_memory(tmp_path: Path) -> None:
    """Twelve pictures of 4 MB are fetched side by side, and go to disk as they come."""
    body = PngBody(256, 256, 4_000_000).whole(bytes(32))
    said, names, file = queue(), iter(range(100)), in_parts(http(body))

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        if not heard.path.startswith("/files/"):
            job = Queue(submit=[reply({"request_id": f"job{next(names)}"})], status=[DONE])
            job.result = said.result
            await job(heard, writer)
            return
        await file(heard, writer)

    many = [ask(seed=number) for number in range(12)]
    async with speaking(answer) as speaker:
        provider = provider_at(speaker.url)
        provider._jobs.follower._first_s = 0.01
        peak_bytes = await peak_bytes_of(provider, many, body, tmp_path)
    assert peak_bytes < 12_000_000, peak_bytes


# -- how jobs end --------------------------------------------------------------------------------

RESULT_ENDS: dict[str, tuple[Said, OutcomeKind]] = {
    "policy": (detail("content_policy_violation"), OutcomeKind.REFUSED),
    "black": (reply(PICTURE | {"has_nsfw_concepts": [True]}), OutcomeKind.REFUSED),
    "input": (detail("image_too_large"), OutcomeKind.INVALID),
    "download": (detail("file_download_error"), OutcomeKind.INVALID),
    "timeout": (detail("generation_timeout", 504), OutcomeKind.TRANSIENT),
    "inside": (detail("internal_server_error", 500), OutcomeKind.TRANSIENT),
    "plain": (reply({"detail": "Internal Server Error"}, 500), OutcomeKind.TRANSIENT),
    "never again": (detail("internal_error", 500, x_fal_retryable="false"), OutcomeKind.INVALID),
    "again": (detail("odd", 422, x_fal_retryable="true"), OutcomeKind.TRANSIENT),
    "ours": (
        reply({"detail": "late"}, 504, X_Fal_Request_Timeout_Type="user"),
        OutcomeKind.INVALID,
    ),
    "gone": (reply({"detail": "Request not found"}, 404), OutcomeKind.LOST_RESULT),
    "gone for good": (reply(b"", 410), OutcomeKind.LOST_RESULT),
    "none": (reply(PICTURE | {"images": []}), OutcomeKind.NO_OUTPUT),
    "null": (reply({"video": None}), OutcomeKind.NO_OUTPUT),
    "elsewhere": (reply({"mesh": {"url": "http://HOST/files/1"}}), OutcomeKind.INVALID),
    "list": (reply(b"[1, 2]"), OutcomeKind.NO_OUTPUT),
    "deep": (reply(b"[" * 100_000), OutcomeKind.NO_OUTPUT),
    "empty": (reply(b""), OutcomeKind.NO_OUTPUT),
    "huge": (reply(b'{"x":"' + b" " * 5_000_000 + b'"}'), OutcomeKind.LOST_RESULT),
    "page": (reply(b"<html>", Content_Type="text/html"), OutcomeKind.UNKNOWN),
    "gateway": (reply(b"<html>", 502), OutcomeKind.UNKNOWN),
    "busy": (reply({"detail": "slow down"}, 429), OutcomeKind.UNKNOWN),
    "key": (reply({"detail": "bad key"}, 401), OutcomeKind.UNKNOWN),
    "locked": (reply({"detail": "User is locked. Exhausted balance."}, 403), OutcomeKind.UNKNOWN),
    "still": (RUNS, OutcomeKind.UNKNOWN),
    "bad address": (reply({"images": [{"url": "http://"}]}), OutcomeKind.NO_OUTPUT),
    "private address": (
        reply({"images": [{"url": "https://127.0.0.1:9/x.png"}]}),
        OutcomeKind.LOST_RESULT,
    ),
}


@pytest.mark.parametrize("name", RESULT_ENDS)
async def test_every_result_ends_as_fal_documents(name: str) -> None:
    """Refusals, wrong input and fal's faults are the job's; trouble with asking is not."""
    said, kind = RESULT_ENDS[name]
    outcome = await fails(queue(result=said))
    assert outcome.kind is kind, outcome
    if kind not in (OutcomeKind.LOST_RESULT, OutcomeKind.NO_OUTPUT):
        assert outcome.provider_request_id == JOB
    if said.status >= 500 and kind is not OutcomeKind.UNKNOWN:
        assert outcome.cost_microusd == 0, "what breaks on fal's side is not billed"


async def test_trouble_with_asking_for_a_result_passes() -> None:
    """A gateway's page, a rate and a key that is back: the same result is asked for again."""
    trouble = [reply(b"<html>", 502), reply({"detail": "x"}, 429), reply({"detail": "x"}, 401)]
    made = await make(queue(result=[*trouble, GOOD]))
    assert made.reply is not None
    assert made.posts == 1


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        (GOOD, OutcomeKind.TRANSIENT, "no luck"),
        (detail("content_policy_violation"), OutcomeKind.REFUSED, "said so"),
        (reply({"detail": "model's own rate"}, 429), OutcomeKind.TRANSIENT, "model's own"),
        (reply(b"<html>", 502), OutcomeKind.TRANSIENT, ""),
    ],
)
async def test_completed_with_an_error_is_a_failure(
    result: Said, kind: OutcomeKind, words: str
) -> None:
    """Its result says why; where it says nothing the status's own words are kept."""
    outcome = await fails(queue(status=FAILED, result=result))
    assert outcome.kind is kind
    assert words in outcome.reason


SUBMIT_ENDS: dict[str, tuple[Said, str]] = {
    "rate": (reply({"detail": "Rate limit exceeded"}, 429, Retry_After="7"), "rate_limited"),
    "key": (reply({"detail": f"No user found for {KEY}"}, 401), "auth"),
    "money": (reply({"detail": "User is locked. Exhausted balance."}, 403), "quota_exhausted"),
    "input": (detail("value_error"), "invalid"),
    "model": (reply({"detail": "Application not found"}, 404), "invalid"),
    "busy": (reply({"detail": "unavailable"}, 503), "overloaded"),
    "no id": (reply({"status": "IN_QUEUE"}), "unknown"),
    "odd id": (reply({"request_id": "../../evil"}), "unknown"),
    "list": (reply(b"[]"), "unknown"),
    "text": (reply(b'"ok"'), "unknown"),
    "login": (reply(b"<html>", Content_Type="text/html"), "transient"),
    "moved": (reply(b"", 302, Location="https://evil.example/"), "invalid"),
}


@pytest.mark.parametrize("name", SUBMIT_ENDS)
async def test_every_submit_ends_as_fal_documents(name: str) -> None:
    """What is not taken in is judged by status and words; taken in without an id is unknown."""
    said, kind = SUBMIT_ENDS[name]
    made = await make(queue(submit=said))
    assert made.outcome is not None
    assert made.outcome.kind == kind
    assert made.desk.accepted == []
    assert len(made.speaker.heard) == 1
    if name == "rate":
        assert made.outcome.wait_s == 7


async def test_trouble_with_looking_passes_and_a_lost_job_is_told() -> None:
    """Rates, gateways, nonsense and a rejected key are looked past; 404 means it is gone."""
    trouble = [
        reply({"detail": "x"}, 429, Retry_After="3"),
        reply(b"<html>", 502),
        reply(b"\xff\xfe"),
        reply({"detail": "x"}, 401),
        reply({"detail": "User is locked. Exhausted balance."}, 403),
        reply(b"[" * 5000),
        DONE,
    ]
    made = await make(queue(status=trouble))
    assert made.reply is not None
    outcome = await fails(queue(status=reply({"detail": "Request not found"}, 404)))
    assert outcome.kind is OutcomeKind.LOST_RESULT


async def test_a_job_without_end_is_followed_later() -> None:
    """At the deadline the job goes on and its outcome is unknown, with its id."""
    outcome = await fails(queue(status=RUNS))
    assert (outcome.kind, outcome.provider_request_id) == (OutcomeKind.UNKNOWN, JOB)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (reply(b"gone", 404), OutcomeKind.LOST_RESULT),
        (reply(b"no", 503), OutcomeKind.LOST_RESULT),
        (reply(b"<html>login</html>"), OutcomeKind.NO_OUTPUT),
        (reply(PNG[:-20]), OutcomeKind.NO_OUTPUT),
        (reply(b"glTF" + bytes(99)), OutcomeKind.NO_OUTPUT),
    ],
)
async def test_files_that_are_no_result_are_told(said: Said, kind: OutcomeKind) -> None:
    """A file that is gone is lost and asks; bytes of another kind are no output."""
    assert (await fails(queue(file=said))).kind is kind


# -- resuming and cancelling ---------------------------------------------------------------------


@pytest.mark.parametrize("known", ["status", "official", "astray", "nothing"])
async def test_a_job_is_resumed_by_its_id_and_address(known: str) -> None:
    """After a crash it is looked at and fetched, and never submitted."""
    said = queue()
    async with speaking(said) as speaker:
        url = {
            "status": f"http://127.0.0.1:{speaker.port}{BASE}/status",
            "official": f"https://queue.fal.run{BASE.removeprefix('/v1')}/status",
            "astray": "https://evil.example/status",
            "nothing": None,
        }[known]
        clock, desk = ManualClock(), CallDesk()
        provider = provider_at(speaker.url, clock)
        got = await moved(clock, provider.resume(desk.call(ask()), JOB, url))
        await provider.close()
    assert desk.body_of(got) == PNG
    assert {one.method for one in speaker.heard} == {"GET"}
    assert desk.accepted == []


async def test_the_result_of_a_resumed_job_is_where_its_status_says() -> None:
    """A result address in the status is used, if it is fal's own."""
    told = {"status": "COMPLETED", "response_url": "http://HOST/v1/other/place"}
    made = await make(queue(status=reply(told)), resume=(JOB, None))
    assert made.speaker.heard[1].path == "/v1/other/place"
    told["response_url"] = "https://evil.example/x"
    made = await make(queue(status=reply(told)), resume=(JOB, None))
    assert made.speaker.heard[1].path == BASE


async def test_an_id_that_is_none_is_lost() -> None:
    """No address is made of an id that can lead elsewhere."""
    made = await make(queue(), resume=("../../x", None))
    assert made.outcome is not None
    assert made.outcome.kind is OutcomeKind.LOST_RESULT
    assert made.speaker.heard == []


async def test_cancelling_asks_fal_and_stopping_does_not() -> None:
    """A job is dropped when that is wanted; when the worker stops it stays to be resumed."""
    clock, desk = ManualClock(), CallDesk()
    said = queue(status=RUNS, cancel=reply({"status": "CANCELLATION_REQUESTED"}, 202))
    async with speaking(said) as speaker:
        provider = provider_at(speaker.url, clock)
        task = asyncio.ensure_future(provider.call(desk.call(ask())))
        while not desk.accepted:
            await asyncio.sleep(0)
        while clock.next_wake_s is None:
            await asyncio.sleep(0)
        await provider.cancel(JOB, None)
        assert (speaker.heard[-1].method, speaker.heard[-1].path) == ("PUT", f"{BASE}/cancel")
        heard = len(speaker.heard)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await provider.cancel(JOB, None)
        await provider.close()
    assert len(speaker.heard) == heard


# -- before anything is sent ---------------------------------------------------------------------


@pytest.mark.parametrize("params", [{"num_images": 2}, {"seed": "x"}, {"sync_mode": True}])
async def test_params_that_cannot_be_sent_are_invalid(params: dict[str, Any]) -> None:
    """They are refused when the recipe is read, and again when a row fills them in."""
    provider = provider_at("http://127.0.0.1:9/v1")
    with pytest.raises(RecipeError):
        provider.check(MODEL, params)
    with pytest.raises(CallFailed) as caught:
        await provider.call(CallDesk().call(ask(**params)))
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    provider.check(MODEL, {"seed": "{{ seed }}", "num_images": "1"})
    with pytest.raises(RecipeError, match="no model of fal"):
        provider.check("flux", {})


class TestConformance(SpokenConformance):
    """The promises of every provider, over a real connection."""

    unknown_model = "fal-ai/another"

    def calling(self, speaker: Speaker) -> Provider:
        self.jobs: dict[str, bytes] = {}
        provider = provider_at(speaker.url, models=[MODEL], concurrency=3)
        provider._jobs.follower._first_s = 0.01
        return provider

    async def answer(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        host, name = heard.headers["host"], heard.path.removesuffix("/status").rsplit("/", 1)[-1]
        if heard.method == "POST":
            if b"refuse" in heard.body:
                writer.write(http({"detail": [{"type": "content_policy_violation"}]}, 422))
                return
            name = f"job{len(self.jobs)}"
            self.jobs[name] = PngBody(8, 8).whole(bytes([len(self.jobs)]) * 32)
            base = f"http://{host}/v1/fal-ai/flux/requests/{name}"
            told = {"request_id": name, "status_url": f"{base}/status", "response_url": base}
            writer.write(http(json.dumps(told).encode()))
        elif name not in self.jobs:
            writer.write(http({"detail": "Request not found"}, 404))
        elif heard.path.startswith("/files/"):
            writer.write(http(self.jobs[name]))
        elif heard.path.endswith("/status"):
            writer.write(http({"status": "COMPLETED"}))
        else:
            writer.write(http({"images": [{"url": f"http://{host}/files/{name}"}]}))

    def make_request(self, provider: Provider, number: int) -> Request:
        version = provider.version(MODEL)
        return Request(provider.name, MODEL, version, {"prompt": f"{number}"})

    async def make_failing(self, provider: Provider) -> Request | None:
        return ask(prompt="refuse")

    def purchases(self, provider: Provider) -> int | None:
        return len(self.jobs)
