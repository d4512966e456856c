"""Files over HTTP, with the official client; and uploads that nobody with good intentions sends."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from headrace.access import Scope
from headrace.http import files as http_files
from headrace.store import keys
from tests.integration.test_http import Served, served

LINE = b'{"custom_id": "a"}\n'
BOUNDARY = "b0undary"


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path) as one:
        yield one


async def foreigner(api: Served) -> None:
    """Another tenant with a key, under the scope name ``foreign``."""
    async with api.engine.database.transaction() as connection:
        await connection.execute("INSERT INTO tenant (id, name) VALUES ('other', 'Other')")
        api.keys["foreign"], _ = await keys.make(
            connection, "other", "theirs", Scope.ADMIN, api.engine.clock.now()
        )


def form(body: bytes, purpose: str = "batch", name: str = "a.jsonl") -> bytes:
    """A form as a browser would send it."""
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    return part.encode() + head.encode() + body + f"\r\n--{BOUNDARY}--\r\n".encode()


async def send(api: Served, data: Any, kind: str | None = None) -> tuple[int, Any]:
    """Send a body as it stands, as an upload."""
    headers = {
        "Authorization": f"Bearer {api.keys['submit']}",
        "Content-Type": kind or f"multipart/form-data; boundary={BOUNDARY}",
    }
    async with api.http.post(f"{api.url}/v1/files", data=data, headers=headers) as answer:
        return answer.status, await answer.json()


def left_behind(api: Served) -> list[Path]:
    """Temporary files and blobs in the store, but for those that the sweeper is to remove."""
    root = api.engine.blobs.spool_folder.parent
    aside = root / "aside"
    return [path for path in root.rglob("*") if path.is_file() and path.parent != aside]


async def test_the_official_client_keeps_reads_lists_and_deletes_files(api: Served) -> None:
    """What goes in comes out byte for byte; lists go on where they stopped; gone is gone."""
    client = api.client()
    body = LINE * 10_000
    first = await client.files.create(file=("in put.jsonl", body), purpose="batch")
    assert (first.bytes, first.filename, first.purpose) == (len(body), "in put.jsonl", "batch")
    assert first.expires_at is None
    second = await client.files.create(
        file=("b.jsonl", b"x"),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert second.expires_at == second.created_at + 3600
    assert (await client.files.content(first.id)).content == body
    assert (await client.files.retrieve(first.id)) == first
    assert [one.id async for one in client.files.list(limit=1)] == [second.id, first.id]
    oldest_first = [one.id async for one in client.files.list(limit=1, order="asc")]
    assert oldest_first == [first.id, second.id]
    assert (await client.files.delete(first.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.content(first.id)
    assert [one.id async for one in client.files.list()] == [second.id]
    assert len(left_behind(api)) == 1
    await client.close()


async def test_bytes_that_two_files_share_stay_until_both_are_gone(api: Served) -> None:
    """The store keeps equal bytes once; the last file that has them takes them along."""
    client = api.client()
    one = await client.files.create(file=("a", LINE), purpose="batch")
    two = await client.files.create(file=("b", LINE), purpose="batch")
    assert len(left_behind(api)) == 1
    await client.files.delete(one.id)
    assert (await client.files.content(two.id)).content == LINE
    await client.files.delete(two.id)
    assert left_behind(api) == []
    await client.close()


async def test_a_file_expires(api: Served) -> None:
    """When its time is over a file is not there any more, and its bytes go."""
    client = api.client()
    one = await client.files.create(file=("a", LINE), purpose="batch")
    async with api.engine.database.transaction() as connection:
        past = api.engine.clock.now() - timedelta(seconds=1)
        await connection.execute("UPDATE file SET expires_at = $1", past)
    with pytest.raises(openai.NotFoundError):
        await client.files.retrieve(one.id)
    assert await api.engine.files.sweep() == 1
    assert left_behind(api) == []
    await client.close()


async def test_another_tenants_file_is_not_there(api: Served) -> None:
    """Reading, listing and deleting somebody else's file is like one that never was."""
    client = api.client()
    one = await client.files.create(file=("a", LINE), purpose="batch")
    await foreigner(api)
    for method, path in (("GET", ""), ("GET", "/content"), ("DELETE", "")):
        status, told = await api(method, f"/v1/files/{one.id}{path}", "foreign")
        assert (status, told["error"]["code"]) == (404, "not_found")
    assert (await api("GET", "/v1/files", "foreign"))[1]["data"] == []
    assert (await api("DELETE", f"/v1/files/{one.id}", "read"))[0] == 403
    assert (await client.files.content(one.id)).content == LINE
    await client.close()


async def test_a_list_of_no_purpose_that_can_be_is_told(api: Served) -> None:
    """A NUL, which PostgreSQL cannot look for, is a bad request; an unknown word finds none."""
    status, told = await api("GET", "/v1/files?purpose=%00", "read")
    assert (status, told["error"]["code"]) == (400, "usage")
    assert (await api("GET", "/v1/files?purpose=none", "read"))[1]["data"] == []


BAD_FORMS: list[tuple[bytes, str | None]] = [
    (b"", None),
    (b"no form at all", None),
    (form(LINE), "multipart/form-data"),
    (form(LINE), "application/json"),
    (form(LINE), f"multipart/form-data; boundary={'x' * 5000}"),
    (form(LINE), "multipart/form-data; boundary=other"),
    (form(LINE)[:-12], None),
    (form(LINE, purpose="fine-tune"), None),
    (form(LINE, purpose="b" * 100_000), None),
    (form(LINE).split(b"--b0undary")[1].join([b"--b0undary", b"--b0undary--\r\n"]), None),
    (form(LINE).replace(b"--b0undary--\r\n", b"") + form(LINE), None),
    (form(LINE).replace(b"form-data", b"x" * 100_000), None),
    (form(LINE).replace(b'name="purpose"', b'name="expires_after[seconds]"'), None),
    (b"".join(form(LINE)[:-16] for _ in range(40)), None),
]


async def test_a_bad_form_is_an_error_and_leaves_nothing(api: Served) -> None:
    """Whatever is wrong with a form is told as a bad request; no file and no bytes stay."""
    for data, kind in BAD_FORMS:
        status, told = await send(api, data, kind)
        assert status == 400, told
        assert told["error"]["message"]
    assert (await api("GET", "/v1/files", "read"))[1]["data"] == []
    assert left_behind(api) == []


async def test_names_are_made_safe(api: Served) -> None:
    """Folders, control characters and endless names of senders are not kept."""
    sent = form(LINE, name="../../etc/pass\0wd\x1b[2J" + "x" * 300)
    status, told = await send(api, sent)
    assert status == 200, told
    assert told["filename"].startswith("passwd[2Jx")
    assert len(told["filename"]) == 255


async def test_a_lying_length_leaves_nothing(api: Served) -> None:
    """Who announces more than is sent and hangs up, or less, or far too much, gets no file."""
    where = urlsplit(api.url)
    body = form(LINE * 1000)
    for told, status in ((len(body) + 10_000, None), (len(body) - 10, 400), (10**12, 413)):
        reader, writer = await asyncio.open_connection(where.hostname, where.port)
        head = (
            f"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: {told}\r\n"
            f"Authorization: Bearer {api.keys['submit']}\r\n"
            f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        await writer.drain()
        if status is not None:
            assert (await reader.readline()).split()[1] == str(status).encode()
        writer.close()
        await writer.wait_closed()
    client = api.client()
    # Only now is it sure that the server has seen the first one hang up.
    for _ in range(200):
        if not left_behind(api):
            break
        await client.files.list()
    assert left_behind(api) == []
    assert not (await client.files.list()).data
    await client.close()


def pieces(megabytes: int) -> AsyncIterator[bytes]:
    """A form with a file of so many MiB, made while it is sent."""

    async def made() -> AsyncIterator[bytes]:
        begin, end = form(b"\0").split(b"\0")
        block = (LINE * 60_000)[: 1024 * 1024]
        yield begin
        for _ in range(megabytes):
            yield block
        yield end

    return made()


async def test_a_large_file_is_never_held(api: Served) -> None:
    """An upload of 150 MB takes a few MB of memory, and comes out in pieces as well."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        status, told = await send(api, pieces(150))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert status == 200, told
    assert told["bytes"] == 150 * 1024 * 1024
    assert peak - before < 16 * 1024 * 1024
    size = 0
    headers = {"Authorization": f"Bearer {api.keys['read']}"}
    async with api.http.get(f"{api.url}/v1/files/{told['id']}/content", headers=headers) as answer:
        async for piece in answer.content.iter_any():
            size += len(piece)
    assert size == told["bytes"]


async def test_a_file_above_the_cap_is_refused(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is larger than a file may be is turned away where the cap is passed."""
    monkeypatch.setattr(http_files, "FILE_BYTES_MAX", 2 * 1024 * 1024)
    status, told = await send(api, pieces(3))
    assert (status, told["error"]["code"]) == (413, "too_large")
    assert left_behind(api) == []
