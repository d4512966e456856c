"""The simulator in the shape of Anthropic's messages API: what their provider makes of it."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from headrace.outcome import Outcome, OutcomeKind
from headrace.provider import Reply
from headrace.simulator.server import Simulator
from tests.integration.calm import ENDS, begin, end_told, simulator, told_alike
from tests.integration.test_anthropic import KEY, ask, provider_at

__all__ = ["simulator"]
HI = {"role": "user", "content": "Hi"}
VERSION = {"anthropic-version": "2023-06-01"}


async def end_of(
    simulator: Simulator, said: list[str] | None = None, **params: Any
) -> Reply | Outcome:
    """How a call ends; ``said`` collects what is heard of it."""
    return await end_told(provider_at(simulator.url), ask(**params), said)


async def test_a_text_is_the_same_whole_and_in_pieces(simulator: Simulator) -> None:
    """Words, model and usage do not depend on the way they came; its limits are announced."""
    begin(simulator, limits=[{"amount": 100}])
    said: list[str] = []
    pieces = await end_of(simulator, said)
    whole = told_alike(pieces, said, await end_of(simulator))
    assert whole.facts["usage"]["output_tokens"] == 40
    assert whole.said is not None
    assert whole.said.limits


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        *ENDS,
        ({"faults": [{"kind": "529"}]}, OutcomeKind.OVERLOADED),
        ({"limits": [{"amount": 1, "burst": 1}]}, OutcomeKind.RATE_LIMITED),
    ],
)
async def test_what_is_no_success_is_said_as_anthropic_says_it(
    simulator: Simulator, settings: dict[str, Any], kind: OutcomeKind
) -> None:
    """The provider reads of each what happened."""
    begin(simulator, **settings)
    ends = [await end_of(simulator, [], prompt="a card") for _ in range(1 + ("limits" in settings))]
    assert isinstance(ends[-1], Outcome)
    assert ends[-1].kind is kind, ends[-1]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"seed": 1}, "seed: Extra inputs are not permitted"),
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"stop_sequences": [" "]}, "stop_sequences"),
        ({"stop_sequences": 5}, "stop_sequences"),
        ({"output_config": {"effort": "huge"}}, "effort"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "schema"),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            "additionalProperties",
        ),
        ({"messages": []}, "messages"),
        ({"messages": [{**HI, "name": "Ada"}]}, "messages.0.name"),
        ({"messages": [{**HI, "role": "system"}]}, "messages.0.role"),
        ({"messages": [{**HI, "content": ""}]}, "non-empty"),
        ({"messages": [{**HI, "content": [{"type": "text", "text": ""}]}]}, "non-empty"),
        ({"messages": [{**HI, "content": [{"type": "image_url"}]}]}, "image_url"),
        ({"messages": [{**HI, "content": [{"type": "image", "source": {}}]}]}, "image"),
        ({"system": []}, "system"),
    ],
)
async def test_what_the_api_would_refuse_is_refused(
    simulator: Simulator, more: dict[str, Any], said: str
) -> None:
    """Unknown fields, wrong values, empty texts: a 400 that names the place."""
    body = {"model": "x", "max_tokens": 5, "messages": [HI], **more}
    told = {name: value for name, value in body.items() if value is not None}
    async with (
        aiohttp.ClientSession(simulator.url) as http,
        http.post("/v1/messages", json=told, headers=VERSION) as answer,
    ):
        assert answer.status == 400
        assert said in (await answer.json())["error"]["message"]


async def test_its_paths_are_its_own(simulator: Simulator) -> None:
    """Models are Anthropic's where a version of that API is named, else OpenAI's."""
    async with aiohttp.ClientSession(simulator.url) as http:
        async with http.get("/v1/models", headers={**VERSION, "x-api-key": KEY}) as answer:
            assert (await answer.json())["data"][0]["type"] == "model"
        async with http.get("/v1/models") as answer:
            assert (await answer.json())["object"] == "list"
        async with http.get("/v1/messages", headers=VERSION) as answer:
            assert answer.status == 405
        async with http.post("/v1/messages", json={}) as answer:
            assert answer.status == 400
