"""The simulator in the shape of Google's models: what their provider makes of it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from headrace.outcome import Outcome, OutcomeKind
from headrace.provider import Reply
from headrace.simulator.server import Simulator
from tests.integration.calm import ENDS, begin, end_told, simulator, told_alike
from tests.integration.test_gemini import KEY, PAINTER, ask, provider_at

__all__ = ["simulator"]


async def end_of(
    simulator: Simulator, model: str = "gemini-x", said: list[str] | None = None, **params: Any
) -> Reply | Outcome:
    """How a call ends; ``said`` collects what is heard of it."""
    return await end_told(provider_at(simulator.url), ask(model, **params), said)


async def test_a_text_is_the_same_whole_and_in_pieces(simulator: Simulator) -> None:
    """Words, model and usage do not depend on the way they came."""
    said: list[str] = []
    pieces = await end_of(simulator, said=said)
    whole = told_alike(pieces, said, await end_of(simulator))
    assert whole.facts["usage"]["candidatesTokenCount"] == 40
    assert whole.facts["usage"]["promptTokenCount"] == 2


async def test_images_schemas_and_most_tokens_are_honoured(simulator: Simulator) -> None:
    """A model that paints gives a picture, a schema JSON that fits it, fewer tokens less."""
    picture = await end_of(simulator, PAINTER)
    assert isinstance(picture, Reply)
    assert picture.media_type == "image/png"
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    made = await end_of(simulator, said=[], responseJsonSchema=schema)
    assert isinstance(made, Reply)
    assert isinstance(json.loads(made.body or b"")["a"], int)
    short = await end_of(simulator, max_tokens=3)
    assert isinstance(short, Reply)
    assert short.facts["usage"]["candidatesTokenCount"] == 3


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        *ENDS,
        ({"faults": [{"kind": "503"}]}, OutcomeKind.OVERLOADED),
        ({"faults": [{"kind": "reset_after"}]}, OutcomeKind.LOST_RESULT),
    ],
)
async def test_what_is_no_success_is_said_as_google_says_it(
    simulator: Simulator, settings: dict[str, Any], kind: OutcomeKind
) -> None:
    """The provider reads of each what happened."""
    begin(simulator, **settings)
    end = await end_of(simulator, prompt="a card", said=[])
    assert isinstance(end, Outcome)
    assert end.kind is kind, end


async def test_a_limit_tells_its_wait_in_the_body(simulator: Simulator) -> None:
    """Google has no header for it; a day's quota is known by its id."""
    begin(simulator, limits=[{"amount": 1, "burst": 1}])
    ends = [await end_of(simulator, seed=seed) for seed in (1, 2)]
    assert isinstance(ends[1], Outcome)
    assert ends[1].kind is OutcomeKind.RATE_LIMITED
    assert ends[1].wait_s is not None
    assert 55 < ends[1].wait_s <= 61
    begin(simulator, limits=[{"kind": "day", "amount": 1}])
    ends = [await end_of(simulator, seed=seed) for seed in (1, 2)]
    assert isinstance(ends[1], Outcome)
    assert ends[1].kind is OutcomeKind.QUOTA_EXHAUSTED


async def test_its_paths_are_its_own(simulator: Simulator) -> None:
    """Both doors, an array where no events are asked for, and what is no call."""
    body = {"contents": [{"parts": [{"text": "Hi"}]}]}
    door = "/v1/projects/p/locations/global/publishers/google/models/x:generateContent"
    async with aiohttp.ClientSession(simulator.url) as http:

        async def post(path: str, told: Any = body) -> tuple[int, Any]:
            async with http.post(path, json=told) as answer:
                return answer.status, await answer.json()

        answers = await asyncio.gather(
            post(door),
            post("/v1/models/x:generateContent"),
            post("/v1beta/models/x:streamGenerateContent"),
            post("/v1beta/models/x:generateContent", {"contents": []}),
            post("/v1beta/models/x:generateContent", [1]),
        )
        async with http.get("/v1beta/models", headers={"x-goog-api-key": KEY}) as listed:
            assert (await listed.json())["models"]
        async with http.get("/v1beta/models/x:generateContent") as wrong:
            assert wrong.status == 404
    assert [status for status, _ in answers] == [200, 200, 200, 400, 400]
    assert isinstance(answers[2][1], list)
    assert answers[3][1]["error"]["status"] == "INVALID_ARGUMENT"
