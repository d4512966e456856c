"""Files that are downloaded: they tell their origin, are the same each time, and come in parts."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import zipfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headrace import outgoing as going
from headrace.artifact import Artifact
from headrace.blob import Blobs, open_blobs
from headrace.export import Export
from headrace.film_body import FILM
from headrace.outgoing import OutgoingFiles
from headrace.provenance import Origin, packed, unpacked
from headrace.provider import Call, Reply
from headrace.result_stream import zipped
from tests.integration.test_http import Served, ended, served, submitted
from tests.integration.test_http_native import raw
from tests.unit.test_containers import FORMATS, ORIGIN, marked

TYPE = b"digitalsourcetype/trainedAlgorithmicMedia"
TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "mp4": "video/mp4"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path) as one:
        yield one


def noise(kind: str) -> bytes:
    """A picture that is too large to rest in the database."""
    body = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(body, kind)
    return body.getvalue()


def gives(api: Served, body: bytes, media_type: str) -> None:
    """Let every call give this file."""

    async def call(call: Call) -> Reply:
        return Reply(media_type, body=body, cost_microusd=40_000, facts={"seed": 7})

    api.scripted.call = call  # type: ignore[method-assign]


@pytest.mark.parametrize("kind", ["png", "webp", "mp4"])
async def test_a_download_tells_its_origin_whole_or_in_part(api: Served, kind: str) -> None:
    """What is kept stays pure; the file says what made it, and any part of it is of that file."""
    body = FORMATS[kind] if kind != "mp4" else FILM.read_bytes()
    gives(api, body, TYPES[kind])
    batch = await submitted(api, 1)
    await ended(api, batch["id"])
    item = f"/api/batches/{batch['id']}/items/1"
    _, told = await api("GET", item, "read")
    artifact = told["artifact"]
    assert (artifact["sha256"], artifact["size_bytes"]) == (
        hashlib.sha256(body).hexdigest(),
        len(body),
    )
    assert (artifact["origin"]["model"], artifact["origin"]["seed"]) == ("m", 7)
    answer, whole = await raw(api, "GET", f"{item}/artifact")
    assert whole == marked(body, Origin.from_json(artifact["origin"]) or ORIGIN)
    assert TYPE in whole
    size, etag = len(whole), answer.headers["ETag"]
    assert answer.headers["Content-Length"] == str(size)
    assert etag != f'"{artifact["sha256"]}"'
    for begin, end in ((0, 1), (30, 40), (20, size - 3), (size - 5, size)):
        answer, part = await raw(api, "GET", f"{item}/artifact", Range=f"bytes={begin}-{end - 1}")
        assert (answer.status, part) == (206, whole[begin:end])
        assert answer.headers["ETag"] == etag
        assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"
    assert (await raw(api, "GET", f"{item}/artifact", Range=f"bytes={size}-"))[0].status == 416
    answer, _ = await raw(api, "HEAD", f"{item}/artifact")
    assert (answer.headers["Content-Length"], answer.headers["ETag"]) == (str(size), etag)
    assert (await raw(api, "GET", f"{item}/artifact", If_None_Match=etag))[0].status == 304
    answer, kept = await raw(api, "GET", f"{item}/artifact?as_kept=true")
    assert (kept, answer.headers["ETag"]) == (body, f'"{artifact["sha256"]}"')


async def test_links_and_zips_give_the_same_file(api: Served) -> None:
    """A signed link, a ZIP and the item's own address give one file, byte by byte."""
    gives(api, FORMATS["jpeg"], "image/jpeg")
    batch = await submitted(api, 1)
    await ended(api, batch["id"])
    _, page = await api("GET", f"/api/batches/{batch['id']}/items?links_s=60", "read")
    _, whole = await raw(api, "GET", f"/api/batches/{batch['id']}/items/1/artifact")
    _, linked = await raw(api, "GET", page["items"][0]["artifact"]["link"], "")
    _, packed_up = await raw(api, "GET", f"/api/batches/{batch['id']}/artifacts.zip")
    with zipfile.ZipFile(io.BytesIO(packed_up)) as found:
        assert found.testzip() is None
        zipped_up = found.read("000001.jpg")
    assert TYPE in whole
    assert linked == zipped_up == whole


async def test_pictures_on_demand_tell_their_origin(api: Served) -> None:
    """As base64, as an address, from the cache and in the native answer it is one file."""
    gives(api, FORMATS["png"], "image/png")
    asked = {"model": "scripted:m", "prompt": "a mill"}
    files = set()
    for _ in range(2):
        status, told = await api("POST", "/v1/images/generations", body=asked)
        assert status == 200, told
        files.add(base64.b64decode(told["data"][0]["b64_json"]))
    _, told = await api("POST", "/v1/images/generations", body=asked | {"response_format": "url"})
    path = told["data"][0]["url"].removeprefix(api.url)
    answer, body = await raw(api, "GET", path, "")
    assert answer.headers["Content-Length"] == str(len(body))
    files.add(body)
    assert len(files) == 1
    assert TYPE in body
    assert b"scripted/m" in body
    origin, _, name = path.removeprefix("/artifacts/").partition("/")
    forged = packed(replace(unpacked(origin) or ORIGIN, model="another"))
    assert (await raw(api, "GET", f"/artifacts/{forged}/{name}", ""))[0].status == 404
    _, told = await api("POST", "/api/generate", body=asked)
    assert (await raw(api, "GET", told["artifact"]["path"], ""))[1].count(TYPE) == 1


async def test_bytes_that_are_gone_are_an_error_not_a_broken_file(api: Served) -> None:
    """Also where the mark is known and stands before the first byte that is kept."""
    gives(api, noise("WEBP"), "image/webp")
    batch = await submitted(api, 1)
    await ended(api, batch["id"])
    path = f"/api/batches/{batch['id']}/items/1/artifact"
    assert (await raw(api, "GET", path))[0].status == 200
    item = (await api.engine.batch(batch["id"]).window(-1, 1))[0]
    assert item.artifact is not None
    await api.engine.blobs.delete(item.artifact.sha256)
    assert (await raw(api, "GET", path))[0].status == 404
    one = api.engine.batch(batch["id"])
    files = OutgoingFiles(api.engine.reading, api.engine.blobs)
    pieces = [piece async for piece in zipped(one, await one.summary(), files)]
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as found:
        assert found.namelist() == ["results.csv"]


@pytest.mark.parametrize("is_small", [True, False])
async def test_the_out_folder_is_filled_from_afar(
    api: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    """What rests in object storage is marked and written in pieces, as what rests here."""
    gives(api, FORMATS["jpeg"] if is_small else noise("JPEG"), "image/jpeg")
    batch = await submitted(api, 1)
    await ended(api, batch["id"])
    monkeypatch.setattr(api.engine.blobs, "path", lambda sha256: None)
    one = api.engine.batch(batch["id"])
    if not is_small:

        async def body(sha256: bytes) -> bytes:
            raise AssertionError("it is read whole")

        monkeypatch.setattr(one, "body", body)
    export = Export(one, tmp_path / "out", api.engine.blobs)
    export.prepare()
    report = await export.finish(await one.summary(), sheet=False)
    assert report["provenance"] == {"marked": 1, "left": {}}
    _, whole = await raw(api, "GET", f"/api/batches/{batch['id']}/items/1/artifact")
    written = tmp_path / "out" / "000001.jpg"
    assert written.read_bytes() == whole
    read: list[int] = []
    inner = api.engine.blobs.read_range

    def read_range(sha256: bytes, begin: int, end: int) -> bytes:
        read.append(end - begin)
        return inner(sha256, begin, end)

    monkeypatch.setattr(api.engine.blobs, "read_range", read_range)
    monkeypatch.setattr(going, "PAGE_BYTES", 1024)
    await export.finish(await one.summary(), sheet=False)
    # A JPEG is looked at from both ends for its mark; it is not fetched once more besides.
    assert sum(read) < len(whole) * 1.5
    for spoiled in (whole[:-1] + b"x", whole[:40] + b"x" + whole[41:], whole[:-1]):
        written.write_bytes(spoiled)
        await export.finish(await one.summary(), sheet=False)
        assert written.read_bytes() == whole


async def test_a_file_of_many_parts_is_written_from_afar(
    api: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What may be read of a file for its mark is not used up by then writing it."""
    frames = [Image.effect_noise((200, 200), 50) for _ in range(20)]
    film = io.BytesIO()
    frames[0].save(film, "WEBP", save_all=True, append_images=frames[1:], quality=90)
    gives(api, film.getvalue(), "image/webp")
    batch = await submitted(api, 1)
    await ended(api, batch["id"])
    monkeypatch.setattr(api.engine.blobs, "path", lambda sha256: None)
    monkeypatch.setattr(going, "PAGE_BYTES", 65_536)
    monkeypatch.setattr(going, "PAGES_READ_MAX", len(film.getvalue()) // 65_536 + 2)
    one = api.engine.batch(batch["id"])
    export = Export(one, tmp_path / "out", api.engine.blobs)
    export.prepare()
    report = await export.finish(await one.summary(), sheet=False)
    assert report["provenance"] == {"marked": 1, "left": {}}
    _, whole = await raw(api, "GET", f"/api/batches/{batch['id']}/items/1/artifact")
    assert (tmp_path / "out" / "000001.webp").read_bytes() == whole


# -- without a server ----------------------------------------------------------------------------


class Nowhere:
    """A database without small bodies."""

    async def inline(self, artifact: Artifact) -> bytes | None:
        return None


async def far(
    tmp_path: Path, body: bytes, kind: str, url: str = "memory://"
) -> tuple[Blobs, OutgoingFiles, Artifact]:
    """An artifact in a store that is not on this machine."""
    blobs = await open_blobs(url, tmp_path)
    kept = await blobs.put(body, TYPES[kind])
    reading: Any = Nowhere()
    return blobs, OutgoingFiles(reading, blobs), replace(kept, origin=ORIGIN)


@pytest.mark.parametrize("kind", list(TYPES))
async def test_what_rests_far_away_is_marked_by_its_headers(tmp_path: Path, kind: str) -> None:
    """A file in object storage gets the same mark, and is not fetched whole for it."""
    body = FILM.read_bytes() if kind == "mp4" else FORMATS[kind]
    blobs, files, artifact = await far(tmp_path, body, kind)
    ready = await files.ready(artifact)
    whole = b"".join([piece async for piece in files.pieces(ready)])
    assert whole == marked(body)
    assert ready.size_bytes == len(whole)
    assert (await files.ready(artifact)).patch is ready.patch
    other = replace(artifact, origin=replace(ORIGIN, seed=8))
    assert (await files.ready(other)).name != ready.name
    await blobs.close()


async def test_what_was_asked_for_longest_ago_is_planned_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plans are remembered up to so many bytes; all that fit are found again, however asked for."""
    blobs, files, artifact = await far(tmp_path, FORMATS["png"], "png")
    several = [replace(artifact, origin=replace(ORIGIN, seed=seed)) for seed in range(4)]
    first = [(await files.ready(one)).patch for one in several]
    assert [
        (await files.ready(one)).patch is before for one, before in zip(several, first, strict=True)
    ] == ([True] * 4)
    monkeypatch.setattr(going, "PLANS_BYTES_MAX", 3 * first[0].added_bytes)
    await files.ready(replace(artifact, origin=replace(ORIGIN, seed=4)))
    found = [
        (await files.ready(one)).patch is before for one, before in zip(several, first, strict=True)
    ]
    assert found[0] is False
    again = [(await files.ready(one)).patch for one in several]
    assert again == first
    await blobs.close()


async def test_a_films_mark_takes_a_few_reads_and_flat_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long film in object storage a few pages are read; it streams in pieces."""
    film = FILM.read_bytes()
    at = film.index(b"moov") - 4
    frames = b"".join(
        struct.pack(">I4s", 8 << 20, b"mdat") + bytes((8 << 20) - 8) for _ in range(6)
    )
    body = film[:at] + frames + film[at:]
    blobs, files, artifact = await far(tmp_path, body, "mp4", str(tmp_path / "store"))
    monkeypatch.setattr(blobs, "path", lambda sha256: None)
    read: list[int] = []
    inner = blobs.read_range

    def read_range(sha256: bytes, begin: int, end: int) -> bytes:
        read.append(end - begin)
        return inner(sha256, begin, end)

    monkeypatch.setattr(blobs, "read_range", read_range)
    ready = await files.ready(artifact)
    assert ready.name != artifact.sha256.hex()
    assert sum(read) < len(body) / 10
    digest, largest = hashlib.sha256(), 0
    async for piece in files.pieces(ready):
        digest.update(piece)
        largest = max(largest, len(piece))
    assert digest.digest() == hashlib.sha256(marked(body)).digest()
    assert largest < 16 << 20
    await blobs.close()


async def test_what_takes_too_many_reads_goes_out_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file whose parts are scattered over a far store is not read through for its mark."""
    monkeypatch.setattr(going, "PAGE_BYTES", 64)
    monkeypatch.setattr(going, "PAGES_READ_MAX", 1)
    body = noise("PNG")
    blobs, files, artifact = await far(tmp_path, body, "png")
    ready = await files.ready(artifact)
    assert ready.name == artifact.sha256.hex()
    assert b"".join([piece async for piece in files.pieces(ready)]) == body
    await blobs.close()


def test_an_origin_is_a_word_in_an_address() -> None:
    """What is packed comes back whole; any other word is no origin, and no error."""
    assert unpacked(packed(ORIGIN)) == ORIGIN
    assert set(packed(ORIGIN)) < set(
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
    )
    for word in ("", "x", "AAAA", "é", packed(ORIGIN)[:-9], "k" * 500, "kw", "gaFh"):
        assert unpacked(word) is None
