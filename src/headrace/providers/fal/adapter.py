"""The ``fal`` provider: pictures, films and sounds by the queue of fal."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import aiohttp
import msgspec

from headrace.clock import Clock
from headrace.errors import RecipeError
from headrace.outcome import CallFailed, Decision, OutcomeKind, failed
from headrace.price_table import Usage
from headrace.provider import Call, Reply
from headrace.providers.fal import messages
from headrace.providers.fal.jobs import REPLY_BYTES_MAX, FalJobs, Finished
from headrace.providers.fal.settings import FalSettings, read_fal
from headrace.providers.remote.adapter import RemoteProvider
from headrace.providers.remote.http_calls import read_whole
from headrace.providers.remote.media import ANY, HEAD_BYTES, media_type_of
from headrace.providers.remote.receiving import fetched
from headrace.request import Request

SOURCE_BYTES_MAX = 16 * 1024 * 1024
SECRET_CHARS_MIN = 8


class FalProvider(RemoteProvider):
    """One job in fal's queue for one item, followed until it ends; class C.

    The queue takes in everything and lets an account's share of it run, so nothing is
    refused; how many in flight gain anything is learned for each model, its own lane.
    """

    signals = "fal"
    needs_prompt = False

    def __init__(self, settings: FalSettings, *, name: str, clock: Clock) -> None:
        more = settings.more_headers.values()
        super().__init__(
            settings.remote,
            name=name,
            clock=clock,
            headers=settings.headers(),
            secrets=[value for value in more if len(value) >= SECRET_CHARS_MIN],
        )
        self._settings = settings
        self._jobs = FalJobs(self.http, clock, self)

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> FalProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_fal(name, table), name=name, clock=clock)

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Raise ``RecipeError`` for a model or a parameter that can never be sent."""
        wrong = messages.wrong_model(model)
        if wrong:
            raise RecipeError(wrong, remedy="Write it as fal does: fal-ai/flux/dev.")
        super().check(model, params)

    def most(self, request: Request) -> Usage:
        """Return the most that a call can use where pictures have a price: one of them."""
        return messages.picture(request.params)

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with one parameter, empty when nothing is."""
        return messages.wrong_param(name, value)

    async def call(self, call: Call) -> Reply:
        """Submit a job and follow it; raises ``CallFailed`` for every ending but success."""
        model, params = call.request.model, call.request.params
        wrong = [messages.wrong_model(model), *(self.wrong_param(*one) for one in params.items())]
        if any(wrong):
            reason = next(filter(None, wrong))
            raise failed(OutcomeKind.INVALID, reason, remedy="Change the stage's params.")
        begun_s = self._clock.monotonic_s()
        told = await self._submitted(call)
        job = self._jobs.job(model, told)
        await call.accepted(job.id, str(job.status))
        left_s = call.deadline_s - (self._clock.monotonic_s() - begun_s)
        return await self._received(call, job.id, await self._jobs.finished(job, left_s))

    async def _submitted(self, call: Call) -> messages.Accepted:
        """Submit a job; its body, which may be large, is gone when this returns."""
        body = msgspec.json.encode(await _input(call))

        async def take(response: aiohttp.ClientResponse) -> messages.Accepted:
            await self.refuse(response, call.deadline_s)
            told = await read_whole(response, REPLY_BYTES_MAX)
            found = messages.read_accepted(told)
            if found is None:
                raise self._nameless(response, told)
            return found

        url = self.http.url(call.request.model)
        return await self.http.post(url, body, call.deadline_s, take)

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Follow a job that was taken in earlier; nothing is submitted."""
        model, job_id = call.request.model, provider_request_id
        if not messages.is_id(job_id) or messages.wrong_model(model):
            reason = f"{job_id[:80]!r} is no job of fal's"
            raise failed(OutcomeKind.LOST_RESULT, reason, ended=True)
        job = self._jobs.job(model, messages.Accepted(job_id, status_url=url))
        return await self._received(call, job_id, await self._jobs.finished(job, call.deadline_s))

    async def cancel(self, provider_request_id: str, url: str | None) -> None:
        """Ask fal to drop a job, wherever it is followed; raises ``CallFailed``."""
        await self._jobs.cancel(provider_request_id, url)

    def failed(self, response: aiohttp.ClientResponse, body: bytes, **more: Any) -> CallFailed:
        """Return how a response that is no result ended; what fal says of trying again counts."""
        failure = super().failed(response, body, **more)
        outcome = failure.outcome
        signal = self.signal(response.status, response.headers, body)
        if outcome.decision is Decision.RETRY and signal.kind is outcome.kind and not signal.retry:
            return CallFailed(replace(outcome, kind=OutcomeKind.INVALID))
        return failure

    def cost(self, model: str, units: Decimal | None) -> int | None:
        """Return what billable units cost in micro-USD; ``None`` without a configured price."""
        return messages.cost_of(units, self._settings.unit_prices.get(model))

    def _nameless(self, response: aiohttp.ClientResponse, body: bytes) -> CallFailed:
        failure = self.failed(response, body)
        if failure.outcome.kind is not OutcomeKind.NO_OUTPUT:
            return failure
        return failed(
            OutcomeKind.UNKNOWN,
            f"{self.http.host} answered without the id of a job",
            remedy="Check base_url: it may lead to no queue of fal's.",
        )

    async def _received(self, call: Call, job_id: str, done: Finished) -> Reply:
        """Return the one result that is asked for, fetched from where it lies."""
        facts: dict[str, Any] = {"model": call.request.model}
        if done.units is not None:
            facts["billable_units"] = float(done.units)
        if done.work_s is not None:
            facts["inference_time_s"] = done.work_s
        cost = self.cost(call.request.model, done.units)
        more: dict[str, Any] = {"provider_request_id": job_id, "cost_microusd": cost}
        if cost is None:
            usage = messages.picture(call.request.params)
            more["estimate_microusd"] = self.costs.of(call.request.model, usage)
        found = messages.read_result(done.reply, *messages.wanted_of(call.request.params))
        if found is None:
            raise _nothing(call, done, facts=facts, **more)
        facts |= found.facts
        if found.refused:
            raise failed(
                OutcomeKind.REFUSED,
                "the picture was blacked out by the safety checker",
                remedy="Change the prompt.",
                facts=facts,
                **more,
            )
        if found.text is not None:
            return Reply(
                "text/plain", body=found.text.encode("utf-8", "replace"), facts=facts, **more
            )
        reply = await fetched(self.http, found.address, call, ANY, pause=self._jobs.follower.pause)
        return replace(reply, facts=facts, **more)


def _nothing(call: Call, done: Finished, **more: Any) -> CallFailed:
    """Return how a reply without the wanted result ends: empty this time, or never there."""
    place, index = messages.wanted_of(call.request.params)
    known = index == 0 and messages.has_place(done.reply, place)
    keys = ", ".join(sorted(done.reply)[:10])[:200] or "nothing"
    return failed(
        OutcomeKind.NO_OUTPUT if known else OutcomeKind.INVALID,
        f"the reply has no result {index} at {place or 'a known place'}; it has {keys}",
        remedy="Name the result's place by output = … in the stage's params.",
        **more,
    )


async def _input(call: Call) -> dict[str, Any]:
    """Return what is sent: the params, and sources as data: addresses under their names.

    ``image`` alone is the recipe's short word for what fal's models call ``image_url``.
    """
    request = call.request
    body = messages.input_of(request.params)
    size_bytes = 0
    for name, digests in request.placed().items():
        addresses = []
        for digest in digests:
            source = await call.source(digest)
            size_bytes += len(source)
            if size_bytes > SOURCE_BYTES_MAX:
                raise failed(
                    OutcomeKind.INVALID,
                    f"the sources have more than {SOURCE_BYTES_MAX:,} bytes together",
                    remedy="Put a resize stage before, or give fal an address of the file.",
                )
            addresses.append(_data_address(source))
        is_list = isinstance(body.pop(name), list)
        named = "image_url" if name == "image" and "image_url" not in body else name
        body[named] = addresses if is_list else addresses[0]
    return body


def _data_address(source: bytes) -> str:
    media_type = media_type_of(source[:HEAD_BYTES])
    if media_type is None:
        raise failed(
            OutcomeKind.INVALID,
            "a source is no picture, film or sound of a known format",
            remedy="Use PNG, JPEG, WebP, GIF, AVIF, MP4, WebM, MP3, WAV, Ogg or FLAC.",
        )
    return f"data:{media_type};base64,{base64.b64encode(source).decode()}"
