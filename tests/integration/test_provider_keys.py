"""Keys of providers: useless at rest, apart by tenant, and what each tenant buys with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp.web
import pytest

from headrace.config import Config
from headrace.engine import Engine, open_engine
from headrace.errors import ConfigError, HeadraceError, InputError, UsageError
from headrace.master_key import FILE, VARIABLE, MasterKeys
from headrace.own_keys import KNOWN_S
from headrace.recipe import parse_recipe
from headrace.sealing import new_master
from headrace.store import provider_keys
from headrace.submission import Terms
from headrace.testing import ManualClock
from tests.integration.test_tenants import tenant

SECRETS = {None: "sk-shared-000", "acme": "sk-acme-111", "other": "sk-other-222"}


class Accounts:
    """An API of chats that remembers which key each prompt came with."""

    def __init__(self) -> None:
        self.heard: dict[str, str] = {}

    async def answer(self, request: aiohttp.web.Request) -> aiohttp.web.Response:
        """Answer any chat."""
        body = await request.json()
        said = body["messages"][-1]["content"]
        self.heard[said] = request.headers["Authorization"].removeprefix("Bearer ")
        message = {"role": "assistant", "content": f"heard {said}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return aiohttp.web.json_response({"id": "x", "choices": [choice], "usage": {}})


@pytest.fixture
async def api() -> AsyncIterator[tuple[Accounts, str]]:
    accounts = Accounts()
    app = aiohttp.web.Application()
    app.router.add_post("/v1/chat/completions", accounts.answer)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield accounts, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    await runner.cleanup()


def config(database_url: str, home: Path, url: str, **table: Any) -> Config:
    """Settings with one provider, ``sim``, and one that takes no key."""
    told = {"kind": "openai", "base_url": url, "models": ["gpt-x"], **table}
    providers = {"sim": told, "local": {"kind": "simulated"}}
    return Config(home=str(home), database_url=database_url, providers=providers)


@pytest.fixture
async def engine(
    database_url: str, tmp_path: Path, api: tuple[Accounts, str]
) -> AsyncIterator[Engine]:
    told = config(database_url, tmp_path, api[1], api_key="sk-settings")
    async with open_engine(told) as opened:
        await tenant(opened, "acme")
        await tenant(opened, "other")
        yield opened


async def put(engine: Engine, tenant_id: str | None, secret: str, provider: str = "sim") -> None:
    async with engine.database.transaction() as connection:
        await provider_keys.put(
            connection, engine.own_keys.masters, tenant_id, provider, secret, engine.clock.now()
        )
    engine.own_keys._known.clear()


async def bought(engine: Engine, tenant_id: str, prompt: str) -> str:
    """Buy one chat as a batch of a tenant; returns the lane of its attempt."""
    stage = {"kind": "generate", "model": "sim:gpt-x", "prompt": "{{ t }}"}
    recipe = parse_recipe({"name": "r", "stages": [stage]}, "test")
    batch = await engine.submit([{"t": prompt}], recipe, terms=Terms(tenant_id=tenant_id))
    assert (await batch.done()).succeeded == 1
    async with engine.database.acquire() as connection:
        lane: str = await connection.fetchval(
            "SELECT lane FROM attempt WHERE batch_id = $1", batch.uuid
        )
    return lane


async def test_a_tenant_buys_with_its_own_key_in_a_lane_of_its_own(
    engine: Engine, api: tuple[Accounts, str]
) -> None:
    """Own key before everybody's, that before the settings'; on demand as in batches."""
    heard = api[0].heard
    assert await bought(engine, "acme", "one") == "sim/gpt-x"
    await put(engine, None, SECRETS[None] or "")
    await put(engine, "acme", SECRETS["acme"])
    assert await bought(engine, "acme", "two") == "sim/gpt-x@acme"
    assert await bought(engine, "other", "three") == "sim/gpt-x"
    await engine.generate("sim:gpt-x", "four", tenant_id="acme")
    assert heard == {
        "one": "sk-settings", "two": SECRETS["acme"], "three": SECRETS[None],
        "four": SECRETS["acme"],
    }  # fmt: skip


async def test_a_key_that_is_replaced_or_removed_is_used_no_more(
    engine: Engine, api: tuple[Accounts, str]
) -> None:
    """A batch that a worker holds is built anew with what is in force."""
    heard = api[0].heard
    await put(engine, "acme", "sk-first")
    await bought(engine, "acme", "one")
    await put(engine, "acme", "sk-second")
    await bought(engine, "acme", "two")
    async with engine.database.transaction() as connection:
        assert await provider_keys.remove(connection, "acme", "sim")
        assert not await provider_keys.remove(connection, "acme", "sim")
    engine.own_keys._known.clear()
    assert await bought(engine, "acme", "three") == "sim/gpt-x"
    assert list(heard.values()) == ["sk-first", "sk-second", "sk-settings"]


async def test_a_held_batch_notices_another_key(engine: Engine) -> None:
    """The stages of an open batch are those of the keys in force, at most seconds later."""
    stage = {"kind": "generate", "model": "sim:gpt-x", "prompt": "{{ t }}"}
    recipe = parse_recipe({"name": "r", "stages": [stage]}, "test")
    batch = await engine.submit([{"t": "x"}], recipe, terms=Terms(tenant_id="acme"))
    await batch.done()
    before = await engine.open_batch(batch.uuid)
    assert await engine.open_batch(batch.uuid) is before
    await put(engine, "acme", SECRETS["acme"])
    after = await engine.open_batch(batch.uuid)
    assert after is not before
    assert after.stages[0].provider is not before.stages[0].provider


async def test_without_a_key_of_the_installation_a_tenants_own_is_enough(
    database_url: str, tmp_path: Path, api: tuple[Accounts, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who brings a key needs none in the settings."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with open_engine(config(database_url, tmp_path, api[1])) as engine:
        await tenant(engine, "acme")
        await put(engine, "acme", SECRETS["acme"])
        await bought(engine, "acme", "one")
        assert api[0].heard == {"one": SECRETS["acme"]}


async def test_a_stolen_database_is_useless(engine: Engine) -> None:
    """No secret is in any row, and without the master key none comes out of one."""
    for owner, secret in SECRETS.items():
        await put(engine, owner, secret)
    async with engine.database.acquire() as connection:
        rows = await connection.fetch("SELECT * FROM provider_key")
        found = await provider_keys.in_force(connection, "acme")
        listed = await provider_keys.listed(connection, None)
    assert len(rows) == len(listed) == 3
    for secret in SECRETS.values():
        assert secret.encode() not in b"".join(row["body"] for row in rows)
        assert secret not in repr([dict(row) for row in rows]) + repr(listed)
    stolen = MasterKeys(Path(engine.config.home), {VARIABLE: new_master().to_text()})
    with pytest.raises(ConfigError, match="is not here"):
        found[0].open(stolen)
    assert found[0].open(engine.own_keys.masters) == SECRETS["acme"]


async def test_swapped_rows_do_not_open(engine: Engine, api: tuple[Accounts, str]) -> None:
    """Who writes into the database gives no tenant another's key, and nobody pays instead."""
    for owner, secret in SECRETS.items():
        await put(engine, owner, secret)
    async with engine.database.transaction() as connection:
        body = await connection.fetchval("SELECT body FROM provider_key WHERE tenant_id = 'acme'")
        await connection.execute(
            "UPDATE provider_key SET body = $1, id = gen_random_uuid() WHERE tenant_id = 'other'",
            body,
        )
    engine.own_keys._known.clear()
    with pytest.raises(ConfigError, match="cannot be opened") as caught:
        await bought(engine, "other", "theft")
    assert "tenant other" in caught.value.place
    assert api[0].heard == {}


async def test_the_master_key_is_rotated_with_all_keys_or_none(engine: Engine) -> None:
    """Afterwards every row opens under the new one, the old one is gone, in file and rows."""
    masters = engine.own_keys.masters
    for owner, secret in SECRETS.items():
        await put(engine, owner, secret)
    old = masters.current()
    async with engine.database.transaction() as connection:
        assert await provider_keys.rotate_master(connection, masters) == 3
    async with engine.database.transaction() as connection:
        await provider_keys.drop_old(connection, masters)
        found = await provider_keys.in_force(connection, "acme")
    assert found[0].open(masters) == SECRETS["acme"]
    assert found[0].key.master_id == masters.current().id != old.id
    assert len((Path(engine.config.home) / FILE).read_text().split()) == 1


async def test_a_rotation_that_dies_leaves_keys_that_open(engine: Engine) -> None:
    """Before the commit the old rows open still; a key that cannot be opened stops it whole."""
    masters = engine.own_keys.masters
    for owner, secret in SECRETS.items():
        await put(engine, owner, secret)
    with pytest.raises(RuntimeError):
        await dying(engine)
    async with engine.database.acquire() as connection:
        found = await provider_keys.in_force(connection, "acme")
    assert found[0].open(masters) == SECRETS["acme"]
    async with engine.database.transaction() as connection:
        await connection.execute("UPDATE provider_key SET body = '' WHERE tenant_id = 'other'")
    with pytest.raises(ConfigError):
        await rotate(engine)
    async with engine.database.acquire() as connection:
        found = await provider_keys.in_force(connection, "acme")
    assert found[0].open(masters) == SECRETS["acme"]


async def dying(engine: Engine) -> None:
    async with engine.database.transaction() as connection:
        await provider_keys.rotate_master(connection, engine.own_keys.masters)
        raise RuntimeError


async def rotate(engine: Engine) -> None:
    masters = engine.own_keys.masters
    async with engine.database.transaction() as connection:
        await provider_keys.rotate_master(connection, masters)
    async with engine.database.transaction() as connection:
        await provider_keys.drop_old(connection, masters)


async def test_keys_that_are_set_during_rotations_open_all_the_same(engine: Engine) -> None:
    """Whoever seals while others rotate seals under a key that stays."""
    puts = [put(engine, "acme", f"sk-{n}", f"sim{n}") for n in range(12)]
    await asyncio.gather(*puts[:6], rotate(engine), *puts[6:], rotate(engine), rotate(engine))
    async with engine.database.acquire() as connection:
        found = await provider_keys.in_force(connection, "acme")
    opened = {one.key.provider: one.open(engine.own_keys.masters) for one in found}
    assert opened == {f"sim{n}": f"sk-{n}" for n in range(12)}


async def test_in_the_variable_the_new_key_stands_first(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With both there all is sealed anew under the first; with one there is nothing to do."""
    old, new = new_master().to_text(), new_master().to_text()
    monkeypatch.setenv(VARIABLE, old)
    await put(engine, "acme", SECRETS["acme"])
    with pytest.raises(UsageError, match="already"):
        await rotate(engine)
    monkeypatch.setenv(VARIABLE, f"{new},{old}")
    await rotate(engine)
    monkeypatch.setenv(VARIABLE, new)
    async with engine.database.acquire() as connection:
        found = await provider_keys.in_force(connection, "acme")
    assert found[0].open(engine.own_keys.masters) == SECRETS["acme"]


@pytest.mark.parametrize("secret", ["", "sk with space", "sk\n", "säk", "x" * 9000])
async def test_what_no_key_can_be_is_refused(engine: Engine, secret: str) -> None:
    """A key with a line break would be two headers; none is kept."""
    with pytest.raises(InputError):
        await put(engine, "acme", secret)


@pytest.mark.parametrize("provider", ["nobody", "local", "images"])
def test_a_provider_that_takes_no_key_says_so(
    tmp_path: Path, provider: str, database_url: str
) -> None:
    """One that is not configured, or works on this machine, is an error before it is kept."""
    from headrace.engine import shelf_of

    shelf = shelf_of(config(database_url, tmp_path, "http://127.0.0.1:1/v1"))
    with pytest.raises(HeadraceError):
        shelf.with_key(provider, "sk-x")


async def test_which_keys_a_tenant_has_is_looked_up_once_in_a_while(
    database_url: str, tmp_path: Path, api: tuple[Accounts, str]
) -> None:
    """A change is seen after the few seconds that a look-up counts, and not before."""
    clock = ManualClock()
    told = config(database_url, tmp_path, api[1])
    async with open_engine(told, clock=clock, work=False) as engine:
        assert await engine.own_keys.versions("default") == ()
        async with engine.database.transaction() as connection:
            await provider_keys.put(
                connection, engine.own_keys.masters, None, "sim", "sk-x", clock.now()
            )
        assert await engine.own_keys.versions("default") == ()
        await clock.advance(KNOWN_S)
        assert len(await engine.own_keys.versions("default")) == 1
