"""READ FIRST of the remote providers: what all adapters to an API over HTTP have in common.

An adapter says how its API is spoken: the body of a request, the result in an answer,
what it costs. Connections (``http_calls``), settings (``remote_settings``), what errors
mean (``headrace.signals``), jobs (``following``) and bodies (``receiving``) are shared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp

from headrace.clock import Clock
from headrace.errors import ConfigError, NotFoundError, RecipeError
from headrace.limits import Limit, Load
from headrace.nearest import did_you_mean
from headrace.outcome import CallFailed, Outcome, OutcomeKind, failed
from headrace.price import Price
from headrace.price_table import PriceTable, Usage
from headrace.provider import Call, Reply
from headrace.providers.remote.addresses import Addresses
from headrace.providers.remote.costs import Costs, told_microusd
from headrace.providers.remote.http_calls import HttpCalls, read_error
from headrace.providers.remote.settings import RemoteSettings
from headrace.request import Request
from headrace.signals import Signal, read_announced, read_signal

ID_CHARS_MAX = 200
PROBE_S = 15.0


@dataclass(frozen=True, slots=True)
class Probe:
    """How trying a key ended, and the limits that the answer announced."""

    kind: OutcomeKind
    reason: str = ""
    remedy: str = ""
    limits: tuple[Limit, ...] = ()


class RemoteProvider:
    """One account at an API over HTTP: one call for one item, nothing is sent twice.

    A subclass implements ``call`` (and ``resume``, ``find``, ``cancel`` where its API has
    such) and may override the rest. ``signals`` names the tables in ``headrace.refusals``
    that its errors are read by.
    """

    signals = "generic"
    reading_version = "1"
    """Raise it when the same params would be sent as another body: results are bought anew."""

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        name: str,
        clock: Clock,
        headers: Mapping[str, str],
        secrets: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.crash_class = settings.crash_class
        self.quota = settings.quota
        self.remote = settings
        self._clock = clock
        self.costs = Costs(
            name, settings.api.kind, official=settings.is_official, own=settings.prices
        )
        self._secrets = tuple(one for one in (settings.api_key, *secrets) if one)
        addresses = Addresses(
            settings.base_url,
            official=settings.official_url,
            hosts=settings.api.hosts,
            downloads=settings.download_hosts,
        )
        self.http = HttpCalls(addresses, headers)

    needs_prompt = True
    """Whether a call without a prompt can never be meant; ``False`` where params are enough."""

    probe_path: str | None = None
    """A path below ``base_url`` that a key can be tried on without paying."""

    async def probe(self) -> Probe | None:
        """Try the key without buying anything; ``None`` where the API has nothing for that.

        Raises ``ConfigError`` without a key.
        """
        if self.probe_path is None:
            return None
        await self.open()

        async def take(response: aiohttp.ClientResponse) -> Probe:
            body = await read_error(response, PROBE_S)
            limits = read_announced(response.headers)
            if response.ok:
                return Probe(OutcomeKind.SUCCESS, limits=limits)
            outcome = self.failed(response, body).outcome
            return Probe(outcome.kind, outcome.reason, outcome.remedy, limits)

        try:
            return await self.http.get(self.http.url(self.probe_path), PROBE_S, take)
        except CallFailed as failure:
            outcome = failure.outcome
            return Probe(outcome.kind, outcome.reason, outcome.remedy)

    def load(self, request: Request) -> Load:
        """Return what a call takes of its lane: one request."""
        return Load()

    def lane(self, request: Request) -> str:
        """Return the lane: each model has its own limits."""
        return f"{self.name}/{request.model}"

    def version(self, model: str) -> str:
        """Return the version of our reading of the API; the model's own stands in its name."""
        models = self.remote.models
        if models and model not in models:
            raise NotFoundError(
                f"the provider {self.name!r} has no model {model!r}",
                remedy=did_you_mean(model, models),
            )
        return self.reading_version

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Raise ``RecipeError`` for a parameter that can never be sent."""
        self.version(model)
        for name, value in params.items():
            unfilled = isinstance(value, str) and "{{" in value
            wrong = "" if unfilled else self.wrong_param(name, value)
            if wrong:
                raise RecipeError(wrong, remedy="Change or remove it.")

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with one parameter, empty when nothing is."""
        return ""

    def price(self, request: Request) -> Price:
        """Return the configured credits, and the most that the API bills where that is known."""
        most = self.costs.most(request.model, self.most(request))
        return Price(self.remote.price_microcredits, most)

    def most(self, request: Request) -> Usage | None:
        """Return the most that a call can use, ``None`` where nobody knows beforehand."""
        return None

    def use_prices(self, lists: Mapping[str, PriceTable]) -> None:
        """Take the prices of a user's file, by section."""
        self.costs.use(lists)

    async def open(self) -> None:
        """Open the pool of connections; raises ``ConfigError`` without a key for a remote API."""
        remote = self.remote
        if not remote.api_key and not remote.is_local and remote.api_key_env:
            raise ConfigError(
                f"there is no key for {remote.base_url.host}",
                place=f"[providers.{self.name}]",
                remedy=f"Set the variable {remote.api_key_env}, or api_key.",
            )
        self.http.open()

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Fail: an answer that was not received cannot be asked for again."""
        reason = "this API keeps no answers to be fetched later"
        raise failed(OutcomeKind.LOST_RESULT, reason, ended=True)

    async def find(self, call: Call) -> str | None:
        """Return ``None``: calls cannot be looked up."""
        return None

    async def cancel(self, provider_request_id: str, url: str | None) -> None:
        """Do nothing: a call ends with its connection."""

    # -- what adapters say of answers -------------------------------------------------------

    def signal(self, status: int, headers: Mapping[str, str], body: bytes) -> Signal:
        """Return what an answer means, by the tables of this provider."""
        return read_signal(self.signals, status, headers, body, self._clock.now())

    def billed(
        self, model: str, headers: Mapping[str, str], raw_usage: Any, usage: Usage | None
    ) -> dict[str, int | None]:
        """Return the cost of a call as fields of a ``Reply`` or ``Outcome``.

        True where the answer tells it, else estimated from ``usage`` where that can be;
        ``raw_usage`` is the object as it came.
        """
        told = told_microusd(headers, raw_usage)
        if told is not None:
            return {"cost_microusd": told}
        return {"estimate_microusd": self.costs.of(model, usage)}

    def priced(self, reply: Reply, model: str) -> Reply:
        """Return ``reply`` with an estimate, where it has no cost and calls have one price."""
        if reply.cost_microusd is not None or reply.estimate_microusd is not None:
            return reply
        return replace(reply, estimate_microusd=self.costs.of(model, None))

    async def refuse(self, response: aiohttp.ClientResponse, deadline_s: float) -> None:
        """Raise ``CallFailed`` for a response that is no success; do nothing for one that is."""
        if not response.ok:
            said = await read_error(response, deadline_s)
            raise self.failed(response, said)

    def failed(self, response: aiohttp.ClientResponse, body: bytes, **more: Any) -> CallFailed:
        """Return how a response that is no result ended, as its status and body tell.

        ``more`` are further fields of the ``Outcome``: the provider's id, its cost, facts.
        """
        signal = self.signal(response.status, response.headers, body)
        kind, reason = signal.kind, signal.reason
        if kind is OutcomeKind.SUCCESS:
            kind, reason = OutcomeKind.NO_OUTPUT, "the answer holds no result"
        fields: dict[str, Any] = {
            "remedy": self.hidden(signal.remedy),
            "wait_s": signal.wait_s,
            "provider_request_id": request_id(response),
            "said": signal.said,
        }
        return CallFailed(Outcome(kind, self.hidden(reason), **{**fields, **more}))

    def nameless(self, response: aiohttp.ClientResponse, body: bytes, reason: str) -> CallFailed:
        """Return how the beginning of a job ended whose answer names no id.

        Where the answer is a success the job is lost, for ``reason``.
        """
        failure = self.failed(response, body)
        if failure.outcome.kind is not OutcomeKind.NO_OUTPUT:
            return failure
        remedy = "It runs and cannot be followed. Trying again pays for it again."
        return failed(OutcomeKind.LOST_RESULT, reason, remedy=remedy)

    def hidden(self, text: str) -> str:
        """Return ``text`` without our keys: some servers quote one when they reject it."""
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return text


def request_id(response: aiohttp.ClientResponse, other: Any = None) -> str | None:
    """Return the id by which support finds a call: the header's, or the reply's own."""
    named = response.headers.get("x-request-id") or other
    return named[:ID_CHARS_MAX] if isinstance(named, str) else None
