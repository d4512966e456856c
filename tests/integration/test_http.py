"""The HTTP API over a real socket, with the official client for what is OpenAI's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from headrace.access import Scope
from headrace.clock import Clock
from headrace.config import Config
from headrace.engine import Engine, open_engine
from headrace.http.app import build_app
from headrace.http.server import listen, serve
from headrace.simulator.scenario import build_settings
from headrace.simulator.server import Simulator
from headrace.store import keys, schema
from tests.integration.scripted import Scripted

MODEL = "sim:gpt-x"
RECIPE = """
name = "words"
[columns]
required = ["t"]
[[stages]]
kind = "generate"
model = "scripted:m"
prompt = "{{ t }}"
"""


@dataclass
class Served:
    """A server with its engine, a key of each scope, and a plain client."""

    url: str
    engine: Engine
    keys: dict[str, str]
    http: aiohttp.ClientSession
    simulator: Simulator
    scripted: Scripted

    def client(self, scope: str = "submit") -> openai.AsyncOpenAI:
        """The official client, unchanged, at our address."""
        return openai.AsyncOpenAI(
            base_url=f"{self.url}/v1", api_key=self.keys[scope], max_retries=0
        )

    async def __call__(
        self, method: str, path: str, scope: str = "submit", body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        """Call and return the status and the JSON that came back."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        if scope:
            told["Authorization"] = f"Bearer {self.keys[scope]}"
        async with self.http.request(method, self.url + path, json=body, headers=told) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None


@asynccontextmanager
async def served(
    database_url: str,
    home: Path,
    *,
    clock: Clock | None = None,
    sim: dict[str, Any] | None = None,
    **more: Any,
) -> AsyncIterator[Served]:
    """Serve an engine whose provider is a simulator, and another one that does as it is told.

    ``clock`` is the simulator's, ``sim`` are further keys of its table, its kind among them.
    """
    (home / "recipes").mkdir(parents=True, exist_ok=True)
    (home / "recipes" / "words.toml").write_text(RECIPE)
    simulator = Simulator(build_settings({"latency": {"median_s": 0.01}}), clock)
    await simulator.start()
    table = {
        "kind": "openai",
        "base_url": f"{simulator.url}/v1",
        "models": ["gpt-x", "gpt-image-2"],
        **(sim or {}),
    }
    if table["kind"] != "openai":
        table["base_url"] = simulator.url
    config = Config(home=str(home), database_url=database_url, providers={"sim": table}, **more)
    scripted = Scripted()
    async with open_engine(config, providers={"scripted": scripted}) as engine:
        made = {}
        async with engine.database.transaction() as connection:
            for scope in Scope:
                made[scope.value], _ = await keys.make(
                    connection, "default", scope.value, scope, engine.clock.now()
                )
        listening, stop, ready = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
        serving = asyncio.create_task(serve(build_app(engine), listening, stop, ready.set))
        await ready.wait()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        async with aiohttp.ClientSession() as http:
            yield Served(url, engine, made, http, simulator, scripted)
        stop.set()
        await serving
    await simulator.close()


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path) as one:
        yield one


# -- as OpenAI's clients speak it --------------------------------------------------------------


async def test_the_official_client_chats(api: Served) -> None:
    """A chat goes through the engine; asked again it comes from the cache, without a call."""
    client = api.client()
    said: Any = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi {{ x }}"},
    ]
    first = await client.chat.completions.create(model=MODEL, messages=said, temperature=0.5)
    again = await client.chat.completions.with_raw_response.create(
        model=MODEL, messages=said, temperature=0.5
    )
    assert first.choices[0].message.content
    assert first.choices[0].finish_reason == "stop"
    assert first.usage is not None
    assert first.usage.total_tokens > 0
    assert again.headers["x-headrace-cache"] == "hit"
    assert again.parse().choices[0].message.content == first.choices[0].message.content
    assert len(api.simulator.truth.calls) == 1
    await client.close()


async def test_a_stream_says_the_same(api: Served) -> None:
    """A streamed answer is the whole one, in the chunks that clients expect."""
    client = api.client()
    said: Any = [{"role": "user", "content": "Hi"}]
    whole = await client.chat.completions.create(model=MODEL, messages=said)
    stream = await client.chat.completions.create(
        model=MODEL, messages=said, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage is not None
    assert [c.choices[0].finish_reason for c in chunks if c.choices] == [None, "stop"]
    await client.close()


async def test_the_official_client_makes_an_image(api: Served) -> None:
    """An image comes back as base64 of the artifact's bytes."""
    client = api.client()
    made = await client.images.generate(model="sim:gpt-image-2", prompt="a mill", size="1024x1024")
    assert made.data is not None
    assert (made.data[0].b64_json or "").startswith("iVBOR")
    listed = await client.models.list()
    assert [model.id for model in listed.data] == [MODEL, "sim:gpt-image-2"]
    await client.close()


@pytest.mark.parametrize(
    ("model", "params", "kind"),
    [
        ("gpt-x", {}, openai.NotFoundError),
        ("nobody:x", {}, openai.NotFoundError),
        (MODEL, {"n": 2}, openai.BadRequestError),
        (MODEL, {"temperature": "hot"}, openai.BadRequestError),
        (MODEL, {"extra_body": {"x": {"source": 0}}}, openai.BadRequestError),
    ],
)
async def test_what_cannot_be_meant_is_an_error_with_the_remedy(
    api: Served, model: str, params: dict[str, Any], kind: type[openai.APIStatusError]
) -> None:
    """Wrong requests are told in OpenAI's shape, and buy nothing."""
    client = api.client()
    said: Any = [{"role": "user", "content": "Hi"}]
    with pytest.raises(kind) as caught:
        await client.chat.completions.create(model=model, messages=said, **params)
    assert caught.value.body["message"]  # type: ignore[index]
    assert not api.simulator.truth.calls
    await client.close()


# -- keys --------------------------------------------------------------------------------------


async def test_only_a_good_key_of_the_right_scope_is_let_in(api: Served) -> None:
    """Without a key, with a wrong, expired or revoked one: 401; with too small a one: 403."""
    assert (await api("GET", "/api/batches", ""))[0] == 401
    status, told = await api("GET", "/v1/models", "", Authorization="Bearer hr_nobody")
    assert (status, told["error"]["code"]) == (401, "invalid_api_key")
    status, told = await api("POST", "/api/batches", "read", {})
    assert (status, told["code"]) == (403, "forbidden")
    now = api.engine.clock.now()
    async with api.engine.database.transaction() as connection:
        old, _ = await keys.make(
            connection, "default", "old", Scope.ADMIN, now - timedelta(2), now - timedelta(1)
        )
    assert (await api("GET", "/api/batches", "", Authorization=f"Bearer {old}"))[0] == 401
    async with api.engine.database.transaction() as connection:
        assert await keys.revoke(connection, api.keys["read"][:10], now)
        assert not await keys.revoke(connection, api.keys["read"][:10], now)
    assert (await api("GET", "/api/batches", "submit"))[0] == 200


async def test_the_first_key_is_made_once(database_url: str, tmp_path: Path) -> None:
    """Of several servers that start at once one makes the admin key, and later ones none."""
    config = Config(home=str(tmp_path), database_url=database_url)

    async def start() -> str | None:
        async with (
            open_engine(config, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            return await keys.make_first(connection, "default", engine.clock.now())

    made = await asyncio.gather(*(start() for _ in range(5)))
    assert sum(one is not None for one in made) == 1
    assert await start() is None


async def test_no_key_is_kept(api: Served) -> None:
    """The database has hashes and first characters, nothing that opens anything."""
    async with api.engine.database.acquire() as connection:
        rows = await connection.fetch("SELECT * FROM api_key")
    for secret in api.keys.values():
        assert secret not in repr([dict(row) for row in rows])
        assert secret.encode() not in repr(rows).encode()


# -- batches -----------------------------------------------------------------------------------


async def submitted(api: Served, count: int = 3, **headers: str) -> dict[str, Any]:
    """A batch of some rows."""
    rows = [{"t": f"row {number}"} for number in range(count)]
    status, told = await api(
        "POST", "/api/batches", body={"recipe": "words", "rows": rows}, **headers
    )
    assert status in (200, 201), told
    found: dict[str, Any] = told
    return found


async def ended(api: Served, batch_id: str) -> dict[str, Any]:
    """The batch, when it has ended."""
    await api.engine.batch(batch_id).done()
    return (await api("GET", f"/api/batches/{batch_id}", "read"))[1]  # type: ignore[no-any-return]


async def test_a_batch_is_submitted_watched_and_read(api: Served) -> None:
    """Rows go in, counts and items come out, artifacts with a tag that says they never change."""
    batch = await submitted(api)
    done = await ended(api, batch["id"])
    assert (done["state"], done["done"], done["total"]) == ("completed", 3, 3)
    _status, page = await api("GET", f"/api/batches/{batch['id']}/items?limit=2", "read")
    assert [item["row_number"] for item in page["items"]] == [1, 2]
    _, rest = await api("GET", f"/api/batches/{batch['id']}/items?after={page['next']}", "read")
    assert [item["inputs"]["t"] for item in rest["items"]] == ["row 2"]
    path = page["items"][0]["artifact"]["path"]
    headers = {"Authorization": f"Bearer {api.keys['read']}"}
    async with api.http.get(api.url + path, headers=headers) as answer:
        assert await answer.read() == b"made of row 0"
        headers["If-None-Match"] = answer.headers["ETag"]
    async with api.http.get(api.url + path, headers=headers) as answer:
        assert answer.status == 304


async def test_the_same_key_is_the_same_batch(api: Served) -> None:
    """A submit that is sent again makes no second batch; another body under the key is refused."""
    one = await submitted(api, Idempotency_Key="k-1")
    again = await submitted(api, Idempotency_Key="k-1")
    assert one["id"] == again["id"]
    body = {"recipe": "words", "rows": [{"t": "other"}]}
    status, told = await api("POST", "/api/batches", body=body, Idempotency_Key="k-1")
    assert (status, told["code"]) == (409, "conflict")


async def test_events_stream_and_go_on_where_they_were(api: Served) -> None:
    """A snapshot, every event in order, a snapshot; Last-Event-ID skips what was seen."""
    batch = await submitted(api)
    await ended(api, batch["id"])

    async def stream(**more: str) -> list[tuple[str, dict[str, Any], str]]:
        headers = {"Authorization": f"Bearer {api.keys['read']}", **more}
        path = f"{api.url}/api/batches/{batch['id']}/events"
        async with api.http.get(path, headers=headers) as answer:
            text = (await answer.read()).decode()
        found = []
        for part in text.strip().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in part.split("\n"))
            found.append((lines["event"], json.loads(lines["data"]), lines.get("id", "")))
        return found

    whole = await stream()
    assert whole[0][0] == whole[-1][0] == "batch"
    assert sum(kind == "item.succeeded" for kind, _, _ in whole) == 3
    assert whole[-1][1]["done"] == 3
    numbers = [int(number) for _, _, number in whole if number]
    assert numbers == sorted(numbers)
    rest = await stream(**{"Last-Event-ID": str(numbers[-2])})
    assert [number for _, _, number in rest if number] == [str(numbers[-1])]


async def test_another_tenants_batch_is_not_there(api: Served) -> None:
    """What belongs to somebody else answers as if it did not exist."""
    batch = await submitted(api)
    async with api.engine.database.transaction() as connection:
        await connection.execute("INSERT INTO tenant (id, name) VALUES ('other', 'Other')")
        foreign, _ = await keys.make(
            connection, "other", "theirs", Scope.ADMIN, api.engine.clock.now()
        )
    api.keys["foreign"] = foreign
    for method, path in (
        ("GET", ""), ("GET", "/items"), ("GET", "/items/1/artifact"), ("GET", "/events"),
        ("POST", "/cancel"),
    ):  # fmt: skip
        status, told = await api(method, f"/api/batches/{batch['id']}{path}", "foreign")
        assert (status, told["code"]) == (404, "not_found")
    assert (await api("GET", "/api/batches", "foreign"))[1] == {"batches": [], "next": None}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 422),
        ({}, 422),
        ({"recipe": "words", "rows": []}, 422),
        ({"recipe": "words", "rows": ["x"]}, 422),
        ({"recipe": "../etc/x.toml", "rows": [{"t": "x"}]}, 422),
        ({"recipe": "nobody", "rows": [{"t": "x"}]}, 422),
        ({"recipe": "words", "rows": [{"t": "x"}], "folders": ["/"]}, 422),
        ({"recipe": "words", "rows": [{"t": "x"}], "canary": True}, 422),
        ({"recipe": "words", "rows": [{"t": "x"}], "cache": "odd"}, 400),
        ({"recipe": "words", "rows": [{"t": "x"}], "max_cost_usd": "free"}, 400),
    ],
)
async def test_a_bad_submit_makes_nothing(api: Served, body: Any, status: int) -> None:
    """Every mistake is named, and no batch is left behind."""
    got, told = await api("POST", "/api/batches", body=body)
    assert got == status, told
    assert told["detail"]
    assert (await api("GET", "/api/batches", "read"))[1] == {"batches": [], "next": None}


async def test_a_batch_is_steered(api: Served) -> None:
    """Pause, resume and cancel are a POST each; a verb that there is not is not found."""
    api.scripted.gate.clear()
    batch = await submitted(api, 20)
    path = f"/api/batches/{batch['id']}"
    assert (await api("POST", f"{path}/pause"))[1]["state"] == "paused"
    assert (await api("POST", f"{path}/resume"))[1]["state"] == "running"
    assert (await api("POST", f"{path}/explode"))[0] == 404
    await api("POST", f"{path}/cancel")
    api.scripted.gate.set()
    assert (await ended(api, batch["id"]))["state"] == "cancelled"


# -- the server --------------------------------------------------------------------------------


async def test_it_says_that_it_is_alive_and_ready(api: Served) -> None:
    """Probes need no key; what there is not is a problem with a code."""
    assert (await api("GET", "/healthz", ""))[0] == 200
    assert (await api("GET", "/readyz", ""))[0] == 200
    status, told = await api("GET", "/nowhere", "")
    assert (status, told["code"]) == (404, "not_found")
    assert (await api("DELETE", "/api/batches", ""))[0] == 405


async def test_it_is_not_ready_any_more_when_a_migration_leaves_it_behind(api: Served) -> None:
    """A server that may not run on its database gets no more calls, and its process is to end."""
    async with api.engine.database.transaction() as connection:
        await schema.write_notes(connection, "9999")
    status, told = await api("GET", "/readyz", "")
    assert (status, told["why"]) == (503, "DatabaseError")
    assert api.engine.database.outdated.is_set()


async def test_hostile_bodies_are_bounded(api: Served) -> None:
    """Too large, too deep, not JSON: each is told, and the server goes on."""
    headers = {"Authorization": f"Bearer {api.keys['submit']}"}
    for data, status in (
        (b"[" * 100_000, 422), (b"\xff\xfe", 422), (b'{"a": ', 422), (b"", 422),
        (b'{"a": "\xff"}', 422),
    ):  # fmt: skip
        async with api.http.post(f"{api.url}/api/batches", data=data, headers=headers) as answer:
            assert answer.status == status

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b"x" * 1_048_576

    async with api.http.post(f"{api.url}/api/batches", data=endless(), headers=headers) as answer:
        assert answer.status == 413
    assert (await api("GET", "/healthz", ""))[0] == 200
