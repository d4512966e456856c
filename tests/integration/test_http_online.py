"""Calls on demand below /v1 and /api/generate, with the official client where there is one."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import openai
import pytest
from PIL import Image

from headrace.config import Retry
from headrace.http.item_links import ItemLinks
from headrace.outcome import OutcomeKind
from headrace.provider import Call, Reply
from headrace.signed_links import signed
from tests.integration.test_http import MODEL, Served, served
from tests.integration.test_http_files import foreigner

PAINTER = "sim:gpt-image-2"
SAID: Any = [{"role": "user", "content": "Hi"}]
TWO_STAGES = """
name = "twice"
[columns]
required = ["t"]
[[stages]]
name = "first"
kind = "generate"
model = "scripted:m"
prompt = "{{ t }}"
[[stages]]
name = "second"
kind = "generate"
model = "scripted:m"
prompt = "again {{ stages.first }}"
"""


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path) as one:
        yield one


@pytest.fixture
async def client(api: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with api.client() as one:
        yield one


async def drawn(client: openai.AsyncOpenAI, prompt: str = "p", **more: Any) -> list[str | None]:
    """Images of the provider that does as it is told, as they are given back."""
    made = await client.images.generate(model="scripted:m", prompt=prompt, **more)
    return [one.b64_json or one.url for one in made.data or []]


def picture(color: str, size: tuple[int, int] = (8, 8)) -> bytes:
    """A small PNG."""
    body = io.BytesIO()
    Image.new("RGB", size, color).save(body, "PNG")
    return body.getvalue()


# -- images ------------------------------------------------------------------------------------


async def test_each_of_n_images_is_bought_and_kept_by_itself(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """Three images are three calls; five of the same wish later are two calls more."""
    three = await client.images.generate(model=PAINTER, prompt="a mill", n=3)
    assert len({one.b64_json for one in three.data or []}) == 3
    assert len(api.simulator.truth.calls) == 3
    five = await client.images.generate(model=PAINTER, prompt="a mill", n=5)
    assert (five.data or [])[:3] == three.data
    assert len(api.simulator.truth.calls) == 5
    assert five.usage is None or five.usage.total_tokens > 0


async def test_one_of_n_that_fails_is_an_error_and_loses_none(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """What was paid for beside a failure is there when it is asked for again."""
    api.scripted._script = lambda prompt, nth: OutcomeKind.REFUSED if nth == 2 else None
    with pytest.raises(openai.BadRequestError) as caught:
        await drawn(client, n=3)
    assert caught.value.code == "content_policy_violation"
    assert len(api.scripted.prompts) == 3
    assert len(await drawn(client, n=3)) == 3
    assert len(api.scripted.prompts) == 4


async def test_images_come_as_addresses_that_end(api: Served, client: openai.AsyncOpenAI) -> None:
    """An address opens without a key, and not when it is changed or its hour is over."""
    (url,) = await drawn(client, response_format="url")
    assert url is not None
    async with api.http.get(url) as answer:
        assert (answer.status, await answer.read()) == (200, b"made of p")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    for wrong in (
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("expires=", "expires=9"),
    ):
        async with api.http.get(wrong) as answer:
            assert answer.status == 404
    path, now = urlsplit(url).path, int(api.engine.clock.now().timestamp())
    secret = await ItemLinks(api.engine.database, api.engine.clock)._own()
    base = url.removesuffix(urlsplit(url).query).removesuffix("?").removesuffix(path)
    for until in (now - 1, now + 60):
        async with api.http.get(base + signed(secret, path, until)) as answer:
            assert answer.status == (200 if until > now else 404)


async def test_images_that_cannot_be_meant_buy_nothing(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """A number out of range and a form that there is not are bad requests."""
    wrong: list[dict[str, Any]] = [{"n": 11}, {"n": 0}, {"n": True}, {"partial_images": 4}]
    for more in [*wrong, {"response_format": "x"}]:
        with pytest.raises(openai.BadRequestError):
            await drawn(client, extra_body=more)
    assert not api.scripted.prompts


async def test_images_stream(api: Served, client: openai.AsyncOpenAI) -> None:
    """Without partial images each image is told once, when it is complete."""
    whole = await client.images.generate(model=PAINTER, prompt="a mill", n=2)
    stream = await client.images.generate(
        model=PAINTER, prompt="a mill", n=2, stream=True, partial_images=2, size="1024x1024"
    )
    events: list[Any] = [event async for event in stream]
    assert [event.type for event in events] == ["image_generation.completed"] * 2
    assert all(base64.b64decode(event.b64_json) for event in events)
    assert events[0].output_format == "png"
    assert whole.data is not None


# -- edits -------------------------------------------------------------------------------------


def watched(api: Served) -> list[dict[str, list[bytes]]]:
    """Note the pictures that go into each call of the provider that does as it is told."""
    seen: list[dict[str, list[bytes]]] = []
    real = api.scripted.call

    async def call(call: Call) -> Reply:
        placed = call.request.placed()
        seen.append(
            {name: [await call.source(one) for one in ones] for name, ones in placed.items()}
        )
        return await real(call)

    api.scripted.call = call  # type: ignore[method-assign]
    return seen


async def test_edits_take_pictures_in(api: Served, client: openai.AsyncOpenAI) -> None:
    """Several pictures and a mask reach the provider; sent again, or by their ids, it is a hit."""
    seen = watched(api)
    red, blue, mask = picture("red"), picture("blue"), picture("white")
    told: Any = {"model": "scripted:m", "prompt": "mix", "n": 2}
    for _ in range(2):
        made = await client.images.edit(image=[red, blue], mask=mask, **told)
        assert len(made.data or []) == 2
    assert seen == [{"image": [red, blue], "mask": [mask]}] * 2
    ids = [
        (await client.files.create(file=("a.png", one), purpose="vision")).id
        for one in (red, blue, mask)
    ]
    body = {**told, "images": [{"file_id": one} for one in ids[:2]], "mask": ids[2]}
    status, named = await api("POST", "/v1/images/edits", body=body)
    assert (status, len(named["data"])) == (200, 2)
    assert len(seen) == 2
    one = await client.images.edit(image=red, model="scripted:m", prompt="x", stream=True)
    assert [event.type async for event in one] == ["image_edit.completed"]
    assert seen[2] == {"image": [red]}


async def test_pictures_that_are_none_are_refused(api: Served, client: openai.AsyncOpenAI) -> None:
    """Text, bombs, somebody else's files and no picture at all are bad requests, and not kept."""
    seen = watched(api)
    bomb = bytearray(picture("red"))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    for wrong in (b"no picture", bytes(bomb), b""):
        with pytest.raises(openai.BadRequestError):
            await client.images.edit(image=wrong, model="scripted:m", prompt="x")
    assert not (await client.files.list()).data
    root = api.engine.blobs.spool_folder.parent
    assert not [p for p in root.rglob("*") if p.is_file() and p.parent != root / "aside"]
    await foreigner(api)
    async with api.client("foreign") as foreign:
        theirs = await foreign.files.create(file=("a.png", picture("red")), purpose="vision")
    # A file that came as something else was never looked at.
    lines = await client.files.create(file=("a", bytes(bomb)), purpose="batch")
    same = hashlib.sha256(bytes(bomb)).hexdigest()
    for named in (lines.id, f"sha256:{same}"):
        body = {"model": "scripted:m", "prompt": "x", "image": named}
        assert (await api("POST", "/v1/images/edits", body=body))[0] == 400
    with pytest.raises(openai.BadRequestError):
        await client.images.edit(image=bytes(bomb), model="scripted:m", prompt="x")
    digest = f"sha256:{'0' * 64}"
    for image in ([theirs.id], [digest], ["sha256:x"], ["file-x"], [], None, [7], ["http://a/b"]):
        body = {"model": "scripted:m", "prompt": "x", "image": image}
        assert (await api("POST", "/v1/images/edits", body=body))[0] == 400
    assert not seen


# -- responses ---------------------------------------------------------------------------------


async def test_responses_are_chats_in_other_words(api: Served, client: openai.AsyncOpenAI) -> None:
    """A response says what the chat says, out of the same cache, and can see pictures."""
    chat = await client.chat.completions.create(
        model=MODEL, messages=[{"role": "system", "content": "Be brief."}, *SAID]
    )
    response = await client.responses.create(model=MODEL, instructions="Be brief.", input="Hi")
    assert response.output_text == chat.choices[0].message.content
    assert response.status == "completed"
    assert response.usage is not None
    assert chat.usage is not None
    assert response.usage.total_tokens == chat.usage.total_tokens
    assert len(api.simulator.truth.calls) == 1
    seen: Any = [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
            ],
        }
    ]
    assert (await client.responses.create(model=MODEL, input=seen)).output_text


async def test_a_response_streams_its_events(client: openai.AsyncOpenAI) -> None:
    """The events come in the official order, numbered, and add up to the whole answer."""
    whole = await client.responses.create(model=MODEL, input="Hi")
    stream = await client.responses.create(model=MODEL, input="Hi", stream=True)
    events: list[Any] = [event async for event in stream]
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-4:] == [
        "output_text.done", "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == events[-1].response.output_text == whole.output_text
    async with client.responses.stream(model=MODEL, input="Hi") as helped:
        final = await helped.get_final_response()
    assert final.output_text == whole.output_text


UNMEANT: list[dict[str, Any]] = [
    {"input": "x", "previous_response_id": "resp_1"},
    {"input": "x", "tools": [{"type": "web_search"}]},
    {"input": "x", "background": True},
    {"input": []},
    {"input": [{"type": "function_call_output", "output": "x"}]},
    {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "x"}]}]},
    {"input": [{"role": "boss", "content": "x"}]},
    {},
]


async def test_responses_that_cannot_be_given_are_told(api: Served) -> None:
    """What a response would have to remember or run is refused, with a remedy or a reason."""
    for body in UNMEANT:
        status, told = await api("POST", "/v1/responses", body={"model": MODEL, **body})
        assert (status, told["error"]["type"]) == (400, "invalid_request_error"), body
    assert not api.simulator.truth.calls


# -- waiting -----------------------------------------------------------------------------------


async def test_who_hangs_up_wastes_nothing(api: Served, client: openai.AsyncOpenAI) -> None:
    """A socket that is closed midway: what it paid for is in the cache."""
    api.scripted.gate.clear()
    body = json.dumps({"model": "scripted:m", "prompt": "p"}).encode()
    host, port = urlsplit(api.url).netloc.split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = (
        "POST /v1/images/generations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {api.keys['submit']}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    async with asyncio.timeout(60):
        await api.scripted.entered.wait()
    writer.transport.abort()
    api.scripted.gate.set()
    # Whether it has landed or is about to: it is not bought again.
    assert await drawn(client) == [base64.b64encode(b"made of p").decode()]
    again = await client.images.with_raw_response.generate(model="scripted:m", prompt="p")
    assert again.headers["x-headrace-cache"] == "hit"
    assert api.scripted.prompts == ["p"]


async def test_a_deadline_ends_the_waiting_not_the_work(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """At the caller's deadline it is told to come again, and finds then what was made."""
    api.scripted.gate.clear()
    with pytest.raises(openai.InternalServerError) as caught:
        await drawn(client, extra_headers={"X-Headrace-Deadline": "0.01"})
    assert (caught.value.status_code, caught.value.code) == (504, "deadline_exceeded")
    api.scripted.gate.set()
    assert await drawn(client)
    assert api.scripted.prompts == ["p"]
    for wrong in ("soon", "0", "-1", "nan", "1e9"):
        with pytest.raises(openai.BadRequestError):
            await drawn(client, extra_headers={"X-Headrace-Deadline": wrong})


async def test_those_who_wait_are_capped_for_each_tenant(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """Above the cap a call is told to come again; hits and other tenants are not held up."""
    limits = msgspec.structs.replace(api.engine.config.limits, waiting_max=2)
    api.engine.config = msgspec.structs.replace(api.engine.config, limits=limits)
    await drawn(client, "known")
    api.scripted.gate.clear()
    api.scripted.entered.clear()
    first = asyncio.create_task(drawn(client, n=2))
    async with asyncio.timeout(60):
        await api.scripted.entered.wait()
    with pytest.raises(openai.RateLimitError) as caught:
        await drawn(client, "other", extra_headers={"Idempotency-Key": "full"})
    assert int(caught.value.response.headers["retry-after"]) > 0
    assert await drawn(client, "known")
    api.scripted.gate.set()
    assert len(await first) == 2
    # The key was let go of: nothing had begun under it.
    assert await drawn(client, "new", extra_headers={"Idempotency-Key": "full"})


async def test_many_who_ask_the_same_share_one_call(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """Twenty calls, a batch and the native door: one purchase."""
    api.scripted.gate.clear()
    asking = [asyncio.create_task(drawn(client)) for _ in range(20)]
    native = asyncio.create_task(
        api("POST", "/api/generate", body={"model": "scripted:m", "prompt": "p"})
    )
    async with asyncio.timeout(60):
        await api.scripted.entered.wait()
    batch = await api("POST", "/api/batches", body={"recipe": "words", "rows": [{"t": "p"}]})
    api.scripted.gate.set()
    assert len({one[0] for one in await asyncio.gather(*asking)}) == 1
    assert (await native)[1]["text"] == "made of p"
    await api.engine.batch(batch[1]["id"]).done()
    assert api.scripted.prompts == ["p"]


# -- idempotency keys --------------------------------------------------------------------------


async def test_the_same_key_is_the_same_answer(api: Served, client: openai.AsyncOpenAI) -> None:
    """Word for word, even where the cache is off; another request under the key is refused."""
    headers = {"Idempotency-Key": "k", "Cache-Control": "no-store"}

    async def ask(**more: Any) -> Any:
        told: Any = {"model": MODEL, "messages": SAID, **more}
        return await client.chat.completions.create(**told, extra_headers=headers)

    answers = await asyncio.gather(*(ask() for _ in range(5)))
    assert len({one.id for one in answers}) == 1
    assert (await ask()).model_dump() == answers[0].model_dump()
    assert len(api.simulator.truth.calls) == 1
    with pytest.raises(openai.UnprocessableEntityError):
        await ask(temperature=0.5)
    # What could not begin holds no key.
    headers["Idempotency-Key"] = "new"
    with pytest.raises(openai.BadRequestError):
        await ask(temperature="hot")
    assert await ask()
    headers["Idempotency-Key"] = "k" * 256
    with pytest.raises(openai.BadRequestError):
        await ask()


async def test_a_call_that_was_cut_off_finds_what_it_had_begun(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """A process that died before it wrote its answer down has bought nothing twice."""
    headers = {"Idempotency-Key": "k", "Cache-Control": "no-store"}
    first = await drawn(client, n=2, extra_headers=headers)
    async with api.engine.database.acquire() as connection:
        await connection.execute("UPDATE answer_key SET told = NULL")
    assert await drawn(client, n=2, extra_headers=headers) == first
    assert len(api.scripted.prompts) == 2
    async with api.engine.database.acquire() as connection:
        await connection.execute("UPDATE answer_key SET expires_at = created_at")
    await drawn(client, n=2, extra_headers=headers)
    assert len(api.scripted.prompts) == 4


async def test_answers_under_a_key_survive_a_restart(database_url: str, tmp_path: Path) -> None:
    """Another process gives the answer that the first one gave; failures, too."""
    headers = {"Idempotency-Key": "k", "Cache-Control": "no-store"}
    bad = {"Idempotency-Key": "bad"}
    told = []
    for _ in range(2):
        async with served(database_url, tmp_path) as api, api.client() as client:
            api.scripted._script = lambda p, nth: OutcomeKind.REFUSED if p == "bad" else None
            made = await client.images.generate(
                model="scripted:m", prompt="p", extra_headers=headers
            )
            told.append((made.model_dump(), len(api.scripted.prompts)))
            with pytest.raises(openai.BadRequestError):
                await drawn(client, "bad", extra_headers=bad)
            assert len(api.scripted.prompts) == told[-1][1] * 2
    assert told == [(told[0][0], 1), (told[0][0], 0)]


async def test_uploads_and_cancels_honour_keys(api: Served, client: openai.AsyncOpenAI) -> None:
    """A file that is sent again under its key is the same file; other bytes are refused."""
    told: Any = {"purpose": "batch", "extra_headers": {"Idempotency-Key": "f"}}
    first, again = [await client.files.create(file=("a", b"x"), **told) for _ in range(2)]
    assert first == again
    with pytest.raises(openai.UnprocessableEntityError):
        await client.files.create(file=("a", b"y"), **told)
    assert len((await client.files.list()).data) == 1


# -- errors ------------------------------------------------------------------------------------


async def test_each_error_is_the_class_that_clients_expect(
    api: Served, client: openai.AsyncOpenAI
) -> None:
    """Routes, bodies, models, ids, scopes and outcomes: each in OpenAI's shape, with its class."""
    api.scripted._script = lambda prompt, nth: OutcomeKind.INVALID if prompt == "odd" else None
    await foreigner(api)
    async with api.engine.database.acquire() as connection:
        await connection.execute(
            "INSERT INTO account (tenant_id, kind) VALUES ('other', 'available'), ('other', 'held')"
            " ON CONFLICT DO NOTHING"
        )
    reader, foreign, nobody = api.client("read"), api.client("foreign"), api.client()
    nobody.api_key = "hr_nobody"
    chat = {"model": MODEL, "messages": SAID}
    cases: list[tuple[type[openai.APIStatusError], int, Any]] = [
        (openai.NotFoundError, 404, client.get("/nowhere", cast_to=object)),
        (openai.NotFoundError, 404, client.models.retrieve("sim:nothing")),
        (openai.NotFoundError, 404, client.files.retrieve("file-x")),
        (openai.NotFoundError, 404, client.batches.retrieve("batch_x")),
        (openai.NotFoundError, 404, client.chat.completions.create(**{**chat, "model": "x"})),  # type: ignore[call-overload]
        (openai.NotFoundError, 404, client.images.generate(model="nobody:x", prompt="p")),
        (openai.BadRequestError, 400, client.chat.completions.create(model=MODEL, messages=[])),
        (openai.BadRequestError, 400, drawn(client, "odd")),
        (openai.AuthenticationError, 401, nobody.models.list()),
        (openai.PermissionDeniedError, 403, drawn(reader)),
        (openai.RateLimitError, 429, drawn(foreign)),
    ]
    for kind, status, call in cases:
        with pytest.raises(kind) as caught:
            await call
        assert caught.value.status_code == status
        assert caught.value.body["message"]  # type: ignore[index]
        assert caught.value.body["code"]  # type: ignore[index]
    assert caught.value.code == "insufficient_quota"  # the last: a tenant without credits
    for one in (reader, foreign, nobody):
        await one.close()


async def test_bodies_that_are_none_are_told_in_the_shape_of_the_api(api: Served) -> None:
    """Not JSON, not an object, too large, a wrong verb: each has a type and a message."""
    headers = {"Authorization": f"Bearer {api.keys['submit']}"}
    paths = ("chat/completions", "responses", "images/generations", "images/edits", "batches")
    for path in paths:
        headers["Content-Type"] = "application/json"
        for data in (b"{", b"[]", b"\xff"):
            async with api.http.post(f"{api.url}/v1/{path}", data=data, headers=headers) as answer:
                assert answer.status == 400
                assert (await answer.json())["error"]["message"]
        assert (await api("PUT", f"/v1/{path}", body={}))[0] == 405
    large = b'{"x": "' + b"x" * 300_000
    async with api.http.post(f"{api.url}/v1/batches", data=large, headers=headers) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (413, "too_large")


async def test_a_failure_is_not_tried_again_by_the_client(
    database_url: str, tmp_path: Path
) -> None:
    """What the engine has tried as often as it may, the client's own retries do not multiply."""
    async with served(database_url, tmp_path, retry=Retry(2, 0.0, 0.0)) as api:
        api.scripted._script = lambda prompt, nth: OutcomeKind.NO_OUTPUT
        retrying = api.client().with_options(max_retries=2)
        with pytest.raises(openai.InternalServerError):
            await drawn(retrying)
        counted = len(api.scripted.prompts)
        with pytest.raises(openai.InternalServerError):
            await drawn(retrying.with_options(max_retries=0))
        assert len(api.scripted.prompts) == counted * 2
        await retrying.close()


# -- the native door ---------------------------------------------------------------------------


async def test_a_recipe_of_several_stages_is_made_on_demand(
    api: Served, tmp_path: Path, client: openai.AsyncOpenAI
) -> None:
    """A row goes through all stages, and a second time through the cache."""
    (tmp_path / "recipes" / "twice.toml").write_text(TWO_STAGES)
    body = {"recipe": "twice", "row": {"t": "x"}}
    status, told = await api("POST", "/api/generate", body=body)
    assert (status, told["text"]) == (200, "made of again made of x")
    assert (await api("POST", "/api/generate", body=body))[1]["text"] == told["text"]
    assert api.scripted.prompts == ["x", "again made of x"]
    async with api.http.get(api.url + told["artifact"]["path"]) as answer:
        assert await answer.read() == b"made of again made of x"
    # One stage, by its recipe or by its model: the same result.
    await api("POST", "/api/generate", body={"recipe": "words", "row": {"t": "y"}})
    _, again = await api("POST", "/api/generate", body={"model": "scripted:m", "prompt": "y"})
    assert again["cached"]
    assert len(await drawn(client, "y")) == 1
    assert api.scripted.prompts.count("y") == 1


async def test_no_file_of_the_server_is_a_recipe(api: Served, tmp_path: Path) -> None:
    """A path names no recipe over HTTP, whether there is one or not, and nothing of it is told."""
    (tmp_path / "own.toml").write_text(TWO_STAGES)
    (tmp_path / "secret.toml").write_text("password = 1")
    for name in ("own.toml", "secret.toml", "nobody.toml"):
        body = {"recipe": str(tmp_path / name), "row": {"t": "x"}}
        status, told = await api("POST", "/api/generate", body=body)
        assert (status, told["code"]) == (422, "invalid_input"), told
        assert "password" not in str(told)
    assert not api.scripted.prompts


WRONG: list[tuple[dict[str, Any], int]] = [
    ({}, 422),
    ({"model": "x", "prompt": "p"}, 422),
    ({"recipe": "words"}, 422),
    ({"recipe": "words", "row": {}}, 400),
    ({"recipe": "words", "row": []}, 422),
    ({"recipe": "nobody", "row": {"t": "x"}}, 422),
    ({"recipe": "words", "row": {"t": "x"}, "odd": 1}, 422),
    ({"model": "scripted:m", "prompt": "p", "a | b": 1}, 400),
]


async def test_native_calls_that_cannot_be_meant_are_problems(api: Served) -> None:
    """A wrong request is told as a problem with its code, and buys nothing."""
    for body, status in WRONG:
        got, told = await api("POST", "/api/generate", body=body)
        assert got == status, told
        assert told["code"]
    assert not api.scripted.prompts
