"""aimock, which nobody here wrote, plays fal's queue: submitted, looked at, fetched."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest

from headrace.clock import SystemClock
from headrace.outcome import CallFailed
from headrace.providers.fal.adapter import FalProvider
from headrace.providers.simulated.png_body import PngBody
from headrace.request import Request
from headrace.testing import CallDesk
from tests.referees.serving import free_port, program, serving

pytestmark = pytest.mark.process
PNG = PngBody(64, 64, 20_000).whole(bytes(32))
URL = "data:image/png;base64," + base64.b64encode(PNG).decode()
FIXTURES = [
    {
        "match": {"endpoint": "fal", "userMessage": "a mill"},
        "response": {"json": {"images": [{"url": URL, "content_type": "image/png"}], "seed": 7}},
    },
]


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    folder = tmp_path_factory.mktemp("aimock-fal")
    fixtures = folder / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}), "utf-8")
    port = free_port()
    command = [program("aimock").with_name("llmock"), "-p", str(port), "-f", fixtures]
    with serving(command, port, folder / "aimock.log") as base:
        yield base


def provider(base: str) -> FalProvider:
    """The adapter, sent there by base_url and by the header that names who is played."""
    table = {
        "base_url": f"{base}/fal",
        "api_key": "id:secret",
        "headers": {"x-fal-target-host": "queue.fal.run"},
    }
    return FalProvider.from_config("fal", table, SystemClock())


async def test_a_picture_goes_through_its_queue(aimock: str) -> None:
    """The job is taken in under an id, followed by the addresses that it was given, and fetched."""
    fal, desk = provider(aimock), CallDesk()
    try:
        asked = Request("fal", "fal-ai/flux/dev", "1", {"prompt": "a mill"})
        reply = await fal.call(desk.call(asked))
        assert desk.body_of(reply) == PNG
        assert len(desk.accepted) == 1
        assert desk.accepted[0][0] == reply.provider_request_id
        assert reply.facts["seed"] == 7
        again = await fal.resume(desk.call(asked), *desk.accepted[0])
        assert desk.body_of(again) == PNG
    finally:
        await fal.close()


async def test_what_it_has_no_answer_for_is_a_failure(aimock: str) -> None:
    """A request that no fixture matches ends a call, and is not followed for ever."""
    fal, desk = provider(aimock), CallDesk()
    try:
        asked = Request("fal", "fal-ai/flux/dev", "1", {"prompt": "nothing like it"})
        with pytest.raises(CallFailed):
            await fal.call(desk.call(asked))
    finally:
        await fal.close()
