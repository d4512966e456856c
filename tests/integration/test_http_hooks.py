"""Webhooks that come in: a signed one lets a prediction be looked at, and nothing more."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headrace.config import Config
from headrace.engine import Engine, open_engine
from headrace.errors import ConfigError
from headrace.http.app import build_app
from headrace.http.server import listen, serve
from headrace.providers.replicate import adapter
from headrace.providers.replicate.settings import read_replicate
from tests.integration.speaking import Heard, Speaker, says, speaking

SECRET = "whsec_" + base64.b64encode(b"thirty-two bytes of a good secret").decode()
MADE = {"id": "p7", "status": "succeeded", "output": ["a ", "mill"], "urls": {}}


def signed(body: bytes, at: int, secret: str = SECRET) -> dict[str, str]:
    """The headers of a Standard Webhook."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, b"msg_1." + str(at).encode() + b"." + body, hashlib.sha256).digest()
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


class Desk:
    """Replicate on this machine, an engine that uses it, and our server for its webhooks."""

    def __init__(self, speaker: Speaker, engine: Engine, url: str) -> None:
        self.speaker, self.engine, self.url = speaker, engine, url
        self.created, self.ended = asyncio.Event(), asyncio.Event()

    async def answer(self, heard: Heard, writer: asyncio.StreamWriter) -> None:
        """Create a prediction, which runs until the test says that it has ended."""
        if heard.method == "POST":
            await says({"id": "p7", "status": "starting", "urls": {}}, 201)(heard, writer)
            self.created.set()
        else:
            state = {} if self.ended.is_set() else {"status": "processing"}
            await says(MADE | state)(heard, writer)

    async def post(self, body: bytes, headers: dict[str, str], name: str = "rep") -> int:
        """Send a webhook."""
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{self.url}/hooks/{name}", data=body, headers=headers) as answer,
        ):
            return answer.status

    @property
    def now(self) -> int:
        """The time by the engine's clock."""
        return int(self.engine.clock.now().timestamp())


@pytest.fixture
async def desk(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Desk]:
    monkeypatch.setenv("REPLICATE_WEBHOOK_SECRET", SECRET)
    # A look without a word of the end would come too late for any test.
    monkeypatch.setattr(adapter, "RARE_FIRST_S", 3600.0)
    monkeypatch.setattr(adapter, "RARE_MOST_S", 3600.0)
    desks: list[Desk] = []

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        await desks[0].answer(heard, writer)

    async with speaking(answer) as speaker:
        table = {
            "kind": "replicate",
            "base_url": speaker.url,
            "webhook_url": "https://headrace.example.com",
        }
        config = Config(home=str(tmp_path), database_url=database_url, providers={"rep": table})
        async with open_engine(config) as engine:
            listening, stop, ready = listen("127.0.0.1", 0), asyncio.Event(), asyncio.Event()
            serving = asyncio.create_task(serve(build_app(engine), listening, stop, ready.set))
            await ready.wait()
            port = listening.getsockname()[1]
            desks.append(Desk(speaker, engine, f"http://127.0.0.1:{port}"))
            yield desks[0]
            stop.set()
            await serving


async def test_a_webhook_ends_the_waiting(desk: Desk) -> None:
    """The create names our address; word of the end, signed, brings the look that finds it."""
    making = asyncio.create_task(desk.engine.generate("rep:owner/name", "a mill"))
    await desk.created.wait()
    told = desk.speaker.heard[0].json
    assert told["webhook"] == "https://headrace.example.com/hooks/rep"
    assert told["webhook_events_filter"] == ["completed"]
    desk.ended.set()
    body = json.dumps({**MADE, "output": "not what is looked up"}).encode()
    assert await desk.post(body, signed(body, desk.now)) == 204
    made = await asyncio.wait_for(making, 60)
    assert made.body == b"a mill"


async def test_what_is_not_signed_lately_changes_nothing(desk: Desk) -> None:
    """A wrong secret, an old one sent again, another body: 401; a provider without: 404."""
    body = json.dumps(MADE).encode()
    other = "whsec_" + base64.b64encode(b"another secret of some length").decode()
    assert await desk.post(body, signed(body, desk.now, other)) == 401
    assert await desk.post(body, signed(body, desk.now - 3600)) == 401
    assert await desk.post(body + b" ", signed(body, desk.now)) == 401
    assert await desk.post(body, {}) == 401
    assert await desk.post(b"[]", signed(b"[]", desk.now)) == 204
    assert await desk.post(b"x" * 5_000_000, {}) == 413
    for name in ("nobody", "template", "../x"):
        assert await desk.post(body, signed(body, desk.now), name) == 404


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"webhook_url": "http://headrace.example.com"}, "webhook_url"),
        ({"webhook_url": "headrace.example.com"}, "webhook_url"),
        ({"webhook_url": "https://headrace.example.com"}, "webhook_secret"),
        ({"webhook_url": "https://headrace.example.com", "webhook_secret": "x"}, "webhook_secret"),
    ],
)
def test_wrong_settings_of_webhooks_name_their_place(table: dict[str, Any], place: str) -> None:
    """Plain http, no secret, or one that is none is found before the first call."""
    with pytest.raises(ConfigError) as caught:
        read_replicate("rep", table, {})
    assert caught.value.place == f"[providers.rep] {place}"
