"""The ``bfl`` provider: tasks of Black Forest Labs, submitted, looked at, and fetched at once."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp
from yarl import URL

from headrace.clock import Clock
from headrace.errors import NotFoundError
from headrace.outcome import CallFailed, Outcome, OutcomeKind, failed
from headrace.price_table import Usage
from headrace.provider import Call, CrashClass, Reply
from headrace.providers.bfl import messages
from headrace.providers.remote.adapter import RemoteProvider
from headrace.providers.remote.following import Follower
from headrace.providers.remote.http_calls import read_object, read_whole
from headrace.providers.remote.looking import Looker, Told, own_end
from headrace.providers.remote.receiving import fetched
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote
from headrace.request import Request
from headrace.signals import read_signal

BFL = Api(
    kind="bfl",
    base_url="https://api.bfl.ai",
    base_url_env="BFL_BASE_URL",
    key_env="BFL_API_KEY",
    crash_class=CrashClass.POLLED,
    # A task has to be looked at in the region that took it.
    hosts=(".bfl.ai",),
    limits={"concurrency": 24},
)
LOOKS_PER_MINUTE = 1200.0


@dataclass(frozen=True, slots=True)
class Task:
    """A task that was taken in: where it is looked at, what it costs, what the submit told."""

    id: str
    url: URL
    cost_microusd: int | None
    told: Told = field(default_factory=dict)


class BflProvider(RemoteProvider):
    """Tasks: submitted once, looked at where the answer says, the picture fetched at once.

    Crash class C: a task is found by its id and address only. The quota is the account's,
    24 tasks at a time as documented, so all models share one lane.
    """

    signals = "bfl"
    probe_path = "v1/credits"

    def __init__(self, settings: RemoteSettings, *, name: str, clock: Clock) -> None:
        headers = {"x-key": settings.api_key} if settings.api_key else {}
        super().__init__(settings, name=name, clock=clock, headers=headers)
        self.follower = Follower(clock, per_minute=LOOKS_PER_MINUTE)
        self._looker = Looker(
            self, self.follower, clock, ended=messages.has_ended, missing=messages.is_missing
        )

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> BflProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_remote(Table(name, table), BFL), name=name, clock=clock)

    def lane(self, request: Request) -> str:
        """Return the lane: the account's."""
        return self.name

    def version(self, model: str) -> str:
        """Return the version of our reading of the API; raises ``NotFoundError`` for no name."""
        if not messages.is_model(model):
            raise NotFoundError(
                f"{model[:200]!r} is no name of a model", remedy="A name such as flux-2-pro"
            )
        return super().version(model)

    def most(self, request: Request) -> Usage | None:
        """Return what every task gives: one image."""
        return Usage(images=1)

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with one parameter, empty when nothing is."""
        return messages.wrong_param(name, value)

    async def call(self, call: Call) -> Reply:
        """Submit a task and follow it; raises ``CallFailed`` for every ending but success."""
        begun_s = self._clock.monotonic_s()
        if not messages.is_model(call.request.model):
            raise failed(OutcomeKind.INVALID, f"{call.request.model[:200]!r} is no model's name")
        task = await self._submitted(call)
        await call.accepted(task.id, messages.with_cost(task.url, task.cost_microusd))
        left_s = call.deadline_s - (self._clock.monotonic_s() - begun_s)
        told = await self._looker.until_ended(task.url, left_s, task.id)
        return await self._result(told, task, call)

    async def _submitted(self, call: Call) -> Task:
        """Submit a task; its body, which may be large, is gone when this returns."""
        body = messages.body_of(await self._params(call))

        async def take(response: aiohttp.ClientResponse) -> Task:
            return await self._taken_in(response, call.deadline_s)

        url = self.http.url(f"v1/{call.request.model}")
        return await self.http.post(url, body, call.deadline_s, take)

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Follow a task that was taken in earlier; raises ``CallFailed``."""
        name = provider_request_id
        where = self._usual(name) if url is None else self.http.addresses.followed(url)
        cost = None if url is None else messages.remembered_cost(url)
        task = Task(name, where.with_fragment(None), cost)
        told = await self._looker.until_ended(task.url, call.deadline_s, name, 0.0)
        return await self._result(told, task, call)

    def _usual(self, name: str) -> URL:
        """Return where a task is looked at if nobody says otherwise."""
        return self.http.url("v1/get_result").with_query({"id": name})

    async def _params(self, call: Call) -> dict[str, Any]:
        """Return the params with their pictures put in, as base64."""
        params = dict(call.request.params)
        for param, digests in call.request.placed().items():
            if len(digests) != 1 or isinstance(params[param], list):
                raise failed(
                    OutcomeKind.INVALID,
                    f"{param} takes one picture, not a list of {len(digests)}",
                    remedy="Name the others input_image_2, input_image_3 and so on.",
                )
            params[param] = base64.b64encode(await call.source(digests[0])).decode("ascii")
        return params

    async def _taken_in(self, response: aiohttp.ClientResponse, deadline_s: float) -> Task:
        """Return the task that an answer to a submit names; raises ``CallFailed``."""
        await self.refuse(response, deadline_s)
        body = await read_whole(response)
        told = read_object(body) or {}
        name = messages.id_of(told)
        if name is None:
            reason = "the task was taken in and the answer names no id"
            raise self.nameless(response, body, reason)
        address = told.get("polling_url")
        try:
            url = self._usual(name) if address is None else self.http.addresses.followed(address)
        except CallFailed:
            # It is paid for: better looked at in the wrong region than given up.
            url = self._usual(name)
        return Task(name, url, messages.cost_of(told), told)

    async def _result(self, told: Told, task: Task, call: Call) -> Reply:
        """Return the picture of a task that is over; raises ``CallFailed``."""
        result = told.get("result")
        found = result if isinstance(result, dict) else {}
        facts = messages.facts_of(task.told, found)
        cost = self._cost(task, call.request.model)
        if messages.state_of(told) != "ready" or found.get("sample") is None:
            raise CallFailed(self._ended_badly(told, task, facts, cost))
        try:
            reply = await fetched(self.http, found["sample"], call, pause=self.follower.pause)
        except CallFailed as failure:
            outcome = replace(failure.outcome, provider_request_id=task.id, **cost)
            raise CallFailed(outcome) from None
        return replace(reply, provider_request_id=task.id, facts=facts, **cost)

    def _cost(self, task: Task, model: str) -> dict[str, Any]:
        """Return what a task cost, as fields of a ``Reply``: as it was told, else by the image."""
        if task.cost_microusd is not None:
            return {"cost_microusd": task.cost_microusd}
        return {"estimate_microusd": self.costs.of(model, Usage(images=1))}

    def _ended_badly(
        self, told: Told, task: Task, facts: dict[str, Any], cost: dict[str, Any]
    ) -> Outcome:
        signal = read_signal(self.signals, 200, {}, told, self._clock.now())
        kind = own_end(signal.kind)
        # Whether a task that failed is billed is not documented: then its cost is unknown.
        is_billed = kind is OutcomeKind.NO_OUTPUT
        return Outcome(
            kind,
            self.hidden(signal.reason) or "the task holds no picture",
            remedy=signal.remedy,
            wait_s=signal.wait_s,
            provider_request_id=task.id,
            facts=facts,
            ended=True,
            **(cost if is_billed else {}),
        )
