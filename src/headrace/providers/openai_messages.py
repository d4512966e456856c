"""What is said to an OpenAI-shaped API and what it says back, as values; nothing is sent here."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.limits import Load
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.price_table import Usage
from headrace.request import Request

OUTPUT_TOKENS_DEFAULT = 1024
"""Counted against the lane for a chat that names no most of its own."""

IMAGE_FAMILIES = ("gpt-image", "chatgpt-image", "dall-e")
_OURS = ("api", "system")
_FIXED = {"model": "the stage's model", "stream": "answers are read whole"}
# A cell of a CSV file is text; these go out as numbers.
_NUMBERS: dict[str, type[int] | type[float]] = {
    "max_tokens": int,
    "max_completion_tokens": int,
    "n": int,
    "seed": int,
    "temperature": float,
    "top_p": float,
    "presence_penalty": float,
    "frequency_penalty": float,
}
_CALL_TOKENS = 8
_MESSAGE_TOKENS = 4


class _Message(msgspec.Struct):
    content: Any = None
    refusal: Any = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: Any = None


class ChatReply(msgspec.Struct):
    """A reply of ``/chat/completions``; what does not shape the result may have any form."""

    choices: list[_Choice] = []
    error: Any = None
    usage: Any = None
    model: Any = None
    id: Any = None
    service_tier: Any = None


class ImageReply(msgspec.Struct):
    """A reply of ``/images/generations``, its image taken out."""

    data: list[dict[str, Any]] = []
    error: Any = None
    usage: Any = None
    model: Any = None
    size: Any = None
    quality: Any = None


read_chat = msgspec.json.Decoder(ChatReply).decode
read_image = msgspec.json.Decoder(ImageReply).decode
encode = msgspec.json.Encoder().encode


def wrong_param(name: str, value: Any) -> str:
    """Return what is wrong with a parameter, empty when nothing is."""
    if name in _FIXED:
        return f"{name!r} cannot be set: {_FIXED[name]}"
    if name == "n" and value not in (1, "1"):
        return "n must be 1: each item is one result"
    if name == "messages" and not isinstance(value, list):
        return "messages must be a list"
    if name in _NUMBERS and not _is_number(value, _NUMBERS[name]):
        return (
            f"{name} = {value!r} is not {'a whole number' if _NUMBERS[name] is int else 'a number'}"
        )
    return ""


def _is_number(value: Any, kind: type[int] | type[float]) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return float(value) == kind(value)
    except (ValueError, OverflowError):
        return False


def chat_body(request: Request) -> bytes:
    """Return the body of a chat: ``system``, then ``messages``, then the prompt as the user's."""
    body = _checked(request)
    messages: list[Any] = list(body.pop("messages", ()))
    if "system" in request.params:
        messages.insert(0, {"role": "system", "content": request.params["system"]})
    prompt = body.pop("prompt", None)
    if prompt is not None:
        messages.append({"role": "user", "content": prompt})
    if not messages:
        raise failed(OutcomeKind.INVALID, "there is neither a prompt nor messages")
    return encode({"model": request.model, "messages": messages, **body})


def image_body(request: Request) -> bytes:
    """Return the body of an image; models other than gpt-image must be asked for base64."""
    body = _checked(request)
    if not request.model.startswith(IMAGE_FAMILIES[:2]):
        body.setdefault("response_format", "b64_json")
    return encode({"model": request.model, **body})


def _checked(request: Request) -> dict[str, Any]:
    body = {}
    for name, value in request.params.items():
        if name in _OURS:
            continue
        if name in _NUMBERS or name in _FIXED or name == "messages":
            wrong = wrong_param(name, value)
            if wrong:
                raise failed(OutcomeKind.INVALID, wrong, remedy="Change the stage's params.")
        is_text = isinstance(value, str) and name in _NUMBERS
        body[name] = _NUMBERS[name](value) if is_text else value
    return body


def chat_load(request: Request) -> Load:
    """Return what a chat takes at most: its text at four bytes a token, and its output."""
    params = request.params
    tokens, size = _CALL_TOKENS, 0
    for name in ("prompt", "system"):
        value = params.get(name)
        if value:
            size += len(value.encode("utf-8", "replace")) if isinstance(value, str) else 64
    messages = params.get("messages")
    if isinstance(messages, list):
        size += len(encode(messages))
        tokens += _MESSAGE_TOKENS * len(messages)
    most: Any = params.get("max_completion_tokens", params.get("max_tokens"))
    output = int(most) if _is_number(most, int) else OUTPUT_TOKENS_DEFAULT
    return Load(tokens=tokens + -(-size // 4) + max(0, output))


def image_load(request: Request) -> Load:
    """Return what an image takes: one image, and its prompt at four bytes a token."""
    prompt = str(request.params.get("prompt", "")).encode("utf-8", "replace")
    return Load(tokens=_CALL_TOKENS + -(-len(prompt) // 4), images=1)


_OTHER_PRICES = ("modalities", "audio", "prediction", "web_search_options")
_PICTURES = ("image", "images", "mask")
STANDARD_TIERS = (None, "auto", "default", "standard")
"""Service tiers that list prices hold for."""


def chat_most(request: Request) -> Usage | None:
    """Return the most tokens that a chat can use, ``None`` where nobody knows beforehand.

    Nobody does without a most of its own for the output, with pictures or sound in it, or
    at a tier of another price. A token has one byte at least.
    """
    params = request.params
    most: Any = params.get("max_completion_tokens", params.get("max_tokens"))
    if not _is_number(most, int) or int(most) < 0 or not _at_list_prices(request):
        return None
    if any(name in params for name in _OTHER_PRICES) or not _is_text(params.get("messages", [])):
        return None
    try:
        return Usage(input_tokens=len(chat_body(request)), output_tokens=int(most))
    except CallFailed:
        return None


def image_most(request: Request) -> Usage | None:
    """Return the most that an image takes: its prompt, and the image by size and quality."""
    params = request.params
    if any(name in params for name in _PICTURES) or not _at_list_prices(request):
        return None
    size, quality = str(params.get("size") or ""), str(params.get("quality") or "")
    try:
        tokens = len(image_body(request))
    except CallFailed:
        return None
    return Usage(input_tokens=tokens, images=1, size=size.lower(), quality=quality.lower())


def _at_list_prices(request: Request) -> bool:
    """Tell whether list prices hold, and nothing goes in whose tokens nobody knows."""
    return not request.sources and request.params.get("service_tier") in STANDARD_TIERS


def _is_text(messages: Any) -> bool:
    """Tell whether messages hold nothing but text."""
    if not isinstance(messages, list):
        return False
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else message
        for part in content if isinstance(content, list) else ():
            if not isinstance(part, dict) or part.get("type") != "text":
                return False
    return True


def tokens_used(usage: Any) -> int | None:
    """Return the total that a ``usage`` object names, ``None`` when it names none."""
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if type(total) is int and total >= 0 else None


def plain_usage(usage: Any) -> dict[str, int]:
    """Return the counts of a ``usage`` object, those nested in its details under their name."""
    if not isinstance(usage, dict):
        return {}
    counts: dict[str, int] = {}
    for name, value in usage.items():
        if type(value) is int:
            counts[name] = value
        elif isinstance(value, dict):
            counts.update({key: n for key, n in value.items() if type(n) is int and n})
    return counts
