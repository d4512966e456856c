"""The ``openai`` provider: chat and images of OpenAI, or of any server shaped like it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import msgspec

from headrace.clock import Clock
from headrace.limits import Load, Said
from headrace.nearest import did_you_mean
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.price_table import Usage
from headrace.provider import Call, CrashClass, Reply
from headrace.providers import openai_messages as messages
from headrace.providers import usage as used
from headrace.providers.http_calls import read_whole
from headrace.providers.openai_images import take_image
from headrace.providers.openai_settings import APIS, OpenAISettings, read_openai
from headrace.providers.remote import RemoteProvider, request_id
from headrace.request import Request
from headrace.signals import read_announced


class OpenAIProvider(RemoteProvider):
    """Chat and images by base64, one call for one item; nothing is sent twice.

    Answers are text (``text/plain``, JSON where ``response_format`` asks for it) or an
    image whose bytes were looked at. A lane is one model: its limits are its own.
    """

    signals = "openai"
    probe_path = "models"

    def __init__(self, settings: OpenAISettings, *, name: str, clock: Clock) -> None:
        super().__init__(settings.remote, name=name, clock=clock, headers=settings.headers())
        self._settings = settings
        self._chat_url = self.http.url("chat/completions")
        self._images_url = self.http.url("images/generations")
        self._sends_key = self.crash_class is CrashClass.KEYED

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> OpenAIProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_openai(name, table), name=name, clock=clock)

    def load(self, request: Request) -> Load:
        """Return the tokens and images that the call takes at most."""
        return (
            messages.image_load(request) if self._paints(request) else messages.chat_load(request)
        )

    def most(self, request: Request) -> Usage | None:
        """Return the most tokens, or the image, that a call can use."""
        paints = self._paints(request)
        return messages.image_most(request) if paints else messages.chat_most(request)

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with one parameter, empty when nothing is."""
        if name == "api" and value not in APIS:
            return f"api = {value!r} is not known. {did_you_mean(str(value), APIS)}"
        return messages.wrong_param(name, value)

    async def call(self, call: Call) -> Reply:
        """Make the call; raises ``CallFailed`` for every ending but success."""
        paints = self._paints(call.request)
        body = messages.image_body(call.request) if paints else messages.chat_body(call.request)
        headers = {"Idempotency-Key": call.key} if self._sends_key else None

        def image_cost(
            response: aiohttp.ClientResponse, reply: messages.ImageReply
        ) -> dict[str, Any]:
            usage = used.openai_image(reply.usage, reply.size, reply.quality)
            return self.billed(call.request.model, response.headers, reply.usage, usage)

        async def take(response: aiohttp.ClientResponse) -> Reply:
            await self.refuse(response, call.deadline_s)
            if paints:
                return await take_image(response, call, self.failed, image_cost)
            return await self._take_chat(response, call.request)

        url = self._images_url if paints else self._chat_url
        return await self.http.post(url, body, call.deadline_s, take, headers)

    async def _take_chat(self, response: aiohttp.ClientResponse, request: Request) -> Reply:
        body = await read_whole(response)
        try:
            reply = messages.read_chat(body)
        except (msgspec.DecodeError, RecursionError):
            raise self.failed(response, body) from None
        content, facts = _content(reply), _facts(reply)
        said = Said(
            limits=read_announced(response.headers), tokens=messages.tokens_used(reply.usage)
        )
        standard = reply.service_tier in messages.STANDARD_TIERS
        usage = used.openai_text(reply.usage) if standard else None
        cost: dict[str, Any] = self.billed(request.model, response.headers, reply.usage, usage)
        if content is None:
            told = self.failed(response, body).outcome
            raise CallFailed(replace(_empty(reply, told), facts=facts, said=said, **cost))
        as_json = isinstance(request.params.get("response_format"), dict) and (
            request.params["response_format"].get("type") != "text"
        )
        return Reply(
            "application/json" if as_json else "text/plain",
            body=content.encode(),
            provider_request_id=request_id(response, reply.id),
            facts=facts,
            said=said,
            **cost,
        )

    def _paints(self, request: Request) -> bool:
        api = request.params.get("api") or self._settings.api
        return api == "images" if api else request.model.startswith(messages.IMAGE_FAMILIES)


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
