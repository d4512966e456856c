"""``/api/webhooks`` over a real socket: an endpoint of a tenant, from its secret to its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.store.webhooks import WEBHOOKS_MAX
from headrace.upkeep_settings import Webhooks
from headrace.webhook_signature import is_standard_webhook
from tests.integration.speaking import Heard, Speaker, says, speaking
from tests.integration.test_http import Served, served
from tests.integration.test_http_batches import asked, line, until
from tests.integration.test_http_files import foreigner


class Ear:
    """An endpoint that takes everything; ``next`` waits for a message."""

    def __init__(self) -> None:
        self.came: asyncio.Queue[Heard] = asyncio.Queue()

    async def __call__(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        await says({"thanks": True})(heard, writer)
        self.came.put_nowait(heard)

    async def next(self) -> Heard:
        return await asyncio.wait_for(self.came.get(), 60)


@pytest.fixture
async def ear() -> AsyncIterator[tuple[Ear, Speaker]]:
    one = Ear()
    async with speaking(one) as speaker:
        yield one, speaker


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    allowed = Webhooks(allowed_hosts=["127.0.0.1"])
    async with served(database_url, tmp_path, webhooks=allowed) as one:
        yield one


async def add(api: Served, url: str, *events: str) -> dict[str, Any]:
    body = {"url": url, "events": list(events) or ["batch.completed"]}
    status, made = await api("POST", "/api/webhooks", "admin", body)
    assert status == 201, made
    return dict(made)


async def test_an_endpoint_from_its_secret_to_its_log(
    api: Served, ear: tuple[Ear, Speaker]
) -> None:
    """Added, pinged, told of a batch, looked at, sent once more, rotated, changed, deleted."""
    one, speaker = ear
    made = await add(
        api, f"http://127.0.0.1:{speaker.port}/in", "batch.completed", "item.succeeded"
    )
    path = f"/api/webhooks/{made['id']}"
    secret = made.pop("secret")
    assert secret.startswith("whsec_")
    assert (await api("GET", "/api/webhooks", "read"))[1] == {"webhooks": [made]}
    assert (await api("GET", path, "read"))[1] == made
    status, pinged = await api("POST", f"{path}/ping", "admin")
    assert (status, pinged["event"]) == (202, "webhook.ping")
    heard = await one.next()
    assert heard.json["type"] == "webhook.ping"
    assert is_standard_webhook(heard.headers, heard.body, secret, api.engine.clock.now())
    rows = [{"t": "a"}, {"t": "b"}]
    _, batch = await api("POST", "/api/batches", body={"recipe": "words", "rows": rows})
    told = {}
    while len(told) < 2:
        heard = await one.next()
        told[heard.json["type"]] = heard.json["data"]
    assert told["batch.completed"]["id"] == batch["id"]
    assert told["batch.completed"]["counts"]["succeeded"] == 2
    assert len(told["item.succeeded"]["items"]) == 2
    logged = await ended(api, f"{path}/deliveries", 3)
    first = logged[-1]
    assert first["path"] == pinged["path"]
    assert first["latest"]["status"] == 200
    whole = (await api("GET", first["path"], "read"))[1]
    assert whole["tries_made"][0]["excerpt"] == '{"thanks": true}'
    assert whole["body"].startswith('{"id":"msg_')
    page = (await api("GET", f"{path}/deliveries?limit=2", "read"))[1]
    rest = (await api("GET", f"{path}/deliveries?limit=2&before={page['next']}", "read"))[1]
    assert [x["id"] for x in page["deliveries"] + rest["deliveries"]] == [x["id"] for x in logged]
    assert (await api("POST", f"{first['path']}/redeliver", "admin"))[0] == 202
    assert (await one.next()).headers["webhook-id"] == first["id"]
    rotated = (await api("POST", f"{path}/rotate", "admin"))[1]
    assert rotated["secret"] != secret
    assert rotated["old_secret_until"] is not None
    changed = {"events": ["batch.failed"], "state": "disabled"}
    now = (await api("PATCH", path, "admin", changed))[1]
    assert (now["events"], now["state"]) == (["batch.failed"], "disabled")
    assert (await api("POST", f"{path}/ping", "admin"))[0] == 409
    assert (await api("POST", f"{first['path']}/redeliver", "admin"))[0] == 409
    assert (await api("PATCH", path, "admin", {"state": "enabled"}))[1]["reason"] is None
    assert (await api("DELETE", path, "admin"))[0] == 204
    assert (await api("GET", path, "read"))[0] == 404


async def ended(api: Served, path: str, count: int) -> list[dict[str, Any]]:
    """The log, once so many messages stand in it as delivered."""
    async with asyncio.timeout(60):
        while True:
            found: list[dict[str, Any]] = (await api("GET", path, "read"))[1]["deliveries"]
            if [one["state"] for one in found] == ["delivered"] * count:
                return found


async def test_a_batch_out_of_a_file_is_told_when_its_files_are_there(
    api: Served, ear: tuple[Ear, Speaker]
) -> None:
    """Its end is told once, by the name that the official client knows; a bad file's as failed."""
    one, speaker = ear
    await add(api, f"http://127.0.0.1:{speaker.port}/", "batch.completed", "batch.failed")
    client = api.client()
    batch = await asked(client, [line("r1")])
    heard = await one.next()
    assert (heard.json["type"], heard.json["data"]["id"]) == ("batch.completed", batch.id)
    assert heard.json["data"]["counts"]["succeeded"] == 1
    there = await client.batches.retrieve(batch.id)
    assert there.output_file_id is not None
    bad = await until(client, await asked(client, ["{}"]))
    heard = await one.next()
    assert (heard.json["type"], heard.json["data"]["id"]) == ("batch.failed", bad.id)
    assert one.came.empty()
    await client.close()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "https://x.example/"},
        {"url": "https://x.example/", "events": []},
        {"url": "https://x.example/", "events": ["batch.done"]},
        {"url": "https://x.example/", "events": [["batch.completed"], None]},
        {"url": "https://x.example/", "events": "batch.completed"},
        {"url": "https://x.example/", "events": ["batch.completed"], "secret": "mine"},
        {"url": "https://10.0.0.1/", "events": ["batch.completed"]},
        {"url": "http://x.example/", "events": ["batch.completed"]},
        {"url": 7, "events": ["batch.completed"]},
        {"url": "https://x.example/" + "x" * 70_000, "events": ["batch.completed"]},
    ],
)
async def test_what_cannot_be_an_endpoint_is_refused(api: Served, body: dict[str, Any]) -> None:
    """Unknown events, keys and addresses inside are told as what they are, and nothing is kept."""
    status, told = await api("POST", "/api/webhooks", "admin", body)
    assert status in (413, 422), told
    assert told["code"] in ("invalid_input", "too_large")
    assert (await api("GET", "/api/webhooks", "read"))[1] == {"webhooks": []}


async def test_endpoints_are_their_tenants_and_few(api: Served) -> None:
    """Another tenant finds nothing, a key without admin changes nothing, and there is a cap."""
    made = await add(api, "https://x.example/")
    status, pinged = await api("POST", f"/api/webhooks/{made['id']}/ping", "admin")
    assert status == 202
    await foreigner(api)
    path = f"/api/webhooks/{made['id']}"
    mine = await add_foreign(api)
    for method, where in (
        ("GET", path),
        ("PATCH", path),
        ("DELETE", path),
        ("POST", f"{path}/rotate"),
        ("POST", f"{path}/ping"),
        ("GET", f"{path}/deliveries"),
        ("GET", pinged["path"]),
        ("POST", f"{pinged['path']}/redeliver"),
        # Another's message below an endpoint of one's own.
        ("GET", pinged["path"].replace(made["id"], mine)),
        ("POST", pinged["path"].replace(made["id"], mine) + "/redeliver"),
    ):
        body = {} if method == "PATCH" else None
        assert (await api(method, where, "foreign", body))[0] == 404, where
    for method, where in (("DELETE", path), ("POST", f"{path}/rotate"), ("POST", f"{path}/ping")):
        assert (await api(method, where, "submit"))[0] == 403
    assert (await api("GET", "/api/webhooks/wh_no", "read"))[0] == 404
    calls = [add_one(api) for _ in range(WEBHOOKS_MAX + 4)]
    statuses = await asyncio.gather(*calls)
    assert sorted(statuses) == [201] * (WEBHOOKS_MAX - 1) + [409] * 5


async def add_one(api: Served) -> int:
    body = {"url": "https://y.example/", "events": ["batch.completed"]}
    return (await api("POST", "/api/webhooks", "admin", body))[0]


async def add_foreign(api: Served) -> str:
    body = {"url": "https://z.example/", "events": ["batch.completed"]}
    return str((await api("POST", "/api/webhooks", "foreign", body))[1]["id"])
