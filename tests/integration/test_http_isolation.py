"""What is another tenant's is not there: tried on every route of the document that names it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headrace.access import Scope
from headrace.store import keys
from tests.integration.test_http import Served, ended, served, submitted

VERBS = {"get", "post", "put", "patch", "delete"}
SHARED = {"/api/recipes/{name}", "/api/provider-keys/{provider}"}
"""What is nobody's, or each tenant's own under a name that all have."""

OPERATORS = {
    "/api/plans/{name}",
    "/api/tenants/{tenant_id}/suspend",
    "/api/tenants/{tenant_id}/resume",
    "/api/tenants/{tenant_id}/plan",
    "/api/tenants/{tenant_id}/daily-credits",
}
"""What only the operator may do: a 403, whether the id is there or not."""


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(database_url, tmp_path, schedules={"folder": str(tmp_path)}) as one:
        async with one.engine.database.transaction() as connection:
            await connection.execute("INSERT INTO tenant (id, name) VALUES ('other', 'Other')")
            one.keys["foreign"], _ = await keys.make(
                connection, "other", "theirs", Scope.ADMIN, one.engine.clock.now()
            )
        yield one


async def test_every_route_hides_what_is_anothers(api: Served) -> None:
    """With the ids of one tenant and the best key of another, every route answers 404."""
    batch = await submitted(api)
    await ended(api, batch["id"])
    _, own = await api("GET", "/api/keys", "admin")
    body = {"url": "https://hooks.example.com/x", "events": ["batch.completed"]}
    status, hook = await api("POST", "/api/webhooks", "admin", body)
    assert status == 201, hook
    wanted = {"name": "night", "cron": "0 2 * * *", "recipe": "words", "file": "rows.csv"}
    status, schedule = await api("POST", "/api/schedules", "admin", wanted)
    assert status == 201, schedule
    key = next(one for one in own["keys"] if one["tenant"] == "default")
    known = {
        "batch_id": batch["id"], "row_number": "1", "output": "generate1", "name": "any",
        "tenant_id": "default", "key_id": key["id"],
        "webhook_id": hook["id"], "delivery_id": "whd_0",
        "schedule_id": schedule["id"],
    }  # fmt: skip
    _, document = await api("GET", "/api/openapi.json", "")
    tried, before = [], await api("GET", f"/api/batches/{batch['id']}", "read")
    for path, operations in document["paths"].items():
        names = {one for one in known if f"{{{one}}}" in path}
        if "{" not in path or path in SHARED:
            continue
        assert names, f"{path}: say here whose that is, or that it is shared"
        filled = path.format(**known)
        for verb in VERBS & operations.keys():
            status, told = await api(verb.upper(), filled, "foreign", None if verb == "get" else {})
            hidden = (403, "forbidden") if path in OPERATORS else (404, "not_found")
            assert (status, told["code"]) == hidden, (verb, path)
            if verb == "get":
                assert await status_of_head(api, filled, "foreign") in (403, 404, 405)
            tried.append((verb, path))
    assert len(tried) >= 30
    assert await api("GET", f"/api/batches/{batch['id']}", "read") == before


async def status_of_head(api: Served, path: str, scope: str) -> int:
    """The status of a HEAD."""
    headers = {"Authorization": f"Bearer {api.keys[scope]}"}
    async with api.http.head(api.url + path, headers=headers) as answer:
        return answer.status


async def test_streams_and_lists_hide_it_too(api: Served) -> None:
    """A WebSocket is refused with 404; lists and caches of one tenant have nothing of another's."""
    batch = await submitted(api)
    await ended(api, batch["id"])
    headers = {"Authorization": f"Bearer {api.keys['foreign']}"}
    url = f"{api.url}/api/batches/{batch['id']}/ws"
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await api.http.ws_connect(url, headers=headers)
    assert caught.value.status == 404
    assert (await api("GET", "/api/batches", "foreign"))[1]["batches"] == []
    _, page = await api("GET", "/api/batches?limit=1", "read")
    assert (await api("GET", "/api/batches", "foreign"))[1]["batches"] == []
    body: dict[str, Any] = {"recipe": "words", "rows": [{"t": "row 0"}]}
    assert (await api("POST", "/api/batches/estimate", "foreign", body))[1]["cached"] == 0
    assert (await api("POST", "/api/batches/estimate", "read", body))[1]["cached"] == 1
    assert json.dumps(page).count(batch["id"]) == 1
