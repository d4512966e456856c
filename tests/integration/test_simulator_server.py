"""The simulator over real sockets: each shape, each form of refusal, faults and what is kept."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import aiohttp
import pytest
from PIL import Image

from headrace.simulator.scenario import build_settings
from headrace.simulator.server import Simulator
from headrace.testing.manual_clock import ManualClock

_T = TypeVar("_T")
HOSTILE = 'He said "\\u0000 {{x}} </script> \n\u2028 😀 \ud83d'
QUICK = {"median_s": 0.5}
CHAT = {"model": "gpt-x", "messages": [{"role": "user", "content": "A mill."}], "max_tokens": 40}


class Client:
    """A simulator on a free port, a session with it, and its time, moved by hand."""

    def __init__(self, simulator: Simulator, session: aiohttp.ClientSession, clock: ManualClock):
        self.simulator, self.session, self.clock = simulator, session, clock

    async def wait(self, work: Awaitable[_T]) -> _T:
        """Await something of the network; while nothing moves there, move the clock on."""
        task = asyncio.ensure_future(work)
        for _ in range(2000):
            for _ in range(40):
                await asyncio.sleep(0)
            if task.done():
                break
            left_s = self.clock.next_wake_s
            if left_s is not None:
                await self.clock.advance(left_s)
        return await asyncio.wait_for(task, 60)

    async def send(self, method: str, path: str, **more: Any) -> tuple[int, Any, Any]:
        """Send a request; returns status, headers and the body, decoded where it is JSON."""

        async def go() -> tuple[int, Any, Any]:
            url = path if path.startswith("http") else self.simulator.url + path
            async with self.session.request(method, url, **more) as response:
                body = await response.read()
                if response.headers["content-type"].endswith(("/json", "+json")):
                    return response.status, response.headers, json.loads(body)
                return response.status, response.headers, body

        return await self.wait(go())

    async def chat(self, **more: Any) -> tuple[int, Any, Any]:
        """Send a chat completion."""
        headers = more.pop("headers", {})
        return await self.send("POST", "/v1/chat/completions", json=CHAT | more, headers=headers)

    async def truth(self) -> dict[str, Any]:
        """What the simulator says has happened."""
        return (await self.send("GET", "/_simulator/truth"))[2]


Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start simulators with these settings; all are closed at the end."""
    opened: list[Client] = []

    async def go(**tree: Any) -> Client:
        clock = ManualClock()
        simulator = Simulator(build_settings({"latency": QUICK} | tree), clock)
        await simulator.start(0)
        client = Client(simulator, aiohttp.ClientSession(), clock)
        opened.append(client)
        return client

    yield go
    for client in opened:
        await client.session.close()
        await client.simulator.close()


# ---------------------------------------------------------------- OpenAI


async def test_a_chat_completion_has_usage_and_true_headers(start: Start) -> None:
    """As the real one: content, usage that adds up, headers in Go durations."""
    client = await start(
        limits=[{"amount": 60, "burst": 60}, {"dimension": "tokens", "amount": 6000}]
    )
    status, headers, body = await client.chat()
    assert (status, body["object"], body["model"]) == (200, "chat.completion", "gpt-x")
    assert "A mill." in body["choices"][0]["message"]["content"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] == 42
    assert headers["x-ratelimit-limit-requests"] == "60"
    assert headers["x-ratelimit-remaining-requests"] == "59"
    assert headers["x-ratelimit-reset-requests"] == "500ms"
    assert headers["x-ratelimit-limit-tokens"] == "6000"
    assert headers["x-request-id"]


async def test_images_are_real_pngs_each_its_own(start: Start) -> None:
    """Decodable, about as large as asked, and no two the same."""
    client = await start(output={"image_bytes": 300_000})
    request = {"model": "gpt-image", "prompt": "a wheel", "n": 2}
    status, _, body = await client.send("POST", "/v1/images/generations", json=request)
    assert status == 200
    bodies = [base64.b64decode(one["b64_json"]) for one in body["data"]]
    assert bodies[0] != bodies[1]
    for png in bodies:
        assert len(png) == pytest.approx(300_000, rel=0.02)
        Image.open(io.BytesIO(png)).load()
    assert body["usage"]["total_tokens"] > 0


async def test_a_refusal_says_limit_used_requested_and_the_wait(start: Start) -> None:
    """The words that clients learn limits from, and both retry-after headers."""
    client = await start(limits=[{"dimension": "tokens", "amount": 60, "burst": 60}])
    await client.chat()
    status, headers, body = await client.chat()
    assert status == 429
    assert body["error"]["type"] == "tokens"
    assert body["error"]["code"] == "rate_limit_exceeded"
    assert "on tokens per min (TPM): Limit 60, Used 4" in body["error"]["message"]
    assert "Requested 42. Please try again in 2" in body["error"]["message"]
    wait_ms = int(headers["retry-after-ms"])
    assert 22_500 < wait_ms <= 24_000
    await client.clock.advance(wait_ms / 1000)
    assert (await client.chat())[0] == 200


async def test_image_limits_are_called_input_images(start: Start) -> None:
    """As with the real one, for generations too."""
    client = await start(limits=[{"dimension": "images", "amount": 1}])
    request = {"model": "gpt-image-2", "prompt": "x"}
    await client.send("POST", "/v1/images/generations", json=request)
    status, _, body = await client.send("POST", "/v1/images/generations", json=request)
    assert (status, body["error"]["type"]) == (429, "input-images")
    assert "on input-images per min: Limit 1, Used 1, Requested 1." in body["error"]["message"]


@pytest.mark.parametrize(
    ("form", "name", "low", "high"),
    [
        ("seconds", "retry-after", 30, 30),
        ("float", "retry-after", 29.4, 29.6),
        ("ms", "retry-after-ms", 29_400, 29_600),
    ],
)
async def test_a_wait_in_a_header_stands_there_and_nowhere_else(
    start: Start, form: str, name: str, low: float, high: float
) -> None:
    """Rounded up, so that who obeys is let in."""
    client = await start(limits=[{"amount": 2, "burst": 1}], retry_after=form)
    await client.chat()
    status, headers, body = await client.chat()
    assert status == 429
    assert low <= float(headers[name]) <= high
    told = [key.lower() for key in headers]
    assert [key for key in told if key.startswith("retry-after")] == [name]
    assert "again" not in body["error"]["message"]


async def test_a_wait_as_a_date_is_late_enough_against_the_servers_own(start: Start) -> None:
    """An HTTP date, compared with the answer's Date."""
    client = await start(limits=[{"amount": 2, "burst": 1}], retry_after="date")
    await client.chat()
    _, headers, _ = await client.chat()
    told = parsedate_to_datetime(headers["retry-after"])
    wait_s = (told - parsedate_to_datetime(headers["date"])).total_seconds()
    assert 29.5 <= wait_s <= 31
    assert parsedate_to_datetime(headers["date"]).year == 2026


async def test_a_wait_can_stand_in_the_body_the_text_or_google_s_form(start: Start) -> None:
    """Where no header tells it."""
    found = {}
    for form in ("body", "text", "retryinfo", "none"):
        client = await start(
            limits=[{"amount": 2, "burst": 1}], retry_after=form, headers={"kind": "none"}
        )
        await client.chat()
        status, headers, found[form] = await client.chat()
        assert status == 429
        assert not [key for key in headers if "retry" in key.lower() or "rate" in key.lower()]
    assert found["body"]["retry_after"] == 30
    assert "Please try again in 29.5s." in found["text"]["error"]["message"]
    info = found["retryinfo"]["error"]["details"][-1]
    assert info["@type"].endswith("RetryInfo")
    assert info["retryDelay"] == "29.5s"
    assert "29" not in found["none"]["error"]["message"]


async def test_a_day_quota_is_told_as_google_does(start: Start) -> None:
    """Only the quota's id says that it is the day's."""
    client = await start(limits=[{"kind": "day", "amount": 1}])
    await client.chat()
    status, _, body = await client.chat()
    assert (status, body["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert "PerDay" in body["error"]["details"][0]["violations"][0]["quotaId"]


async def test_money_that_is_spent_is_another_429(start: Start) -> None:
    """No wait helps."""
    client = await start(budget_calls=1)
    assert (await client.chat())[0] == 200
    status, headers, body = await client.chat()
    assert (status, body["error"]["code"]) == (429, "insufficient_quota")
    assert "retry-after" not in headers


async def test_misleading_headers_mislead(start: Start) -> None:
    """Twice the limit, and remaining that never falls."""
    terms = {"kind": "misleading", "factor": 2.0, "stuck": True}
    client = await start(limits=[{"amount": 60}], headers=terms)
    _, headers, _ = await client.chat()
    assert headers["x-ratelimit-limit-requests"] == "120"
    assert headers["x-ratelimit-remaining-requests"] == "120"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[1]", 400),
        (b"\xff\xfe", 400),
        (b"[" * 100_000, 400),
        (b'{"messages": []}', 400),
        (b'{"model": "m", "messages": [{"content": "x"}], "max_tokens": -1}', 400),
        (b'{"model": "m", "messages": [{"content": {"a": 1}}, 3, null]}', 200),
        (b"x" * 3_000, 413),
    ],
)
async def test_no_body_breaks_it(start: Start, body: bytes, status: int) -> None:
    """Errors are OpenAI's; too large a body is not even read."""
    client = await start(body_bytes_max=2_500 if status == 413 else 8_000_000)
    found, _, answer = await client.send("POST", "/v1/chat/completions", data=body)
    assert found == status, answer
    if status == 400:
        assert answer["error"]["type"] == "invalid_request_error"


async def test_hostile_prompts_come_back_as_text(start: Start) -> None:
    """Quotes, control characters and half a surrogate do not break the JSON."""
    client = await start()
    prompt = HOSTILE.encode("utf-8", "replace").decode()
    message = {"role": "user", "content": [{"type": "text", "text": prompt}]}
    status, _, body = await client.chat(messages=[message])
    assert status == 200
    assert prompt in body["choices"][0]["message"]["content"]


async def test_a_key_and_a_refused_word(start: Start) -> None:
    """401 for another key; content is refused in each API's own way."""
    client = await start(api_key="sk-1", refuse_word="forbidden")
    assert (await client.chat())[0] == 401
    headers = {"authorization": "Bearer sk-1"}
    message = {"role": "user", "content": "a forbidden thing"}
    _, _, chat = await client.chat(messages=[message], headers=headers)
    assert chat["choices"][0]["finish_reason"] == "content_filter"
    request = {"model": "i", "prompt": "forbidden"}
    status, _, body = await client.send(
        "POST", "/v1/images/generations", json=request, headers=headers
    )
    assert (status, body["error"]["code"]) == (400, "moderation_blocked")
    assert (await client.send("GET", "/v1/models", headers=headers))[0] == 200


# ---------------------------------------------------------------- Replicate and the queue


async def test_a_prediction_begins_goes_on_and_ends(start: Start) -> None:
    """Created, polled, its file fetched from the simulator, listed, and gone after its time."""
    client = await start(limits=[{"amount": 600}], output={"ttl_s": 3600.0, "image_bytes": 5000})
    path = "/v1/models/black-forest-labs/flux/predictions"
    status, headers, made = await client.send("POST", path, json={"input": {"prompt": "x"}})
    assert (status, made["status"]) == (201, "processing")
    assert headers["ratelimit-remaining"] == "599"
    await client.clock.advance(0.6)
    status, _, done = await client.send("GET", made["urls"]["get"])
    assert (status, done["status"]) == (200, "succeeded")
    assert done["metrics"]["predict_time"] == pytest.approx(0.5)
    status, headers, png = await client.send("GET", done["output"][0])
    assert (status, headers["content-type"]) == (200, "image/png")
    Image.open(io.BytesIO(png)).load()
    _, _, page = await client.send("GET", "/v1/predictions")
    assert [one["id"] for one in page["results"]] == [made["id"]]
    await client.clock.advance(3601)
    _, _, late = await client.send("GET", made["urls"]["get"])
    assert (late["status"], late["data_removed"], late["output"]) == ("succeeded", True, None)
    assert (await client.send("GET", done["output"][0]))[0] == 404


async def test_prefer_wait_answers_when_done_or_202_when_not(start: Start) -> None:
    """201 with the output, or 202 when the wait ran out first."""
    body = {"version": "owner/name", "input": {"prompt": "x"}}
    for median_s, wait, status in ((2.0, "wait", 201), (20.0, "wait=5", 202)):
        client = await start(latency={"median_s": median_s})
        found, headers, told = await client.send(
            "POST", "/v1/predictions", json=body, headers={"prefer": wait}
        )
        assert found == status
        assert headers["preference-applied"] == wait
        assert (told["output"] is not None) == (status == 201)


async def test_a_prediction_can_be_cancelled_and_frees_its_place(start: Start) -> None:
    """POST …/cancel, as in the real API."""
    client = await start(
        limits=[{"dimension": "concurrency", "amount": 1}], latency={"median_s": 60.0}
    )
    body = {"version": "owner/name", "input": {"prompt": "x"}}
    _, _, made = await client.send("POST", "/v1/predictions", json=body)
    status, _, refused = await client.send("POST", "/v1/predictions", json=body)
    assert (status, refused["retry_after"]) == (429, 1)
    _, _, gone = await client.send("POST", made["urls"]["cancel"])
    assert gone["status"] == "canceled"
    assert (await client.send("POST", "/v1/predictions", json=body))[0] == 201


async def test_replicate_words_its_errors_itself(start: Start) -> None:
    """Problem documents, a 429 with retry_after and text, failed predictions with a code."""
    client = await start(limits=[{"amount": 12, "burst": 1}], refuse_word="bad")
    status, headers, body = await client.send("POST", "/v1/predictions", json={"input": 3})
    assert (status, headers["content-type"]) == (422, "application/problem+json")
    wanted = {"version": "o/n", "input": {"prompt": "bad"}}
    _, _, made = await client.send("POST", "/v1/predictions", json=wanted)
    status, _, body = await client.send("POST", "/v1/predictions", json=wanted)
    assert (status, body["status"], body["retry_after"]) == (429, 429, 5)
    assert "Your rate limit resets in ~5s." in body["detail"]
    await client.clock.advance(1)
    _, _, told = await client.send("GET", made["urls"]["get"])
    assert told["status"] == "failed"
    assert "(E005)" in told["error"]
    assert (await client.send("GET", "/v1/predictions/none"))[0] == 404


async def test_lists_come_in_pages(start: Start) -> None:
    """A hundred on each, the newest first, with the address of the next."""
    client = await start(latency={"median_s": 0.0})
    body = {"version": "o/n", "input": {}}
    for _ in range(130):
        await client.send("POST", "/v1/predictions", json=body)
    _, _, first = await client.send("GET", "/v1/predictions")
    _, _, second = await client.send("GET", first["next"])
    names = [one["id"] for one in first["results"] + second["results"]]
    assert len(set(names)) == 130
    assert names == sorted(names, reverse=True)
    assert second["next"] is None


async def test_a_queue_refuses_nobody_and_lets_jobs_wait(start: Start) -> None:
    """Two places, three jobs: the third waits for its turn."""
    client = await start(
        limits=[{"dimension": "concurrency", "amount": 2}], latency={"median_s": 10.0}
    )
    jobs = []
    for number in range(3):
        status, _, job = await client.send(
            "POST", "/queue/jobs", json={"prompt": "x", "marker": f"item-{number}"}
        )
        assert status == 200
        jobs.append(job)
    assert [job["status"] for job in jobs] == ["IN_PROGRESS", "IN_PROGRESS", "IN_QUEUE"]
    assert (await client.send("GET", jobs[2]["result_url"]))[0] == 409
    await client.clock.advance(10.5)
    assert (await client.send("GET", jobs[2]["status_url"]))[2]["status"] == "IN_PROGRESS"
    await client.clock.advance(10)
    status, _, png = await client.send("GET", jobs[2]["result_url"])
    assert status == 200
    Image.open(io.BytesIO(png)).load()
    _, _, found = await client.send("GET", "/queue/jobs?marker=item-1")
    assert [job["id"] for job in found["jobs"]] == [jobs[1]["id"]]


# ---------------------------------------------------------------- crash classes and faults


async def test_class_a_gives_the_same_answer_for_the_same_key_and_bills_once(start: Start) -> None:
    """Also when both are under way at once, and when the first answer was never seen."""
    client = await start(crash_class="A", faults=[{"kind": "reset_after", "until_s": 1.0}])
    headers = {"Idempotency-Key": "item-1"}
    with pytest.raises(aiohttp.ClientError):
        await client.chat(headers=headers)
    first = await client.chat(headers=headers)
    both = [client.chat(headers={"Idempotency-Key": "item-2"}) for _ in range(2)]
    await client.clock.advance(2)
    second, third = await asyncio.gather(*both)
    assert first[0] == second[0] == 200
    assert second[2]["id"] == third[2]["id"] != first[2]["id"]
    truth = await client.truth()
    assert (truth["paid_calls"], truth["paid_twice"]) == (2, 0)
    assert truth["verdicts"]["replayed"] == 2


@pytest.mark.parametrize("more", [{"stream": True}, {"temperature": 0.5}])
async def test_class_a_turns_away_another_request_under_a_key(
    start: Start, more: dict[str, Any]
) -> None:
    """As the standard for the header says: a key is of one body, to the byte; nothing is billed."""
    client = await start(crash_class="A")
    headers = {"Idempotency-Key": "item-1"}
    assert (await client.chat(headers=headers))[0] == 200
    status, _, body = await client.chat(headers=headers, **more)
    assert (status, body["error"]["code"]) == (422, "idempotency_key_reused")
    assert (await client.chat(headers=headers))[0] == 200
    truth = await client.truth()
    assert (truth["paid_calls"], truth["verdicts"]["replayed"]) == (1, 2)


async def test_class_a_starts_no_second_prediction(start: Start) -> None:
    """The same key, the same prediction."""
    client = await start(crash_class="A")
    body = {"version": "o/n", "input": {}}
    headers = {"Idempotency-Key": "k"}
    _, _, one = await client.send("POST", "/v1/predictions", json=body, headers=headers)
    _, _, two = await client.send("POST", "/v1/predictions", json=body, headers=headers)
    assert one["id"] == two["id"]


async def test_class_b_finds_a_call_by_its_marker(start: Start) -> None:
    """The answer was never seen; it is looked up instead of bought again."""
    client = await start(crash_class="B", faults=[{"kind": "reset_after"}])
    with pytest.raises(aiohttp.ClientError):
        await client.chat(metadata={"marker": "item-9"})
    _, _, found = await client.send("GET", "/v1/calls?marker=item-9")
    status, _, body = await client.send("GET", f"/v1/calls/{found['data'][0]['id']}")
    assert (status, body["object"]) == (200, "chat.completion")
    assert (await client.send("GET", "/v1/calls?marker=item-8"))[2]["data"] == []


async def test_class_c_goes_on_by_id_though_the_answer_was_lost(start: Start) -> None:
    """A prediction whose creation was never answered stands in the list."""
    client = await start(crash_class="C", faults=[{"kind": "reset_after", "until_s": 0.1}])
    with pytest.raises(aiohttp.ClientError):
        await client.send("POST", "/v1/predictions", json={"version": "o/n", "input": {"a": 1}})
    await client.clock.advance(1)
    _, _, page = await client.send("GET", "/v1/predictions")
    assert [one["status"] for one in page["results"]] == ["succeeded"]


async def test_class_d_pays_again_and_the_truth_says_so(start: Start) -> None:
    """The key is not honoured: two calls, paid twice."""
    client = await start()
    for _ in range(2):
        await client.chat(headers={"Idempotency-Key": "item-1"})
    truth = await client.truth()
    assert truth["paid_twice_keys"] == {"item-1": 2}


@pytest.mark.parametrize(
    ("kind", "status", "word"),
    [
        ("500", 500, "server_error"),
        ("502", 502, "server_error"),
        ("503", 503, "service_unavailable_error"),
        ("529", 529, "overloaded_error"),
        ("outage", 503, "service_unavailable_error"),
    ],
)
async def test_errors_of_the_provider_end_with_their_window(
    start: Start, kind: str, status: int, word: str
) -> None:
    """Until the fault is over; then calls succeed."""
    client = await start(faults=[{"kind": kind, "until_s": 5.0}])
    found, _, body = await client.chat()
    assert (found, body["error"]["type"]) == (status, word)
    await client.clock.advance(10)
    assert (await client.chat())[0] == 200
    truth = await client.truth()
    assert truth["faults"] == {kind: 1}
    assert truth["paid_calls"] == 1


async def test_a_stray_refusal_names_no_limit_and_no_wait(start: Start) -> None:
    """A 429 for no limit is a refusal that nothing explains, and costs nothing."""
    client = await start(retry_after="seconds", faults=[{"kind": "429", "until_s": 5.0}])
    found, headers, body = await client.chat()
    assert found == 429
    assert not {"retry-after", "retry-after-ms"} & {name.lower() for name in headers}
    assert "limit" not in body["error"]["message"]
    await client.clock.advance(10)
    assert (await client.chat())[0] == 200
    truth = await client.truth()
    assert truth["refused_by"] == {"no limit": 1}
    assert (truth["refused"], truth["faults"], truth["paid_calls"]) == (1, {"429": 1}, 1)


@pytest.mark.parametrize("kind", ["reset_before", "hang", "reset_after"])
async def test_resets_and_hangs_end_the_connection(start: Start, kind: str) -> None:
    """Only what was done before the reset is paid; a hanging call is silent for its time."""
    client = await start(faults=[{"kind": kind, "hang_s": 30.0, "until_s": 1.0}])
    begin_s = client.clock.monotonic_s()
    with pytest.raises((aiohttp.ClientError, ConnectionError)):
        await client.chat()
    assert (client.clock.monotonic_s() - begin_s >= 30.0) == (kind == "hang")
    truth = await client.truth()
    assert truth["paid_calls"] == (1 if kind == "reset_after" else 0)
    assert truth["succeeded"] == 0


async def test_a_server_with_slots_makes_calls_wait_and_then_answers_503(start: Start) -> None:
    """One place, a line of one: the third is turned away, never with a 429."""
    client = await start(latency={"median_s": 10.0, "slots": 1, "queue_max": 1})
    answers = await client.wait(
        asyncio.gather(*(asyncio.ensure_future(client.chat()) for _ in range(3)))
    )
    assert sorted(status for status, _, _ in answers) == [200, 200, 503]
    truth = await client.truth()
    assert truth["last_result_s"] == pytest.approx(20.0, abs=1)


# ---------------------------------------------------------------- what it tells of itself


async def test_truth_log_ideal_and_reset(start: Start) -> None:
    """Sums, every call, the ideal of what was delivered, and a fresh start with new rules."""
    client = await start(limits=[{"amount": 60, "burst": 2}], snapshots_s=[1.0])
    statuses = [(await client.chat())[0] for _ in range(5)]
    assert statuses.count(429) == 5 - statuses.count(200) > 0
    truth = await client.truth()
    assert truth["requests"] == 5
    assert truth["refused_by"] == {"requests": statuses.count(429)}
    _, _, log = await client.send("GET", "/_simulator/log")
    lines = [json.loads(one) for one in log.splitlines()]
    assert [one["status"] for one in lines] == statuses
    assert {one["limiter"] for one in lines if one["status"] == 429} == {"bucket"}
    _, _, ideal = await client.send("GET", "/_simulator/ideal")
    assert ideal["items"] == statuses.count(200)
    assert 0 < ideal["ideal_s"] <= ideal["achieved_s"]
    _, _, asked = await client.send("GET", "/_simulator/ideal?items=62&tokens=5")
    assert asked["ideal_s"] == pytest.approx(60.5)
    _, _, after = await client.send("GET", "/_simulator/ideal?after_s=1.0")
    assert after["ideal_s"] >= 0
    status, _, body = await client.send("GET", "/_simulator/ideal?after_s=7")
    assert (status, "no snapshot" in body["error"]) == (400, True)
    status, _, body = await client.send("POST", "/_simulator/reset", json={"limitz": []})
    assert (status, body["remedy"]) == (400, "Did you mean 'limits'?")
    await client.send("POST", "/_simulator/reset", json={"limits": [], "shapes": ["openai"]})
    assert (await client.truth())["requests"] == 0
    assert (await client.chat())[0] == 200
    assert (await client.send("GET", "/queue/jobs"))[0] == 404


async def test_pipelined_and_chunked_requests_are_answered_in_order(start: Start) -> None:
    """Two requests in one packet, the first in chunks."""
    client = await start(latency={"median_s": 0.0})
    body = json.dumps(CHAT).encode()
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    first = b"POST /v1/chat/completions HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + chunked
    second = b"GET /v1/models HTTP/1.1\r\nconnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", client.simulator.port)
    writer.write(first + second)
    answer = await client.wait(reader.read())
    writer.close()
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.index(b"chat.completion") < answer.index(b'"object":"list"')


async def test_bytes_that_are_no_http_are_refused(start: Start) -> None:
    """400 and the end of the connection."""
    client = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.simulator.port)
    writer.write(b"\x16\x03\x01 hello\r\n\r\n")
    assert b"400 Bad Request" in await client.wait(reader.read())
    writer.close()


async def fal_job(client: Client, model: str, **given: Any) -> tuple[Any, Any, Any]:
    """Submit to fal's queue and wait for the end; returns the job, its last status, its result."""
    _, _, job = await client.send("POST", f"/fal/{model}", json={"prompt": "a mill"} | given)
    status, told = 202, {}
    while status == 202:
        await client.clock.advance(0.1)
        status, _, told = await client.send("GET", job["status_url"])
    return job, told, await client.send("GET", job["response_url"])


async def test_fals_queue_lets_jobs_wait_and_gives_files(start: Start) -> None:
    """Addresses leave the sub-path out, 202 until it is done, then a file and its units."""
    client = await start(limits=[{"dimension": "concurrency", "kind": "concurrency", "amount": 1}])
    _, _, other = await client.send("POST", "/fal/fal-ai/flux/dev", json={})
    _, _, waiting = await client.send("POST", "/fal/fal-ai/flux/dev", json={})
    assert waiting["status_url"].endswith(
        f"/fal/fal-ai/flux/requests/{waiting['request_id']}/status"
    )
    status, _, told = await client.send("GET", waiting["status_url"])
    assert (status, told["status"]) == (202, "IN_QUEUE")
    assert (await client.send("GET", waiting["response_url"]))[0] == 400
    status, _, told = await client.send("PUT", waiting["cancel_url"])
    assert (status, told) == (202, {"status": "CANCELLATION_REQUESTED"})
    await client.clock.advance(1)
    assert (await client.send("PUT", other["cancel_url"]))[0] == 400
    job, told, (status, headers, result) = await fal_job(client, "fal-ai/flux/dev")
    assert (told["status"], told["error"], status) == ("COMPLETED", None, 200)
    assert told["metrics"]["inference_time"] == pytest.approx(0.5)
    assert headers["x-fal-billable-units"] == "1"
    status, headers, body = await client.send("GET", result["images"][0]["url"])
    assert Image.open(io.BytesIO(body)).width == result["images"][0]["width"]
    elsewhere = job["status_url"].replace("/flux/", "/other/")
    assert (await client.send("GET", elsewhere))[0] == 404


async def test_fal_words_failures_at_the_result(start: Start) -> None:
    """A failed job is COMPLETED with an error; the result says why, typed."""
    client = await start(refuse_word="forbidden", faults=[{"kind": "failed", "from_s": 5}])
    _, told, (status, headers, result) = await fal_job(client, "fal-ai/x/y", prompt="forbidden")
    assert (told["status"], told["error_type"]) == ("COMPLETED", "content_policy_violation")
    assert (status, result["detail"][0]["type"]) == (422, "content_policy_violation")
    await client.clock.advance(5)
    _, told, (status, headers, result) = await fal_job(client, "fal-ai/x/y")
    assert (status, headers["x-fal-error-type"]) == (500, "internal_server_error")


async def test_jobs_can_give_films(start: Start) -> None:
    """Real MP4s: by the model's name or the settings with fal, by the input with the others."""
    av = pytest.importorskip("av")
    client = await start(output={"film_bytes": 50_000})
    _, _, (_, headers, result) = await fal_job(client, "fal-ai/any/text-to-video")
    status, head, body = await client.send("GET", result["video"]["url"])
    assert (status, head["content-type"], headers["x-fal-billable-units"]) == (
        200,
        "video/mp4",
        "3",
    )
    assert len(body) == pytest.approx(50_000, abs=100)
    with av.open(io.BytesIO(body)) as film:
        assert film.duration == 3_000_000
        assert sum(1 for _ in film.decode(video=0)) == 24
    _, _, job = await client.send("POST", "/queue/jobs", json={"output": "video"})
    _, _, prediction = await client.send(
        "POST", "/v1/predictions", json={"version": "a/b", "input": {"output": "video"}}
    )
    await client.clock.advance(1)
    _, head, other = await client.send("GET", job["result_url"])
    assert (head["content-type"], other[:60]) == ("video/mp4", body[:60])
    assert other != body, "each film is its own"
    _, _, prediction = await client.send("GET", prediction["urls"]["get"])
    assert prediction["output"][0].endswith("out-0.mp4")
    _, head, _ = await client.send("GET", prediction["output"][0])
    assert head["content-type"] == "video/mp4"
    client = await start(output={"media": "video"})
    _, _, (_, _, result) = await fal_job(client, "fal-ai/flux/dev")
    assert "video" in result
