"""Follows a job of fal's queue to its end: it is submitted elsewhere, and never again here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

import aiohttp
from yarl import URL

from headrace.clock import Clock
from headrace.outcome import CallFailed, Outcome, OutcomeKind, failed
from headrace.providers.fal import messages
from headrace.providers.remote.following import Follower, JobFailed
from headrace.providers.remote.http_calls import HttpCalls, read_error, read_object, read_whole
from headrace.providers.remote.looking import own_end
from headrace.signals import Signal

LOOKS_PER_MINUTE = 1200.0
REPLY_BYTES_MAX = 4 * 1024 * 1024
RESULT_TRIES = 4
DROPPED_MAX = 10_000
MEND_S = 30.0
_ERROR_S = 10.0
_CANCEL_S = 30.0
_GONE = (404, 410)
_LOST = OutcomeKind.LOST_RESULT
_OURS_TO_MEND = frozenset({OutcomeKind.AUTH, OutcomeKind.QUOTA_EXHAUSTED})
_PASSING = frozenset(
    {
        OutcomeKind.RATE_LIMITED,
        OutcomeKind.OVERLOADED,
        OutcomeKind.TRANSIENT,
        OutcomeKind.TIMEOUT,
        OutcomeKind.UNKNOWN,
    }
)


class Judge(Protocol):
    """Says what answers mean; the provider does."""

    def signal(self, status: int, headers: Mapping[str, str], body: bytes) -> Signal:
        """Return what an answer means."""
        ...

    def failed(self, response: aiohttp.ClientResponse, body: bytes, **more: Any) -> CallFailed:
        """Return how a response that is no result ended; ``more`` are fields of the outcome."""
        ...

    def cost(self, model: str, units: Decimal | None) -> int | None:
        """Return what so many billable units cost in micro-USD, ``None`` when nobody knows."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """A job and where it is asked for; ``response`` is ``None`` where nobody said it yet."""

    id: str
    model: str
    status: URL
    cancel: URL
    response: URL | None


@dataclass(frozen=True, slots=True)
class Finished:
    """What a job gave: the reply's JSON, its billable units, its run time."""

    reply: dict[str, Any]
    units: Decimal | None
    work_s: float | None


@dataclass(frozen=True, slots=True)
class _Done:
    standing: messages.Standing
    failure: Outcome | None


class FalJobs:
    """The jobs of one account that are followed in this process."""

    def __init__(self, http: HttpCalls, clock: Clock, judge: Judge) -> None:
        self.follower = Follower(clock, per_minute=LOOKS_PER_MINUTE)
        self._http = http
        self._clock = clock
        self._judge = judge
        self._under_way: dict[str, Job] = {}
        self._dropped: dict[str, None] = {}

    def job(self, model: str, told: messages.Accepted) -> Job:
        """Return the job that was taken in, with addresses that the key may go to."""
        base = f"{messages.requests_path(model)}/{told.id}"
        response = told.response_url
        return Job(
            told.id,
            model,
            status=self._own(told.status_url, f"{base}/status"),
            cancel=self._own(told.cancel_url, f"{base}/cancel"),
            response=None if response is None else self._own(response, base),
        )

    async def finished(self, job: Job, deadline_s: float) -> Finished:
        """Return what the job gives when it ends.

        Raises ``CallFailed``: how it failed; unknown at the deadline and where its result
        cannot be had now, so that it is followed later; lost_result when it is gone.
        """
        begun_s = self._clock.monotonic_s()

        def left_s() -> float:
            return max(0.1, deadline_s - (self._clock.monotonic_s() - begun_s))

        async def look() -> _Done | None:
            return await self._http.get(job.status, left_s(), self._take_standing)

        self._under_way[job.id] = job
        done: _Done | None = None
        try:
            done = await self.follower.follow(look, deadline_s, job.id)
            return await self._result(job, done, left_s)
        except CallFailed as failure:
            told = failure.outcome
            if job.id not in self._dropped or not (told.ended or told.kind is _LOST):
                raise
            if told.kind is OutcomeKind.REFUSED:
                raise
            raise _was_dropped(told, done) from None
        finally:
            self._under_way.pop(job.id, None)

    async def cancel(self, job_id: str, url: str | None) -> None:
        """Ask fal to drop a job; ``url`` is where it is looked at, if it is not followed here.

        Raises ``CallFailed`` where fal is not to be had now; that a job is over is no failure.
        """
        job, address = self._under_way.get(job_id), None
        if job is not None:
            address = job.cancel
        elif url is not None and url.endswith(f"/requests/{job_id}/status"):
            with suppress(CallFailed):
                address = self._http.addresses.followed(url.removesuffix("status") + "cancel")
        if address is None:
            return
        await self._http.put(address, _CANCEL_S, self._heard)
        self._dropped[job_id] = None
        if len(self._dropped) > DROPPED_MAX:
            del self._dropped[next(iter(self._dropped))]
        self.follower.wake(job_id)

    async def _heard(self, response: aiohttp.ClientResponse) -> None:
        """Take note that a wish was heard; what is said of the job is seen when it is looked at."""
        outcome = self._judge.failed(response, await read_error(response, _ERROR_S)).outcome
        if not response.ok and outcome.kind in _PASSING:
            raise CallFailed(outcome)

    def _own(self, address: Any, path: str) -> URL:
        """Return an address of a reply, the documented one where it leads astray.

        The job is taken in by then: an unusable address must not lose it.
        """
        if isinstance(address, str):
            try:
                return self._http.addresses.followed(address)
            except CallFailed:
                pass
        return self._http.url(path)

    async def _take_standing(self, response: aiohttp.ClientResponse) -> _Done | None:
        if response.ok:
            body = await read_whole(response, REPLY_BYTES_MAX)
            standing = messages.read_standing(body)
            if not standing.done:
                return None
            told = self._judge.failed(response, body).outcome if standing.failed else None
            return _Done(standing, told)
        outcome = self._judge.failed(response, await read_error(response, _ERROR_S)).outcome
        if outcome.kind in _OURS_TO_MEND:
            # A key that is not taken now says nothing about the job: it must not be lost for it.
            wait_s = outcome.wait_s or MEND_S
            raise CallFailed(replace(outcome, kind=OutcomeKind.TRANSIENT, wait_s=wait_s))
        if outcome.kind in _PASSING:
            raise CallFailed(outcome)
        raise CallFailed(replace(_gone(outcome), ended=response.status in _GONE))

    async def _result(self, job: Job, done: _Done, left_s: Callable[[], float]) -> Finished:
        told, path = done.standing.response_url, f"{messages.requests_path(job.model)}/{job.id}"
        url = job.response or self._own(told, path)

        async def take(response: aiohttp.ClientResponse) -> Finished:
            return await self._take_result(response, job, done)

        last: Outcome | None = None
        for number in range(1, RESULT_TRIES + 1):
            try:
                return await self._http.get(url, left_s(), take)
            except JobFailed:
                raise
            except CallFailed as failure:
                last = failure.outcome
                if last.kind not in _PASSING and last.kind not in _OURS_TO_MEND:
                    raise
            if number < RESULT_TRIES:
                await self.follower.pause(number)
        assert last is not None
        raise _not_had(last, job, done)

    async def _take_result(
        self, response: aiohttp.ClientResponse, job: Job, done: _Done
    ) -> Finished:
        units = messages.read_units(response.headers.get("x-fal-billable-units"))
        # What breaks on fal's side is never billed.
        cost = 0 if response.status >= 500 else self._judge.cost(job.model, units)
        more: dict[str, Any] = {"provider_request_id": job.id, "cost_microusd": cost}
        if response.ok:
            body = await read_whole(response, REPLY_BYTES_MAX)
        else:
            body = await read_error(response, _ERROR_S)
        reply = read_object(body)
        if response.ok and done.failure is not None:
            raise _job_failed(done.failure, more)
        if response.ok and reply is not None:
            if messages.is_going_on(reply):
                raise failed(OutcomeKind.TRANSIENT, "the job is said to be still going on")
            signal = self._judge.signal(response.status, response.headers, body)
            if signal.kind is OutcomeKind.SUCCESS:
                return Finished(reply, units, done.standing.work_s)
        told = self._judge.failed(response, body, **more).outcome
        if response.status in _GONE:
            raise JobFailed(_gone(told))
        if done.failure is not None or self._is_final(told, reply):
            raise _job_failed(told, more)
        raise CallFailed(told)

    def _is_final(self, told: Outcome, reply: dict[str, Any] | None) -> bool:
        """Tell whether it is the job that failed, and not the asking.

        A failed job says why in ``detail``; a gateway in trouble does not. A rejected key
        and a rate are about the asking whatever they say.
        """
        if told.kind in _OURS_TO_MEND or told.kind is OutcomeKind.RATE_LIMITED:
            return False
        return told.kind not in _PASSING or (reply is not None and "detail" in reply)


def _gone(outcome: Outcome) -> Outcome:
    return replace(
        outcome,
        kind=OutcomeKind.LOST_RESULT,
        reason=f"fal has no such job any more: {outcome.reason}",
        remedy="It was made and perhaps billed. Trying again pays for it again.",
    )


def _job_failed(told: Outcome, more: Mapping[str, Any]) -> JobFailed:
    """Return how a job failed; what its words say of limits is not said of our lane."""
    return JobFailed(replace(told, kind=own_end(told.kind), said=None, **more))


def _was_dropped(told: Outcome, done: _Done | None) -> JobFailed:
    """Return how a job ended that gave nothing and that we had asked fal to drop."""
    never_ran = done is not None and done.standing.work_s == 0.0
    cost = 0 if never_ran and told.cost_microusd is None else told.cost_microusd
    return JobFailed(
        replace(
            told,
            kind=OutcomeKind.CANCELLED,
            reason=f"the job was cancelled with its batch: {told.reason}",
            remedy="What it used is billed. Run the row again to have it made.",
            cost_microusd=cost,
        )
    )


def _not_had(last: Outcome, job: Job, done: _Done) -> CallFailed:
    """Return how a job ended whose result is not to be had: as its status told, or unknown."""
    if done.failure is not None:
        return _job_failed(done.failure, {"provider_request_id": job.id})
    return failed(
        OutcomeKind.UNKNOWN,
        f"the job is done and its result cannot be had: {last.reason}",
        remedy=last.remedy or "It is asked for again later; nothing is bought twice.",
        provider_request_id=job.id,
    )
