"""The settings of a provider's batch API, and what lines cost."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, replace

from headrace.outcome import CallFailed
from headrace.provider import Reply
from headrace.provider_batch import batch_cost
from headrace.providers.remote.settings import Table

BATCH_KEYS = ("batches", "batch_tokens", "batch_worth_s")
WORTH_S = 3600.0


@dataclass(frozen=True)
class Batching:
    """Whether a batch API is used, and what is known of it.

    ``tokens_max`` may be queued there for each model; less than ``worth_s`` seconds are not
    worth it.
    """

    is_on: bool = False
    tokens_max: int | None = None
    worth_s: float = WORTH_S


NO_BATCHES = Batching()


def read_batching(read: Table, *, default: bool) -> Batching:
    """Return the settings of a batch API; raises ``ConfigError``."""
    tokens = read.get("batch_tokens")
    return Batching(
        is_on=read.flag("batches", default),
        tokens_max=None if tokens is None else read.count("batch_tokens", least=1),
        worth_s=float(read.count("batch_worth_s", int(WORTH_S))),
    )


async def at_half(reading: Awaitable[Reply]) -> Reply:
    """Return a reply, or raise its ``CallFailed``, at half of what a call's estimate is."""
    try:
        reply = await reading
    except CallFailed as failure:
        outcome = failure.outcome
        if outcome.estimate_microusd is None:
            raise
        half = batch_cost(outcome.estimate_microusd)
        raise CallFailed(replace(outcome, estimate_microusd=half)) from failure
    if reply.estimate_microusd is None:
        return reply
    return replace(reply, estimate_microusd=batch_cost(reply.estimate_microusd))
