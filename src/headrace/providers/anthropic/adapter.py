"""The ``anthropic`` provider: texts of Anthropic's messages API, also about pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from headrace.clock import Clock
from headrace.limits import Load, Said
from headrace.openai_tools import in_openais_words
from headrace.outcome import CallFailed, Outcome
from headrace.price_table import Usage
from headrace.provider import Call, Reply
from headrace.provider_batch import BatchApi
from headrace.providers.anthropic import messages
from headrace.providers.anthropic.batches import AnthropicBatches
from headrace.providers.anthropic.chats import (
    OURS,
    PICTURES,
    in_anthropics_words,
    is_chat,
    measured,
)
from headrace.providers.anthropic.settings import AnthropicSettings, read_anthropic
from headrace.providers.anthropic.spoken import STREAMED, read_spoken
from headrace.providers.anthropic.tools import answer_of
from headrace.providers.remote import usage as used
from headrace.providers.remote.adapter import ID_CHARS_MAX, RemoteProvider
from headrace.providers.remote.http_calls import read_whole
from headrace.providers.remote.inlined import inlined
from headrace.providers.remote.server_events import has_events
from headrace.request import Request
from headrace.signals import read_announced


class AnthropicProvider(RemoteProvider):
    """The messages API under one key; a lane is one model.

    Answers are text, JSON where a schema or a forced tool asks for it. Nothing is sent
    twice, nothing can be asked for again.
    """

    signals = "anthropic"
    probe_path = "v1/models"

    def __init__(self, settings: AnthropicSettings, *, name: str, clock: Clock) -> None:
        super().__init__(settings.remote, name=name, clock=clock, headers=settings.headers())
        self._settings = settings
        self._url = self.http.url("v1/messages")
        batching = settings.batching
        self.batches: BatchApi | None = AnthropicBatches(self, batching) if batching.is_on else None

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> AnthropicProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_anthropic(name, table), name=name, clock=clock)

    def load(self, request: Request) -> Load:
        """Return the tokens that the call takes at most, in and out together."""
        return messages.load_of(measured(request))

    def most(self, request: Request) -> Usage | None:
        """Return the most tokens that a call can use, where that is known beforehand."""
        return messages.most_of(measured(request))

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Raise ``RecipeError`` for a parameter that can never be sent."""
        other = OURS if is_chat(params) else frozenset()
        super().check(model, {name: one for name, one in params.items() if name not in other})

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with one parameter, empty when nothing is."""
        return messages.wrong_param(name, value)

    async def call(self, call: Call) -> Reply:
        """Make the call; raises ``CallFailed`` for every ending but success."""
        more = STREAMED if self._speaks(call) else {}
        said = replace(call, request=in_anthropics_words(call.request))
        body = messages.body_of(said.request, await inlined(said, frozenset(PICTURES)), more)

        async def take(response: aiohttp.ClientResponse) -> Reply:
            return await self._take(response, call, said.request)

        return await self.http.post(self._url, body, call.deadline_s, take)

    async def take(self, response: aiohttp.ClientResponse, call: Call) -> Reply:
        """Return the result in an answer; raises ``CallFailed``."""
        return await self._take(response, call, measured(call.request))

    def failed(self, response: aiohttp.ClientResponse, body: bytes, **more: Any) -> CallFailed:
        """Return how a response that is no result ended, with Anthropic's id of the call."""
        return super().failed(response, body, **{"provider_request_id": _id(response), **more})

    def _speaks(self, call: Call) -> bool:
        """Tell whether a call is answered in pieces: somebody listens, and it gives a text."""
        if call.say is None or not self._settings.streams:
            return False
        return not messages.forced_tool(call.request)

    async def _take(self, response: aiohttp.ClientResponse, call: Call, request: Request) -> Reply:
        """Read an answer to a call; ``request`` is what it asks in Anthropic's words."""
        await self.refuse(response, call.deadline_s)
        say = call.say if self._speaks(call) and has_events(response) else None
        body = await (read_whole(response) if say is None else read_spoken(response, say))
        told = messages.read_told(body)
        if told is None or told.fault or not (told.stop or told.text or told.tools):
            raise self.failed(response, body)
        facts, said = (
            told.facts(),
            Said(read_announced(response.headers), tokens=told.tokens, tokens_in=told.tokens_in),
        )
        usage = used.anthropic(told.raw_usage)
        cost: dict[str, Any] = self.billed(request.model, response.headers, told.raw_usage, usage)
        result = _result(told, request, offers=in_openais_words(call.request.params.get("tools")))
        named = _id(response, told.id)
        if isinstance(result, Outcome):
            reason = self.hidden(result.reason)
            raise CallFailed(
                replace(
                    result,
                    reason=reason,
                    facts=facts,
                    said=said,
                    provider_request_id=named,
                    **cost,
                )
            )
        return Reply(
            result[0],
            body=result[1],
            provider_request_id=named,
            facts=facts,
            said=said,
            **cost,
        )


def _result(told: messages.Told, request: Request, *, offers: bool) -> tuple[str, bytes] | Outcome:
    """The media type and the bytes of an answer; ``offers``: what is called is then the answer."""
    is_json = messages.wants_json(request)
    if offers:
        return answer_of(told, is_json=is_json)
    result = messages.result_of(told, messages.forced_tool(request))
    if isinstance(result, Outcome):
        return result
    return "application/json" if is_json else "text/plain", result


def _id(response: aiohttp.ClientResponse, other: str | None = None) -> str | None:
    named = response.headers.get("request-id") or response.headers.get("x-request-id") or other
    return named[:ID_CHARS_MAX] if named else None
