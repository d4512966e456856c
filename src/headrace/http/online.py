"""``/v1`` on demand, as OpenAI's clients speak it, through the same quota as batches."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from headrace.access import Scope
from headrace.cache import CacheMode
from headrace.engine import Engine
from headrace.errors import HeadraceError, InputError, RecipeError
from headrace.generation import Asked, Generated
from headrace.held import encode_json
from headrace.http.answer_keys import PURCHASES_MAX
from headrace.http.artifact_links import Links
from headrace.http.bodies import read_json
from headrace.http.demand import Ask, Demand
from headrace.http.ended import MISS, Answered
from headrace.http.entry import Caller, Entry
from headrace.http.hasty_response import HastyResponse
from headrace.http.showing import Showing
from headrace.http.streams import (
    GENERATION,
    HEADERS,
    MEDIA_TYPE,
    ImageFile,
    chat_stream,
    image_stream,
    live_chat,
    live_image,
    live_response,
    response_stream,
)
from headrace.http.telling import Telling
from headrace.imprinting import imprinted
from headrace.openai_answers import answer_json, image_json, image_part, image_usage
from headrace.openai_body import CHAT, EDITS, IMAGES, RESPONSES, checked_chat, model_of

N_MAX = PURCHASES_MAX
PARTIAL_MAX = 3
_KINDS = {IMAGES: GENERATION, EDITS: "image_edit"}


class ModelNotFoundError(HeadraceError):
    """There is no such model."""

    code = "model_not_found"


class Online:
    """The routes on demand; ``model`` is ``provider:model``, as in recipes."""

    def __init__(self, engine: Engine, entry: Entry, demand: Demand, links: Links) -> None:
        self._engine = engine
        self._entry = entry
        self._demand = demand
        self._links = links

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/v1")
        router.add_api_route("/models", self.models, methods=["GET"])
        router.add_api_route("/models/{model:path}", self.model, methods=["GET"])
        router.add_api_route("/chat/completions", self.chat, methods=["POST"])
        router.add_api_route("/responses", self.responses, methods=["POST"])
        router.add_api_route("/images/generations", self.images, methods=["POST"])
        return router

    async def models(self, request: Request) -> JSONResponse:
        """List the models that the settings name."""
        await self._entry.let_in(request, Scope.READ)
        data = [_model_json(name) for name in known_models(self._engine)]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, request: Request, model: str) -> JSONResponse:
        """Show one of them."""
        await self._entry.let_in(request, Scope.READ)
        if model not in known_models(self._engine):
            raise ModelNotFoundError(f"the settings name no model {model[:200]!r}")
        return JSONResponse(_model_json(model))

    async def chat(self, request: Request) -> Response:
        """Answer a chat."""
        wish = await self._wish(request, CHAT)
        with_usage = _wants_usage(wish.body)
        if wish.body.get("stream") is not True:
            answered = await wish.answered(self._demand)
            return JSONResponse(wish.told(answered), headers=answered.headers)
        telling = wish.telling(self._demand)
        if await telling.begins():
            told = live_chat(telling, wish.begun(telling), wish.told, with_usage)
            return _telling(told)
        answered = telling.whole()
        return _streaming(chat_stream(wish.told(answered), with_usage), answered)

    async def responses(self, request: Request) -> Response:
        """Answer a response: a chat in other words."""
        wish = await self._wish(request, RESPONSES)
        if wish.body.get("stream") is not True:
            answered = await wish.answered(self._demand)
            return JSONResponse(wish.told(answered), headers=answered.headers)
        telling = wish.telling(self._demand)
        if await telling.begins():
            return _telling(live_response(telling, wish.begun(telling), wish.told))
        answered = telling.whole()
        return _streaming(response_stream(wish.told(answered)), answered)

    async def _wish(self, request: Request, endpoint: str) -> _TextWish:
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        body = await read_json(request)

        async def ask() -> list[Asked]:
            return [await self._asked(request, caller, endpoint, body, 0)]

        return _TextWish(request, caller, endpoint, body, ask)

    async def images(self, request: Request) -> Response:
        """Make images, each bought and kept by itself."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        return await self.pictures(request, caller, IMAGES, await read_json(request))

    async def pictures(
        self, request: Request, caller: Caller, endpoint: str, body: dict[str, Any]
    ) -> Response:
        """Answer a call for images with ``n`` of them; one that fails is an error for all."""
        count = _whole(body, "n", 1, N_MAX, 1)
        partial = _whole(body, "partial_images", 0, PARTIAL_MAX, 0)
        form = body.get("response_format")
        if form not in (None, "b64_json", "url"):
            raise InputError("response_format must be b64_json or url")
        wanted = {name: body[name] for name in body.keys() - {"n", "response_format"}}

        async def ask() -> list[Asked]:
            return [
                await self._asked(request, caller, endpoint, wanted, number)
                for number in range(count)
            ]

        if body.get("stream") is True:
            return await self._streamed(
                request, caller, endpoint, body, ask, partial * (count == 1)
            )
        answered = await self._demand.answer(request, caller, body, ask)
        made = answered.made
        if form == "url":
            base = str(request.base_url).rstrip("/")
            data = [{"url": base + await self._links.signed_path(one.artifact)} for one in made]
        else:
            data = [image_part(await _file(one)) for one in made]
        told = image_json(data, made[0].artifact.extension, answered.at)
        usage = image_usage(one.facts for one in made)
        told |= {} if usage is None else {"usage": usage}
        # Megabytes of base64: the usual encoder looks at each character.
        return Response(encode_json(told), headers=answered.headers, media_type="application/json")

    async def _streamed(
        self,
        request: Request,
        caller: Caller,
        endpoint: str,
        body: dict[str, Any],
        ask: Ask,
        previews_max: int,
    ) -> Response:
        """Answer with events: previews of one new image, where there are any, then each image."""
        if endpoint != IMAGES or not previews_max:
            answered = await self._demand.answer(request, caller, body, ask)
        else:
            telling = self._demand.tell(request, caller, body, ask, previews_max)
            showing = Showing(telling)
            if await showing.begins():
                return _telling(live_image(showing, body, telling.at, _files))
            answered = showing.whole()
        images = await _files(answered)
        return _streaming(image_stream(_KINDS[endpoint], images, body, answered.at), answered)

    async def _asked(
        self,
        request: Request,
        caller: Caller,
        endpoint: str,
        body: dict[str, Any],
        variant: int,
    ) -> Asked:
        if isinstance(body.get("model"), str):
            try:
                model_of({"model": body["model"]})
            except InputError as error:
                raise ModelNotFoundError(error.message, remedy=error.remedy) from error
        if endpoint in (CHAT, RESPONSES):
            checked_chat(endpoint, body)  # here, where the field that is to blame is still known
        mode = cache_mode(request)
        try:
            return await self._engine.generator.call(
                endpoint, body, variant, mode, caller.tenant_id
            )
        except RecipeError as error:
            raise ModelNotFoundError(error.message, remedy=error.remedy) from error


async def _file(made: Generated) -> bytes:
    """Return a picture as a file of it: programs pass on what they are given."""
    return await imprinted(made.artifact, made.body)


async def _files(answered: Answered) -> list[ImageFile]:
    """Return all pictures of an answer as files, with their extensions and facts."""
    return [(await _file(one), one.artifact.extension, one.facts) for one in answered.made]


@dataclass(frozen=True)
class _TextWish:
    """A call for a text: whose it is, what it says, and in which shape it is answered."""

    request: Request
    caller: Caller
    endpoint: str
    body: dict[str, Any]
    ask: Ask

    async def answered(self, demand: Demand) -> Answered:
        return await demand.answer(self.request, self.caller, self.body, self.ask)

    def telling(self, demand: Demand) -> Telling:
        return demand.tell(self.request, self.caller, self.body, self.ask)

    def told(self, answered: Answered) -> dict[str, Any]:
        """Return the whole answer."""
        made = answered.made[0]
        media_type = made.artifact.media_type
        told = answer_json(
            self.endpoint, answered.name, self.body["model"],
            made.body, media_type, made.facts, answered.at,
        )  # fmt: skip
        return self._with_own(told)

    def begun(self, telling: Telling) -> dict[str, Any]:
        """Return the answer as it is before its first word."""
        model = self.body["model"]
        told = answer_json(self.endpoint, telling.name, model, b"", "text/plain", {}, telling.at)
        return self._with_own(told)

    def _with_own(self, told: dict[str, Any]) -> dict[str, Any]:
        if self.endpoint == RESPONSES:
            told["instructions"] = self.body.get("instructions")
            told["metadata"] = self.body.get("metadata") or {}
            if self.body.get("tools"):
                told["tools"] = self.body["tools"]
                told["tool_choice"] = self.body.get("tool_choice") or "auto"
                told["parallel_tool_calls"] = self.body.get("parallel_tool_calls") is not False
        return told


def known_models(engine: Engine) -> list[str]:
    """Return the models that the settings name, as ``provider:model``."""
    found = []
    for name, table in sorted(engine.config.providers.items()):
        models = table.get("models")
        if isinstance(models, list):
            found += [f"{name}:{model}" for model in models if isinstance(model, str)]
    return found


def cache_mode(request: Request) -> CacheMode:
    """Return what ``Cache-Control`` says: ``no-store`` is off, ``no-cache`` buys anew."""
    told = request.headers.get("cache-control", "").lower()
    if "no-store" in told:
        return CacheMode.OFF
    return CacheMode.REFRESH if "no-cache" in told else CacheMode.REUSE


def _model_json(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": name.partition(":")[0]}


def _whole(body: dict[str, Any], name: str, least: int, most: int, usual: int) -> int:
    value = body.get(name)
    if value is None:
        return usual
    if type(value) is not int or not least <= value <= most:
        raise InputError(f"{name} must be a whole number, {least} to {most}")
    return value


def _streaming(pieces: Any, answered: Answered) -> StreamingResponse:
    return StreamingResponse(pieces, headers=HEADERS | answered.headers, media_type=MEDIA_TYPE)


def _telling(pieces: AsyncGenerator[bytes, None]) -> HastyResponse:
    return HastyResponse(pieces, headers=HEADERS | MISS, media_type=MEDIA_TYPE)


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True
