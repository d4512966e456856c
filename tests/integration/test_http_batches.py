"""Batches below /v1 with the official client, end to end: files in, files out."""

from __future__ import annotations

import asyncio
import base64
import json
import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch

from headrace import blob, intake
from headrace.file_batches import read_batch
from headrace.handout import Handout
from headrace.lifecycle import ItemState
from headrace.outcome import OutcomeKind
from headrace.store import file_batches
from tests.integration.test_http import Served, served
from tests.integration.test_http_files import foreigner

CHAT = "/v1/chat/completions"
IMAGES = "/v1/images/generations"
CLOSED = {"completed", "failed", "cancelled", "expired"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path) as one:
        yield one


def line(name: str, model: str = "sim:gpt-x", text: str | None = None, **more: Any) -> str:
    """One good line of a batch file, unless ``more`` spoils it."""
    body = {"model": model, "messages": [{"role": "user", "content": text or f"say {name}"}]}
    told = {"custom_id": name, "method": "POST", "url": CHAT, "body": body} | more
    return json.dumps(told)


def prompted(name: str, **more: Any) -> str:
    """One line for the provider that does as it is told."""
    body = {"model": "scripted:m", "prompt": name}
    return line(name, url=IMAGES, body=body, **more)


async def asked(
    client: openai.AsyncOpenAI, lines: list[str] | bytes, endpoint: str = CHAT, **more: Any
) -> Batch:
    """Upload lines and ask for a batch out of them."""
    data = lines if isinstance(lines, bytes) else "\n".join(lines).encode()
    file = await client.files.create(file=("in.jsonl", data), purpose="batch")
    told: Any = {"endpoint": endpoint, "completion_window": "24h", **more}
    return await client.batches.create(input_file_id=file.id, **told)


async def until(client: openai.AsyncOpenAI, batch: Batch, *wanted: str) -> Batch:
    """Look until the batch has one of these statuses; it is over by default."""
    async with asyncio.timeout(60):
        while True:
            now = await client.batches.retrieve(batch.id)
            if now.status in (wanted or CLOSED):
                return now


async def content(client: openai.AsyncOpenAI, file_id: str | None) -> dict[str, Any]:
    """The lines of a result file by custom id."""
    assert file_id is not None
    text = (await client.files.content(file_id)).text
    found = [json.loads(one) for one in text.splitlines()]
    assert len({one["custom_id"] for one in found}) == len(found)
    return {one["custom_id"]: one for one in found}


async def test_a_file_of_requests_becomes_files_of_answers(api: Served) -> None:
    """Twenty lines: each is answered once, in the shapes that clients know."""
    client = api.client()
    lines = [line(f"r{n}") for n in range(20)]
    batch = await asked(client, lines, metadata={"for": "shop"})
    assert batch.status in ("validating", "in_progress")
    done = await until(client, batch)
    assert done.status == "completed", done.errors
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 20, "completed": 20, "failed": 0}
    assert done.metadata == {"for": "shop"}
    assert done.error_file_id is None
    assert done.completed_at is not None
    assert done.expires_at == done.created_at + 24 * 3600
    answers = await content(client, done.output_file_id)
    assert set(answers) == {f"r{n}" for n in range(20)}
    one = answers["r3"]
    assert one["error"] is None
    assert one["response"]["status_code"] == 200
    chat = openai.types.chat.ChatCompletion.model_validate(one["response"]["body"])
    assert chat.model == "sim:gpt-x"
    assert chat.choices[0].message.content
    assert chat.usage is not None
    assert chat.usage.total_tokens > 0
    assert len(api.simulator.truth.calls) == 20
    output = await client.files.retrieve(done.output_file_id or "")
    assert (output.purpose, output.filename) == ("batch_output", f"{done.id}_output.jsonl")
    # Asked one by one they are there already, and so they are for a second batch, usage too.
    online = await client.chat.completions.with_raw_response.create(
        model="sim:gpt-x", messages=[{"role": "user", "content": "say r3"}]
    )
    assert online.headers["x-headrace-cache"] == "hit"
    # As Windows writes files: with a mark at the beginning, and two characters to a line end.
    windows = b"\xef\xbb\xbf" + "\r\n".join([*lines, ""]).encode()
    again = await until(client, await asked(client, windows))
    assert again.status == "completed", again.errors
    second = (await content(client, again.output_file_id))["r3"]["response"]["body"]
    assert second["choices"] == one["response"]["body"]["choices"]
    assert second["usage"] == one["response"]["body"]["usage"]
    assert len(api.simulator.truth.calls) == 20
    # It is a batch like any other, under the same digits.
    native = (await api("GET", f"/api/batches/{done.id.replace('batch_', 'b_')}", "read"))[1]
    assert (native["state"], native["done"]) == ("completed", 20)
    await client.close()


async def test_lines_may_name_different_models(api: Served) -> None:
    """Each line goes to its own model with its own params; images come as base64."""
    client = api.client()
    body = {"model": "sim:gpt-image-2", "prompt": "a mill", "size": "1024x1024", "n": 1}
    lines = [line("i", url=IMAGES, body=body), prompted("s")]
    done = await until(client, await asked(client, lines, IMAGES))
    assert done.status == "completed", done.errors
    answers = await content(client, done.output_file_id)
    told = {name: one["response"]["body"]["data"][0]["b64_json"] for name, one in answers.items()}
    assert told["i"].startswith("iVBOR")
    assert base64.b64decode(told["s"]) == b"made of s"
    assert len(api.simulator.truth.calls) == len(api.scripted.prompts) == 1
    await client.close()


async def test_a_failed_line_lands_in_the_error_file(api: Served) -> None:
    """What the provider refuses is told beside the results, with status and reason."""
    client = api.client()
    refused = OutcomeKind.REFUSED
    api.scripted._script = lambda prompt, nth: refused if prompt == "bad" else None
    batch = await asked(client, [prompted("good"), prompted("bad")], IMAGES)
    done = await until(client, batch)
    assert done.status == "completed"
    assert done.request_counts is not None
    assert done.request_counts.model_dump() == {"total": 2, "completed": 1, "failed": 1}
    assert set(await content(client, done.output_file_id)) == {"good"}
    bad = (await content(client, done.error_file_id))["bad"]
    assert bad["response"]["status_code"] == 400
    assert bad["response"]["body"]["error"]["code"] == "content_policy_violation"
    await client.close()


SPOILED = [
    ("{", "invalid_json_line"),
    ("[1]", "invalid_json_line"),
    (line("a", body=None), "missing_required_parameter"),
    (line("b", method="GET"), "invalid_method"),
    (line("c", url=IMAGES), "invalid_url"),
    (line("d", custom_id=7), "invalid_custom_id"),
    (line("good"), "duplicate_custom_id"),
    (line("e", body="x"), "invalid_request"),
    (line("f", "gpt-x"), "invalid_request"),
    (line("g", "nobody:x"), "model_not_found"),
    (line("h", body={"model": "sim:gpt-x", "messages": []}), "invalid_request"),
    (line("i", body={"model": "sim:gpt-x", "messages": [1], "stream": True}), "invalid_request"),
    (line("j", body={"model": "sim:gpt-x", "messages": [1], "n": 2}), "invalid_request"),
    (
        line("k", body={"model": "sim:gpt-x", "messages": [1], "temperature": "hot"}),
        "invalid_request",
    ),
    (
        line("l", body={"model": "sim:gpt-x", "messages": [1], "x": {"source": 0}}),
        "invalid_request",
    ),
    (line("m", text="a\0b"), "invalid_json_line"),
    (line("n", body={"model": "sim:gpt-x", "messages": [1], "seed": 2**60}), "invalid_request"),
]


async def test_bad_lines_are_named_and_nothing_is_bought(api: Served) -> None:
    """Every bad line is told with its number and a code; the good ones beside it cost nothing."""
    client = api.client()
    lines = [line("good"), "", *(text for text, _ in SPOILED)]
    done = await until(client, await asked(client, lines))
    assert done.status == "failed"
    assert done.errors is not None
    assert [(one.line, one.code) for one in done.errors.data or []] == [
        (number, code) for number, (_, code) in enumerate(SPOILED, 3)
    ]
    assert all(one.message for one in done.errors.data or [])
    assert (done.output_file_id, done.error_file_id) == (None, None)
    assert not api.simulator.truth.calls
    assert (await api("GET", "/api/batches", "read"))[1]["batches"] == []
    await client.close()


HOSTILE = [
    (b"", "empty_file", 1),
    (b"\n \n", "empty_file", 1),
    (b"\0" * 1000, "invalid_json_line", 1),
    (b"\xff\xfe{\0}\0", "invalid_json_line", 1),
    (b'{"custom_id": "' + b"x" * 50_000_000, "line_too_long", 1),
    (b"[" * 100_000, "invalid_json_line", 1),
    (b"x\n" * 200_000, "invalid_json_line", intake.ERRORS_MAX),
]


async def test_hostile_files_fail_and_the_server_goes_on(api: Served) -> None:
    """Whatever the bytes are, the batch fails with a reason, and the next one works."""
    client = api.client()
    for data, code, errors in HOSTILE:
        done = await until(client, await asked(client, data))
        assert done.status == "failed"
        assert done.errors is not None
        found = done.errors.data or []
        assert (found[0].code, len(found)) == (code, errors)
    assert (await until(client, await asked(client, [line("x")]))).status == "completed"
    await client.close()


async def test_too_many_lines_are_refused(api: Served) -> None:
    """Of 60,000 lines none is bought."""
    client = api.client()
    done = await until(client, await asked(client, [line(str(n)) for n in range(60_000)]))
    assert done.errors is not None
    assert [one.code for one in done.errors.data or []] == ["too_many_tasks"]
    assert not api.simulator.truth.calls
    await client.close()


@pytest.mark.parametrize("door", ["v1", "api"])
async def test_what_is_cancelled_midway_gives_what_was_made(api: Served, door: str) -> None:
    """Cancelled, nothing more starts; what was made is in the output, the rest beside it."""
    client = api.client()
    first = asyncio.Event()

    def script(prompt: str, nth: int) -> None:
        if len(api.scripted.prompts) > 4:
            api.scripted.gate.clear()
            first.set()

    api.scripted._script = script
    batch = await asked(client, [prompted(f"p{n}") for n in range(60)], IMAGES)
    async with asyncio.timeout(60):
        await first.wait()
    if door == "v1":
        cancelling = await client.batches.cancel(batch.id)
        assert cancelling.status in ("cancelling", "cancelled")
        assert cancelling.cancelling_at is not None
        assert (await client.batches.cancel(batch.id)).status == cancelling.status
    else:
        path = f"/api/batches/{batch.id.replace('batch_', 'b_')}/cancel"
        assert (await api("POST", path))[0] == 200
        await until(client, batch, "cancelling")
    api.scripted.gate.set()
    done = await until(client, batch)
    assert done.status == "cancelled"
    assert done.cancelled_at is not None
    made = await content(client, done.output_file_id)
    left = await content(client, done.error_file_id)
    assert 0 < len(made) < 60
    assert len(made) + len(left) == 60
    assert {one["error"]["code"] for one in left.values()} == {"batch_cancelled"}
    assert len(api.scripted.prompts) == len(made)
    with pytest.raises(openai.BadRequestError):
        await client.batches.cancel(batch.id)
    await client.close()


async def test_what_is_cancelled_before_it_began_never_does(api: Served) -> None:
    """A file that nobody has looked through yet is not looked through any more."""
    client = api.client()
    await api.engine._clerk.stop()
    batch = await asked(client, [line("a")])
    assert (await client.batches.retrieve(batch.id)).status == "validating"
    assert (await client.batches.cancel(batch.id)).status == "cancelled"
    async with api.engine.database.transaction() as connection:
        assert not await file_batches.begin(
            connection, read_batch(batch.id), api.engine.clock.now()
        )
    assert not api.simulator.truth.calls
    await client.close()


async def test_a_batch_expires_with_what_was_made(api: Served) -> None:
    """Over its window nothing more of a batch starts; what is left is told as expired."""
    client = api.client()
    api.scripted.gate.clear()
    batch = await asked(client, [prompted(f"p{n}") for n in range(40)], IMAGES)
    async with asyncio.timeout(60):
        await api.scripted.entered.wait()
    async with api.engine.database.transaction() as connection:
        past = api.engine.clock.now() - timedelta(seconds=1)
        await connection.execute("UPDATE file_batch SET expires_at = $1", past)
    await until(client, batch, "finalizing")
    api.scripted.gate.set()
    done = await until(client, batch)
    assert done.status == "expired"
    assert done.expired_at is not None
    left = await content(client, done.error_file_id)
    assert {one["error"]["code"] for one in left.values()} == {"batch_expired"}
    assert len(await content(client, done.output_file_id)) + len(left) == 40
    await client.close()


async def test_what_was_asked_again_is_made_once(api: Served) -> None:
    """The same idempotency key, or a client's own retry, gives the batch that there is."""
    client = api.client()
    file = await client.files.create(file=("a", line("a").encode()), purpose="batch")
    told: Any = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}

    async def create(**headers: str) -> str:
        return (await client.batches.create(**told, extra_headers=headers)).id

    first = await create()
    assert await create(**{"x-stainless-retry-count": "1"}) == first
    second = await create()
    assert second != first
    keyed = await create(**{"Idempotency-Key": "k"})
    assert keyed not in (first, second)
    assert (
        await asyncio.gather(*(create(**{"Idempotency-Key": "k"}) for _ in range(5))) == [keyed] * 5
    )
    told["metadata"] = {"other": "x"}
    with pytest.raises(openai.UnprocessableEntityError):
        await create(**{"Idempotency-Key": "k"})
    # Something else, or another's key, is no retry.
    assert await create(**{"x-stainless-retry-count": "1"}) not in (first, second, keyed)
    async with api.engine.database.transaction() as connection:
        old = api.engine.clock.now() - timedelta(minutes=10)
        await connection.execute("UPDATE file_batch SET created_at = $1", old)
    del told["metadata"]
    late = await create(**{"x-stainless-retry-count": "1"})
    assert late not in (first, second, keyed)
    await client.close()


async def test_lists_are_in_order_and_go_on(api: Served) -> None:
    """The latest first, page by page, each once; of other tenants nothing."""
    client = api.client()
    file = await client.files.create(file=("a", line("a").encode()), purpose="batch")
    ids = [
        (
            await client.batches.create(
                input_file_id=file.id, endpoint=CHAT, completion_window="24h"
            )
        ).id
        for _ in range(5)
    ]
    assert [one.id async for one in client.batches.list(limit=2)] == ids[::-1]
    await foreigner(api)
    foreign = api.client("foreign")
    assert not (await foreign.batches.list()).data
    for call in (foreign.batches.retrieve, foreign.batches.cancel):
        with pytest.raises(openai.NotFoundError):
            await call(ids[0])
    with pytest.raises(openai.NotFoundError):
        await foreign.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    await client.close()
    await foreign.close()


async def test_pages_that_cannot_be_meant_are_told_in_the_shape_of_the_api(api: Served) -> None:
    """A limit that is no number and an id that is none are errors that the client can read."""
    for path in ("/v1/batches", "/v1/files"):
        status, told = await api("GET", f"{path}?limit=x", "read")
        assert (status, told["error"]["type"]) == (400, "invalid_request_error")
        assert (await api("GET", f"{path}?after=x", "read"))[0] == 404
        assert (await api("GET", f"{path}?limit=-1", "read"))[0] == 200
        assert (await api("GET", f"{path}/x", "read"))[0] == 404


UNMEANT: list[dict[str, Any]] = [
    {"endpoint": "/v1/embeddings"},
    {"completion_window": "1h"},
    {"metadata": {str(n): "x" for n in range(17)}},
    {"metadata": {"k" * 65: "x"}},
    {"metadata": {"k": "x" * 513}},
    {"metadata": {"k": 1}},
    {"output_expires_after": {"anchor": "created_at", "seconds": 60}},
    {"extra_body": {"odd": 1}},
]


async def test_what_cannot_be_meant_makes_no_batch(api: Served) -> None:
    """A wrong request is a bad request, and leaves nothing behind."""
    client = api.client()
    for more in UNMEANT:
        with pytest.raises(openai.BadRequestError):
            await asked(client, [line("a")], **more)
    assert not (await client.batches.list()).data
    await client.close()


async def test_files_that_could_not_be_written_are_written_once(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault between the last answer and the end makes the files again, and each once."""
    client = api.client()
    real, faults = blob.Spool.commit, []

    async def commit(self: blob.Spool) -> Any:
        made = await real(self)
        if self._media_type == "application/jsonl" and len(faults) < 2 and api.scripted.prompts:
            faults.append(made)
            raise RuntimeError("power cut")
        return made

    monkeypatch.setattr(blob.Spool, "commit", commit)
    monkeypatch.setattr("headrace.loops.clerk.AGAIN_S", 0.0)
    batch = await asked(
        client,
        [prompted("a"), prompted("b")],
        IMAGES,
        output_expires_after={"anchor": "created_at", "seconds": 3600},
    )
    done = await until(client, batch)
    assert done.status == "completed"
    assert len(faults) == 2
    files = [one async for one in client.files.list(purpose="batch_output")]
    assert [one.id for one in files] == [done.output_file_id]
    assert files[0].expires_at is not None
    root = api.engine.blobs.spool_folder.parent
    blobs = [path for path in (root / "sha256").rglob("*") if path.is_file()]
    assert len({one.sha256 for one in faults}) == 1
    assert sum(path.name == faults[0].sha256.hex() for path in blobs) == 1
    await client.close()


async def test_what_is_tried_again_while_files_are_written_is_in_them(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Items that a person retries at the last moment are waited for: no file tells of yesterday."""
    client = api.client()
    refused = OutcomeKind.REFUSED
    api.scripted._script = lambda prompt, nth: refused if (prompt, nth) == ("bad", 1) else None
    real, retried = Handout._end, []

    async def end(self: Handout, found: Any, *more: Any) -> None:
        if not retried:
            retried.append(await api.engine.batch(found.id).retry({ItemState.REFUSED}))
        await real(self, found, *more)

    monkeypatch.setattr(Handout, "_end", end)
    done = await until(client, await asked(client, [prompted("good"), prompted("bad")], IMAGES))
    assert retried == [1]
    assert (done.status, done.error_file_id) == ("completed", None)
    assert set(await content(client, done.output_file_id)) == {"good", "bad"}
    await client.close()


async def test_a_large_file_is_looked_through_piece_by_piece(api: Served) -> None:
    """A hundred lines of a MB each are never in memory together."""
    client = api.client()
    text = "x" * 1_000_000
    data = "\n".join([*(line(str(n), text=text) for n in range(100)), "bad"]).encode()
    await api.engine._clerk.stop()
    batch = await asked(client, data)
    del data
    api.engine._clerk._stopping = False
    tracemalloc.start()
    try:
        await api.engine._clerk.tick()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    done = await client.batches.retrieve(batch.id)
    assert [one.line for one in (done.errors and done.errors.data) or []] == [101]
    assert peak < 24 * 1024 * 1024
    await client.close()


@pytest.mark.parametrize("code", ["not_found", "server_error"])
async def test_a_file_that_cannot_be_looked_through_fails_the_batch(api: Served, code: str) -> None:
    """A file that was deleted before, or for which the window was too short, is told as that."""
    client = api.client()
    file = await client.files.create(file=("a", line("a").encode()), purpose="batch")
    told: Any = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    async with api.engine.database.transaction() as connection:
        # Another process is at it, as far as this one can see.
        await connection.execute("ALTER TABLE file_batch ALTER state SET DEFAULT 'failed'")
    batch = await client.batches.create(**told)
    if code == "not_found":
        await client.files.delete(file.id)
        with pytest.raises(openai.NotFoundError):
            await client.batches.create(**told)
    async with api.engine.database.transaction() as connection:
        if code == "server_error":
            past = api.engine.clock.now() - timedelta(seconds=1)
            await connection.execute("UPDATE file_batch SET expires_at = $1", past)
        await connection.execute("UPDATE file_batch SET state = 'validating'")
    done = await until(client, batch)
    assert [one.code for one in (done.errors and done.errors.data) or []] == [code]
    await client.close()
