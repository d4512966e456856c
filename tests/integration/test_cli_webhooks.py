"""``webhooks`` on the command line: added, tried, looked at, sent again, given another secret."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from headrace.webhook_signature import is_standard_webhook
from tests.integration.speaking import says, speaking
from tests.integration.test_cli_run import Shell


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Shell:
    return Shell(tmp_path, database_url)


async def test_an_endpoint_is_tried_and_given_another_secret(shell: Shell) -> None:
    """``test`` signs with what is in force, and tells what came back; exit 1 where it is no 2xx."""
    async with speaking(says(b"", 204), says(b"broken", 500)) as speaker:
        (shell.folder / "headrace.toml").write_text('[webhooks]\nallowed_hosts = ["127.0.0.1"]\n')
        url = f"http://127.0.0.1:{speaker.port}/hook"
        made = (await shell("webhooks", "create", url, "batch.completed", "--json")).json
        told = (await shell("webhooks", "rotate", made["id"], "--json")).json
        assert told["secret"] != made["secret"]
        tried = await shell("webhooks", "test", made["id"])
        assert (tried.code, "HTTP 204" in tried.out) == (0, True), tried.err
        for secret in (made["secret"], told["secret"]):
            one = speaker.heard[0]
            assert is_standard_webhook(one.headers, one.body, secret, datetime.now(UTC))
        tried = await shell("webhooks", "test", made["id"], "--json")
        assert (tried.code, tried.json["status"], tried.json["error"]) == (1, 500, "HTTP 500")
    tried = await shell("webhooks", "test", made["id"])
    assert (tried.code, "not taken" in tried.out) == (1, True)
    assert (await shell("webhooks", "test", made["id"], "--tenant", "nobody")).code == 2
    assert (await shell("webhooks", "rotate", "wh_nothing")).code == 2


async def test_messages_are_looked_at_and_sent_again(shell: Shell) -> None:
    """The log lists them, one is shown with its body, and may be sent once more."""
    made = (await shell("webhooks", "create", "https://x.example/h", "item.failed", "--json")).json
    assert (await shell("webhooks", "ping", made["id"])).code == 0
    (one,) = (await shell("webhooks", "deliveries", made["id"], "--json")).json
    assert (one["event"], one["state"]) == ("webhook.ping", "pending")
    assert one["id"] in (await shell("webhooks", "deliveries", made["id"])).out
    shown = await shell("webhooks", "deliveries", made["id"], one["id"])
    assert "webhook.ping" in shown.out
    assert (await shell("webhooks", "redeliver", made["id"], one["id"])).code == 0
    other = one["id"][:-1] + ("0" if one["id"][-1] != "0" else "1")
    assert (await shell("webhooks", "redeliver", made["id"], other)).code == 2
    assert (await shell("webhooks", "deliveries", made["id"], "--tenant", "nobody")).code == 2


async def test_what_would_never_be_sent_is_told(shell: Shell, database_url: str) -> None:
    """A message for a disabled endpoint, or an endpoint of nobody, is an error in words."""
    made = (await shell("webhooks", "create", "https://x.example/h", "item.failed", "--json")).json
    connection = await asyncpg.connect(database_url)
    await connection.execute("UPDATE webhook SET state = 'disabled'")
    await connection.close()
    told = await shell("webhooks", "ping", made["id"])
    assert (told.code, "is disabled" in told.err) == (2, True)
    foreign = ("https://x.example/h", "item.failed", "--tenant", "nobody")
    told = await shell("webhooks", "create", *foreign)
    assert (told.code, "there is no tenant" in told.err) == (2, True)
