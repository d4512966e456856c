"""The ``openai`` provider: text and images of OpenAI; ``openai_compatible`` builds on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import aiohttp
from yarl import URL

from headrace.clock import Clock
from headrace.fingerprint import canonical_json
from headrace.limits import Load, Said
from headrace.nearest import did_you_mean
from headrace.openai_tools import in_openais_words
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.preview import Previews
from headrace.price_table import Usage
from headrace.provider import Call, CrashClass, Reply
from headrace.provider_batch import BatchApi
from headrace.providers.openai import messages, replies
from headrace.providers.openai.batches import OpenAIBatches
from headrace.providers.openai.edits import edit_form
from headrace.providers.openai.images import ImageReader
from headrace.providers.openai.settings import APIS, OpenAISettings, read_openai
from headrace.providers.openai.spoken import (
    STREAMED_CHAT,
    STREAMED_RESPONSE,
    read_spoken_chat,
    read_spoken_response,
)
from headrace.providers.remote import usage as used
from headrace.providers.remote.adapter import RemoteProvider, request_id
from headrace.providers.remote.following import pause_s
from headrace.providers.remote.http_calls import read_object, read_whole
from headrace.providers.remote.letters import Parcel
from headrace.providers.remote.media import IMAGES, SVG
from headrace.providers.remote.server_events import has_events
from headrace.request import Request
from headrace.signals import read_announced
from headrace.tool_calls import kept


class OpenAIProvider(RemoteProvider):
    """Chat, responses, images and their edits: one call for one item, nothing is sent twice.

    Answers are text (``text/plain``, JSON where a format asks for it) or an image whose
    bytes were looked at. A lane is one model: its limits are its own.
    """

    signals = "openai"
    probe_path = "models"
    edits = True
    """Whether pictures can be sent in to be edited."""
    previews = True
    """Whether pictures are shown before they are whole."""

    def __init__(
        self,
        settings: OpenAISettings,
        *,
        name: str,
        clock: Clock,
        spelling: messages.Spelling | None = None,
    ) -> None:
        super().__init__(settings.remote, name=name, clock=clock, headers=settings.headers())
        self._settings = settings
        self._spelling = spelling or messages.Spelling()
        self._chat_url = self.http.url("chat/completions")
        self._responses_url = self.http.url("responses")
        self._images_url = self.http.url("images/generations")
        self._edits_url = self.http.url("images/edits")
        self._sends_key = self.crash_class is CrashClass.KEYED
        self._reader = ImageReader(self.http, self.failed, self._image_cost, self._pause)
        self.batches: BatchApi | None = (
            OpenAIBatches(self, settings.batching) if settings.batching.is_on else None
        )

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> OpenAIProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_openai(name, table), name=name, clock=clock)

    def load(self, request: Request) -> Load:
        """Return the tokens and images that the call takes at most."""
        if self.api_of(request) == "images":
            return messages.image_load(request)
        return messages.text_load(request)

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with one parameter, empty when nothing is."""
        if name == "api" and value not in APIS:
            return f"api = {value!r} is not known. {did_you_mean(str(value), APIS)}"
        return self._spelling.wrong_param(name, value)

    def most(self, request: Request) -> Usage | None:
        """Return the most tokens, or the image, that a call can use."""
        api = self.api_of(request)
        if api == "images":
            said = self._settings.response_format
            return messages.image_most(request, self._spelling, said)
        return messages.text_most(request, self._spelling, api)

    def failed(self, response: aiohttp.ClientResponse, body: bytes, **more: Any) -> CallFailed:
        """Return how a response that is no result ended; a refusal names its categories."""
        failure = super().failed(response, body, **more)
        if failure.outcome.kind is not OutcomeKind.REFUSED:
            return failure
        moderation = replies.moderation_of(body)
        if not moderation:
            return failure
        facts = {**failure.outcome.facts, "moderation": moderation}
        return CallFailed(replace(failure.outcome, facts=facts))

    async def call(self, call: Call) -> Reply:
        """Make the call; raises ``CallFailed`` for every ending but success."""
        request = call.request
        pictures = await self._pictures(call)
        url, body = self._written(self.api_of(request), request, pictures, self._asked_for(call))
        headers = {"Idempotency-Key": call.key} if self._sends_key else None

        async def take(response: aiohttp.ClientResponse) -> Reply:
            return await self.take(response, call)

        return await self.http.post(url, body, call.deadline_s, take, headers)

    async def take(self, response: aiohttp.ClientResponse, call: Call) -> Reply:
        """Return the result in an answer; raises ``CallFailed``."""
        request = call.request
        api = self.api_of(request)
        await self.refuse(response, call.deadline_s)
        if api == "images":
            wanted = self._wanted(request)
            previews = self._previews_of(call) if has_events(response) else None
            return await self._reader.take(response, call, wanted, previews=previews)
        if messages.paints(request):
            name = "result" if api == "responses" else "b64_json"
            return await self._reader.take(response, call, self._wanted(request), name)
        say = call.say if self._speaks(call) and has_events(response) else None
        return await self._take_text(response, request, api, say)

    def written(self, request: Request) -> tuple[str, bytes]:
        """Return the path below ``base_url``, and the JSON, of a request without sources.

        Raises ``CallFailed`` (invalid).
        """
        url, body = self._written(self.api_of(request), request, {})
        assert isinstance(body, bytes)  # only pictures make a form
        return url.path.removeprefix(self.http.url("").path), body

    async def moderate(self, model: str, letter: Any, deadline_s: float) -> dict[str, Any]:
        """Return what the endpoint of moderations says of a text, or of a list of parts.

        It costs nothing. Raises ``CallFailed``.
        """
        body = canonical_json({"model": model, "input": letter})

        async def take(response: aiohttp.ClientResponse) -> dict[str, Any]:
            await self.refuse(response, deadline_s)
            told = read_object(await read_whole(response))
            if told is None:
                raise self.failed(response, b"")
            return told

        return await self.http.post(
            self.http.url("moderations"), body, deadline_s, take, paid=False
        )

    def _speaks(self, call: Call) -> bool:
        """Tell whether a call is answered in pieces: somebody listens, and it gives a text."""
        if call.say is None or not self._settings.streams:
            return False
        return self.api_of(call.request) != "images" and not messages.paints(call.request)

    def _previews_of(self, call: Call) -> Previews | None:
        """Return the previews that a call is asked for: somebody waits, and it draws anew."""
        request = call.request
        if not (self.previews and self._settings.streams) or request.sources:
            return None
        drawn = request.params.get("output_format") == "svg"
        if drawn or not request.model.startswith(messages.IMAGE_FAMILIES[:2]):
            return None
        return call.previews if self.api_of(request) == "images" else None

    def _asked_for(self, call: Call) -> Mapping[str, Any]:
        """Return what is added to a body to be answered in pieces, or with previews."""
        previews = self._previews_of(call)
        if previews is not None:
            return {"stream": True, "partial_images": previews.count}
        if not self._speaks(call):
            return messages.NOTHING
        return STREAMED_RESPONSE if self.api_of(call.request) == "responses" else STREAMED_CHAT

    def _written(
        self,
        api: str,
        request: Request,
        pictures: messages.Pictures,
        more: Mapping[str, Any] = messages.NOTHING,
    ) -> tuple[URL, bytes | Parcel]:
        spelling = self._spelling
        if api == "chat":
            return self._chat_url, messages.chat_body(request, spelling, pictures, more)
        if api == "responses":
            return self._responses_url, messages.responses_body(request, spelling, pictures, more)
        if not pictures:
            said = self._settings.response_format
            return self._images_url, messages.image_body(request, spelling, said, more)
        if not self.edits:
            raise failed(
                OutcomeKind.INVALID,
                "this server takes no pictures in as files",
                remedy="Give an address in its own param, or choose another provider.",
            )
        return self._edits_url, edit_form(request, spelling, pictures)

    async def _pictures(self, call: Call) -> messages.Pictures:
        return {
            name: tuple([await call.source(digest) for digest in digests])
            for name, digests in messages.placed_in(call.request).items()
        }

    async def _take_text(
        self,
        response: aiohttp.ClientResponse,
        request: Request,
        api: str,
        say: Callable[[str], None] | None,
    ) -> Reply:
        if say is None:
            body = await read_whole(response)
        else:
            body = await (read_spoken_response if api == "responses" else read_spoken_chat)(
                response, say
            )
        text = (replies.read_response if api == "responses" else replies.read_chat)(body)
        if text is None:
            raise self.failed(response, body)
        said = Said(
            limits=read_announced(response.headers),
            tokens=replies.tokens_used(text.usage),
            tokens_in=replies.tokens_in(text.usage),
        )
        facts = replies.facts_of(text)
        known = messages.at_list_price(request, text.tier)
        usage = used.openai_text(text.usage) if known else None
        cost: dict[str, Any] = self.billed(request.model, response.headers, text.usage, usage)
        calls = text.calls if in_openais_words(request.params.get("tools")) else ()
        if text.content is None and not calls:
            if text.usage is None:
                # An error that stands in a success: whether its call was billed, nobody said.
                cost.pop("estimate_microusd", None)
            told = self.failed(response, body).outcome
            outcome = replies.without_text(text, told)
            facts = {**facts, **told.facts}
            raise CallFailed(replace(outcome, facts=facts, said=said, **cost))
        media_type, answer = kept(text.content, calls, is_json=_is_json(request, api))
        return Reply(
            media_type,
            body=answer,
            provider_request_id=request_id(response, text.id),
            facts=facts,
            said=said,
            **cost,
        )

    def _image_cost(
        self,
        response: aiohttp.ClientResponse,
        reply: replies.ImageReply,
        request: Request,
        images: int,
    ) -> dict[str, Any]:
        # An image inside of a chat or a response is billed beside the tokens of its usage.
        known = self.api_of(request) == "images" and messages.at_list_price(request)
        usage = used.openai_image(reply.usage, reply.size, reply.quality, images) if known else None
        return self.billed(request.model, response.headers, reply.usage, usage)

    def api_of(self, request: Request) -> str:
        """Return which of the APIs a request is for: one of ``APIS``."""
        api = request.params.get("api") or self._settings.api
        if isinstance(api, str) and api in APIS:
            return api
        return "images" if request.model.startswith(messages.IMAGE_FAMILIES) else "chat"

    def _wanted(self, request: Request) -> frozenset[str]:
        drawn = self._settings.takes_svg or request.params.get("output_format") == "svg"
        return IMAGES | {SVG} if drawn else IMAGES

    async def _pause(self, number: int) -> None:
        await self._clock.sleep(pause_s(number))


def _is_json(request: Request, api: str) -> bool:
    """Tell whether the params ask for an answer in JSON."""
    asked: Any = request.params.get("response_format")
    if api == "responses":
        text = request.params.get("text")
        asked = text.get("format") if isinstance(text, dict) else None
    return isinstance(asked, dict) and asked.get("type") != "text"
