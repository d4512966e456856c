"""The native API: uploads, quotes, pages, items, artifacts, links, exports, errors, live."""

from __future__ import annotations

import asyncio
import csv
import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from headrace.artifact import Artifact
from headrace.container import Patch
from headrace.http import artifacts, submitting
from headrace.lifecycle import ItemState
from headrace.outcome import OutcomeKind
from headrace.outgoing import Outgoing
from tests.integration.scripted import Scripted
from tests.integration.test_http import Served, ended, served, submitted

BIG = 300_000


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path) as one:
        yield one


async def raw(
    api: Served, method: str, path: str, scope: str = "read", body: Any = None, **headers: str
) -> tuple[aiohttp.ClientResponse, bytes]:
    """Call and return the answer with its bytes."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    if scope:
        told["Authorization"] = f"Bearer {api.keys[scope]}"
    request = api.http.request(
        method, api.url + path, data=body, headers=told, allow_redirects=False
    )
    async with request as answer:
        return answer, await answer.read()


def script(api: Served, failures: dict[str, OutcomeKind]) -> Scripted:
    """Let the rows whose text is named fail so."""
    api.scripted._script = lambda prompt, nth: failures.get(prompt)
    return api.scripted


# -- submitting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
async def test_a_csv_is_a_batch(api: Served, packed: bool) -> None:
    """A file that is the body itself becomes a batch named after it, with its columns in order."""
    data = b"sku,t\r\n1,first\r\n2,second\r\n"
    answer, body = await raw(
        api, "POST", "/api/batches?recipe=words&name=shop&canary=0", "submit",
        gzip.compress(data) if packed else data, Content_Type="text/csv; charset=utf-8",
    )  # fmt: skip
    batch = json.loads(body)
    assert (answer.status, batch["name"], batch["total"]) == (201, "shop", 2)
    assert answer.headers["Location"] == f"/api/batches/{batch['id']}"
    assert (await ended(api, batch["id"]))["counts"]["succeeded"] == 2
    _, told = await raw(api, "GET", f"/api/batches/{batch['id']}/results.csv")
    assert told.decode().startswith("sku,t,headrace_row,")
    assert not list(api.engine.blobs.spool_folder.glob("*"))


async def test_a_form_is_a_batch(api: Served) -> None:
    """A form has a part for each setting and one for the file, JSON Lines here."""
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("recipe", "words")
    form.add_field("strict", "true")
    form.add_field("file", b'{"t": "a"}\n{"t": "b"}\n', filename="../my goods.jsonl")
    answer, body = await raw(api, "POST", "/api/batches", "submit", form)
    batch = json.loads(body)
    assert (answer.status, batch["name"], batch["total"]) == (201, "my goods", 2)


async def test_a_bad_row_is_told_by_its_number(api: Served) -> None:
    """Strict refuses all with the row's number; else the row fails and the others go on."""
    data = b'{"t": "a"}\nnonsense\n{"t": ""}\n{"t": "b"}\n'
    head = {"Content_Type": "application/x-ndjson"}
    answer, body = await raw(
        api, "POST", "/api/batches?recipe=words&strict=true", "submit", data, **head
    )
    told = json.loads(body)
    assert (answer.status, told["code"], told["row"]) == (422, "invalid_input", 2)
    assert answer.content_type == "application/problem+json"
    assert str(api.engine.config.home) not in body.decode()
    answer, body = await raw(api, "POST", "/api/batches?recipe=words", "submit", data, **head)
    batch = await ended(api, json.loads(body)["id"])
    assert (batch["counts"]["succeeded"], batch["counts"]["failed"]) == (2, 2)
    path = f"/api/batches/{batch['id']}/items?outcome=invalid_input"
    items = (await api("GET", path, "read"))[1]["items"]
    assert [item["row_number"] for item in items] == [2, 3]


async def test_the_same_file_under_a_key_is_the_same_batch(api: Served) -> None:
    """An upload that is sent again makes no second batch; another file under the key is refused."""
    path, head = "/api/batches?recipe=words", {"Content_Type": "text/csv", "Idempotency_Key": "k"}
    one = await raw(api, "POST", path, "submit", b"t\na\n", **head)
    same = await raw(api, "POST", path, "submit", b"t\na\n", **head)
    assert (one[0].status, same[0].status) == (201, 200)
    assert json.loads(one[1])["id"] == json.loads(same[1])["id"]
    assert (await raw(api, "POST", path, "submit", b"t\nb\n", **head))[0].status == 409
    other = f"{path}&strict=true"
    assert (await raw(api, "POST", other, "submit", b"t\na\n", **head))[0].status == 409


BAD_UPLOADS: list[tuple[str, str, bytes, int]] = [
        ("", "text/csv", b"t\na\n", 422),
        ("recipe=../x", "text/csv", b"t\na\n", 422),
        ("recipe=words&canary=x", "text/csv", b"t\na\n", 400),
        ("recipe=words&strict=1", "text/csv", b"t\na\n", 400),
        ("recipe=words&rows=1", "text/csv", b"t\na\n", 422),
        ("recipe=words&name=%00", "text/csv", b"t\na\n", 422),
        ("recipe=words", "text/csv", b"", 422),
        ("recipe=words", "text/csv", b"\x89PNG\r\n\x1a\n" + b"x" * 99, 422),
        ("recipe=words", "text/csv", b"other\nx\n", 422),
        ("recipe=words", "application/jsonl", b'[{"t": "a"}]', 422),
        ("recipe=words", "text/csv", gzip.compress(b"t\n" + b"a" * 60_000_000), 422),
        ("recipe=words", "multipart/form-data", b"x", 422),
        ("recipe=words", "multipart/form-data; boundary=b", b"--b\r\n\r\nx", 422),
    ]  # fmt: skip


async def test_a_bad_upload_makes_nothing(api: Served) -> None:
    """Whatever is wrong is told with its remedy; no batch and no file are left."""
    for query, kind, data, status in BAD_UPLOADS:
        path = f"/api/batches?{query}" + ("" if "strict" in query else "&strict=true")
        answer, body = await raw(api, "POST", path, "submit", data, Content_Type=kind)
        assert answer.status == status, (query, body)
        assert json.loads(body)["detail"]
    assert (await api("GET", "/api/batches", "read"))[1]["batches"] == []
    assert not list(api.engine.blobs.spool_folder.glob("*"))


async def test_an_upload_that_is_too_large_is_cut_off(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond its cap a file is refused, told beforehand or not, and what came is removed."""
    monkeypatch.setattr(submitting, "UPLOAD_BYTES_MAX", 1_000_000)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"t\n" * 50_000

    path = "/api/batches?recipe=words"
    for data in (b"t\n" * 1_000_000, endless()):
        answer, body = await raw(api, "POST", path, "submit", data, Content_Type="text/csv")
        assert (answer.status, json.loads(body)["code"]) == (413, "too_large")
    monkeypatch.setattr(submitting, "TEXT_BYTES_MAX", 100_000)
    packed = gzip.compress(b"t\n" + b"".join(b"%d\n" % at for at in range(50_000)))
    answer, body = await raw(api, "POST", path, "submit", packed, Content_Type="text/csv")
    assert (answer.status, json.loads(body)["code"]) == (422, "invalid_input")
    assert (await api("GET", "/api/batches", "read"))[1]["batches"] == []
    assert not list(api.engine.blobs.spool_folder.glob("*"))


async def test_a_quote_buys_nothing(api: Served) -> None:
    """An estimate counts rows, bad ones and cached ones of the tenant, and leaves nothing."""
    await ended(api, (await submitted(api, 1))["id"])
    calls = len(api.scripted.prompts)
    body = b't\nrow 0\nnew\nnew\n""\n'
    answer, told = await raw(
        api, "POST", "/api/batches/estimate?recipe=words", "read", body, Content_Type="text/csv"
    )
    quote = json.loads(told)
    assert answer.status == 200
    assert [quote[name] for name in ("rows", "cached", "duplicates", "to_buy", "bad_rows")] == [
        4, 1, 1, 1, 1,
    ]  # fmt: skip
    assert quote["cost_usd_max"] == "0.04"
    status, again = await api(
        "POST", "/api/batches/estimate", "read", {"recipe": "words", "rows": [{"t": "x"}]}
    )
    assert (status, again["to_buy"]) == (200, 1)
    assert len(api.scripted.prompts) == calls
    assert len((await api("GET", "/api/batches", "read"))[1]["batches"]) == 1


# -- lists ---------------------------------------------------------------------------------------


async def test_pages_of_batches_are_whole(api: Served) -> None:
    """Page by page every batch comes once, the latest first, also while new ones are made."""
    made = [(await submitted(api, 1))["id"] for _ in range(7)]
    seen: list[str] = []
    path = "/api/batches?limit=3"
    _, page = await api("GET", path, "read")
    while True:
        seen += [one["id"] for one in page["batches"]]
        if page["next"] is None:
            break
        await submitted(api, 1)
        _, page = await api("GET", f"{path}&cursor={page['next']}", "read")
    assert seen == made[::-1]


async def test_batches_are_found_by_state_name_and_recipe(api: Served) -> None:
    """Filters meet: a state of several, a part of the name in any case, a recipe."""
    for name in ("Spring shop", "autumn", "100%"):
        body = {"recipe": "words", "rows": [{"t": "x"}], "name": name}
        _, batch = await api("POST", "/api/batches", body=body)
        await ended(api, batch["id"])

    async def names(query: str) -> list[str]:
        _, page = await api("GET", f"/api/batches?{query}", "read")
        return [one["name"] for one in page["batches"]]

    assert await names("name=SHOP") == ["Spring shop"]
    assert await names("name=%25") == ["100%"]
    assert await names("state=completed,failed&recipe=words&name=u") == ["autumn"]
    assert await names("recipe=other") == await names("state=paused") == []


async def test_items_are_found_by_row_state_and_outcome(api: Served) -> None:
    """A window begins behind a row or at it; state and outcome filter it."""
    script(api, {"row 1": OutcomeKind.REFUSED, "row 3": OutcomeKind.INVALID})
    batch = await submitted(api, 5)
    await ended(api, batch["id"])

    async def rows(query: str) -> list[int]:
        _, page = await api("GET", f"/api/batches/{batch['id']}/items?{query}", "read")
        return [item["row_number"] for item in page["items"]]

    assert await rows("after=3") == await rows("from=4") == [4, 5]
    assert await rows("from=2&limit=2") == [2, 3]
    assert await rows("state=succeeded") == [1, 3, 5]
    assert await rows("state=failed,refused") == [2, 4]
    assert await rows("outcome=refused") == [2]
    assert await rows("outcome=refused,invalid&after=2") == [4]


async def test_an_item_tells_all_it_went_through(api: Served) -> None:
    """One item shows its stages, and every attempt in the order of time."""
    script(api, {"row 0": OutcomeKind.REFUSED})
    batch = await submitted(api, 2)
    await ended(api, batch["id"])
    api.scripted._script = lambda prompt, nth: None
    await api("POST", f"/api/batches/{batch['id']}/retry")
    await ended(api, batch["id"])
    _, item = await api("GET", f"/api/batches/{batch['id']}/items/1", "read")
    assert [one["name"] for one in item["stages"]] == ["generate1"]
    assert [one["outcome"] for one in item["timeline"]] == ["refused", "success"]
    assert [one["round"] for one in item["timeline"]] == [1, 2]
    assert all(one["stage"] == "generate1" and one["ended_at"] for one in item["timeline"])
    path = item["stages"][0]["artifact"]["path"]
    assert (await raw(api, "GET", path))[1] == b"made of row 0"
    for row in ("0", "3", "99999999999999999999"):
        status, told = await api("GET", f"/api/batches/{batch['id']}/items/{row}", "read")
        assert (status, told["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("chosen", "again"),
    [
        ({"states": ["refused"]}, {2}),
        ({"rows": [4, 5]}, {4}),
        ({"outcomes": ["invalid"]}, {4}),
        ({"provider": "scripted", "rows": [2]}, {2}),
        ({"provider": "another"}, set()),
        ({"stage": "generate1", "states": ["failed", "refused"]}, {2, 4}),
        ({}, {2, 4}),
    ],
)
async def test_what_is_chosen_is_tried_again(
    api: Served, chosen: dict[str, Any], again: set[int]
) -> None:
    """A retry takes those that did not succeed and that every filter takes, and no others."""
    script(api, {"row 1": OutcomeKind.REFUSED, "row 3": OutcomeKind.INVALID})
    batch = await submitted(api, 5)
    await ended(api, batch["id"])
    api.scripted._script = lambda prompt, nth: None
    status, _ = await api("POST", f"/api/batches/{batch['id']}/retry", body=chosen)
    assert status == 200
    await ended(api, batch["id"])
    found = await api.engine.batch(batch["id"]).window(-1, 10, [ItemState.SUCCEEDED.value])
    assert {item.row_number for item in found} == {1, 3, 5} | again


BAD_CHOICES: list[tuple[Any, int]] = [
        ({"states": ["succeeded"]}, 400), ({"states": []}, 400), ({"states": [1]}, 400),
        ({"outcomes": ["odd"]}, 400), ({"stage": "nobody"}, 400), ({"rows": [0]}, 422),
        ({"rows": [True]}, 422), ({"rows": [2**40]}, 422), ({"row": [1]}, 422),
        ({"provider": "a\0b"}, 400), ([], 422),
    ]  # fmt: skip


async def test_a_bad_choice_tries_nothing(api: Served) -> None:
    """A filter that cannot be meant is told, and nothing moves."""
    script(api, {"row 0": OutcomeKind.REFUSED})
    batch = await submitted(api, 1)
    await ended(api, batch["id"])
    for chosen, status in BAD_CHOICES:
        got, told = await api("POST", f"/api/batches/{batch['id']}/retry", body=chosen)
        assert got == status, told
    assert (await api("GET", f"/api/batches/{batch['id']}"))[1]["counts"]["refused"] == 1


# -- artifacts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [40, BIG])
async def test_artifacts_come_whole_or_in_part(api: Served, size: int) -> None:
    """Ranges, HEAD, tags and impossible ranges, of small bodies and of those in the store."""
    api.scripted.body_bytes = size
    batch = await submitted(api, 1)
    await ended(api, batch["id"])
    path = f"/api/batches/{batch['id']}/items/1/artifact"
    answer, whole = await raw(api, "GET", path)
    assert (answer.status, len(whole)) == (200, size)
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    etag = answer.headers["ETag"]
    assert etag == f'"{hashlib.sha256(whole).hexdigest()}"'
    for header, begin, end in (("bytes=3-9", 3, 10), ("bytes=-5", size - 5, size)):
        answer, part = await raw(api, "GET", path, Range=header)
        assert (answer.status, part) == (206, whole[begin:end])
        assert answer.headers["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"
    answer, part = await raw(api, "GET", path, Range="bytes=0-3", If_Range='"other"')
    assert (answer.status, part) == (200, whole)
    answer, told = await raw(api, "GET", path, Range=f"bytes={size}-")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    assert json.loads(told)["code"] == "range_not_satisfiable"
    answer, nothing = await raw(api, "HEAD", path)
    assert (answer.status, nothing) == (200, b"")
    assert (answer.headers["Content-Length"], answer.headers["ETag"]) == (str(size), etag)
    assert (await raw(api, "GET", path, If_None_Match=etag))[0].status == 304


async def test_a_link_opens_an_artifact_without_a_key(api: Served) -> None:
    """Signed, one artifact can be read by anybody for a while; nothing else, and not changed."""
    batch = await submitted(api, 2)
    await ended(api, batch["id"])
    _, page = await api("GET", f"/api/batches/{batch['id']}/items?links_s=60", "read")
    one, two = (item["artifact"]["link"] for item in page["items"])
    answer, body = await raw(api, "GET", one, "")
    assert (answer.status, body) == (200, b"made of row 0")
    assert answer.headers["Cache-Control"].startswith("public, max-age=")
    assert int(answer.headers["Cache-Control"].split("=")[1].split(",")[0]) <= 60
    for path, method in (
        (one.replace("/1/artifact", "/2/artifact"), "GET"),
        (one.replace("expires=", "expires=1"), "GET"),
        (one[:-2], "GET"),
        (one, "HEAD"),
        (one.partition("&")[0], "GET"),
        (one.partition("?")[0] + "?" + two.partition("?")[2], "GET"),
        (one.replace("/items/1/artifact", ""), "GET"),
        (one.replace("/artifact", ""), "GET"),
    ):
        assert (await raw(api, method, path, ""))[0].status == 401, path
    _, page = await api("GET", f"/api/batches/{batch['id']}/items", "read")
    assert page["items"][0]["artifact"]["link"] is None


def test_what_can_hold_scripts_is_only_saved() -> None:
    """SVG, HTML and media types that are none never open in a browser as they are."""
    for media_type, shown, told in (
        ("image/png", "inline", "image/png"),
        ("text/plain; charset=utf-8", "inline", "text/plain; charset=utf-8"),
        ("image/svg+xml", "attachment", "image/svg+xml"),
        ("text/html", "attachment", "text/html"),
        ("text/html\r\nX-Odd: 1", "attachment", "application/octet-stream"),
    ):
        artifact = Artifact(b"h" * 32, media_type, 3)
        outgoing = Outgoing(artifact, "tag", Patch(()))
        headers = artifacts._headers(outgoing, 'a"b\r\n/../ä', None)
        assert headers["Content-Disposition"].startswith(f"{shown}; ")
        assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert "\n" not in headers["Content-Disposition"]
        assert artifacts._media_type(artifact) == told


async def test_the_store_itself_gives_what_it_can(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is wanted, and the store can sign, the answer is the way there; else the bytes."""
    api.scripted.body_bytes = BIG
    batch = await submitted(api, 1)
    await ended(api, batch["id"])
    path = f"/api/batches/{batch['id']}/items/1/artifact"
    config = api.engine.config
    monkeypatch.setattr(
        api.engine, "config", type(config)(**{**_fields(config), "http": type(config.http)(True)})
    )
    assert (await raw(api, "GET", path))[0].status == 200

    async def signed_url(sha256: bytes, lasts_s: float) -> str:
        return f"https://store.example/{sha256.hex()}?t={lasts_s:.0f}"

    monkeypatch.setattr(api.engine.blobs, "signed_url", signed_url)
    answer, _ = await raw(api, "GET", path)
    assert answer.status == 302
    assert answer.headers["Location"].startswith("https://store.example/")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_cdn_is_where_an_artifact_is_public(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a public address the key is checked as ever, and the way leads to the blob's name."""
    api.scripted.body_bytes = BIG
    batch = await submitted(api, 1)
    await ended(api, batch["id"])
    _, page = await api("GET", f"/api/batches/{batch['id']}/items?links_s=60")
    path, link = (
        f"/api/batches/{batch['id']}/items/1/artifact",
        page["items"][0]["artifact"]["link"],
    )
    config = api.engine.config
    http = type(config.http)(public_url="https://cdn.example/shop/")
    changed = type(config)(**{**_fields(config), "http": http})
    monkeypatch.setattr(api.engine, "config", changed)
    sha256 = page["items"][0]["artifact"]["sha256"]
    answer, _ = await raw(api, "GET", path)
    assert answer.status == 302
    assert answer.headers["Location"] == (
        f"https://cdn.example/shop/sha256/{sha256[:2]}/{sha256[2:4]}/{sha256}"
    )
    assert answer.headers["Cache-Control"] == "private, max-age=3600"
    async with aiohttp.ClientSession() as session:
        async with session.get(api.url + link, allow_redirects=False) as by_link:
            assert by_link.status == 302
            assert int(by_link.headers["Cache-Control"].rpartition("=")[2]) <= 60
        async with session.get(api.url + path, allow_redirects=False) as without_key:
            assert without_key.status == 401


def _fields(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


# -- exports -------------------------------------------------------------------------------------


async def test_results_come_as_csv_and_json_lines(api: Served) -> None:
    """Every row beside its result; what a spreadsheet would execute is made harmless."""
    script(api, {"=1+1": OutcomeKind.REFUSED})
    rows = [{"t": "=1+1", "x": "@y"}, {"t": "b", "z": 1}]
    _, batch = await api("POST", "/api/batches", body={"recipe": "words", "rows": rows})
    await ended(api, batch["id"])
    answer, body = await raw(api, "GET", f"/api/batches/{batch['id']}/results.csv")
    assert answer.content_type == "text/csv"
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    found = list(csv.DictReader(io.StringIO(body.decode())))
    assert [one["t"] for one in found] == ["'=1+1", "b"]
    assert [one["headrace_state"] for one in found] == ["refused", "succeeded"]
    _, body = await raw(api, "GET", f"/api/batches/{batch['id']}/results.jsonl")
    lines = [json.loads(line) for line in body.splitlines()]
    assert [line["t"] for line in lines] == ["=1+1", "b"]
    assert lines[1]["headrace_file"] == "000002.txt"


@pytest.mark.parametrize("size", [0, BIG])
async def test_a_zip_has_every_file_and_the_results(api: Served, size: int) -> None:
    """Files come under safe names that differ, stored; bytes that are gone are told of."""
    api.scripted.body_bytes = size
    script(api, {"row 1": OutcomeKind.REFUSED})
    batch = await submitted(api, 4)
    await ended(api, batch["id"])
    async with api.engine.database.acquire() as connection:
        await connection.execute("UPDATE item SET file = 'mill' WHERE idx <> 1")
        await connection.execute("UPDATE item SET file = '../../etc/x' WHERE idx = 3")
    if size:
        item = (await api.engine.batch(batch["id"]).window(1, 1))[0]
        assert item.artifact is not None
        await api.engine.blobs.delete(item.artifact.sha256)
    answer, body = await raw(api, "GET", f"/api/batches/{batch['id']}/artifacts.zip")
    assert answer.content_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(body)) as found:
        assert found.testzip() is None
        names = ["mill.txt", "results.csv"] if size else ["mill.txt", "mill-2.txt", "results.csv"]
        assert found.namelist() == names
        assert found.read("mill.txt").rstrip() == b"made of row 0"
        rows = list(csv.DictReader(io.StringIO(found.read("results.csv").decode())))
    assert [row["headrace_file"] for row in rows][:2] == ["mill.txt", ""]
    assert bool(rows[2]["headrace_error"]) == bool(size)
    assert "not a plain file name" in rows[3]["headrace_error"]


# -- what there is -------------------------------------------------------------------------------


async def test_recipes_and_lanes_are_listed(api: Served) -> None:
    """Recipes with what they need, broken ones with the reason; lanes for the operator only."""
    folder = Path(api.engine.config.home) / "recipes"
    (folder / "broken.toml").write_text("stages = 3")
    _, told = await api("GET", "/api/recipes", "read")
    by_name = {one["name"]: one for one in told["recipes"]}
    assert by_name["words"]["required"] == ["t"]
    assert by_name["broken"]["error"]
    assert str(folder) not in json.dumps(told)
    status, one = await api("GET", "/api/recipes/words", "read")
    assert (status, one["stages"][0]["model"]) == (200, "scripted:m")
    for name in ("nobody", "words.toml", "%2e%2e", "..%2fwords"):
        assert (await api("GET", f"/api/recipes/{name}", "read"))[0] == 404
    await ended(api, (await submitted(api, 1))["id"])
    status, lanes = await api("GET", "/api/lanes", "admin")
    assert status == 200
    assert (await api("GET", "/api/lanes", "read"))[0] == 403
    assert isinstance(lanes["lanes"], list)


async def test_the_document_and_its_page_need_no_key_and_no_stranger(api: Served) -> None:
    """The page has no script and no address but our own, under a policy that holds it to that."""
    answer, body = await raw(api, "GET", "/api/openapi.json", "")
    assert (answer.status, json.loads(body)["openapi"][:2]) == (200, "3.")
    answer, page = await raw(api, "GET", "/api/docs", "")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src")
    assert b"/api/batches/{batch_id}/items" in page
    assert b"<script" not in page
    assert b"http://" not in page
    assert b"https://" not in page


# -- errors --------------------------------------------------------------------------------------


ODD_CALLS = [
        ("GET", "/api/nowhere", 404, "not_found"),
        ("GET", "/api/batches/odd", 404, "not_found"),
        ("GET", "/api/batches/b_00000000000000000000000000", 404, "not_found"),
        ("GET", "/api/batches/%00", 404, "not_found"),
        ("PUT", "/api/batches", 405, "method_not_allowed"),
        ("GET", "/api/batches?limit=x", 400, "usage"),
        ("GET", "/api/batches?cursor=x", 400, "usage"),
        ("GET", "/api/batches?state=odd", 400, "usage"),
        ("GET", "/api/batches?name=%00", 400, "usage"),
        ("GET", "/api/batches?recipe=%00", 400, "usage"),
        ("GET", "/api/batches?limit=99999999999999999999", 200, ""),
        ("GET", "/api/batches/x/items/1e5", 400, "usage"),
    ]  # fmt: skip


async def test_every_error_has_one_shape(api: Served) -> None:
    """Unknown paths, wrong methods and odd values are problems with a code and a type."""
    for method, path, status, code in ODD_CALLS:
        answer, body = await raw(api, method, path)
        told = json.loads(body)
        assert answer.status == status, told
        if code:
            assert answer.content_type == "application/problem+json"
            assert told["code"] == code
            assert told["type"] == f"urn:headrace:error:{code}"
            assert told["retryable"] is False
        if status == 405:
            assert answer.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize("how", [ConnectionRefusedError, asyncpg.AdminShutdownError])
async def test_a_database_that_is_away_may_be_asked_again(
    api: Served, monkeypatch: pytest.MonkeyPatch, how: type[Exception]
) -> None:
    """While the database does not answer, callers are told to come again; not that we failed."""
    await api("GET", "/api/batches", "read")

    def away() -> Any:
        raise how("no")

    with monkeypatch.context() as patch:
        patch.setattr(api.engine.database, "acquire", away)
        answer, body = await raw(api, "GET", "/api/batches")
    told = json.loads(body)
    assert (answer.status, told["code"], told["retryable"]) == (503, "database", True)
    assert answer.headers["Retry-After"]


# -- live ----------------------------------------------------------------------------------------


async def test_polling_costs_nothing_while_nothing_moves(api: Served) -> None:
    """With its tag a batch is asked for again for the price of a header, until it moves."""
    api.scripted.gate.clear()
    batch = await submitted(api, 3)
    path = f"/api/batches/{batch['id']}"
    await api("POST", f"{path}/pause")
    await api.engine.batch(batch["id"]).changed(0.0)
    answer, body = await raw(api, "GET", path)
    assert json.loads(body)["line"] == "Paused at 0 of 3"
    await api("POST", f"{path}/cancel")
    api.scripted.gate.set()
    await ended(api, batch["id"])
    moved, _ = await raw(api, "GET", path, If_None_Match=answer.headers["ETag"])
    assert moved.status == 200
    same, body = await raw(api, "GET", path, If_None_Match=moved.headers["ETag"])
    assert (same.status, body) == (304, b"")


async def test_a_websocket_says_the_same(api: Served) -> None:
    """By a header or a protocol with the key, a WebSocket tells what the stream tells."""
    batch = await submitted(api, 3)
    await ended(api, batch["id"])
    url = f"{api.url}/api/batches/{batch['id']}/ws"

    async def told(url: str, **how: Any) -> list[dict[str, Any]]:
        async with api.http.ws_connect(url, **how) as socket:
            return [json.loads(message.data) async for message in socket]

    header = {"Authorization": f"Bearer {api.keys['read']}"}
    found = await told(url, headers=header)
    assert found[0]["event"] == found[-1]["event"] == "batch"
    assert sum(one["event"] == "item.succeeded" for one in found) == 3
    assert found[-1]["data"]["line"] == "Ended 3 of 3"
    protocols = ("headrace", f"bearer.{api.keys['read']}")
    assert await told(url, protocols=protocols) == found
    last = max(one["id"] for one in found if one["id"])
    assert [one["event"] for one in await told(f"{url}?after={last}", headers=header)] == ["batch"]
    for how in ({}, {"headers": {"Authorization": "Bearer hr_no"}}):
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await told(url, **how)
        assert caught.value.status == 401


async def test_a_reader_that_takes_nothing_is_dropped(
    api: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who stops reading is let go after a while, and another who watches is told everything."""
    from headrace.http import hasty_response, live

    monkeypatch.setattr(hasty_response, "STALL_S", 0.05)
    api.scripted.gate.clear()
    batch = await submitted(api, 2)

    async def app_send(message: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    found = api.engine.batch(batch["id"])
    shared = live.Feeds(api.engine.clock)
    routes = live.Live(api.engine, None, shared)  # type: ignore[arg-type]
    response = live.HastyResponse(routes._pieces(found, 0), media_type="text/event-stream")
    scope = {"type": "http", "path": "/x", "asgi": {"spec_version": "2.3"}}
    await asyncio.wait_for(response(scope, receive, app_send), 60)  # type: ignore[arg-type]
    assert shared._readers == 0
    api.scripted.gate.set()
    await ended(api, batch["id"])
