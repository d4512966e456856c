"""The shape of Anthropic's messages API: texts, whole or in events, and what it refuses.

As there, a field that the API does not know is refused, limits are announced with every
answer, a stream tells what goes in at its beginning and what came out at its end, and a prompt
whose ``cache_control`` asks for it is written to a cache and read from it the next time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from headrace.limits import Dimension, Load
from headrace.simulator.bodies import json_text, pieces_of, text, tokens_of
from headrace.simulator.calling import tools_tokens
from headrace.simulator.desk import Desk, digest_of, is_known_by, json_answer, key_of, read_json
from headrace.simulator.hints import Headers
from headrace.simulator.lane import Ask, Ticket, Turned
from headrace.simulator.rules import Refused
from headrace.simulator.shapes.anthropic_requests import asked_for, wrong
from headrace.simulator.shapes.anthropic_tools import calling, wish_of
from headrace.simulator.shapes.errors import Errors
from headrace.simulator.terms import spoken
from headrace.simulator.wire import Answer, Request

CALL_CHARS = 16
IMAGE_TOKENS = 1600
CACHED_MAX = 10_000
MESSAGES, MODELS = "/v1/messages", "/v1/models"
_NAMES = {Dimension.REQUESTS: "requests", Dimension.TOKENS: "tokens"}
_BROKEN = {
    "500": (500, "Internal server error", "api_error"),
    "502": (502, "Bad gateway", "api_error"),
    "503": (503, "Service unavailable", "api_error"),
    "529": (529, "Overloaded", "overloaded_error"),
}


class AnthropicShape:
    """Answers ``/v1/messages``, and ``/v1/models`` where a version of the API is named."""

    name = "anthropic"

    def __init__(self, desk: Desk) -> None:
        self._desk, self._settings = desk, desk.settings
        self._voice = AnthropicErrors(desk)
        self._cached: set[str] = set()

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of this API."""
        named = request.path == MODELS and "anthropic-version" in request.headers
        return named or request.path == MESSAGES

    async def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; ``None`` for a reset."""
        if not is_known_by(request, self._settings.api_key, "x-api-key"):
            return error(401, "invalid x-api-key", "authentication_error")
        if request.path == MODELS:
            found = [{"type": "model", "id": "claude-simulated"}]
            return json_answer(200, {"data": found, "has_more": False})
        if request.method != "POST":
            return error(405, "Method Not Allowed", "invalid_request_error")
        if "anthropic-version" not in request.headers:
            return error(400, "anthropic-version: header is required", "invalid_request_error")
        body = read_json(request)
        said = "The request body is not valid JSON" if body is None else wrong(body)
        if body is None or said:
            return error(400, said, "invalid_request_error")
        return await self._make(request, body)

    async def _make(self, request: Request, body: dict[str, Any]) -> Answer | None:
        prompt, pictures = asked_for(body)
        tokens_in = tokens_of(prompt) + IMAGE_TOKENS * pictures + tools_tokens(body.get("tools"))
        key, is_keyed = key_of(request)
        load = Load(tokens=tokens_in + body["max_tokens"])
        ask = Ask(
            self.name, body["model"][:200], load, key, tokens_in,
            is_keyed=is_keyed, digest=digest_of(request),
        )  # fmt: skip

        def build(ticket: Ticket) -> Answer:
            used = self._used(body, prompt, tokens_in)
            if self._settings.refuses(prompt):
                return self._told(ticket, body, [], "refusal", {**used, "output_tokens": 0})
            return self._written(ticket, body, prompt, used)

        if body.get("stream") is True:
            return await self._desk.perform_in_pieces(ask, build, self._voice, cut)
        return await self._desk.perform(ask, build, self._voice)

    def _used(self, body: Mapping[str, Any], prompt: str, tokens_in: int) -> dict[str, int]:
        """What goes in: new, written to the cache, or read from it."""
        named = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        place = 0
        if body.get("cache_control") is not None:
            place = 2 if prompt in self._cached else 1
            if len(self._cached) >= CACHED_MAX:
                self._cached.clear()
            self._cached.add(prompt)
        return {name: tokens_in * (at == place) for at, name in enumerate(named)}

    def _written(
        self, ticket: Ticket, body: Mapping[str, Any], prompt: str, used: dict[str, int]
    ) -> Answer:
        full = self._settings.output.text_tokens
        tokens_out, stop = min(full, body["max_tokens"]), "end_turn"
        used = {**used, "output_tokens": tokens_out}
        thinks, wish = bool(body.get("thinking")), wish_of(body)
        blocks = calling(wish, ticket.number, text(prompt, tokens_out), thinks=thinks)
        if blocks is not None:
            return self._told(ticket, body, blocks, "tool_use", used)
        form = (body.get("output_config") or {}).get("format")
        if isinstance(form, dict):
            said = json_text(form["schema"], ticket.number)
        else:
            stop = "end_turn" if tokens_out == full else "max_tokens"
            said = text(prompt, tokens_out)
            ends = [at for one in body.get("stop_sequences") or () if (at := said.find(one)) >= 0]
            if ends:
                said, stop = said[: min(ends)], "stop_sequence"
        content = [{"type": "text", "text": said}] if said else []
        return self._told(ticket, body, content, stop, used)

    def _told(
        self,
        ticket: Ticket,
        body: Mapping[str, Any],
        content: list[dict[str, Any]],
        stop: str,
        used: dict[str, int],
    ) -> Answer:
        told = {
            "id": f"msg_sim{ticket.number:012d}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {**used, "service_tier": "standard"},
        }
        named = ("request-id", f"req_sim{ticket.number:012d}")
        return json_answer(200, told, (named, *limit_headers(self._desk)))


class AnthropicErrors(Errors):
    """Words what is no success as Anthropic does."""

    true_forms = ("seconds",)

    def spent(self) -> Answer:
        """Return the answer to a call for which no money is left."""
        said = "Your credit balance is too low to access the Anthropic API."
        return error(400, said, "invalid_request_error")

    def full(self, turned: Turned) -> Answer:
        """Return the answer to a call that has no place: here it is 529."""
        return self.broken("529")

    def limited(self, turned: Turned, refused: Refused) -> Answer:
        """Return the answer to a call that a limit refused."""
        told = self.hint(refused.wait_s)
        said = f"This request would exceed the rate limit for {turned.ask.model}."
        if told.text_s is not None:
            said += f" Please try again in {told.text_s:g}s."
        headers = (*told.headers, *limit_headers(self._desk))
        return error(429, said, "rate_limit_error", headers)

    def broken(self, kind: str) -> Answer:
        """Return the answer to a call that failed in the provider."""
        return error(*_BROKEN.get(kind, _BROKEN["500"]))


def error(status: int, message: str, kind: str, headers: Headers = ()) -> Answer:
    """Return an error in Anthropic's form."""
    told = {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_sim"}
    return json_answer(status, told, headers)


def limit_headers(desk: Desk) -> Headers:
    """Return the ``anthropic-ratelimit-*`` headers: true, misleading or none, by the settings."""
    found: list[tuple[str, str]] = []
    for dimension, standing in desk.announced().items():
        if dimension not in _NAMES:
            continue
        name = f"anthropic-ratelimit-{_NAMES[dimension]}"
        until_s = math.ceil(desk.clock.now().timestamp() + standing.reset_s)
        reset = datetime.fromtimestamp(until_s, UTC)
        found += [
            (f"{name}-limit", spoken(standing.amount)),
            (f"{name}-remaining", str(math.floor(standing.remaining + 1e-9))),
            (f"{name}-reset", reset.strftime("%Y-%m-%dT%H:%M:%SZ")),
        ]
    return tuple(found)


def cut(answer: Answer) -> list[bytes]:
    """Return the events of an answer: its beginning, words, and why it stops."""
    told: dict[str, Any] = msgspec.json.decode(answer.whole)
    usage, content = told["usage"], told["content"]
    begun = {**told, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    stop = {"stop_reason": told["stop_reason"], "stop_sequence": None}
    ended = _event(
        "message_delta", delta=stop, usage={"output_tokens": usage["output_tokens"]}
    ) + _event("message_stop")
    if not content:
        return [_event("message_start", message=begun), ended]
    pieces = []
    for index, block in enumerate(content):
        empty, deltas = _in_deltas(block)
        pieces.append(_event("content_block_start", index=index, content_block=empty))
        pieces += [_event("content_block_delta", index=index, delta=one) for one in deltas]
        pieces[-1] += _event("content_block_stop", index=index)
    pieces[0] = _event("message_start", message=begun) + pieces[0] + _event("ping")
    pieces[-1] += ended
    return pieces


def _in_deltas(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A block as it begins, and what is added to it."""
    if block["type"] == "tool_use":
        told = msgspec.json.encode(block["input"]).decode()
        cuts = [told[at : at + CALL_CHARS] for at in range(0, len(told), CALL_CHARS)]
        deltas = [{"type": "input_json_delta", "partial_json": one} for one in ["", *cuts]]
        return {**block, "input": {}}, deltas
    if block["type"] == "thinking":
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        signed = {"type": "signature_delta", "signature": block["signature"]}
        return {"type": "thinking", "thinking": "", "signature": ""}, [thought, signed]
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces_of(block["text"])]
    return {"type": "text", "text": ""}, deltas


def _event(kind: str, **more: Any) -> bytes:
    told = msgspec.json.encode({"type": kind, **more})
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), told)
