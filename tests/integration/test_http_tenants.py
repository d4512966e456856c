"""Tenants, plans and keys over HTTP: who may do what, and what a refusal says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from headrace.access import Scope
from headrace.store import keys
from tests.integration.test_http import MODEL, Served, ended, served
from tests.integration.test_http_batches import asked, line, until


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[Served]:
    """A server with a tenant ``acme`` and an admin key of it, under the scope name ``acme``."""
    async with served(database_url, tmp_path) as one:
        await must(one, "PUT", "/api/plans/small", {"daily_items_max": 4})
        made = {"id": "acme", "plan": "small", "timezone": "Europe/Berlin", "unlimited": True}
        await must(one, "POST", "/api/tenants", made)
        told = await must(
            one, "POST", "/api/keys", {"name": "theirs", "tenant": "acme", "scope": "admin"}
        )
        one.keys["acme"] = told["key"]
        yield one


async def must(api: Served, method: str, path: str, body: Any = None, scope: str = "admin") -> Any:
    """Call and return what was said; it must have gone well."""
    status, told = await api(method, path, scope, body)
    assert status < 300, told
    return told


async def test_a_tenant_sees_itself_and_nobody_else(api: Served) -> None:
    """Its plan and its day; another's id is not there, and the list is the operator's."""
    told = await must(api, "GET", "/api/tenants/acme", scope="acme")
    assert told["plan"]["daily_items_max"] == 4
    assert told["today"]["items"] == 0
    assert (await api("GET", "/api/tenants/default", "acme"))[0] == 404
    assert (await api("GET", "/api/tenants/nobody", "acme"))[0] == 404
    for method, path in (
        ("GET", "/api/tenants"), ("POST", "/api/tenants"), ("POST", "/api/tenants/acme/resume"),
        ("POST", "/api/tenants/acme/suspend"), ("POST", "/api/tenants/acme/plan"),
        ("GET", "/api/plans"), ("GET", "/api/plans/small"), ("PUT", "/api/plans/small"),
    ):  # fmt: skip
        assert (await api(method, path, "acme", {}))[0] == 403, path
        assert (await api(method, path, "submit", {}))[0] == 403, path
    assert len((await must(api, "GET", "/api/tenants"))["tenants"]) == 2
    assert (await api("GET", "/api/tenants/nobody", "admin"))[0] == 404


async def test_the_cap_on_a_days_credits_is_a_429_that_says_until_when(api: Served) -> None:
    """The operator sets it on a tenant or a plan; the tenant sees what it has used."""
    path = "/api/tenants/acme/daily-credits"
    assert (await api("POST", path, "acme", {"daily_microcredits_max": 1}))[0] == 403
    for bad in ({}, {"daily_microcredits_max": "1"}, {"daily_microcredits_max": -1}, {"most": 1}):
        assert (await api("POST", path, "admin", bad))[0] == 422, bad
    assert (await api("POST", path.replace("acme", "nobody"), "admin", bad))[0] == 422
    told = await must(api, "POST", path, {"daily_microcredits_max": 1})
    assert told["daily_microcredits_max"] == 1
    await must(api, "POST", "/api/price-book", {"kind": "default", "credits": "0.000001"})
    body = {"recipe": "words", "rows": [{"t": "1"}, {"t": "2"}]}
    headers = {"Authorization": f"Bearer {api.keys['acme']}"}
    async with api.http.post(f"{api.url}/api/batches", json=body, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (429, "application/problem+json")
        assert 0 < int(answer.headers["Retry-After"]) <= 90_001
        told = await answer.json()
    assert (told["code"], told["retryable"]) == ("daily_credits_cap", True)
    assert (told["missing_microcredits"], told["limit_microcredits"]) == (1, 1)
    await must(api, "POST", path, {"daily_microcredits_max": None})
    await must(api, "PUT", "/api/plans/small", {"daily_microcredits_max": 2})
    await must(api, "POST", "/api/batches", body, "acme")
    today = (await must(api, "GET", "/api/tenants/acme", scope="acme"))["today"]
    assert (today["microcredits"], today["microcredits_max"]) == (2, 2)
    client = api.client("acme")
    said: Any = [{"role": "user", "content": "Hi"}]
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model=MODEL, messages=said)
    assert caught.value.code == "daily_credits_cap"
    await client.close()


async def test_the_daily_cap_is_a_429_that_says_what_is_missing(api: Served) -> None:
    """With Retry-After, as a problem under /api and in OpenAI's shape under /v1."""
    body = {"recipe": "words", "rows": [{"t": f"{n}"} for n in range(5)]}
    headers = {"Authorization": f"Bearer {api.keys['acme']}"}
    async with api.http.post(f"{api.url}/api/batches", json=body, headers=headers) as answer:
        assert answer.status == 429
        assert answer.content_type == "application/problem+json"
        assert 0 < int(answer.headers["Retry-After"]) <= 90_001
        told = await answer.json()
    assert (told["code"], told["missing"], told["limit"], told["used"]) == ("daily_cap", 1, 4, 0)
    assert (told["status"], told["retryable"]) == (429, True)
    body["rows"] = body["rows"][:4]
    batch = await must(api, "POST", "/api/batches", body, "acme")
    api.keys["read"] = api.keys["acme"]
    assert (await ended(api, batch["id"]))["done"] == 4
    client = api.client("acme")
    said: Any = [{"role": "user", "content": "Hi"}]
    with pytest.raises(openai.RateLimitError) as caught:
        await client.chat.completions.create(model=MODEL, messages=said)
    assert caught.value.code == "daily_cap"
    await client.close()
    assert (await must(api, "GET", "/api/tenants/acme", scope="acme"))["today"]["items"] == 4


async def test_a_suspended_tenants_keys_say_why(api: Served) -> None:
    """All of them answer 403 with the reason, within seconds; resumed, they open again."""
    found = await must(api, "POST", "/api/tenants/acme/suspend", {"reason": "unpaid"})
    assert found["state"] == "suspended"
    made = await must(api, "POST", "/api/keys", {"name": "new", "tenant": "acme"})
    api.keys["new"] = made["key"]
    status, told = await api("GET", "/api/batches", "new")
    assert (status, told["code"]) == (403, "suspended")
    assert "unpaid" in told["detail"]
    status, told = await api("GET", "/v1/models", "new")
    assert (status, told["error"]["code"]) == (403, "suspended")
    await must(api, "POST", "/api/tenants/acme/resume")
    fresh = await must(api, "POST", "/api/keys", {"name": "fresh", "tenant": "acme"})
    api.keys["fresh"] = fresh["key"]
    assert (await api("GET", "/api/batches", "fresh"))[0] == 200
    status, told = await api("POST", "/api/tenants/default/suspend", "admin", {"reason": "x"})
    assert (status, told["code"]) == (409, "conflict")


async def test_a_key_makes_keys_of_its_own_tenant_only(api: Served) -> None:
    """Another's tenant, and another's key, are not there; a smaller scope makes none."""
    status, _ = await api("POST", "/api/keys", "acme", {"name": "x", "tenant": "default"})
    assert status == 404
    assert (await api("POST", "/api/keys", "submit", {"name": "x"}))[0] == 403
    listed = (await must(api, "GET", "/api/keys"))["keys"]
    foreign = next(key for key in listed if key["tenant"] == "default")
    for action in ("rotate", "revoke"):
        for named in (foreign["id"], foreign["shown"]):
            status, _ = await api("POST", f"/api/keys/{named}/{action}", "acme", {})
            assert status == 404
    own = await must(api, "POST", "/api/keys", {"name": "x"}, "acme")
    assert own["tenant"] == "acme"
    theirs = (await must(api, "GET", "/api/keys", scope="acme"))["keys"]
    assert {key["tenant"] for key in theirs} == {"acme"}
    assert (await api("GET", "/api/keys?tenant=default", "acme"))[0] == 404
    assert own["key"] not in str(theirs) + str(listed)


async def test_a_rotated_key_is_good_for_its_grace(api: Served) -> None:
    """Both open; rotated again at once, the old one is refused; without a grace it is over."""
    made = await must(api, "POST", "/api/keys", {"name": "x", "scope": "read"}, "acme")
    new = await must(api, "POST", f"/api/keys/{made['id']}/rotate", {"grace_s": 60}, "acme")
    api.keys["old"], api.keys["new"] = made["key"], new["key"]
    for name in ("old", "new"):
        assert (await api("GET", "/api/batches", name))[0] == 200
    status, told = await api("POST", f"/api/keys/{made['id']}/rotate", "acme", {})
    assert (status, told["code"]) == (409, "conflict")
    last = await must(api, "POST", f"/api/keys/{new['id']}/rotate", {"grace_s": 0}, "acme")
    api.keys["last"] = last["key"]
    assert (await api("GET", "/api/batches", "last"))[0] == 200
    states = {key["id"]: key["state"] for key in (await must(api, "GET", "/api/keys"))["keys"]}
    ids = (made["id"], new["id"], last["id"])
    assert [states[one] for one in ids] == ["replaced", "expired", "good"]


async def test_when_a_key_was_last_used_is_written_once_a_minute(api: Served) -> None:
    """The first call writes it; ten more at once add nothing; one never used says so."""
    made = await must(api, "POST", "/api/keys", {"name": "x", "scope": "read"}, "acme")
    assert made["last_used_at"] is None
    api.keys["x"] = made["key"]
    await asyncio.gather(*(api("GET", "/api/batches", "x") for _ in range(10)))

    async def last() -> Any:
        async with api.engine.database.acquire() as connection:
            return await connection.fetchval(
                "SELECT last_used_at FROM api_key WHERE shown = $1", made["shown"]
            )

    first = await last()
    assert first is not None
    async with api.engine.database.transaction() as connection:
        key = await keys.one(connection, made["id"])
        await keys.used(connection, key, api.engine.clock.now())
        assert await last() == first


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/api/tenants", {}, 422),
        ("POST", "/api/tenants", {"id": "../etc"}, 422),
        ("POST", "/api/tenants", {"id": "acme"}, 409),
        ("POST", "/api/tenants", {"id": "b", "timezone": "Nowhere"}, 422),
        ("POST", "/api/tenants", {"id": "b", "plan": "gold"}, 404),
        ("POST", "/api/tenants", {"id": "b", "color": "red"}, 422),
        ("POST", "/api/tenants/acme/suspend", {}, 422),
        ("POST", "/api/tenants/nobody/suspend", {"reason": "x"}, 404),
        ("POST", "/api/tenants/acme/plan", {}, 422),
        ("POST", "/api/tenants/acme/plan", {"plan": "gold"}, 404),
        ("PUT", "/api/plans/small", {"weight": "heavy"}, 422),
        ("PUT", "/api/plans/Small Plan", {}, 422),
        ("GET", "/api/plans/gold", None, 404),
        ("POST", "/api/keys", {}, 422),
        ("POST", "/api/keys", {"name": "x", "scope": "root"}, 422),
        ("POST", "/api/keys", {"name": "x", "expires_at": "2001-01-01T00:00:00Z"}, 422),
        ("POST", "/api/keys", {"name": "x", "expires_at": "2099-01-01"}, 422),
        ("POST", "/api/keys", {"name": "x", "expires_at": "9999-12-31T23:59:59-12:00"}, 422),
        ("POST", "/api/keys", {"name": "x", "expires_at": "9999-12-31T00:00:00Z"}, 422),
        ("POST", "/api/keys", {"name": "x", "tenant": "nobody"}, 404),
        ("POST", "/api/keys/key_nobody/rotate", {}, 404),
        ("POST", "/api/keys/%00/revoke", {}, 404),
        ("GET", "/api/tenants/%00", None, 404),
        ("GET", "/api/plans/%00", None, 404),
        ("GET", "/api/keys?tenant=%00", None, 404),
        ("DELETE", "/api/provider-keys/%00", None, 404),
        ("POST", "/api/tenants", {"id": "b", "timezone": "U\0"}, 422),
        ("POST", "/api/tenants/acme/plan", {"plan": "\0"}, 404),
        ("POST", "/api/tenants/%00/suspend", {"reason": "x"}, 404),
        ("POST", "/api/keys", {"name": "x\0"}, 422),
        ("PUT", "/api/provider-keys/nobody", {"key": "sk-x"}, 422),
        ("PUT", "/api/provider-keys/sim", {}, 422),
        ("PUT", "/api/provider-keys/sim", {"key": "a b"}, 422),
        ("PUT", "/api/provider-keys/sim", {"key": "x", "shared": True, "tenant": "acme"}, 422),
        ("DELETE", "/api/provider-keys/sim", None, 404),
    ],
)
async def test_what_cannot_be_meant_is_told(
    api: Served, method: str, path: str, body: Any, status: int
) -> None:
    """Each mistake has its status and says what is wrong."""
    got, told = await api(method, path, "admin", body)
    assert got == status, told
    assert told["detail"]


async def test_keys_of_providers_are_a_tenants_own_and_never_shown(api: Served) -> None:
    """A tenant sets and removes its own; everybody's is the operator's; no answer has a key."""
    put = {"key": "sk-secret-of-acme"}
    told = await must(api, "PUT", "/api/provider-keys/sim", put, "acme")
    assert (told["tenant"], told["provider"]) == ("acme", "sim")
    assert (await api("PUT", "/api/provider-keys/sim", "acme", {**put, "shared": True}))[0] == 403
    foreign = {**put, "tenant": "default"}
    assert (await api("PUT", "/api/provider-keys/sim", "acme", foreign))[0] == 404
    assert (await api("PUT", "/api/provider-keys/sim", "submit", put))[0] == 403
    await must(api, "PUT", "/api/provider-keys/sim", {"key": "sk-all", "shared": True})
    mine = await must(api, "GET", "/api/provider-keys", scope="acme")
    every = await must(api, "GET", "/api/provider-keys")
    assert [key["tenant"] for key in mine["provider_keys"]] == ["acme"]
    assert [key["tenant"] for key in every["provider_keys"]] == [None, "acme"]
    assert "sk-" not in f"{told}{mine}{every}"
    assert (await api("DELETE", "/api/provider-keys/sim?tenant=default", "acme"))[0] == 404
    await must(api, "DELETE", "/api/provider-keys/sim", scope="acme")
    await must(api, "DELETE", "/api/provider-keys/sim?shared=true")
    status, told = await api("PUT", "/api/provider-keys/scripted", "acme", put)
    assert status == 422
    assert "settings" not in told["detail"]


async def test_a_tenants_admin_is_no_operator(api: Served) -> None:
    """The scope alone does not reach beyond the tenant, whichever key has it."""
    async with api.engine.database.transaction() as connection:
        secret, _ = await keys.make(
            connection, "acme", "second", Scope.ADMIN, api.engine.clock.now()
        )
    api.keys["second"] = secret
    assert (await api("GET", "/api/tenants", "second"))[0] == 403
    assert (await api("GET", "/api/keys", "second"))[0] == 200


async def test_a_file_batch_above_the_day_fails_with_the_code(api: Served) -> None:
    """Nothing of it is bought, and its errors say which limit it was; a smaller one is made."""
    client = api.client("acme")
    too_much = await asked(client, [line(f"r{n}") for n in range(5)])
    failed = await until(client, too_much)
    assert failed.status == "failed"
    assert failed.errors is not None
    assert [one.code for one in failed.errors.data or []] == ["daily_cap"]
    assert not api.simulator.truth.calls
    enough = await asked(client, [line(f"r{n}") for n in range(4)])
    assert (await until(client, enough)).status == "completed"
    await client.close()
