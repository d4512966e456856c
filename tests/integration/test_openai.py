"""The openai provider over real connections: what is sent, and how every answer ends."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headrace.clock import SystemClock
from headrace.config import Config
from headrace.engine import open_engine
from headrace.errors import ConfigError, NotFoundError, RecipeError, StorageError
from headrace.lifecycle import ItemState
from headrace.limits import Load
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import Call, CrashClass, Provider, Reply
from headrace.providers.openai.adapter import OpenAIProvider
from headrace.providers.remote import http_calls
from headrace.providers.simulated.png_body import PngBody
from headrace.recipe import parse_recipe
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.calling import Made, bought_at, fails_at, failure_of, peak_bytes_of
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

KEY = "sk-very-secret-0123456789"
CHAT = {
    "id": "chatcmpl-7",
    "model": "gpt-x-2026-01-01",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Grüße, 世界"}}],
    "usage": {
        "prompt_tokens": 9,
        "completion_tokens": 12,
        "total_tokens": 21,
        "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 0},
    },
}
PNG = PngBody(64, 48).whole(bytes(32))
LARGE_PNG = PngBody(256, 256, 700_000).whole(bytes(32))


def provider_at(url: str, **table: Any) -> OpenAIProvider:
    return OpenAIProvider.from_config("mine", {"base_url": url, "api_key": KEY, **table}, CLOCK)


CLOCK = SystemClock()


def made(**table: Any) -> Made:
    return lambda speaker: provider_at(speaker.url, **table)


def ask(model: str = "gpt-x", **params: Any) -> Request:
    return Request("mine", model, "1", {"prompt": "A card", **params})


def chat(**message: Any) -> dict[str, Any]:
    finish = message.pop("finish_reason", "stop")
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": CHAT["usage"]}


def image(body: bytes, **more: Any) -> dict[str, Any]:
    return {"created": 1, "data": [{"b64_json": base64.b64encode(body).decode()}], **more}


async def bought(
    answer: Answer, request: Request | None = None, **table: Any
) -> tuple[Reply, bytes, Heard]:
    """The reply to one call, its bytes, and what the server heard."""
    return await bought_at(answer, made(**table), request or ask(), key="key-7")


async def fails(answer: Answer, request: Request | None = None, deadline_s: float = 30) -> Outcome:
    """How one call ends that the server heard exactly once."""
    return await fails_at(answer, made(), request or ask(), KEY, deadline_s)


async def outcome_at(url: str, request: Request | None = None, deadline_s: float = 30) -> Outcome:
    call = CallDesk(deadline_s=deadline_s).call(request or ask())
    return await failure_of(provider_at(url), call, KEY)


@asynccontextmanager
async def silent_server(first: bytes) -> AsyncIterator[int]:
    """The port of a server that says ``first`` to whoever connects, and nothing more."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(first)
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


# -- what is sent --------------------------------------------------------------------------------


async def test_a_chat_is_one_post_and_its_text_comes_back() -> None:
    """The prompt is the user's message; text, usage, model and the id of the call come back."""
    reply, body, heard = await bought(
        says(CHAT, headers={"x-request-id": "req_5"}),
        ask(system="Be brief", max_tokens="50", temperature=0.5),
        organization="org-1",
        project="proj-1",
    )
    assert (heard.method, heard.path) == ("POST", "/v1/chat/completions")
    assert heard.json == {
        "model": "gpt-x",
        "messages": [
            {"role": "system", "content": "Be brief"},
            {"role": "user", "content": "A card"},
        ],
        "max_tokens": 50,
        "temperature": 0.5,
    }
    assert heard.headers["authorization"] == f"Bearer {KEY}"
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["openai-organization"] == "org-1"
    assert heard.headers["openai-project"] == "proj-1"
    assert "idempotency-key" not in heard.headers
    assert body.decode() == "Grüße, 世界"
    assert reply.media_type == "text/plain"
    assert reply.provider_request_id == "req_5"
    assert reply.cost_microusd is None
    assert reply.facts == {
        "model": "gpt-x-2026-01-01",
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 12,
            "total_tokens": 21,
            "reasoning_tokens": 3,
        },
    }
    assert reply.said is not None
    assert reply.said.tokens == 21


async def test_the_limits_of_a_success_are_told() -> None:
    """What the headers announce about the lane comes back with the result."""
    headers = {"x-ratelimit-limit-requests": "500", "x-ratelimit-remaining-requests": "499"}
    reply, _, _ = await bought(says(CHAT, headers=headers))
    assert reply.said is not None
    assert [(limit.amount, limit.remaining) for limit in reply.said.limits] == [(500, 499)]


async def test_messages_stand_before_the_prompt() -> None:
    """Messages of the params are sent as they are, the prompt follows as the last one."""
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]
    _, _, heard = await bought(says(CHAT), ask(messages=messages))
    assert heard.json["messages"] == [*messages, {"role": "user", "content": "A card"}]


async def test_json_is_called_json_when_it_was_asked_for() -> None:
    """An answer under a response_format is application/json."""
    request = ask(response_format={"type": "json_object"})
    reply, body, _ = await bought(says(chat(content='{"a": 1}')), request)
    assert reply.media_type == "application/json"
    assert json.loads(body) == {"a": 1}


async def test_only_class_a_sends_the_key_of_the_call() -> None:
    """A server that honours Idempotency-Key is given the engine's key."""
    _, _, heard = await bought(says(CHAT), crash_class="A")
    assert heard.headers["idempotency-key"] == "key-7"


async def test_connections_are_used_again() -> None:
    """Ten calls in a row go over one connection."""
    ports: set[int] = set()

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        ports.add(writer.get_extra_info("peername")[1])
        writer.write(http(CHAT))

    async with speaking(answer) as speaker:
        provider, desk = provider_at(speaker.url), CallDesk()
        for number in range(10):
            await provider.call(desk.call(ask(seed=number)))
        await provider.close()
    assert len(ports) == 1


async def test_a_truncated_text_is_a_success_that_says_so() -> None:
    """finish_reason length with text is delivered, with a fact."""
    reply, body, _ = await bought(says(chat(content="half a", finish_reason="length")))
    assert body == b"half a"
    assert reply.facts["truncated"] is True


@pytest.mark.parametrize("odd", [{"usage": "many"}, {"usage": {"total_tokens": "x"}}, {"id": 7}])
async def test_a_paid_text_is_kept_whatever_stands_beside_it(odd: dict[str, Any]) -> None:
    """Fields that do not shape the result may have any form."""
    _, body, _ = await bought(says({**CHAT, **odd, "model": None}))
    assert body.decode() == "Grüße, 世界"


# -- images --------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [PNG, LARGE_PNG], ids=["held", "spooled"])
async def test_images_are_decoded_and_known_by_their_bytes(body: bytes) -> None:
    """Small images come in memory, large ones through the spool; both are the server's bytes."""
    usage = {"total_tokens": 100, "output_tokens": 50}
    reply, made, heard = await bought(
        says(image(body, usage=usage, size="64x48")), ask("gpt-image-2", size="64x48")
    )
    assert heard.path == "/v1/images/generations"
    assert heard.json == {"model": "gpt-image-2", "prompt": "A card", "size": "64x48"}
    assert made == body
    assert reply.media_type == "image/png"
    assert (reply.artifact is not None) == (body is LARGE_PNG)
    assert reply.facts == {"usage": usage, "size": "64x48"}
    assert reply.said is not None
    assert reply.said.tokens == 100


async def test_other_image_models_are_asked_for_base64() -> None:
    """The name does not tell, so api does; such servers would answer with an address."""
    _, made, heard = await bought(says(image(PNG)), ask("flux", api="images"))
    assert heard.json == {"model": "flux", "prompt": "A card", "response_format": "b64_json"}
    assert made == PNG


async def test_an_escaped_slash_is_a_slash() -> None:
    """Some writers of JSON escape every slash."""
    text = json.dumps(image(LARGE_PNG)).replace("/", "\\/").encode()
    assert b"\\/" in text
    _, made, _ = await bought(says(text), ask("gpt-image-2"))
    assert made == LARGE_PNG


IMAGE_FAULTS = {
    "text": (http(image(b"I cannot draw this, sorry")), OutcomeKind.NO_OUTPUT),
    "nothing": (http({"data": []}), OutcomeKind.NO_OUTPUT),
    "null": (http({"data": [{"b64_json": None}]}), OutcomeKind.NO_OUTPUT),
    "not base64": (http({"data": [{"b64_json": "!" * 4000}]}), OutcomeKind.NO_OUTPUT),
    "closed address": (
        http({"data": [{"url": "https://127.0.0.1:9/1.png"}]}),
        OutcomeKind.LOST_RESULT,
    ),
    "cut": (http(json.dumps(image(LARGE_PNG)).encode()[:-5000]), OutcomeKind.LOST_RESULT),
    "svg": (http(image(b"<svg xmlns='http://www.w3.org/2000/svg'/>")), OutcomeKind.NO_OUTPUT),
}


@pytest.mark.parametrize("name", IMAGE_FAULTS)
async def test_what_is_no_image_is_no_result(name: str) -> None:
    """Text, emptiness and broken bodies end with their outcome, and nothing is kept."""
    raw, kind = IMAGE_FAULTS[name]
    assert (await fails(speaks(raw), ask("gpt-image-2"))).kind is kind


async def test_a_large_image_that_cannot_be_kept_is_lost_not_unknown() -> None:
    """A full disk under the spool ends the call as a lost result, with the disk's remedy."""

    class FullDesk(CallDesk):
        def call(self, *args: Any, **kwargs: Any) -> Call:
            call = super().call(*args, **kwargs)

            def spool(media_type: str) -> Any:
                raise StorageError("the disk is full", remedy="Make room.")

            object.__setattr__(call, "spool", spool)
            return call

    async with speaking(says(image(LARGE_PNG))) as speaker:
        provider = provider_at(speaker.url)
        with pytest.raises(CallFailed) as caught:
            await provider.call(FullDesk().call(ask("gpt-image-2")))
        await provider.close()
    assert caught.value.outcome.kind is OutcomeKind.LOST_RESULT
    assert caught.value.outcome.remedy == "Make room."


async def test_twelve_large_images_at_once_take_little_memory(tmp_path: Path) -> None:
    """Twelve images of 4 MB arrive side by side in the memory of three, the server's included."""
    body = PngBody(256, 256, 4_000_000).whole(bytes(32))
    many = [ask("gpt-image-2", size=str(number)) for number in range(12)]
    async with speaking(in_parts(http(image(body)))) as speaker:
        peak_bytes = await peak_bytes_of(provider_at(speaker.url), many, body, tmp_path)
    assert peak_bytes < 12_000_000, peak_bytes


# -- what goes wrong -----------------------------------------------------------------------------

ERRORS: dict[str, tuple[int, dict[str, Any], dict[str, str], OutcomeKind]] = {
    "bad request": (400, {"message": "Unknown parameter"}, {}, OutcomeKind.INVALID),
    "key": (401, {"message": f"Incorrect API key: {KEY}"}, {}, OutcomeKind.AUTH),
    "rate": (
        429,
        {"message": "Rate limit reached", "code": "rate_limit_exceeded"},
        {"retry-after": "7"},
        OutcomeKind.RATE_LIMITED,
    ),
    "server": (500, {"message": "The server had an error"}, {}, OutcomeKind.TRANSIENT),
    "moderation": (
        400,
        {"code": "moderation_blocked", "type": "image_generation_user_error"},
        {},
        OutcomeKind.REFUSED,
    ),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_every_status_ends_as_its_signal_says(name: str) -> None:
    """Statuses and bodies are read by one parser; the key is never repeated."""
    status, error, headers, kind = ERRORS[name]
    outcome = await fails(says({"error": error}, status, headers))
    assert outcome.kind is kind
    if "retry-after" in headers:
        assert outcome.wait_s == 7


async def test_a_key_of_any_form_is_hidden_when_a_server_quotes_it() -> None:
    """A key that looks like a word is still not repeated."""
    async with speaking(says({"error": {"message": "no such key: plain.word"}}, 401)) as speaker:
        provider = provider_at(speaker.url, api_key="plain.word")
        with pytest.raises(CallFailed) as caught:
            await provider.call(CallDesk().call(ask()))
        await provider.close()
    assert "plain.word" not in repr(caught.value.outcome)
    assert "[key]" in caught.value.outcome.reason


async def test_an_error_inside_a_success_is_a_failure() -> None:
    """HTTP 200 with an error object is no result."""
    outcome = await fails(says({"error": {"message": "Provider returned error", "code": 502}}))
    assert outcome.kind is not OutcomeKind.SUCCESS


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (chat(content=None, refusal="I cannot help with that"), OutcomeKind.REFUSED),
        (chat(content="part", finish_reason="content_filter"), OutcomeKind.REFUSED),
        (chat(content=""), OutcomeKind.NO_OUTPUT),
        (chat(content=None, tool_calls=[{}]), OutcomeKind.NO_OUTPUT),
        (chat(content="", finish_reason="length"), OutcomeKind.INVALID),
        ({"choices": []}, OutcomeKind.NO_OUTPUT),
        ({"choices": "none"}, OutcomeKind.NO_OUTPUT),
        ({}, OutcomeKind.NO_OUTPUT),
    ],
)
async def test_answers_without_text_are_told_apart(
    reply: dict[str, Any], kind: OutcomeKind
) -> None:
    """Refused, empty, cut off before the first word, and of the wrong form."""
    outcome = await fails(says(reply))
    assert outcome.kind is kind
    if "usage" in reply:
        assert outcome.facts["usage"]["total_tokens"] == 21
        assert outcome.said is not None
        assert outcome.said.tokens == 21


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Welcome to the hotel's network</body></html>",
        b"[]",
        b"\xff\xfe",
        b"[" * 99999,
    ],
    ids=["empty", "html", "array", "not UTF-8", "deep"],
)
async def test_a_success_that_cannot_be_read_is_no_success(body: bytes) -> None:
    """Whatever comes as 200 and is no answer ends the call with an outcome."""
    assert (await fails(says(body))).kind is not OutcomeKind.SUCCESS


async def test_redirects_are_not_followed() -> None:
    """The key goes to base_url's host and to no other."""
    async with speaking(says(CHAT)) as other:
        elsewhere = {"Location": f"{other.url}/chat/completions"}
        for status in (301, 302, 303, 307, 308):
            await fails(says(b"", status, elsewhere))
        assert other.heard == []


async def test_nothing_was_sent_where_nobody_listens() -> None:
    """A refused connection, a name that does not exist, TLS that fails: free to try again."""
    async with silent_server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        no_tls = await outcome_at(f"https://127.0.0.1:{port}/v1")
    refused = await outcome_at(f"http://127.0.0.1:{port}/v1")
    no_name = await outcome_at("http://nowhere.invalid/v1")
    assert [end.kind for end in (no_tls, refused, no_name)] == [OutcomeKind.TIMEOUT] * 3
    assert "cannot be reached" in refused.reason


async def test_a_connection_that_is_never_made_times_out_unsent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handshake without an answer ends by its own limit, or by a deadline that is nearer."""
    async with silent_server(b"") as port:
        url = f"https://127.0.0.1:{port}/v1"
        by_deadline = await outcome_at(url, deadline_s=0.2)
        monkeypatch.setattr(http_calls, "_TIMEOUT", aiohttp.ClientTimeout(connect=0.1))
        by_limit = await outcome_at(url)
    assert (by_deadline.kind, by_limit.kind) == (OutcomeKind.TIMEOUT, OutcomeKind.TIMEOUT)


async def test_a_call_that_was_sent_and_not_answered_is_unknown() -> None:
    """A reset or a close after the request, before any status: it may have been done."""
    half = b"HTTP/1.1 20"
    for answer in (resets_after(b""), closes_after(b""), closes_after(half), resets_after(half)):
        assert (await fails(answer)).kind is OutcomeKind.UNKNOWN


async def test_silence_is_unknown_at_the_deadline() -> None:
    """A server that takes the request and says nothing."""
    async with speaking(says(b"")) as other:

        async def silent(heard: Heard, writer: asyncio.StreamWriter) -> None:
            await other.over.wait()

        async def run() -> Outcome:
            try:
                return await fails(silent, deadline_s=0.2)
            finally:
                other.over.set()

        outcome = await run()
    assert outcome.kind is OutcomeKind.UNKNOWN
    assert "0.2 s" in outcome.reason


@pytest.mark.parametrize("how", [resets_after, closes_after])
@pytest.mark.parametrize("request_", [ask(), ask("gpt-image-2")], ids=["chat", "image"])
async def test_a_success_that_breaks_off_is_a_lost_result(how: Any, request_: Request) -> None:
    """After a status of 200 the work is done: it is not repeated without asking."""
    raw = http(json.dumps(image(LARGE_PNG)).encode()[:300_000], claimed_bytes=900_000)
    outcome = await fails(how(raw), request_)
    assert outcome.kind is OutcomeKind.LOST_RESULT


async def test_a_failure_that_breaks_off_is_still_that_failure() -> None:
    """The status says enough, whatever becomes of the body."""
    raw = http(b'{"error": {"message": "slow', 429, {"retry-after": "3"}, claimed_bytes=900)
    for answer in (closes_after(raw), resets_after(raw)):
        outcome = await fails(answer)
        assert (outcome.kind, outcome.wait_s) == (OutcomeKind.RATE_LIMITED, 3)


async def test_a_slow_drip_ends_at_the_deadline() -> None:
    """Bytes that keep coming do not keep a call alive: a success is lost, a failure known."""
    kinds = []
    for status in (200, 429):
        found: list[Speaker] = []
        raw = http(b"{", status, claimed_bytes=100_000)
        async with speaking(drips(raw, lambda found=found: found[0])) as speaker:
            found.append(speaker)
            kinds.append((await outcome_at(speaker.url, deadline_s=0.4)).kind)
    assert kinds == [OutcomeKind.LOST_RESULT, OutcomeKind.RATE_LIMITED]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip bomb"])
async def test_a_body_without_end_is_bounded(packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading stops at the cap, also when a small body unpacks to a large one."""
    body = b'{"choices": [' + b" " * 100_000_000 if packed else b" " * 20_000_000
    raw = gzip.compress(body, 1) if packed else body
    del body
    headers = {"Content-Encoding": "gzip"} if packed else {}
    answer = says(raw, headers=headers)
    tracemalloc.start()
    outcome = await fails(answer)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert outcome.kind is OutcomeKind.LOST_RESULT
    assert peak_bytes < 64_000_000, peak_bytes


async def test_a_connection_with_an_unread_rest_is_closed() -> None:
    """What is left of a body that nobody wants does not come in, nor meet the next call."""
    async with speaking(says(b" " * 20_000_000)) as speaker:
        provider = provider_at(speaker.url)
        with pytest.raises(CallFailed):
            await provider.call(CallDesk().call(ask()))
        await asyncio.wait_for(speaker.left.wait(), 60)
        await provider.close()


async def test_a_packed_answer_is_read() -> None:
    """Gzip is what it is for."""
    packed = gzip.compress(json.dumps(CHAT).encode())
    _, body, _ = await bought(says(packed, headers={"Content-Encoding": "gzip"}))
    assert body.decode() == "Grüße, 世界"


async def test_bad_headers_are_an_unknown_end() -> None:
    """A response that is no HTTP, or whose headers have no end."""
    for raw in (b"SSH-2.0-OpenSSH\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000):
        assert (await fails(closes_after(raw))).kind is OutcomeKind.UNKNOWN


async def test_a_cancelled_call_lets_its_connection_go() -> None:
    """A call that is cancelled closes its connection: the next one opens another."""
    started = asyncio.Event()

    async def waits(heard: Heard, writer: asyncio.StreamWriter) -> None:
        started.set()

    async with speaking(waits, says(CHAT)) as speaker:
        provider, desk = provider_at(speaker.url), CallDesk()
        running = asyncio.create_task(provider.call(desk.call(ask())))
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        reply = await provider.call(desk.call(ask()))
        await provider.close()
    assert desk.body_of(reply)


# -- before anything is sent ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [{"n": 2}, {"stream": True}, {"max_tokens": "many"}, {"messages": "x"}, {"model": "y"}],
)
async def test_params_that_cannot_be_sent_are_invalid(params: dict[str, Any]) -> None:
    """They are refused when the recipe is read, and again when a row fills them in."""
    provider = provider_at("http://127.0.0.1:9/v1")
    with pytest.raises(RecipeError) as caught:
        provider.check("gpt-x", params)
    assert caught.value.remedy
    request = Request("mine", "gpt-x", "1", {"prompt": "A card", **params})
    with pytest.raises(CallFailed) as failed:
        await provider.call(CallDesk().call(request))
    assert failed.value.outcome.kind is OutcomeKind.INVALID
    provider.check("gpt-x", {"n": "{{ n }}", "max_tokens": "{{ most }}", "temperature": 0.2})


def test_the_load_counts_bytes_and_the_most_of_output() -> None:
    """Four bytes are a token, so that text in any script is not underestimated."""
    provider = provider_at("http://127.0.0.1:9/v1")
    latin, cjk = ask(prompt="a" * 400), ask(prompt="世" * 400)
    assert provider.load(latin) == Load(tokens=108 + 1024, tokens_in=108)
    assert provider.load(cjk) == Load(tokens=308 + 1024, tokens_in=308)
    assert provider.load(ask(prompt="", max_tokens="10")).tokens == 18
    assert provider.load(ask(prompt="", max_completion_tokens=7, max_tokens=10)).tokens == 15
    assert provider.load(ask("gpt-image-2", prompt="a" * 40)) == Load(tokens=18, images=1)
    assert (
        provider.load(ask(prompt="", messages=[{"role": "user", "content": "世" * 100}])).tokens
        > 1100
    )


def test_unknown_models_and_costs() -> None:
    """A list of models is kept to; what a call costs is unknown, never zero."""
    provider = provider_at("http://127.0.0.1:9/v1", models=["gpt-x"], price_microcredits=5)
    with pytest.raises(NotFoundError, match="no model 'gpt-y'"):
        provider.version("gpt-y")
    price = provider.price(ask())
    assert (price.credits_microcredits, price.cost_microusd_max) == (5, None)
    assert provider.lane(ask()) == "mine/gpt-x"


async def test_a_remote_api_needs_a_key_and_a_local_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a key nothing is started, and the error says which variable to set."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    provider = OpenAIProvider.from_config("mine", {}, CLOCK)
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        await provider.open()
    async with speaking(says(CHAT)) as speaker:
        local = OpenAIProvider.from_config("mine", {"base_url": speaker.url}, CLOCK)
        await local.open()
        await local.call(CallDesk().call(ask()))
        await local.close()
    assert "authorization" not in speaker.heard[0].headers


class TestConformance(SpokenConformance):
    """The promises of every provider, over a real connection."""

    unknown_model = "another"
    refusal = http({"error": {"message": "no", "code": "x"}}, 400)
    crash_class = CrashClass.BLIND

    def calling(self, speaker: Speaker) -> Provider:
        self.replies: dict[str, bytes] = {}
        return provider_at(
            speaker.url, models=["gpt-x"], crash_class=self.crash_class.value, concurrency=3
        )

    async def answer(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        if b"refuse" in heard.body:
            writer.write(self.refusal)
            return
        key = heard.headers.get("idempotency-key", str(self.made))
        if key not in self.replies:
            self.made += 1
            self.replies[key] = http(chat(content=f"text {self.made}"))
        writer.write(self.replies[key])

    def make_request(self, provider: Provider, number: int) -> Request:
        return Request(provider.name, "gpt-x", provider.version("gpt-x"), {"prompt": f"{number}"})

    async def make_failing(self, provider: Provider) -> Request | None:
        return ask(prompt="refuse")


class TestKeyedConformance(TestConformance):
    """The same where the server honours Idempotency-Key."""

    crash_class = CrashClass.KEYED


async def test_the_engine_buys_over_http_what_a_config_table_names(
    database_url: str, tmp_path: Path
) -> None:
    """From a table in the settings to settled items: one call each, keyed, all delivered."""
    table = {"kind": "openai", "crash_class": "A", "limits": {"requests_per_second": 1000}}
    stage = {"kind": "generate", "model": "mine:gpt-x", "prompt": "{{ t }}"}
    recipe = parse_recipe({"name": "chat", "stages": [{"name": "text", **stage}]}, "test")
    async with speaking(says(CHAT)) as speaker:
        providers = {"mine": {**table, "base_url": speaker.url}}
        config = Config(home=str(tmp_path), database_url=database_url, providers=providers)
        async with open_engine(config) as engine:
            given = [{"t": f"row {number}"} for number in range(20)]
            batch = await engine.submit(given, recipe, columns=["t"])
            await batch.done()
            items = [item async for item in batch.items()]
    assert {item.state for item in items} == {ItemState.SUCCEEDED}
    text = hashlib.sha256("Grüße, 世界".encode()).digest()
    assert [item.artifact and item.artifact.sha256 for item in items] == [text] * 20
    assert len(speaker.heard) == len({x.headers["idempotency-key"] for x in speaker.heard}) == 20
