"""Secrets of webhooks at rest: sealed, for their endpoint alone, under master keys that change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import structlog.testing

from headrace.cli import doctor
from headrace.config import Config
from headrace.engine import open_engine
from headrace.errors import ConfigError, NotFoundError
from headrace.master_key import VARIABLE, MasterKeys
from headrace.sealing import new_master
from headrace.store import provider_keys, webhook_secrets, webhooks
from headrace.store.database import Database
from headrace.webhook_signature import is_standard_webhook, new_standard_secret
from tests.integration.test_webhooks import MASTERS, OK, Post, posting


@pytest.fixture
async def post(database: Database) -> AsyncIterator[tuple[Post, list[Any]]]:
    async with posting(database, OK) as (made, heard):
        yield made, heard


async def rows(post: Post) -> list[dict[str, Any]]:
    return await post.all("SELECT * FROM webhook ORDER BY id")


async def signed(post: Post, heard: list[Any], hook: UUID, secret: str) -> bool:
    """Send a message; tell whether it came, signed with that secret."""
    count = len(heard)
    await post.ping(hook)
    await post.send()
    if len(heard) == count:
        return False
    one = heard[-1]
    return is_standard_webhook(one.headers, one.body, secret, post.clock.now())


async def plain(post: Post, hook: UUID, old: str | None = None) -> None:
    """Keep the secret as a release before did."""
    async with post.database.transaction() as connection:
        await connection.execute(
            "UPDATE webhook SET secret = $2, secret_master = NULL, old_secret = $3, "
            "old_secret_master = NULL, old_secret_until = $4 WHERE id = $1",
            hook,
            post.secret,
            old,
            post.clock.now().replace(year=2100) if old else None,
        )


async def test_no_secret_lies_open_and_messages_are_signed_with_it(post: Any) -> None:
    """Neither a new one nor one that was rotated stands in the table; both sign."""
    one, heard = post
    hook, fresh = await one.add("batch.completed"), new_standard_secret()
    assert await signed(one, heard, hook, one.secret)
    async with one.database.transaction() as connection:
        await webhooks.rotate(connection, MASTERS, "default", hook, fresh, one.clock.now())
    assert await signed(one, heard, hook, fresh)
    assert is_standard_webhook(heard[-1].headers, heard[-1].body, one.secret, one.clock.now())
    (row,) = await rows(one)
    assert row["secret_master"] == row["old_secret_master"] == MASTERS.current().id
    for secret in (one.secret, fresh):
        assert secret.removeprefix("whsec_") not in str(row)


async def test_plain_ones_are_sealed_at_the_first_look(post: Any) -> None:
    """Secrets of a release before, old ones too, are sealed and go on signing."""
    one, heard = post
    hook, old = await one.add("batch.completed"), new_standard_secret()
    await plain(one, hook, old)
    assert await signed(one, heard, hook, one.secret)
    assert is_standard_webhook(heard[-1].headers, heard[-1].body, old, one.clock.now())
    (row,) = await rows(one)
    assert None not in (row["secret_master"], row["old_secret_master"])
    assert one.secret not in str(row)
    assert old not in str(row)
    async with one.database.transaction() as connection:
        assert await webhook_secrets.seal_plain(connection, MASTERS) == 0


async def test_without_the_master_key_a_message_is_left_to_who_has_it(post: Any) -> None:
    """No try is used up for it, and whoever has the key sends it."""
    one, heard = post
    hook = await one.add("batch.completed")
    await one.ping(hook)
    stranger = one.another(masters=MasterKeys(Path("/nowhere"), {VARIABLE: new_master().to_text()}))
    unreadable = one.another(masters=MasterKeys(Path("/nowhere"), {VARIABLE: "hunter2"}))
    for loop in (stranger, unreadable):
        await loop.tick()
        await loop.sent()
    assert heard == []
    (message,) = await one.all("SELECT * FROM webhook_delivery")
    assert (message["state"], message["tries"]) == ("pending", 0)
    await one.send()
    assert len(heard) == 1


async def test_a_machine_with_another_master_key_says_which_it_lacks(
    post: Any, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its log names the keys, once for each, and its doctor fails; with the key both are well."""
    one, _ = post
    await one.add("batch.completed")
    other, own = new_master(), MASTERS.current()
    stranger = one.another(masters=MasterKeys(tmp_path, {VARIABLE: other.to_text()}))
    with structlog.testing.capture_logs() as told:
        for _ in range(3):
            await stranger.tick()
    (line,) = [line for line in told if line["event"] == "master_key_missing"]
    assert (line["webhooks"], line["missing"], line["here"]) == (1, [own.id], [other.id])
    assert VARIABLE in line["remedy"]
    config = Config(home=str(tmp_path), database_url=database_url)
    for text, state in ((other.to_text(), "fail"), (f"{other.to_text()},{own.to_text()}", "ok")):
        monkeypatch.setenv(VARIABLE, text)
        async with open_engine(config, work=False) as engine:
            (found,) = await doctor._masters(engine)
        assert found.state == state
        assert own.id in found.seen


async def test_with_no_master_key_plain_ones_still_sign(post: Any) -> None:
    """What cannot be sealed stays as it is, and is sent."""
    one, heard = post
    hook = await one.add("batch.completed")
    await plain(one, hook)
    one.loop = one.another(masters=MasterKeys(Path("/nowhere"), {VARIABLE: "hunter2"}))
    assert await signed(one, heard, hook, one.secret)
    assert (await rows(one))[0]["secret"] == one.secret


async def test_a_secret_in_anothers_row_does_not_open(post: Any) -> None:
    """Copied into another endpoint, or changed, nothing is signed with it; the log says so."""
    one, heard = post
    await one.add("batch.completed")
    other = await one.add("batch.failed")
    async with one.database.transaction() as connection:
        await connection.execute(
            "UPDATE webhook SET secret = (SELECT secret FROM webhook WHERE id <> $1) WHERE id = $1",
            other,
        )
    assert not await signed(one, heard, other, one.secret)
    (tried,) = await one.all("SELECT * FROM webhook_try")
    assert "cannot be opened" in tried["error"]
    async with one.database.acquire() as connection:
        with pytest.raises(ConfigError, match="cannot be opened"):
            await webhook_secrets.of(connection, MASTERS, "default", other, one.clock.now())
        with pytest.raises(NotFoundError):
            await webhook_secrets.of(connection, MASTERS, "acme", other, one.clock.now())


async def test_a_new_master_key_seals_them_anew(post: Any, tmp_path: Path) -> None:
    """All are under the new one, the old one is dropped; a row that does not open stops it."""
    one, heard = post
    masters = MasterKeys(tmp_path, {})
    one.loop = one.another(masters=masters)
    fresh = new_standard_secret()
    async with one.database.transaction() as connection:
        url = f"http://127.0.0.1:{one.port}/hook"
        told = ("default", url, ["batch.completed"], one.secret, one.clock.now())
        hook = await webhooks.insert(connection, masters, *told)
        await webhooks.rotate(connection, masters, "default", hook, fresh, one.clock.now())
    before = masters.current()
    async with one.database.transaction() as connection:
        assert await provider_keys.rotate_master(connection, masters) == 1
    async with one.database.transaction() as connection:
        await provider_keys.drop_old(connection, masters)
    assert masters.known() == [masters.current().id] != [before.id]
    (row,) = await rows(one)
    assert {row["secret_master"], row["old_secret_master"]} == set(masters.known())
    assert await signed(one, heard, hook, fresh)
    assert is_standard_webhook(heard[-1].headers, heard[-1].body, one.secret, one.clock.now())
    async with one.database.transaction() as connection:
        await connection.execute("UPDATE webhook SET secret = 'AAAA'")
    async with one.database.transaction() as connection:
        with pytest.raises(ConfigError):
            await provider_keys.rotate_master(connection, masters)
    assert masters.known() == [row["secret_master"]]
