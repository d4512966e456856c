"""``/v1``, as OpenAI's clients speak it: chat and images on demand, through the same quota."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from headrace.access import Scope
from headrace.engine import Engine
from headrace.errors import HeadraceError, InputError
from headrace.generation import Generated, GenerationError
from headrace.http.bodies import read_json
from headrace.http.entry import Caller, Entry
from headrace.identity import new_uuid
from headrace.openai_answers import CODES, STATUS_ELSE, STATUSES, chat_json, image_json
from headrace.openai_body import CHAT, IMAGES, model_of, params_of

_encode = msgspec.json.Encoder().encode


class Online:
    """The routes on demand; ``model`` is ``provider:model``, as in recipes."""

    def __init__(self, engine: Engine, entry: Entry) -> None:
        self._engine = engine
        self._entry = entry

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(prefix="/v1")
        router.add_api_route("/models", self.models, methods=["GET"])
        router.add_api_route("/chat/completions", self.chat, methods=["POST"])
        router.add_api_route("/images/generations", self.images, methods=["POST"])
        return router

    async def models(self, request: Request) -> JSONResponse:
        """List the models that the settings name."""
        await self._entry.let_in(request, Scope.READ)
        data = [
            {"id": name, "object": "model", "created": 0, "owned_by": name.partition(":")[0]}
            for name in known_models(self._engine)
        ]
        return JSONResponse({"object": "list", "data": data})

    async def chat(self, request: Request) -> Response:
        """Answer a chat; a stream says the whole answer once it is written down."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        body = await read_json(request)
        made = await self._made(request, caller, body, params_of(CHAT, body))
        told = _chat(self._engine, body["model"], made)
        if body.get("stream") is True:
            stream = _chunks(told, _wants_usage(body))
            return StreamingResponse(stream, media_type="text/event-stream")
        return JSONResponse(told, headers=_headers(made))

    async def images(self, request: Request) -> JSONResponse:
        """Make one image, given back as base64."""
        caller = await self._entry.let_in(request, Scope.SUBMIT)
        body = await read_json(request)
        made = await self._made(request, caller, body, params_of(IMAGES, body))
        told = image_json(made.body, made.artifact.extension, self._engine.clock.now())
        return JSONResponse(told, headers=_headers(made))

    async def _made(
        self, request: Request, caller: Caller, body: dict[str, Any], params: dict[str, Any]
    ) -> Generated:
        prompt = params.pop("prompt", "")
        for name in ("cache", "tenant_id"):
            if name in params:
                raise InputError(f"unknown key {name!r}")
        try:
            return await self._engine.generate(
                model_of(body), prompt, cache=_cache(request), tenant_id=caller.tenant_id, **params
            )
        except GenerationError as error:
            raise _EndedError(error) from error


class _EndedError(HeadraceError):
    """A generation that ended without a result, with the status that clients expect of it."""

    def __init__(self, error: GenerationError) -> None:
        super().__init__(error.message, remedy=error.remedy)
        self.code = CODES.get(error.outcome, error.outcome or "generation_failed")
        self.status = STATUSES.get(error.outcome, STATUS_ELSE)


def known_models(engine: Engine) -> list[str]:
    """Return the models that the settings name, as ``provider:model``."""
    found = []
    for name, table in sorted(engine.config.providers.items()):
        models = table.get("models")
        if isinstance(models, list):
            found += [f"{name}:{model}" for model in models if isinstance(model, str)]
    return found


def _cache(request: Request) -> str:
    told = request.headers.get("cache-control", "").lower()
    if "no-store" in told:
        return "off"
    return "refresh" if "no-cache" in told else "reuse"


def _headers(made: Generated) -> dict[str, str]:
    return {"X-Headrace-Cache": "hit" if made.cached else "miss"}


def _chat(engine: Engine, model: str, made: Generated) -> dict[str, Any]:
    now = engine.clock.now()
    text = made.body.decode("utf-8", "replace")
    return chat_json(new_uuid(now).hex, model, text, made.facts, now)


def _wants_usage(body: dict[str, Any]) -> bool:
    options = body.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _chunks(told: dict[str, Any], with_usage: bool) -> Iterator[bytes]:
    """Yield a whole answer as a stream says it: it is written down before anybody sees it."""
    choice = told["choices"][0]
    about = {name: told[name] for name in ("id", "created", "model")}
    about["object"] = "chat.completion.chunk"
    delta = {"role": "assistant", "content": choice["message"]["content"]}
    ends: list[dict[str, Any]] = [
        {**about, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        {**about, "choices": [{"index": 0, "delta": {}, "finish_reason": choice["finish_reason"]}]},
    ]
    if with_usage:
        ends.append({**about, "choices": [], "usage": told.get("usage")})
    for one in ends:
        yield b"data: " + _encode(one) + b"\n\n"
    yield b"data: [DONE]\n\n"
