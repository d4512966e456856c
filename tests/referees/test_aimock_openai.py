"""aimock, which nobody here wrote, plays OpenAI: chats, responses, images and edits."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.outcome import CallFailed, OutcomeKind
from headrace.provider import Reply
from headrace.providers.openai.adapter import OpenAIProvider
from headrace.providers.simulated.png_body import PngBody
from headrace.request import Request
from headrace.testing import CallDesk
from tests.referees.serving import free_port, program, serving

pytestmark = pytest.mark.process
PNG = PngBody(64, 64, 200_000).whole(bytes(32))
B64 = base64.b64encode(PNG).decode()
FIXTURES = [
    {"match": {"userMessage": "ping"}, "response": {"content": "pong"}},
    {
        "match": {"userMessage": "too fast"},
        "response": {
            "error": {"message": "Rate limit reached", "type": "requests"},
            "status": 429,
            "retryAfter": 2,
        },
    },
    {
        "match": {"userMessage": "an address", "endpoint": "image"},
        "response": {"image": {"url": f"data:image/png;base64,{B64}"}},
    },
    {"match": {"endpoint": "image"}, "response": {"image": {"b64Json": B64}}},
]


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    folder = tmp_path_factory.mktemp("aimock")
    fixtures = folder / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}), "utf-8")
    port = free_port()
    # The package calls this program llmock, too: an older name of its own.
    command = [program("aimock").with_name("llmock"), "-p", str(port), "-f", fixtures]
    with serving(command, port, folder / "aimock.log") as base:
        yield base


async def made(base: str, model: str, desk: CallDesk | None = None, **params: Any) -> Reply:
    """The reply to one call."""
    table = {"base_url": f"{base}/v1", "api_key": "sk-anything"}
    provider = OpenAIProvider.from_config("mine", table, SystemClock())
    sources = tuple(params.pop("sources", ()))
    try:
        asked = Request("mine", model, "1", params, sources)
        return await provider.call((desk or CallDesk()).call(asked))
    finally:
        await provider.close()


def heard(base: str, path: str) -> list[dict[str, Any]]:
    """What it noted of the requests for a path."""
    with urllib.request.urlopen(f"{base}/__aimock/journal?path={path}", timeout=10) as response:
        found: list[dict[str, Any]] = json.load(response)
        return found


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_texts_are_understood(aimock: str, api: str) -> None:
    """A chat and a response give the text that the fixture holds, with their usage."""
    reply = await made(aimock, "gpt-5", prompt="ping", api=api)
    assert reply.body == b"pong"
    assert reply.facts["usage"]["total_tokens"] >= 0


@pytest.mark.parametrize("prompt", ["a mill", "an address"])
async def test_images_are_understood(aimock: str, prompt: str) -> None:
    """An image comes as base64 or as an address, and is the same bytes."""
    desk = CallDesk()
    reply = await made(aimock, "gpt-image-1", desk, prompt=prompt)
    assert desk.body_of(reply) == PNG


async def test_an_edit_is_understood(aimock: str) -> None:
    """The form of an edit is read by a foreign server: model and prompt stand in its journal."""
    desk = CallDesk()
    source = desk.keep(PNG, "image/png").sha256.hex()
    params: dict[str, Any] = {
        "image": [{"source": 0}, {"source": 0}],
        "mask": {"source": 0},
        "sources": [source],
    }
    reply = await made(aimock, "gpt-image-1", desk, prompt="make it blue", **params)
    assert desk.body_of(reply) == PNG
    noted = heard(aimock, "/v1/images/edits")
    assert noted
    assert noted[-1]["body"]["model"] == "gpt-image-1"
    assert "make it blue" in json.dumps(noted[-1]["body"])


async def test_its_rate_limit_is_understood(aimock: str) -> None:
    """A 429 of its is refused for the rate, with the wait that it names."""
    with pytest.raises(CallFailed) as caught:
        await made(aimock, "gpt-5", prompt="too fast")
    assert caught.value.outcome.kind is OutcomeKind.RATE_LIMITED
    assert caught.value.outcome.wait_s == 2
