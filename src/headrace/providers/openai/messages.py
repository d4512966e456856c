"""What is said to an OpenAI-shaped API, as values: bodies of requests, and what they take."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from headrace.limits import Load
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.price_table import Usage
from headrace.providers.remote.media import HEAD_BYTES, IMAGES, media_type_of
from headrace.request import Request
from headrace.tool_calls import EXTRA

OUTPUT_TOKENS_DEFAULT = 1024
"""Counted against the lane for a text that names no most of its own."""

IMAGE_FAMILIES = ("gpt-image", "chatgpt-image", "dall-e")
_OURS = ("api", "system", "prompt", "messages")
_FIXED = {"model": "the stage's model", "stream": "answers are read whole"}
# A cell of a CSV file is text; these go out as numbers.
NUMBERS: Mapping[str, type[int] | type[float]] = {
    "max_tokens": int,
    "max_completion_tokens": int,
    "max_output_tokens": int,
    "n": int,
    "seed": int,
    "top_logprobs": int,
    "output_compression": int,
    "temperature": float,
    "top_p": float,
    "presence_penalty": float,
    "frequency_penalty": float,
}
_MOST = ("max_completion_tokens", "max_output_tokens", "max_tokens")
TRANSLATED = ("anthropic",)
"""Whose own words no server of this shape speaks."""
_CALL_TOKENS = 8
_MESSAGE_TOKENS = 4
_PICTURE_TOKENS = 1024

Pictures = Mapping[str, tuple[bytes, ...]]
"""The bytes of a request's sources, by the param that each goes in under."""

NOTHING: Mapping[str, Any] = MappingProxyType({})
encode = msgspec.json.Encoder().encode


class Spelling:
    """How the params of one server are written: ``numbers`` are its own beside the usual ones.

    ``takes_back``: a call of a tool may hold what the server wants back, as it gave it.
    """

    def __init__(
        self,
        numbers: Mapping[str, type[int] | type[float]] | None = None,
        *,
        takes_back: bool = False,
    ) -> None:
        self._numbers = {**NUMBERS, **(numbers or {})}
        self._takes_back = takes_back

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with a parameter, empty when nothing is."""
        if name in _FIXED:
            return f"{name!r} cannot be set: {_FIXED[name]}"
        if name == "background" and value in (True, "true"):
            return "'background' cannot be set: answers are waited for"
        if name == "n" and value not in (1, "1"):
            return "n must be 1: each item is one result"
        if name == "messages" and not isinstance(value, list):
            return "messages must be a list"
        kind = self._numbers.get(name)
        if kind is not None and not _is_number(value, kind):
            what = "a whole number" if kind is int else "a number"
            return f"{name} = {str(value)[:80]!r} is not {what}"
        return ""

    def params(self, request: Request) -> dict[str, Any]:
        """Return the params as they are sent, without those that are placed elsewhere.

        Raises ``CallFailed`` (invalid) for one that cannot be sent.
        """
        body, placed = {}, placed_in(request)
        for name, value in request.params.items():
            wrong = self.wrong_param(name, value)
            if wrong:
                raise failed(OutcomeKind.INVALID, wrong, remedy="Change the stage's params.")
            if name in _OURS or name in placed:
                continue
            kind = self._numbers.get(name)
            body[name] = kind(value) if kind is not None and isinstance(value, str) else value
        return body

    def messages(self, request: Request) -> list[Any]:
        """Return the messages of a chat, without what other providers want back with a call."""
        told = request.params.get("messages", ())
        return [self._own(message) for message in told]

    def _own(self, message: Any) -> Any:
        calls = message.get("tool_calls") if isinstance(message, dict) else None
        if not isinstance(calls, list):
            return message
        told = {name: value for name, value in message.items() if name != "parsed"}
        return {**told, "tool_calls": [self._own_call(call) for call in calls]}

    def _own_call(self, call: Any) -> Any:
        """A call without what clients add to it: its place in a stream, what they made of it."""
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            return call
        bare = {name: call[name] for name in ("id", "type") if name in call}
        bare["function"] = {n: function[n] for n in ("name", "arguments") if n in function}
        extra = call.get(EXTRA)
        known = extra.items() if isinstance(extra, dict) and self._takes_back else ()
        kept = {name: value for name, value in known if name not in TRANSLATED}
        return {**bare, EXTRA: kept} if kept else bare


def placed_in(request: Request) -> Mapping[str, tuple[str, ...]]:
    """Return the digests of the request's sources by their params; mostly there are none."""
    return request.placed() if request.sources else {}


def _is_number(value: Any, kind: type[int] | type[float]) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        number = float(value)
        return math.isfinite(number) and number == kind(value)
    except (ValueError, OverflowError):
        return False


def chat_body(
    request: Request, spelling: Spelling, pictures: Pictures, more: Mapping[str, Any] = NOTHING
) -> bytes:
    """Return the body of a chat: ``system``, then ``messages``, then the prompt as the user's.

    Pictures stand beside the prompt; ``more`` are params of our own. Raises ``CallFailed``
    (invalid).
    """
    body = spelling.params(request)
    messages = spelling.messages(request)
    if "system" in request.params:
        messages.insert(0, {"role": "system", "content": request.params["system"]})
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in _data_urls(pictures)]
    messages += _said(request, parts, "text")
    return encode({"model": request.model, "messages": messages, **body, **more})


def responses_body(
    request: Request, spelling: Spelling, pictures: Pictures, more: Mapping[str, Any] = NOTHING
) -> bytes:
    """Return the body of a response; ``system`` is its instructions. Raises as ``chat_body``."""
    tools = request.params.get("tools")
    if isinstance(tools, list) and any(_is_of_chat(tool) for tool in tools):
        raise failed(
            OutcomeKind.INVALID,
            "tools of a chat, for a provider that is asked for responses",
            remedy='Set api = "chat" for it: only texts are said in the words of the other API.',
        )
    body = spelling.params(request)
    if "system" in request.params:
        body["instructions"] = request.params["system"]
    # Unlike a chat, a response has to say how closely to look.
    parts = [
        {"type": "input_image", "image_url": url, "detail": "auto"} for url in _data_urls(pictures)
    ]
    messages = [*request.params.get("messages", ()), *_said(request, parts, "input_text")]
    return encode({"model": request.model, "input": messages, **body, **more})


def _is_of_chat(tool: Any) -> bool:
    return isinstance(tool, dict) and "function" in tool


def _said(request: Request, pictures: list[dict[str, Any]], text_type: str) -> list[Any]:
    """Return the user's message, none where the params have messages and nothing else."""
    prompt = request.params.get("prompt")
    if prompt is None and not pictures:
        if not request.params.get("messages"):
            raise failed(OutcomeKind.INVALID, "there is neither a prompt nor messages")
        return []
    if not pictures:
        return [{"role": "user", "content": prompt}]
    text = [] if prompt is None else [{"type": text_type, "text": prompt}]
    return [{"role": "user", "content": text + pictures}]


def image_body(
    request: Request,
    spelling: Spelling,
    response_format: str,
    more: Mapping[str, Any] = NOTHING,
) -> bytes:
    """Return the body of an image; ``response_format`` asks for the bytes where one must.

    ``more`` are params of our own.
    """
    body = spelling.params(request)
    if response_format and not request.model.startswith(IMAGE_FAMILIES[:2]):
        body.setdefault("response_format", response_format)
    if "prompt" in request.params:
        body["prompt"] = request.params["prompt"]
    return encode({"model": request.model, **body, **more})


def picture_type(body: bytes) -> str:
    """Return the media type of a source by its bytes; raises ``CallFailed`` (invalid)."""
    found = media_type_of(body[:HEAD_BYTES])
    if found not in IMAGES:
        raise failed(
            OutcomeKind.INVALID,
            f"a source is {found or 'of an unknown kind'}, not an image",
            remedy="PNG, JPEG, WebP, GIF or AVIF.",
        )
    return found


def _data_urls(pictures: Pictures) -> list[str]:
    return [
        f"data:{picture_type(body)};base64,{base64.b64encode(body).decode()}"
        for bodies in pictures.values()
        for body in bodies
    ]


def text_load(request: Request) -> Load:
    """Return what a text takes at most: its words at four bytes a token, and its output."""
    params = request.params
    tokens, size = _CALL_TOKENS + _PICTURE_TOKENS * len(request.sources), 0
    for name in ("prompt", "system"):
        value = params.get(name)
        if value:
            size += len(value.encode("utf-8", "replace")) if isinstance(value, str) else 64
    messages = params.get("messages")
    if isinstance(messages, list):
        size += len(encode(messages))
        tokens += _MESSAGE_TOKENS * len(messages)
    if params.get("tools"):
        size += len(encode(params["tools"]))
    most: Any = next((params[name] for name in _MOST if name in params), None)
    output = int(most) if _is_number(most, int) else OUTPUT_TOKENS_DEFAULT
    tokens += -(-size // 4)
    return Load(tokens=tokens + max(0, output), tokens_in=tokens)


def image_load(request: Request) -> Load:
    """Return what an image takes: one image, and its prompt at four bytes a token."""
    prompt = str(request.params.get("prompt", "")).encode("utf-8", "replace")
    return Load(tokens=_CALL_TOKENS + -(-len(prompt) // 4), images=1)


_UNTOLD = ("modalities", "audio", "prediction", "input", "previous_response_id", "conversation")
_PICTURES = ("image", "images", "mask")
_STANDARD_TIERS = (None, "auto", "default", "standard")


def text_most(request: Request, spelling: Spelling, api: str) -> Usage | None:
    """Return the most tokens that a text can use, ``None`` where nobody knows beforehand.

    Nobody does without a most of its own for the output, with pictures or sound in it, after
    a conversation that the server kept, with tools that the server runs, or at a tier of
    another price. A token has one byte at least.
    """
    params = request.params
    most: Any = next((params[name] for name in _MOST if name in params), None)
    if not _is_number(most, int) or int(most) < 0:
        return None
    if request.sources or not at_list_price(request):
        return None
    if any(name in params for name in _UNTOLD) or not _is_text(params.get("messages", [])):
        return None
    write = responses_body if api == "responses" else chat_body
    try:
        return Usage(input_tokens=len(write(request, spelling, {})), output_tokens=int(most))
    except CallFailed:
        return None


def image_most(request: Request, spelling: Spelling, response_format: str) -> Usage | None:
    """Return the most that an image takes: its prompt, and the image by size and quality."""
    params = request.params
    if any(name in params for name in _PICTURES):
        return None
    if request.sources or not at_list_price(request):
        return None
    size, quality = str(params.get("size") or ""), str(params.get("quality") or "")
    try:
        tokens = len(image_body(request, spelling, response_format))
    except CallFailed:
        return None
    return Usage(input_tokens=tokens, images=1, size=size.lower(), quality=quality.lower())


def at_list_price(request: Request, tier: Any = None) -> bool:
    """Tell whether list prices hold: tools that the server runs, and other tiers, have their own.

    What such a tool costs stands in no usage. ``tier`` is the one that an answer names, and
    counts before the one that was asked for.
    """
    params = request.params
    tier = params.get("service_tier") if tier is None else tier
    if tier not in _STANDARD_TIERS or "web_search_options" in params:
        return False
    return _are_ours(params.get("tools"))


def _is_text(messages: Any) -> bool:
    """Tell whether messages hold nothing but text."""
    if not isinstance(messages, list):
        return False
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else message
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict) or part.get("type") not in ("text", "input_text"):
                return False
    return True


def _are_ours(tools: Any) -> bool:
    """Tell whether no tool is one that the server runs, and bills."""
    if tools is None:
        return True
    return isinstance(tools, list) and all(
        isinstance(tool, dict) and tool.get("type") in ("function", "custom") for tool in tools
    )


def paints(request: Request) -> bool:
    """Tell whether a chat or a response was asked for an image, by its modalities or tools."""
    modalities, tools = request.params.get("modalities"), request.params.get("tools")
    if isinstance(modalities, list) and "image" in modalities:
        return True
    return isinstance(tools, list) and any(
        isinstance(tool, dict) and tool.get("type") == "image_generation" for tool in tools
    )
