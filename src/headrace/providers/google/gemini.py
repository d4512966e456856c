"""The ``gemini`` provider: text and images of Google's Gemini API, by generateContent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

from headrace.clock import Clock
from headrace.errors import NotFoundError
from headrace.limits import Load
from headrace.outcome import CallFailed, OutcomeKind
from headrace.price_table import Usage
from headrace.provider import Call, Reply
from headrace.providers.google import gemini_messages as messages
from headrace.providers.google.gemini_chats import in_googles_words
from headrace.providers.google.gemini_replies import Told, day_wait_s
from headrace.providers.google.gemini_settings import GeminiSettings, read_gemini
from headrace.providers.google.gemini_taking import take_answer
from headrace.providers.remote import usage as used
from headrace.providers.remote.adapter import RemoteProvider
from headrace.providers.remote.http_calls import read_object
from headrace.providers.remote.inlined import inlined
from headrace.providers.remote.media import ANY
from headrace.providers.remote.server_events import has_events
from headrace.request import Request

_MODEL = re.compile(r"[A-Za-z0-9][\w.-]{0,199}", re.A)


class GoogleModels(RemoteProvider):
    """What the two doors to Google's models share: bodies, answers, and a day's quota."""

    groups: tuple[str, ...] = ()
    """What may stand before the name of a model, with its slash."""
    streams = True
    """Whether texts are asked for in pieces where somebody listens."""

    def load(self, request: Request) -> Load:
        """Return the tokens that go in, which Google's limits count, and the image."""
        return messages.load_of(_in_googles_words(request))

    def most(self, request: Request) -> Usage | None:
        """Return the most tokens that a call can use, where that is known beforehand."""
        return messages.most_of(_in_googles_words(request))

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with one parameter, empty when nothing is."""
        return messages.wrong_param(name, value)

    def version(self, model: str) -> str:
        """Return the version of our reading; raises ``NotFoundError`` for what is no model."""
        bare = next((model[len(one) :] for one in self.groups if model.startswith(one)), model)
        if _MODEL.fullmatch(bare) is None:
            raise NotFoundError(
                f"{model!r} is not the name of a model",
                remedy="Write it as Google's list of models does, such as gemini-2.5-flash.",
            )
        return super().version(model)

    def verb(self, call: Call) -> tuple[str, dict[str, str]]:
        """Return what a model is asked to do, and the query: all at once, or in pieces."""
        if self._speaks(call):
            return "streamGenerateContent", {"alt": "sse"}
        return "generateContent", {}

    def _speaks(self, call: Call) -> bool:
        """Tell whether a call is answered in pieces: somebody listens, and it gives a text."""
        return call.say is not None and self.streams and not messages.paints(call.request)

    async def send(
        self,
        call: Call,
        url: URL,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        unauthorized: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Send one body and return its reply; raises ``CallFailed``.

        ``unauthorized`` is called where the answer is that we are not known (401).
        """

        def cost(response: aiohttp.ClientResponse, told: Told) -> dict[str, Any]:
            return self._cost(response, call.request, told)

        async def take(response: aiohttp.ClientResponse) -> Reply:
            if response.status == 401:
                unauthorized()
            await self.refuse(response, call.deadline_s)
            say = call.say if self._speaks(call) and has_events(response) else None
            return await take_answer(response, call, self.failed, cost, say)

        try:
            return await self.http.post(url, body, call.deadline_s, take, headers)
        except CallFailed as failure:
            # Here, so that what a model says is looked through for keys, too.
            outcome = failure.outcome
            raise CallFailed(replace(outcome, reason=self.hidden(outcome.reason))) from None

    def _cost(
        self, response: aiohttp.ClientResponse, request: Request, told: Told
    ) -> dict[str, Any]:
        known = told.at_list_price and messages.at_list_price(request)
        usage = used.gemini(told.raw_usage, len(told.images[:1])) if known else None
        return self.billed(request.model, response.headers, told.raw_usage, usage)

    def failed(self, response: aiohttp.ClientResponse, body: bytes, **more: Any) -> CallFailed:
        """Return how a response that is no result ended; a day's quota waits for midnight."""
        failure = super().failed(response, body, **more)
        outcome = failure.outcome
        if outcome.kind is not OutcomeKind.QUOTA_EXHAUSTED or outcome.wait_s is not None:
            return failure
        wait_s = day_wait_s(read_object(body) or {}, self._clock.now())
        if wait_s is None:
            return failure
        remedy = "It goes on at midnight in California, or sooner with a higher quota."
        return CallFailed(replace(outcome, wait_s=wait_s, remedy=remedy))


class GeminiProvider(GoogleModels):
    """The Gemini API under one key, that is one project; a lane is one of its models.

    Answers are text (JSON where a schema or MIME type asks for it) or an image whose
    bytes were looked at. Nothing is sent twice, nothing can be asked for again.
    """

    signals = "gemini"
    groups = ("tunedModels/",)

    def __init__(self, settings: GeminiSettings, *, name: str, clock: Clock) -> None:
        super().__init__(settings.remote, name=name, clock=clock, headers=settings.headers())
        self._api_version = settings.api_version
        self.streams = settings.streams
        self.probe_path = f"{settings.api_version}/models"

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> GeminiProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_gemini(name, table), name=name, clock=clock)

    async def call(self, call: Call) -> Reply:
        """Make the call; raises ``CallFailed`` for every ending but success."""
        call = replace(call, request=in_googles_words(call.request))
        body = messages.body_of(call.request, await inlined(call, ANY))
        model, (verb, query) = call.request.model, self.verb(call)
        path = model if "/" in model else f"models/{model}"
        url = self.http.url(f"{self._api_version}/{path}:{verb}").with_query(query)
        return await self.send(call, url, body)


def _in_googles_words(request: Request) -> Request:
    """The same for what is only to be measured: one that cannot be said is left as it is."""
    try:
        return in_googles_words(request)
    except CallFailed:
        return request
