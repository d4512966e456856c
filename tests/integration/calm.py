"""A simulator that answers at once, and what its provider makes of it, told whole or in pieces."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from headrace.outcome import Outcome, OutcomeKind
from headrace.provider import Provider, Reply
from headrace.request import Request
from headrace.simulator.scenario import build_settings
from headrace.simulator.server import Simulator
from headrace.testing import CallDesk
from tests.integration.calling import end_of

CALM: dict[str, Any] = {"latency": {"median_s": 0.0}, "output": {"image_bytes": 3000}}
ENDS: list[tuple[dict[str, Any], OutcomeKind]] = [
    ({"refuse_word": "card"}, OutcomeKind.REFUSED),
    ({"api_key": "another"}, OutcomeKind.AUTH),
    ({"budget_calls": 0}, OutcomeKind.QUOTA_EXHAUSTED),
    ({"faults": [{"kind": "500"}]}, OutcomeKind.TRANSIENT),
    ({"faults": [{"kind": "reset_midway"}]}, OutcomeKind.LOST_RESULT),
]
"""How the first call for a card ends under settings, whichever provider is simulated."""


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    simulator = Simulator(build_settings(CALM))
    await simulator.start()
    yield simulator
    await simulator.close()


def begin(simulator: Simulator, **settings: Any) -> None:
    """Begin anew, under further settings."""
    simulator.reset(build_settings({**CALM, **settings}))


async def end_told(
    provider: Provider, request: Request, said: list[str] | None = None
) -> Reply | Outcome:
    """How a call ends; ``said`` collects what is heard of it."""
    say = None if said is None else said.append
    return await end_of(provider, replace(CallDesk().call(request), say=say))


def told_alike(pieces: Reply | Outcome, said: list[str], whole: Reply | Outcome) -> Reply:
    """The reply that came whole: the one that came in pieces, as they were said, is the same."""
    assert isinstance(pieces, Reply)
    assert isinstance(whole, Reply)
    assert len(said) > 5
    assert "".join(said).encode() == pieces.body == whole.body
    assert pieces.facts == whole.facts
    return whole
