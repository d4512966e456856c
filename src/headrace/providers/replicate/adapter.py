"""The ``replicate`` provider: predictions of models and deployments, created and then followed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from headrace.clock import Clock
from headrace.errors import NotFoundError
from headrace.outcome import CallFailed, Outcome, OutcomeKind, failed
from headrace.price_table import Usage
from headrace.provider import Call, Reply
from headrace.providers.remote import usage as used
from headrace.providers.remote.adapter import RemoteProvider
from headrace.providers.remote.following import Follower
from headrace.providers.remote.http_calls import read_object, read_whole
from headrace.providers.remote.letters import Parcel
from headrace.providers.remote.looking import Looker, Told, own_end
from headrace.providers.remote.media import ANY, HEAD_BYTES, media_type_of
from headrace.providers.remote.receiving import fetched
from headrace.providers.replicate import messages
from headrace.providers.replicate.settings import ReplicateSettings, read_replicate
from headrace.request import Request
from headrace.signals import read_signal
from headrace.webhook_signature import is_standard_webhook

LOOKS_PER_MINUTE = 1500.0
"""Half of what the API allows for everything but creates, so that a second worker has room."""
INLINE_SOURCE_BYTES_MAX = 256 * 1024
"""The API wants larger inputs as addresses, so they are uploaded first."""
CANCEL_S = 30.0
RARE_FIRST_S, RARE_MOST_S = 10.0, 60.0


class ReplicateProvider(RemoteProvider):
    """Predictions: created once, followed by their id until they end, files fetched at once.

    Crash class C. There is no class B here, though predictions can be listed: nothing of
    ours comes back in that list. An input may hold only what the model's schema allows,
    the webhook's address is not told, and an equal input is no proof, as two items may
    have the same one, and inputs and outputs are removed after an hour. A wrong "not found" would
    buy again, so what was sent and not answered is left to the batch's policy; that can
    only be the moment between the create and its answer.

    The quota is the account's, so all models share one lane. What the headers say is left
    of it is old when a prediction has ended, and is not told on.
    """

    signals = "replicate"
    probe_path = "account"

    def __init__(self, settings: ReplicateSettings, *, name: str, clock: Clock) -> None:
        super().__init__(settings.remote, name=name, clock=clock, headers=settings.headers())
        wait_s = settings.wait_s
        self._prefer = {"Prefer": f"wait={wait_s}"} if wait_s else None
        self._webhook, self._webhook_secret = settings.webhook, settings.webhook_secret
        # Where word comes of an end, looks are only for word that was lost.
        rare = {"first_s": RARE_FIRST_S, "most_s": RARE_MOST_S} if self._webhook else {}
        self.follower = Follower(clock, per_minute=LOOKS_PER_MINUTE, **rare)
        self._looker = Looker(self, self.follower, clock, ended=messages.has_ended)

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> ReplicateProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_replicate(name, table), name=name, clock=clock)

    def lane(self, request: Request) -> str:
        """Return the lane: the account's."""
        return self.name

    def version(self, model: str) -> str:
        """Return the version of our reading of the API; raises ``NotFoundError`` for no name."""
        if messages.target_of(model) is None:
            raise NotFoundError(
                f"{model[:200]!r} is no name of a Replicate model",
                remedy="owner/name, owner/name:version, or deployments/owner/name",
            )
        return super().version(model)

    def most(self, request: Request) -> Usage | None:
        """Return the most images that a prediction can give."""
        return messages.most_of(request.params)

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with one parameter, empty when nothing is."""
        return messages.wrong_param(name, value)

    async def call(self, call: Call) -> Reply:
        """Create a prediction and follow it; raises ``CallFailed`` for every ending but success."""
        begun_s = self._clock.monotonic_s()
        target = messages.target_of(call.request.model)
        if target is None:
            raise failed(OutcomeKind.INVALID, f"{call.request.model[:200]!r} is no model's name")
        body = messages.body_of(target, await self._params(call), self._webhook)

        async def take(response: aiohttp.ClientResponse) -> tuple[Told, str, bool]:
            return await self._created(response, call.deadline_s)

        url = self.http.url(target.path)
        created, name, is_whole = await self.http.post(
            url, body, call.deadline_s, take, self._prefer
        )
        await call.accepted(name, None)
        if not is_whole:
            left_s = call.deadline_s - (self._clock.monotonic_s() - begun_s)
            created = await self._until_ended(name, left_s)
        return await self._result(created, name, call)

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Follow a prediction that was created earlier; raises ``CallFailed``."""
        prediction = await self._until_ended(provider_request_id, call.deadline_s, first_s=0.0)
        return await self._result(prediction, provider_request_id, call)

    def hear(self, headers: Mapping[str, str], body: bytes) -> bool | None:
        """Take a webhook: a good one lets its prediction be looked at now.

        What it says of the prediction itself is not believed. ``None`` where none are
        wanted, ``False`` for one that is not from Replicate.
        """
        if not self._webhook:
            return None
        now = self._clock.now()
        if not is_standard_webhook(headers, body, self._webhook_secret, now):
            return False
        name = messages.id_of(read_object(body) or {})
        if name is not None:
            self.follower.wake(name)
        return True

    async def cancel(self, provider_request_id: str, url: str | None) -> None:
        """Stop a prediction; what it has used until then is billed. Raises ``CallFailed``."""
        if not messages.is_id(provider_request_id):
            return

        async def take(response: aiohttp.ClientResponse) -> None:
            await self.refuse(response, CANCEL_S)

        address = self.http.url(f"predictions/{provider_request_id}/cancel")
        await self.http.post(address, b"", CANCEL_S, take, paid=False)
        self.follower.wake(provider_request_id)

    # -- a create and its answer ------------------------------------------------------------

    async def _created(
        self, response: aiohttp.ClientResponse, deadline_s: float
    ) -> tuple[Told, str, bool]:
        """Return the prediction, its id, and whether it is over; raises ``CallFailed``."""
        await self.refuse(response, deadline_s)
        body = await read_whole(response)
        prediction = read_object(body) or {}
        name = messages.id_of(prediction)
        if name is None:
            reason = "the prediction was created and its answer names no id"
            raise self.nameless(response, body, reason)
        # Held open with Prefer: wait, a 201 has all of the output although its state may
        # lag behind; a 202 has not.
        is_whole = (
            self._prefer is not None
            and response.status == 201
            and prediction.get("status") == "processing"
            and messages.output_of(prediction.get("output")) is not None
        )
        return prediction, name, is_whole or messages.has_ended(prediction)

    async def _params(self, call: Call) -> dict[str, Any]:
        """Return the params with their sources put in: small ones inline, others by address."""
        params = dict(call.request.params)
        for param, digests in call.request.placed().items():
            told = [await self._source(call, digest) for digest in digests]
            params[param] = told if isinstance(params[param], list) else told[0]
        return params

    async def _source(self, call: Call, digest: str) -> str:
        body = await call.source(digest)
        media_type = media_type_of(body[:HEAD_BYTES]) or "application/octet-stream"
        if len(body) <= INLINE_SOURCE_BYTES_MAX:
            return f"data:{media_type};base64,{base64.b64encode(body).decode('ascii')}"
        form = Parcel()
        form.file("content", digest[:16], body, media_type)

        async def take(response: aiohttp.ClientResponse) -> str:
            await self.refuse(response, call.deadline_s)
            told = read_object(await read_whole(response)) or {}
            urls = told.get("urls")
            url = urls.get("get") if isinstance(urls, dict) else None
            if not isinstance(url, str) or not messages.is_address(url):
                raise failed(OutcomeKind.TRANSIENT, "an uploaded file got no address")
            return url

        try:
            return await self.http.post(
                self.http.url("files"), form, call.deadline_s, take, paid=False
            )
        except CallFailed as failure:
            if failure.outcome.kind is not OutcomeKind.UNKNOWN:
                raise
            # Nothing was bought yet: an upload whose end was not seen is made again.
            raise CallFailed(replace(failure.outcome, kind=OutcomeKind.TRANSIENT)) from None

    # -- following ----------------------------------------------------------------------------

    async def _until_ended(
        self, name: str, deadline_s: float, first_s: float | None = None
    ) -> Told:
        url = self.http.url(f"predictions/{name}")
        return await self._looker.until_ended(url, deadline_s, name, first_s)

    async def _result(self, prediction: Told, name: str, call: Call) -> Reply:
        """Return what a prediction that is over gave; raises ``CallFailed``."""
        facts, model = messages.facts_of(prediction), call.request.model
        output = None
        if str(prediction.get("status")).lower() in ("succeeded", "processing"):
            output = messages.output_of(prediction.get("output"))
        if output is None:
            ended = self._ended_badly(prediction, name, facts)
            cost = self._cost(prediction, model, 0)
            if messages.never_ran(prediction):
                cost = {"cost_microusd": 0}
            raise CallFailed(replace(ended, **cost))
        cost = self._cost(prediction, model, len(output.files))
        if not output.files:
            return Reply(
                output.media_type, body=output.text, provider_request_id=name, facts=facts, **cost
            )
        index = messages.index_of(call.request.params)
        if index >= len(output.files):
            raise failed(
                OutcomeKind.INVALID,
                f"output_index = {index}, and the prediction gave {len(output.files)} outputs",
                remedy="The first one is 0.",
                provider_request_id=name,
                facts=facts,
                **cost,
            )
        try:
            reply = await fetched(
                self.http, output.files[index], call, ANY, pause=self.follower.pause
            )
        except CallFailed as failure:
            raise CallFailed(
                replace(failure.outcome, provider_request_id=name, facts=facts, **cost)
            ) from None
        return replace(reply, provider_request_id=name, facts=facts, **cost)

    def _cost(self, prediction: Told, model: str, images: int) -> dict[str, Any]:
        """Return what a prediction cost that gave so many files, as fields of a ``Reply``."""
        usage = used.replicate(prediction.get("metrics"), images)
        return self.billed(model, {}, None, usage)

    def _ended_badly(self, prediction: Told, name: str, facts: dict[str, Any]) -> Outcome:
        state = prediction.get("status")
        if state == "canceled":
            return Outcome(
                OutcomeKind.CANCELLED,
                "the prediction was cancelled: with its batch, by hand, or at its deadline",
                remedy="What it used is billed. Run the row again to have it made.",
                provider_request_id=name,
                facts=facts,
            )
        signal = read_signal(self.signals, 200, {}, prediction, self._clock.now())
        kind = own_end(signal.kind)
        return Outcome(
            kind,
            self.hidden(signal.reason) or "the prediction holds no result",
            remedy=signal.remedy,
            wait_s=signal.wait_s,
            provider_request_id=name,
            facts=facts,
            ended=True,
        )
