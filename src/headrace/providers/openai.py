"""The ``openai`` provider: chat and images of OpenAI, or of any server shaped like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec

from headrace.clock import Clock
from headrace.errors import ConfigError, NotFoundError, RecipeError
from headrace.limits import Load, Said
from headrace.nearest import did_you_mean
from headrace.outcome import CallFailed, Outcome, OutcomeKind, failed
from headrace.price import Price
from headrace.provider import Call, CrashClass, Reply
from headrace.providers import openai_messages as messages
from headrace.providers.http_calls import HttpCalls, read_error, read_whole
from headrace.providers.openai_images import take_image
from headrace.providers.openai_settings import APIS, OpenAISettings, read_openai
from headrace.request import Request
from headrace.signals import read_announced, read_signal

# Raise it when the same params would be sent as another body.
_VERSION = "1"


class OpenAIProvider:
    """Chat and images by base64, one call for one item; nothing is sent twice.

    Answers are text (``text/plain``, JSON where ``response_format`` asks for it) or an
    image whose bytes were looked at. A lane is one model: its limits are its own.
    """

    def __init__(self, settings: OpenAISettings, *, name: str, clock: Clock) -> None:
        self.name = name
        self.crash_class = settings.crash_class
        self.quota = settings.quota
        self._settings = settings
        self._clock = clock
        self._price = Price(settings.price_microcredits, None)
        self._http = HttpCalls(settings.base_url, settings.headers())
        self._chat_url = self._http.url("chat/completions")
        self._images_url = self._http.url("images/generations")
        self._sends_key = settings.crash_class is CrashClass.KEYED

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> OpenAIProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_openai(name, table), name=name, clock=clock)

    def load(self, request: Request) -> Load:
        """Return the tokens and images that the call takes at most."""
        return (
            messages.image_load(request) if self._paints(request) else messages.chat_load(request)
        )

    def lane(self, request: Request) -> str:
        """Return the lane: each model has its own limits."""
        return f"{self.name}/{request.model}"

    def version(self, model: str) -> str:
        """Return the version of our reading of the API; the model's own stands in its name."""
        models = self._settings.models
        if models and model not in models:
            raise NotFoundError(
                f"the provider {self.name!r} has no model {model!r}",
                remedy=did_you_mean(model, models),
            )
        return _VERSION

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Raise ``RecipeError`` for a parameter that can never be sent."""
        self.version(model)
        api = params.get("api", "chat")
        if api not in APIS:
            raise RecipeError(f"api = {api!r} is not known", remedy=did_you_mean(str(api), APIS))
        for name, value in params.items():
            unfilled = isinstance(value, str) and "{{" in value
            wrong = "" if unfilled else messages.wrong_param(name, value)
            if wrong:
                raise RecipeError(wrong, remedy="Change or remove it.")

    def price(self, request: Request) -> Price:
        """Return the configured credits; what the API bills is not known beforehand."""
        return self._price

    async def open(self) -> None:
        """Open the pool of connections; raises ``ConfigError`` without a key for a remote API."""
        settings = self._settings
        if not settings.api_key and not settings.is_local:
            raise ConfigError(
                f"there is no key for {settings.base_url.host}",
                place=f"[providers.{self.name}]",
                remedy=f"Set the variable {settings.api_key_env}, or api_key.",
            )
        self._http.open()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def call(self, call: Call) -> Reply:
        """Make the call; raises ``CallFailed`` for every ending but success."""
        paints = self._paints(call.request)
        body = messages.image_body(call.request) if paints else messages.chat_body(call.request)
        headers = {"Idempotency-Key": call.key} if self._sends_key else None

        async def take(response: aiohttp.ClientResponse) -> Reply:
            if not response.ok:
                said = await read_error(response, call.deadline_s)
                raise self._failed(response, said)
            if paints:
                return await take_image(response, call, self._failed)
            return await self._take_chat(response, call.request)

        url = self._images_url if paints else self._chat_url
        return await self._http.post(url, body, call.deadline_s, take, headers)

    async def _take_chat(self, response: aiohttp.ClientResponse, request: Request) -> Reply:
        body = await read_whole(response)
        try:
            reply = messages.read_chat(body)
        except (msgspec.DecodeError, RecursionError):
            raise self._failed(response, body) from None
        content, facts = _content(reply), _facts(reply)
        said = Said(
            limits=read_announced(response.headers), tokens=messages.tokens_used(reply.usage)
        )
        if content is None:
            told = self._failed(response, body).outcome
            raise CallFailed(replace(_empty(reply, told), facts=facts, said=said))
        as_json = isinstance(request.params.get("response_format"), dict) and (
            request.params["response_format"].get("type") != "text"
        )
        return Reply(
            "application/json" if as_json else "text/plain",
            body=content.encode(),
            provider_request_id=request_id(response, reply.id),
            facts=facts,
            said=said,
        )

    def _paints(self, request: Request) -> bool:
        api = request.params.get("api") or self._settings.api
        return api == "images" if api else request.model.startswith(messages.IMAGE_FAMILIES)

    def _failed(self, response: aiohttp.ClientResponse, body: bytes) -> CallFailed:
        """Return how a response that is no result ended, as its status and body tell."""
        signal = read_signal("openai", response.status, response.headers, body, self._clock.now())
        kind, reason = signal.kind, signal.reason
        if kind is OutcomeKind.SUCCESS:
            kind, reason = OutcomeKind.NO_OUTPUT, "the answer holds no result"
        return CallFailed(
            Outcome(
                kind,
                self._hidden(reason),
                remedy=self._hidden(signal.remedy),
                wait_s=signal.wait_s,
                provider_request_id=request_id(response),
                said=signal.said,
            )
        )

    def _hidden(self, text: str) -> str:
        """Return ``text`` without our key: some servers quote it when they reject it."""
        key = self._settings.api_key
        return text.replace(key, "[key]") if key else text

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Fail: an answer that was not received cannot be asked for again."""
        raise failed(OutcomeKind.LOST_RESULT, "this API keeps no answers to be fetched later")

    async def find(self, call: Call) -> str | None:
        """Return ``None``: calls cannot be looked up."""
        return None

    async def cancel(self, provider_request_id: str) -> None:
        """Do nothing: a call ends with its connection."""


def request_id(response: aiohttp.ClientResponse, other: Any = None) -> str | None:
    """Return the id by which support finds a call: the header's, or the reply's own."""
    named = response.headers.get("x-request-id") or other
    return named[:200] if isinstance(named, str) else None


def _content(reply: messages.ChatReply) -> str | None:
    """Return the text of a chat, ``None`` when there is none or it was refused."""
    if reply.error or not reply.choices:
        return None
    choice = reply.choices[0]
    content = choice.message.content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    refused = choice.message.refusal or choice.finish_reason == "content_filter"
    return content if isinstance(content, str) and content and not refused else None


def _facts(reply: messages.ChatReply) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    usage = messages.plain_usage(reply.usage)
    if usage:
        facts["usage"] = usage
    if isinstance(reply.model, str):
        facts["model"] = reply.model
    if reply.choices and reply.choices[0].finish_reason == "length":
        facts["truncated"] = True
    return facts


def _empty(reply: messages.ChatReply, told: Outcome) -> Outcome:
    """Return how a chat without text ended: refused, cut off too soon, or what is ``told``."""
    if reply.error or not reply.choices:
        return told
    choice = reply.choices[0]
    refusal = choice.message.refusal
    if refusal or choice.finish_reason == "content_filter":
        by = f"the model refused: {refusal[:500]}" if isinstance(refusal, str) else ""
        return Outcome(
            OutcomeKind.REFUSED, by or "the content filter refused", remedy="Change the prompt."
        )
    if choice.finish_reason == "length":
        return Outcome(
            OutcomeKind.INVALID,
            "the answer was cut off before its first word",
            remedy="Raise max_completion_tokens: thinking counts, too.",
        )
    return told
