"""The shape of Google's models: generateContent and streamGenerateContent, by either door.

Paths of the Gemini API and of Vertex AI are answered alike. As with Google, an answer
announces no limits, tokens that go in are those that count, and a stream is events (or, without
``alt=sse``, an array) whose last piece tells why it ends and what was used.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.limits import Dimension, Load
from headrace.simulator.bodies import json_text, pieces_of, text, tokens_of
from headrace.simulator.calling import tools_tokens
from headrace.simulator.desk import Desk, digest_of, is_known_by, json_answer, key_of, read_json
from headrace.simulator.hints import google_error
from headrace.simulator.lane import Ask, Ticket, Turned
from headrace.simulator.rules import Refused
from headrace.simulator.shapes.errors import Errors
from headrace.simulator.shapes.gemini_tools import calling, wish_of, wrong_tools
from headrace.simulator.wire import Answer, Request
from headrace.waits import dig

IMAGE_TOKENS = 1290
_VERSION = r"/v[0-9][0-9a-z]*"
_MODEL = re.compile(
    rf"{_VERSION}/(?:projects/[^/]+/locations/[^/]+/publishers/google/)?"
    r"((?:models|tunedModels)/[\w.-]+):(generateContent|streamGenerateContent)",
    re.ASCII,
)
_LIST = re.compile(r"/v1beta/models")
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_BROKEN = {
    "500": (500, "An internal error has occurred. Please retry.", "INTERNAL"),
    "502": (502, "Bad Gateway", "UNAVAILABLE"),
    "503": (503, "The model is overloaded. Please try again later.", "UNAVAILABLE"),
}


class GeminiShape:
    """Answers ``…/models/MODEL:generateContent`` and ``:streamGenerateContent``."""

    name = "gemini"

    def __init__(self, desk: Desk) -> None:
        self._desk, self._settings = desk, desk.settings
        self._voice = GeminiErrors(desk)

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of this API."""
        return any(one.fullmatch(request.path) for one in (_MODEL, _LIST))

    async def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; ``None`` for a reset."""
        if not is_known_by(request, self._settings.api_key, "x-goog-api-key"):
            return error(400, "API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT")
        found = _MODEL.fullmatch(request.path)
        if found is None:
            return json_answer(200, {"models": [{"name": "models/gemini-simulated"}]})
        if request.method != "POST":
            return error(404, "Not found.", "NOT_FOUND")
        body = read_json(request)
        prompt = None if body is None else _prompt(body)
        if body is None or not prompt:
            return error(400, "* GenerateContentRequest.contents: empty", "INVALID_ARGUMENT")
        model = found[1].partition("/")[2]
        wrong = wrong_tools(body, model)
        if wrong:
            return error(400, wrong, "INVALID_ARGUMENT")
        return await self._make(request, body, prompt, model, found[2])

    async def _make(
        self, request: Request, body: dict[str, Any], prompt: str, model: str, verb: str
    ) -> Answer | None:
        tokens_in = tokens_of(prompt) + tools_tokens(body.get("tools"))
        paints = "image" in model
        key, is_keyed = key_of(request)
        load = Load(tokens=tokens_in, images=int(paints))
        ask = Ask(
            self.name, model[:200], load, key, tokens_in,
            is_keyed=is_keyed, digest=digest_of(request),
        )  # fmt: skip

        def build(ticket: Ticket) -> Answer:
            if self._settings.refuses(prompt):
                told = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
                return self._told(ticket, model, told, tokens_in, {})
            if paints:
                return self._painted(ticket, model, tokens_in)
            return self._written(ticket, model, prompt, tokens_in, body)

        if verb == "streamGenerateContent" and request.asked().get("alt") == "sse":
            return await self._desk.perform_in_pieces(ask, build, self._voice, cut)
        answer = await self._desk.perform(ask, build, self._voice)
        if verb == "streamGenerateContent" and answer is not None and answer.status < 400:
            answer.body = b"[%b]" % answer.whole
        return answer

    def _written(
        self, ticket: Ticket, model: str, prompt: str, tokens_in: int, body: Mapping[str, Any]
    ) -> Answer:
        config = body.get("generationConfig")
        config = config if isinstance(config, dict) else {}
        most = config.get("maxOutputTokens")
        asked = most if type(most) is int and most > 0 else self._settings.output.text_tokens
        tokens_out = min(asked, self._settings.output.text_tokens)
        schema = config.get("responseJsonSchema")
        parts = calling(wish_of(body), ticket.number, text(prompt, tokens_out))
        if parts is not None:
            told = {"candidates": [_candidate(parts)]}
            return self._told(ticket, model, told, tokens_in, {"candidatesTokenCount": tokens_out})
        if isinstance(schema, dict):
            said = json_text(schema, ticket.number)
        else:
            said = text(prompt, tokens_out)
        told = {"candidates": [_candidate([{"text": said}])]}
        return self._told(ticket, model, told, tokens_in, {"candidatesTokenCount": tokens_out})

    def _painted(self, ticket: Ticket, model: str, tokens_in: int) -> Answer:
        head, rest = self._desk.pictures.base64(ticket.number)
        data = (head + rest).decode()
        told = {
            "candidates": [_candidate([{"inlineData": {"mimeType": "image/png", "data": data}}])]
        }
        details = [{"modality": "IMAGE", "tokenCount": IMAGE_TOKENS}]
        used = {"candidatesTokenCount": IMAGE_TOKENS, "candidatesTokensDetails": details}
        return self._told(ticket, model, told, tokens_in, used)

    def _told(
        self,
        ticket: Ticket,
        model: str,
        told: dict[str, Any],
        tokens_in: int,
        used: dict[str, Any],
    ) -> Answer:
        total = tokens_in + used.get("candidatesTokenCount", 0)
        usage = {"promptTokenCount": tokens_in, **used, "totalTokenCount": total}
        usage["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": tokens_in}]
        about = {"modelVersion": model, "responseId": f"sim{ticket.number:012d}"}
        return json_answer(200, {**told, "usageMetadata": usage, **about})


class GeminiErrors(Errors):
    """Words what is no success as Google does."""

    true_forms = ("retryinfo", "text")

    def spent(self) -> Answer:
        """Return the answer to a call for which no money is left."""
        return error(429, _QUOTA, "RESOURCE_EXHAUSTED")

    def limited(self, turned: Turned, refused: Refused) -> Answer:
        """Return the answer to a call that a limit refused."""
        told = self.hint(refused.wait_s)
        is_daily = "day" in refused.kind and refused.dimension is not Dimension.CONCURRENCY
        message = _QUOTA
        if told.text_s is not None:
            message += f"\nPlease retry in {told.text_s:g}s."
        # Google tells 37 s or so even when the day's quota is gone: only the quota's id says.
        wait_s = min(refused.wait_s, 37.0) if is_daily else refused.wait_s
        shown_s = wait_s if told.retry_info else None
        body = google_error(message, turned.ask.model, shown_s, daily=is_daily)
        return json_answer(429, body, told.headers)

    def broken(self, kind: str) -> Answer:
        """Return the answer to a call that failed in the provider."""
        return error(*_BROKEN.get(kind, _BROKEN["500"]))


def error(code: int, message: str, status: str) -> Answer:
    """Return an error in Google's form."""
    return json_answer(code, {"error": {"code": code, "message": message, "status": status}})


def cut(answer: Answer) -> list[bytes]:
    """Return the events of an answer: words, then why it ends, each with what is used so far."""
    told: dict[str, Any] = msgspec.json.decode(answer.whole)
    candidates = told.pop("candidates", None)
    if candidates is None:
        return [_event(told)]
    usage = told.pop("usageMetadata")
    so_far = {**usage, "totalTokenCount": usage["promptTokenCount"]}
    so_far.pop("candidatesTokenCount", None)
    part, *calls = candidates[0]["content"]["parts"]
    pieces = []
    for piece in pieces_of(part["text"]) if "text" in part else ():
        begun = {"content": {"role": "model", "parts": [{"text": piece}]}, "index": 0}
        pieces.append({**told, "candidates": [begun], "usageMetadata": so_far})
    if "text" in part:
        candidates[0]["content"]["parts"] = [{"text": ""}, *calls]
    pieces.append({**told, "candidates": candidates, "usageMetadata": usage})
    return [_event(piece) for piece in pieces]


def _event(told: dict[str, Any]) -> bytes:
    return b"data: %b\r\n\r\n" % msgspec.json.encode(told)


def _candidate(parts: list[dict[str, Any]]) -> dict[str, Any]:
    content = {"role": "model", "parts": parts}
    return {"content": content, "finishReason": "STOP", "index": 0}


def _prompt(body: dict[str, Any]) -> str:
    """Return the text of the system instruction and all contents."""
    contents = body.get("contents")
    found: list[str] = []
    for content in [
        body.get("systemInstruction"),
        *(contents if isinstance(contents, list) else ()),
    ]:
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                found.append(part["text"])
            if isinstance(part, dict) and "functionResponse" in part:
                response = dig(part, "functionResponse", "response")
                found += map(str, response.values() if isinstance(response, dict) else ())
    return "\n".join(found)
