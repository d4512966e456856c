"""Forgetting, retention and the takeout over a real socket: of one's own data only."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.identity import show_batch_id
from tests.integration.test_cli_run import Shell
from tests.integration.test_http import Served, served
from tests.integration.test_http_batches import asked, line, until
from tests.integration.test_http_files import foreigner


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path) as one:
        yield one


async def done(api: Served, *texts: str) -> str:
    body = {"recipe": "words", "rows": [{"t": text} for text in texts]}
    _, told = await api("POST", "/api/batches", body=body)
    await api.engine.batch(told["id"]).done()
    return str(told["id"])


async def test_a_forgotten_batch_is_not_there(api: Served) -> None:
    """Every way to it answers 404 afterwards, and a second time; another tenant has none of it."""
    name = await done(api, "a", "b")
    path = f"/api/batches/{name}"
    await foreigner(api)
    assert (await api("DELETE", path, "foreign"))[0] == 404
    assert (await api("DELETE", path, "read"))[0] == 403
    assert (await api("GET", path, "read"))[0] == 200
    assert (await api("DELETE", path))[0] == 204
    for method, where in (
        ("GET", path),
        ("GET", f"{path}/items"),
        ("GET", f"{path}/items/1/artifact"),
        ("GET", f"{path}/events"),
        ("POST", f"{path}/retry"),
        ("POST", f"{path}/cancel"),
        ("DELETE", path),
    ):
        assert (await api(method, where))[0] == 404, where
    assert (await api("GET", "/api/batches", "read"))[1]["batches"] == []
    assert (await api("DELETE", "/api/batches/b_no"))[0] == 404


async def test_a_batch_that_runs_is_a_conflict(api: Served) -> None:
    """It is cancelled first; then it can be forgotten."""
    api.scripted.gate.clear()
    body = {"recipe": "words", "rows": [{"t": "a"}]}
    _, told = await api("POST", "/api/batches", body=body)
    path = f"/api/batches/{told['id']}"
    assert (await api("DELETE", path))[0] == 409
    assert (await api("DELETE", "/api/tenants/default/data", "admin"))[0] == 409
    assert (await api("POST", f"{path}/cancel"))[0] == 200
    api.scripted.gate.set()
    await api.engine.batch(told["id"]).done()
    assert (await api("DELETE", path))[0] == 204


async def test_a_batch_out_of_a_file_goes_with_its_files(api: Served) -> None:
    """Input, output and the batch itself are gone below /v1; a file that failed goes as well."""
    client = api.client()
    over = await until(client, await asked(client, [line("r1")]))
    bad = await until(client, await asked(client, ["{}"]))
    for batch in (over, bad):
        path = f"/api/batches/{batch.id.replace('batch_', 'b_')}"
        assert (await api("DELETE", path))[0] == 204
        assert (await api("GET", f"/v1/batches/{batch.id}", "read"))[0] == 404
    assert (await api("GET", "/v1/files", "read"))[1]["data"] == []
    assert (await api("GET", "/v1/batches", "read"))[1]["data"] == []
    await client.close()


async def test_an_answer_on_demand_is_forgotten_with_its_purchase(api: Served) -> None:
    """What was kept under an idempotency key goes with the batch of one item behind it."""
    body = {"model": "sim:gpt-x", "messages": [{"role": "user", "content": "say Ada"}]}
    path = "/v1/chat/completions"
    assert (await api("POST", path, "submit", body, Idempotency_Key="k1"))[0] == 200
    async with api.engine.database.acquire() as connection:
        (batch_id,) = [row["id"] for row in await connection.fetch("SELECT id FROM batch")]
        assert await connection.fetchval("SELECT count(*) FROM answer_key") == 1
        name = show_batch_id(batch_id)
        assert (await api("DELETE", f"/api/batches/{name}"))[0] == 204
        assert await connection.fetchval("SELECT count(*) FROM answer_key") == 0
    assert (await api("POST", path, "submit", body, Idempotency_Key="k1"))[0] == 200
    assert len(api.simulator.truth.calls) == 2


async def export(api: Served, scope: str) -> list[dict[str, Any]]:
    headers = {"Authorization": f"Bearer {api.keys[scope]}"}
    async with api.http.get(f"{api.url}/api/export", headers=headers) as answer:
        assert answer.status == 200
        assert answer.content_type == "application/jsonl"
        return [json.loads(one) for one in (await answer.text()).splitlines()]


async def test_everything_can_be_taken_out_and_then_forgotten(api: Served) -> None:
    """An admin key takes its tenant's data, and has it forgotten; another's is out of reach."""
    await done(api, "a", "b")
    await foreigner(api)
    lines = await export(api, "admin")
    assert lines[-1]["kind"] == "end"
    assert lines[-1]["counts"]["item"] == 2
    assert [one["kind"] for one in await export(api, "foreign")] == ["export", "end"]
    assert (await api("GET", "/api/export", "submit"))[0] == 403
    assert (await api("DELETE", "/api/tenants/default/data", "foreign"))[0] == 404
    assert (await api("DELETE", "/api/tenants/other/data", "foreign"))[0] == 200
    assert (await api("DELETE", "/api/tenants/default/data", "submit"))[0] == 403
    assert (await api("DELETE", "/api/tenants/other/data", "admin"))[0] == 200
    assert (await api("DELETE", "/api/tenants/nobody/data", "admin"))[0] == 404
    status, told = await api("DELETE", "/api/tenants/default/data", "admin")
    assert (status, told) == (200, {"forgotten_batches": 1})
    kinds = {one["kind"] for one in await export(api, "admin")}
    assert kinds == {"export", "end", "transfer"}


async def test_days_are_set_by_an_admin_and_within_reason(api: Served) -> None:
    """What is not named stays; null keeps for good; nonsense is refused."""
    path = "/api/retention"
    none = {"inputs_days": None, "artifacts_days": None, "events_days": None}
    assert (await api("GET", path, "read"))[1] == none
    assert (await api("PUT", path, "submit", {}))[0] == 403
    told = (await api("PUT", path, "admin", {"inputs_days": 30}))[1]
    assert told == none | {"inputs_days": 30}
    told = (await api("PUT", path, "admin", {"events_days": 5}))[1]
    assert told == none | {"inputs_days": 30, "events_days": 5}
    assert (await api("PUT", path, "admin", {"inputs_days": None}))[1]["inputs_days"] is None
    bad: tuple[dict[str, Any], ...] = (
        {"days": 1}, {"inputs_days": 0}, {"inputs_days": -1}, {"inputs_days": 1.5},
        {"inputs_days": True}, {"inputs_days": "7"}, {"inputs_days": 10**12},
    )  # fmt: skip
    for body in bad:
        assert (await api("PUT", path, "admin", body))[0] == 422, body


async def test_days_that_are_set_at_once_are_all_kept(api: Served) -> None:
    """Each call sets what it tells, and takes back nothing that another has just set."""
    for days in range(1, 6):
        names = ("inputs_days", "artifacts_days", "events_days")
        put = [api("PUT", "/api/retention", "admin", {name: days}) for name in names]
        await asyncio.gather(*put)
        assert (await api("GET", "/api/retention", "read"))[1] == dict.fromkeys(names, days)


async def test_the_command_line_forgets_and_keeps_webhooks(
    tmp_path: Path, database_url: str
) -> None:
    """``forget`` and ``webhooks`` do what the API does, and say what is wrong."""
    shell = Shell(tmp_path, database_url)
    made = (
        await shell("webhooks", "create", "https://x.example/", "batch.completed", "--json")
    ).json
    assert made["secret"].startswith("whsec_")
    told = await shell("webhooks", "list")
    assert made["id"] in told.out
    assert made["secret"] not in told.out
    assert "goes out" in (await shell("webhooks", "ping", made["id"])).out
    assert (await shell("webhooks", "create", "https://10.0.0.1/", "batch.completed")).code == 2
    assert (await shell("webhooks", "delete", made["id"])).code == 0
    assert (await shell("webhooks", "delete", made["id"])).code == 2
    told = await shell("forget", "b_01JD8QY3ZZZZZZZZZZZZZZZZZZ")
    assert told.code == 2
    assert "there is no batch" in told.err
