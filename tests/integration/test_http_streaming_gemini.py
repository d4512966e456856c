"""Texts of Google's models asked for in a stream: what cannot be said to them."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from tests.integration.hearing import PRICE, SAID, api, client, clock

__all__ = ["api", "client", "clock"]
MODEL = "sim:gemini-x"


@pytest.fixture
def table() -> dict[str, Any]:
    return {"kind": "gemini", "models": ["gemini-x"], "price_microcredits": PRICE}


async def test_what_cannot_be_said_to_these_models_is_a_bad_request(
    client: openai.AsyncOpenAI,
) -> None:
    """Nothing is sent, and nothing begins to be told."""
    said: Any = [*SAID, {"role": "tool", "content": "42", "tool_call_id": "x"}]
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model=MODEL, messages=said, stream=True)
    assert "tool" in caught.value.message
