"""One call of a provider, or several, to a server that a test words: how they end."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.blob import open_blobs
from headrace.outcome import CallFailed, Outcome
from headrace.provider import Call, Provider, Reply
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.speaking import Answer, Heard, Speaker, speaking

Made = Callable[[Speaker], Provider]
"""Makes the provider that calls a server."""


async def reply_of(provider: Provider, call: Call) -> Reply:
    """The reply to a provider's only call."""
    try:
        return await provider.call(call)
    finally:
        await provider.close()


async def end_of(provider: Provider, call: Call) -> Reply | Outcome:
    """How a provider's only call ends."""
    try:
        return await reply_of(provider, call)
    except CallFailed as failure:
        return failure.outcome


async def failure_of(provider: Provider, call: Call, secret: str) -> Outcome:
    """How a provider's only call fails: it says why, and the secret in no part of it."""
    with pytest.raises(CallFailed) as caught:
        await reply_of(provider, call)
    assert caught.value.__cause__ is None, "a cause may hold the request's headers"
    assert secret not in repr(caught.value.outcome)
    assert caught.value.outcome.reason
    return caught.value.outcome


async def bought_at(
    answer: Answer, made: Made, request: Request, desk: CallDesk | None = None, key: str = "key-1"
) -> tuple[Reply, bytes, Heard]:
    """The reply to one call, its bytes, and what the server heard, once."""
    desk = desk or CallDesk()
    async with speaking(answer) as speaker:
        reply = await reply_of(made(speaker), desk.call(request, key))
        assert len(speaker.heard) == 1
        return reply, desk.body_of(reply), speaker.heard[0]


async def fails_at(
    answer: Answer, made: Made, request: Request, secret: str, deadline_s: float = 30
) -> Outcome:
    """How one call fails that the server heard exactly once."""
    async with speaking(answer) as speaker:
        call = CallDesk(deadline_s=deadline_s).call(request)
        outcome = await failure_of(made(speaker), call, secret)
        assert len(speaker.heard) == 1, "sent more than once"
        return outcome


async def listened_at(
    answer: Answer, made: Made, request: Request
) -> tuple[Reply | Outcome, list[str], Heard]:
    """How one call ends that somebody listens to, what was said, and what the server heard."""
    said: list[str] = []
    async with speaking(answer) as speaker:
        call = replace(CallDesk().call(request), say=said.append)
        end = await end_of(made(speaker), call)
        assert len(speaker.heard) == 1
        return end, said, speaker.heard[0]


async def peak_bytes_of(
    provider: Provider, requests: Iterable[Request], body: bytes, folder: Path
) -> int:
    """The most memory taken while all requests are bought at once; each gives ``body``."""
    blobs, desk = await open_blobs(str(folder / "blobs")), CallDesk()

    async def buy(request: Request) -> bytes:
        reply = await provider.call(replace(desk.call(request), spool=blobs.spool))
        assert reply.artifact is not None
        return reply.artifact.sha256

    tracemalloc.start()
    made = set(await asyncio.gather(*[buy(request) for request in requests]))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    await provider.close()
    assert [await blobs.read(sha256) for sha256 in made] == [body]
    await blobs.close()
    return peak_bytes
