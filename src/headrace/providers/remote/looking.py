"""Looks at a job at its address until it has ended, and never takes a bad look for its end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

from headrace.clock import Clock
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.providers.remote.adapter import RemoteProvider
from headrace.providers.remote.following import Follower
from headrace.providers.remote.http_calls import read_error, read_object, read_whole

LOOK_S = 30.0
"""The most that one look may take."""
LAG_S = 15.0
"""A job that was taken in just now may not be known everywhere yet."""
_NOT_THERE = (404, 410)

Told = dict[str, Any]
"""What an answer says of a job: a JSON object whose fields may be of any kind."""


_OWN_ENDS = frozenset(
    {
        OutcomeKind.REFUSED,
        OutcomeKind.INVALID,
        OutcomeKind.TRANSIENT,
        OutcomeKind.OVERLOADED,
        OutcomeKind.NO_OUTPUT,
        OutcomeKind.LOST_RESULT,
    }
)


def own_end(kind: OutcomeKind) -> OutcomeKind:
    """Return how a job that gave nothing ended, by what its own words mean.

    Words on a key, a quota or a rate are the model's, said of somebody else's account: they
    must not shut our lane. That it ran out of time is over and done with, too.
    """
    if kind in (OutcomeKind.SUCCESS, OutcomeKind.UNKNOWN):
        return OutcomeKind.NO_OUTPUT
    return kind if kind in _OWN_ENDS else OutcomeKind.TRANSIENT


class Looker:
    """Looks after the jobs of one provider that tells in a JSON object how each stands.

    ``ended`` says whether such an object tells of an end, ``missing`` whether it says that
    there is no such job (as a 404 does).
    """

    def __init__(
        self,
        provider: RemoteProvider,
        follower: Follower,
        clock: Clock,
        *,
        ended: Callable[[Told], bool],
        missing: Callable[[Told], bool] = lambda told: False,
    ) -> None:
        self._provider = provider
        self._follower = follower
        self._clock = clock
        self._ended = ended
        self._missing = missing

    async def until_ended(
        self, url: URL, deadline_s: float, provider_request_id: str, first_s: float | None = None
    ) -> Told:
        """Return what the job's last answer says; looking costs nothing.

        ``first_s``: seconds before the first look, where they are others than usual.
        Raises ``CallFailed``: lost_result when the provider does not know the job (any
        more), unknown at the deadline, so that the job is followed later.
        """
        begun_s = self._clock.monotonic_s()

        async def take(response: aiohttp.ClientResponse) -> Told | None:
            told: Told | None = {}
            is_there = response.status not in _NOT_THERE
            if response.ok:
                told = read_object(await read_whole(response))
                is_there = told is None or not self._missing(told)
            elif is_there:
                raise self._only_a_look(response, await read_error(response, LOOK_S))
            if not is_there and self._clock.monotonic_s() - begun_s > LAG_S:
                raise self._gone(provider_request_id)
            return told if is_there and told is not None and self._ended(told) else None

        async def look() -> Told | None:
            return await self._provider.http.get(url, min(LOOK_S, deadline_s), take)

        return await self._follower.follow(look, deadline_s, provider_request_id, first_s=first_s)

    def _only_a_look(self, response: aiohttp.ClientResponse, body: bytes) -> CallFailed:
        """Return how a look failed, as something that says nothing of the job itself.

        A key that is rejected, or a quota that is spent, would otherwise end the attempt, and
        the job would be bought again while the first one runs.
        """
        outcome = self._provider.failed(response, body).outcome
        return CallFailed(replace(outcome, kind=OutcomeKind.UNKNOWN))

    def _gone(self, provider_request_id: str) -> CallFailed:
        return failed(
            OutcomeKind.LOST_RESULT,
            f"{self._provider.http.host} does not know the job {provider_request_id} any more",
            remedy="It was taken in and perhaps billed. Trying again pays for it again.",
            provider_request_id=provider_request_id,
            ended=True,
        )
