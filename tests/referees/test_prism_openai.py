"""Prism holds what we send to OpenAI, and what our simulator answers, to OpenAI's own description.

``openai-trimmed.json`` is OpenAI's published description (version 2.3.0, MIT), trimmed by
``trimmed_openapi``. Prism stands between the adapter and a server and ends every exchange
that breaks it: 422 for a request, 500 for an answer.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.clock import SystemClock
from headrace.outcome import CallFailed, OutcomeKind
from headrace.provider import Reply
from headrace.providers.openai.adapter import OpenAIProvider
from headrace.providers.simulated.png_body import PngBody
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.speaking import Heard, http, speaking
from tests.referees.serving import HERE, free_port, program, serving

pytestmark = pytest.mark.process
PNG = PngBody(64, 64).whole(bytes(32))
SPEC = HERE / "openai-trimmed.json"


@contextmanager
def judged(upstream: str, folder: Path) -> Iterator[str]:
    """The address of a Prism before ``upstream``."""
    port = free_port()
    command = [program("prism"), "proxy", "--errors", "-p", str(port), SPEC, upstream]
    with serving(command, port, folder / "prism.log") as base:
        yield base


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[str]:
    """A simulator of ours, as a process; gives its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "headrace", "simulate", "--port", "0", "--json"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(HERE.parents[1] / "src")},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        yield f"http://127.0.0.1:{said['port']}/v1"
    finally:
        process.terminate()
        process.communicate(timeout=20)


async def made(base: str, desk: CallDesk, model: str, **params: Any) -> Reply:
    """The reply to one call through Prism."""
    table = {"base_url": base, "api_key": "sk-anything"}
    provider = OpenAIProvider.from_config("mine", table, SystemClock())
    sources = tuple(params.pop("sources", ()))
    try:
        return await provider.call(desk.call(Request("mine", model, "1", params, sources)))
    finally:
        await provider.close()


def violations(base: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """What Prism finds wrong with an exchange over an image."""
    headers = {"Content-Type": "application/json", "Authorization": "Bearer x"}
    asked = urllib.request.Request(
        f"{base}/images/generations", json.dumps(body).encode(), headers, method="POST"
    )
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(asked, timeout=20):
        pass
    found: list[dict[str, Any]] = json.load(caught.value)["validation"]
    return found


async def test_our_simulator_and_our_adapter_keep_to_the_description(
    simulated: str, tmp_path: Path
) -> None:
    """A chat passes Prism both ways; a wrong one does not, so that it does look."""
    desk = CallDesk()
    with judged(simulated, tmp_path) as base:
        chat = await made(
            base,
            desk,
            "gpt-simulated",
            prompt="A card",
            system="Be brief",
            messages=[{"role": "user", "content": "Hi"}],
            max_completion_tokens="20",
            temperature="0.5",
            seed=7,
            response_format={"type": "json_object"},
        )
        said = await asyncio.to_thread(violations, base, {"model": "m", "prompt": "A mill"})
        with pytest.raises(CallFailed) as caught:
            await made(base, desk, "gpt-simulated", prompt="A card", temperature=7)
    assert chat.media_type == "application/json"
    # The description lists three sizes; our simulator draws smaller, and says so.
    assert [one["location"][-1] for one in said] == ["size"]
    assert caught.value.outcome.kind is OutcomeKind.INVALID


async def test_responses_images_and_edits_keep_to_the_description(tmp_path: Path) -> None:
    """Responses with pictures and formats, images, and the form of an edit are as described."""

    async def answer(heard: Heard, writer: Any) -> None:
        picture = {"created": 1, "data": [{"b64_json": base64.b64encode(PNG).decode()}]}
        writer.write(http(picture if "/images/" in heard.path else RESPONSE))

    desk = CallDesk()
    source = desk.keep(PNG, "image/png").sha256.hex()
    async with speaking(answer) as speaker:
        with judged(speaker.url, tmp_path) as base:
            text = await made(
                base,
                desk,
                "gpt-5",
                api="responses",
                prompt="What is this?",
                system="Be brief",
                image={"source": 0},
                sources=[source],
                max_output_tokens="50",
                reasoning={"effort": "low"},
                text={"format": {"type": "text"}},
            )
            drawn = await made(
                base,
                desk,
                "gpt-image-1",
                prompt="A mill",
                size="1024x1024",
                output_compression="80",
            )
            edited = await made(
                base,
                desk,
                "gpt-image-1",
                prompt="Make it blue",
                image={"source": 0},
                mask={"source": 0},
                sources=[source],
                size="1024x1024",
                quality="low",
                output_compression=80,
            )
    assert text.body == b"pong"
    assert (drawn.media_type, edited.media_type) == ("image/png", "image/png")


RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "metadata": {},
    "model": "gpt-5",
    "parallel_tool_calls": True,
    "temperature": 1.0,
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "pong", "annotations": [], "logprobs": []}],
        }
    ],
    "usage": {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 19,
        "output_tokens_details": {"reasoning_tokens": 12},
        "total_tokens": 30,
    },
}
