"""OpenAI's shape: chat completions and images, with its headers, usage and errors.

Class B, which the real API does not offer for these calls, is ``GET /v1/calls?marker=``
and ``GET /v1/calls/{id}``.
"""

from __future__ import annotations

from functools import partial as bind
from typing import Any

import msgspec

from headrace.limits import Load
from headrace.made_up import schema_of
from headrace.simulator.bodies import json_text, text, tokens_of
from headrace.simulator.calling import tools_tokens
from headrace.simulator.desk import (
    Desk,
    Listed,
    digest_of,
    is_let_in,
    json_answer,
    key_of,
    marker_of,
    read_json,
)
from headrace.simulator.hints import Headers
from headrace.simulator.lane import Ask, Ticket
from headrace.simulator.shapes.openai_batches import OpenAIBatches
from headrace.simulator.shapes.openai_errors import OpenAIErrors, error, limit_headers
from headrace.simulator.shapes.openai_pieces import cut_chat, cut_image
from headrace.simulator.shapes.openai_tools import calling, wish_of, wrong_tools
from headrace.simulator.wire import Answer, Request

MAX_TOKENS = 256
IMAGES_MAX = 10
PARTIAL_MAX = 3
PARTIAL_TOKENS = 100
"""Of output, for each image that is shown before it is whole."""
MODELS = ("gpt-simulated", "gpt-image-simulated")
_CREATES = ("/v1/chat/completions", "/v1/images/generations")


class OpenAIShape:
    """Answers ``/v1/chat/completions``, ``/v1/images/generations`` and ``/v1/models``."""

    name = "openai"

    def __init__(self, desk: Desk) -> None:
        self._desk, self._settings = desk, desk.settings
        self._voice = OpenAIErrors(desk)
        self._batches = OpenAIBatches(desk, self._line)

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of this API."""
        path = request.path
        if path in _CREATES or self._batches.owns(request):
            return True
        if path.endswith(("/predictions", "enerateContent")):
            return False
        return path.startswith(("/v1/models", "/v1/calls"))

    async def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; ``None`` for a reset."""
        if not is_let_in(request, self._settings.api_key):
            return error(401, "Incorrect API key provided.", code="invalid_api_key")
        if request.path in _CREATES:
            if request.method != "POST":
                return error(405, f"Not allowed to {request.method} on {request.path}.")
            return await self._create(request)
        if request.path.startswith("/v1/models"):
            return self._models(request.path)
        if self._batches.owns(request):
            return self._batches.answer(request)
        return self._calls(request)

    def _line(self, path: str, body: dict[str, Any], number: int) -> tuple[int, bytes]:
        """Return the answer to one line of a batch: its status and JSON."""
        model, prompt = str(body.get("model", "")), _asked_for(body)
        if path not in _CREATES or not prompt:
            return 400, error(400, "Invalid request.").whole
        tokens_in = tokens_of(prompt)
        if path == _CREATES[1]:
            answer = self._voice.moderated() if self._settings.refuses(prompt) else None
            answer = answer or self._picture(number, 1, tokens_in, ())
            return answer.status, answer.whole
        tokens_out = min(body.get("max_tokens") or MAX_TOKENS, self._settings.output.text_tokens)
        said = self._said(body, prompt, tokens_out, number)
        tokens_in += tools_tokens(body.get("tools"))
        answer = self._completion(number, model, said, tokens_in, tokens_out, ())
        return answer.status, answer.whole

    async def _create(self, request: Request) -> Answer | None:
        body = read_json(request)
        if body is None:
            said = "We could not parse the JSON body of your request."
            return error(400, said)
        model = body.get("model")
        if not isinstance(model, str) or not model:
            return error(400, "you must provide a model parameter")
        if request.path == _CREATES[0]:
            return await self._chat(request, body, model)
        return await self._image(request, body, model)

    async def _chat(self, request: Request, body: dict[str, Any], model: str) -> Answer | None:
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            return error(400, "Missing required parameter: 'messages'.", param="messages")
        prompt = _prompt(messages)
        asked = body.get("max_completion_tokens", body.get("max_tokens", MAX_TOKENS))
        if not isinstance(asked, int) or isinstance(asked, bool) or asked < 1:
            return error(400, "Invalid 'max_tokens': integer above 0 expected.", param="max_tokens")
        wrong = wrong_tools(body)
        if wrong:
            return error(400, wrong, param="messages")
        tokens_in = tokens_of(prompt) + tools_tokens(body.get("tools"))
        tokens_out = min(asked, self._settings.output.text_tokens)
        load = Load(tokens=tokens_in + asked)
        ask = self._ask(request, model, load, tokens_in + tokens_out)
        listed = self._listed(request, body)

        def build(ticket: Ticket) -> Answer:
            said = self._said(body, prompt, tokens_out, ticket.number)
            headers = self._headers(ticket)
            return self._completion(ticket.number, model, said, tokens_in, tokens_out, headers)

        if body.get("stream"):
            options = body.get("stream_options")
            with_usage = isinstance(options, dict) and options.get("include_usage") is True
            cut = bind(cut_chat, with_usage=with_usage)
            return await self._desk.perform_in_pieces(ask, build, self._voice, cut, listed)
        return await self._desk.perform(ask, build, self._voice, listed)

    def _said(
        self, body: dict[str, Any], prompt: str, tokens_out: int, number: int
    ) -> tuple[dict[str, Any], str]:
        """Return the message of an answer, and why it ends."""
        schema, why = schema_of(body.get("response_format")), "stop"
        words = text(prompt, tokens_out)
        if self._settings.refuses(prompt):
            words, why = "", "content_filter"
        elif (found := calling(wish_of(body), number, words)) is not None:
            return found
        elif schema is not None:
            words = json_text(schema, number)
        return {"role": "assistant", "content": words, "refusal": None}, why

    def _completion(
        self,
        number: int,
        model: str,
        said: tuple[dict[str, Any], str],
        tokens_in: int,
        tokens_out: int,
        headers: Headers,
    ) -> Answer:
        message, finish_reason = said
        body = {
            "id": f"chatcmpl-sim{number:012d}",
            "object": "chat.completion",
            "created": self._created(),
            "model": model,
            "choices": [
                {
                    "index": 0,
                    "message": message,
                    "logprobs": None,
                    "finish_reason": finish_reason,
                }
            ],
            "usage": {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            },
            "service_tier": "default",
            "system_fingerprint": "fp_simulated",
        }
        return json_answer(200, body, headers)

    async def _image(self, request: Request, body: dict[str, Any], model: str) -> Answer | None:
        prompt = body.get("prompt")
        if not isinstance(prompt, str) or not prompt:
            return error(400, "Missing required parameter: 'prompt'.", param="prompt")
        count = body.get("n", 1)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= IMAGES_MAX:
            return error(400, f"Invalid 'n': 1 to {IMAGES_MAX} expected.", param="n")
        tokens_in = tokens_of(prompt)
        load = Load(tokens=tokens_in, images=count)
        ask = self._ask(request, model, load, tokens_in)

        streams = body.get("stream") is True and not self._settings.refuses(prompt)
        partial = body.get("partial_images") or 0
        if type(partial) is not int or not 0 <= partial <= PARTIAL_MAX:
            return error(400, "Invalid 'partial_images'.", param="partial_images")

        def build(ticket: Ticket) -> Answer:
            if self._settings.refuses(prompt):
                return self._voice.moderated()
            more = PARTIAL_TOKENS * partial if streams else 0
            return self._picture(ticket.number, count, tokens_in, self._headers(ticket), more)

        listed = self._listed(request, body)
        if streams:
            cut = bind(cut_image, pictures=self._desk.pictures, partial=partial)
            return await self._desk.perform_in_pieces(ask, build, self._voice, cut, listed)
        return await self._desk.perform(ask, build, self._voice, listed)

    def _picture(
        self, number: int, count: int, tokens_in: int, headers: Headers, more_tokens: int = 0
    ) -> Answer:
        pieces: list[bytes] = [b'{"created":%d,"data":[' % self._created()]
        for at in range(count):
            head, rest = self._desk.pictures.base64(number * IMAGES_MAX + at)
            pieces += [b'{"b64_json":"' if at == 0 else b',{"b64_json":"', head, rest, b'"}']
        side = self._desk.pictures.side_px
        tokens_out = count * 1000 + more_tokens
        told = {
            "input_tokens": tokens_in,
            "input_tokens_details": {"text_tokens": tokens_in, "image_tokens": 0},
            "output_tokens": tokens_out,
            "total_tokens": tokens_in + tokens_out,
        }
        pieces.append(
            b'],"background":"opaque","output_format":"png","size":"%dx%d","quality":"high",'
            b'"usage":%b}' % (side, side, msgspec.json.encode(told))
        )
        return Answer(200, tuple(pieces), headers)

    def _models(self, path: str) -> Answer:
        models = [
            {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}
            for name in MODELS
        ]
        if path.rstrip("/") == "/v1/models":
            return json_answer(200, {"object": "list", "data": models})
        for model in models:
            if path == f"/v1/models/{model['id']}":
                return json_answer(200, model)
        return error(404, "The model does not exist.", code="model_not_found")

    def _calls(self, request: Request) -> Answer:
        marker, name = request.asked().get("marker"), request.path.removeprefix("/v1/calls")
        if name:
            found = self._desk.listed.get(name.removeprefix("/"))
            if found is None or found.answer is None:
                return error(404, "No such call.")
            return found.answer
        data = [
            {"id": one.id, "created": one.created, "marker": one.marker}
            for one in self._desk.listed.values()
            if marker is None or one.marker == marker
        ]
        return json_answer(200, {"object": "list", "data": data})

    def _ask(self, request: Request, model: str, load: Load, tokens_used: int) -> Ask:
        key, is_keyed = key_of(request)
        digest = digest_of(request)
        name = model[:200]
        return Ask(self.name, name, load, key, tokens_used, is_keyed=is_keyed, digest=digest)

    def _listed(self, request: Request, body: dict[str, Any]) -> Listed | None:
        marker = marker_of(request, body)
        if not marker:
            return None
        return Listed(f"call_{len(self._desk.listed)}", marker, self._created())

    def _created(self) -> int:
        return int(self._desk.clock.now().timestamp())

    def _headers(self, ticket: Ticket) -> tuple[tuple[str, str], ...]:
        told = limit_headers(self._desk)
        return (*told, ("x-request-id", f"req_sim{ticket.number:016d}"))


def _asked_for(body: dict[str, Any]) -> str:
    messages = body.get("messages")
    return _prompt(messages) if isinstance(messages, list) else str(body.get("prompt", ""))


def _prompt(messages: list[Any]) -> str:
    """Return the text of all messages; content may be a text or a list of parts."""
    found: list[str] = []
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        parts = content if isinstance(content, list) else [{"text": content}]
        found += [str(part["text"]) for part in parts if _has_text(part)]
    return "\n".join(found)


def _has_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)
