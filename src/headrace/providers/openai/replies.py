"""What an OpenAI-shaped API says back, read into values; whatever it is, nothing else is raised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from headrace.outcome import Outcome, OutcomeKind
from headrace.providers.remote.chat_params import count_of, plain_usage
from headrace.providers.remote.http_calls import read_object
from headrace.providers.remote.words import decode_words
from headrace.tool_calls import CALLS_MAX, EXTRA, function_call, made_up_id

_REFUSAL_CHARS = 500
_CATEGORIES_MAX = 32
_NAME_CHARS_MAX = 100


class _Message(msgspec.Struct):
    content: Any = None
    refusal: Any = None
    tool_calls: Any = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: Any = None


class _Chat(msgspec.Struct):
    choices: list[_Choice] = []
    error: Any = None
    usage: Any = None
    model: Any = None
    id: Any = None
    service_tier: Any = None


class _Response(msgspec.Struct):
    output: list[dict[str, Any]] = []
    status: Any = None
    incomplete_details: Any = None
    error: Any = None
    usage: Any = None
    model: Any = None
    id: Any = None
    service_tier: Any = None


class ImageReply(msgspec.Struct):
    """A reply with an image, which was taken out; what is beside it may have any form."""

    data: list[dict[str, Any]] = []
    usage: Any = None
    model: Any = None
    id: Any = None
    size: Any = None
    quality: Any = None


_chat = msgspec.json.Decoder(_Chat).decode
_response = msgspec.json.Decoder(_Response).decode
_image = msgspec.json.Decoder(ImageReply).decode


@dataclass(frozen=True, slots=True)
class Text:
    """A text as it came: ``content`` is ``None`` where there is none or it was refused.

    ``refusal`` is what the model said instead, empty without words. ``is_cut``: the most
    tokens were reached before its end. ``usage``, ``model``, ``id`` and ``tier`` (of
    service) may be anything. ``calls`` are the tools that it calls, in OpenAI's words.
    """

    content: str | None = None
    is_refused: bool = False
    refusal: str = ""
    is_cut: bool = False
    usage: Any = None
    model: Any = None
    id: Any = None
    tier: Any = None
    calls: tuple[dict[str, Any], ...] = ()


def read_chat(body: bytes) -> Text | None:
    """Return the text of a chat, ``None`` for what is no chat at all."""
    try:
        reply = decode_words(body, _chat)
    except (msgspec.DecodeError, RecursionError):
        return None
    if reply.error or not reply.choices:
        return Text(usage=reply.usage, model=reply.model, id=reply.id, tier=reply.service_tier)
    choice = reply.choices[0]
    content, refusal = choice.message.content, choice.message.refusal
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "".join(text for text in texts if isinstance(text, str))
    is_refused = bool(refusal) or choice.finish_reason == "content_filter"
    is_fit = choice.finish_reason != "error" and not is_refused
    usable = isinstance(content, str) and content and is_fit
    return Text(
        content=content if usable else None,
        is_refused=is_refused,
        refusal=refusal if isinstance(refusal, str) else "",
        is_cut=choice.finish_reason == "length",
        usage=reply.usage,
        model=reply.model,
        id=reply.id,
        tier=reply.service_tier,
        calls=_calls(choice.message.tool_calls, reply.id or body) if is_fit else (),
    )


def _calls(told: Any, of: Any) -> tuple[dict[str, Any], ...]:
    """Return the calls of functions that can be read; one without an id gets its own."""
    found: list[dict[str, Any]] = []
    for number, call in enumerate(told[:CALLS_MAX] if isinstance(told, list) else ()):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            continue
        arguments = function.get("arguments")
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments or {}).decode()
        name = call.get("id")
        known = name if isinstance(name, str) and name else made_up_id(of, number)
        extra = call.get(EXTRA)
        extra = extra if isinstance(extra, dict) else None
        found.append(function_call(function["name"], arguments, known, extra))
    return tuple(found)


def read_response(body: bytes) -> Text | None:
    """Return the text of a response, all its messages together; ``None`` for what is none."""
    try:
        reply = decode_words(body, _response)
    except (msgspec.DecodeError, RecursionError):
        return None
    if reply.error or reply.status in ("failed", "cancelled"):
        return Text(usage=reply.usage, model=reply.model, id=reply.id, tier=reply.service_tier)
    parts = [part for item in reply.output if item.get("type") == "message" for part in _in(item)]
    refusals = [part.get("refusal") for part in parts if part.get("type") == "refusal"]
    texts = [part.get("text") for part in parts if part.get("type") == "output_text"]
    content = "".join(text for text in texts if isinstance(text, str))
    details = reply.incomplete_details
    why = details.get("reason") if isinstance(details, dict) else None
    is_refused = bool(refusals) or why == "content_filter"
    return Text(
        content=content if content and not is_refused else None,
        is_refused=is_refused,
        refusal=" ".join(said for said in refusals if isinstance(said, str)),
        is_cut=why == "max_output_tokens",
        usage=reply.usage,
        model=reply.model,
        id=reply.id,
        tier=reply.service_tier,
    )


def _in(item: dict[str, Any]) -> list[dict[str, Any]]:
    content = item.get("content")
    return [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []


def read_image(body: bytes) -> ImageReply:
    """Return what stands beside an image; it may be wrong without harm to the image."""
    try:
        return decode_words(body, _image)
    except (msgspec.DecodeError, RecursionError):
        return ImageReply()


def without_text(text: Text, told: Outcome) -> Outcome:
    """Return how a reply without text ended: refused, cut off too soon, or what is ``told``."""
    if text.is_refused:
        said = text.refusal[:_REFUSAL_CHARS]
        return Outcome(
            OutcomeKind.REFUSED,
            f"the model refused: {said}" if said else "the content filter refused",
            remedy="Change the prompt.",
        )
    if text.is_cut:
        return Outcome(
            OutcomeKind.INVALID,
            "the answer was cut off before its first word",
            remedy="Raise max_completion_tokens (max_output_tokens): thinking counts, too.",
        )
    return told


def facts_of(reply: Text | ImageReply) -> dict[str, Any]:
    """Return the facts that a reply tells: usage, model, whether it was cut, an image's size."""
    facts: dict[str, Any] = {}
    usage = plain_usage(reply.usage)
    if usage:
        facts["usage"] = usage
    for name in ("model", "size", "quality"):
        value = getattr(reply, name, None)
        if isinstance(value, str):
            facts[name] = value[:_NAME_CHARS_MAX]
    if isinstance(reply, Text) and reply.is_cut:
        facts["truncated"] = True
    return facts


def tokens_used(usage: Any) -> int | None:
    """Return the total that a ``usage`` object names, ``None`` when it names none."""
    return count_of(usage, "total_tokens")


def tokens_in(usage: Any) -> int:
    """Return the input that the ``usage`` of a chat or a response names, 0 when it names none."""
    return count_of(usage, "prompt_tokens") or count_of(usage, "input_tokens") or 0


def moderation_of(body: bytes) -> dict[str, Any]:
    """Return what an error says of its moderation: the stage and the categories, if any."""
    error = (read_object(body) or {}).get("error")
    details = error.get("moderation_details") if isinstance(error, dict) else None
    if not isinstance(details, dict):
        return {}
    facts: dict[str, Any] = {}
    stage, categories = details.get("moderation_stage"), details.get("categories")
    if isinstance(stage, str):
        facts["stage"] = stage[:_NAME_CHARS_MAX]
    if isinstance(categories, list):
        named = [one[:_NAME_CHARS_MAX] for one in categories if isinstance(one, str)]
        facts["categories"] = named[:_CATEGORIES_MAX]
    return facts
