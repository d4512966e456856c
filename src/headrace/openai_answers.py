"""Answers in OpenAI's shape: a chat, an image, an error; on demand and in files of batches."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from headrace.artifact import extension_of
from headrace.openai_body import PICTURES, RESPONSES
from headrace.openai_responses import response_json
from headrace.tool_calls import Said, said_of

STATUSES = {"refused": 400, "invalid": 400, "quota_exhausted": 429, "cancelled": 409}
CODES = {
    "refused": "content_policy_violation",
    "quota_exhausted": "insufficient_quota",
    "insufficient_credits": "insufficient_quota",
}
STATUS_ELSE = 502
TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}


def chat_json(
    name: str, model: str, said: Said, facts: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """Return a chat completion; ``name`` is its id, ``facts`` are those kept with the call."""
    message: dict[str, Any] = {"role": "assistant", "content": said.content, "refusal": None}
    if said.calls:
        message["tool_calls"] = [*said.calls]
    ended = "tool_calls" if said.calls else "stop"
    told: dict[str, Any] = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": int(now.timestamp()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "finish_reason": "length" if facts.get("truncated") else ended,
                "logprobs": None,
            }
        ],
    }
    usage = tokens_of(facts)
    if usage is not None:
        told["usage"] = usage
    return told


def tokens_of(facts: dict[str, Any]) -> dict[str, Any] | None:
    """Return the counts of a call in the words of a chat, ``None`` where there are none.

    As in that API all that went in counts as sent, what came from a cache of the provider too.
    """
    usage = facts.get("usage")
    if not isinstance(usage, dict):
        return None

    def count(*names: str) -> int:
        return next((int(usage[name]) for name in names if usage.get(name)), 0)

    sent = count("prompt_tokens", "input_tokens", "promptTokenCount")
    made = count("completion_tokens", "output_tokens", "candidatesTokenCount")
    thought = count("thoughtsTokenCount")
    made += thought  # Google counts them beside the others
    if not usage.get("prompt_tokens"):  # Anthropic counts those of its cache beside the others
        sent += count("cache_read_input_tokens") + count("cache_creation_input_tokens")
    written = count("cache_write_tokens", "cache_creation_tokens", "cache_creation_input_tokens")
    total = count("total_tokens", "totalTokenCount") or sent + made
    cached = count("cached_tokens", "cache_read_input_tokens", "cachedContentTokenCount")
    thought = thought or count("reasoning_tokens", "thinking_tokens")
    return {
        "prompt_tokens": sent,
        "completion_tokens": made,
        "total_tokens": total,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def image_json(images: Iterable[dict[str, Any]], extension: str, now: datetime) -> dict[str, Any]:
    """Return images, each made by ``image_part`` or with its ``url``."""
    return {
        "created": int(now.timestamp()),
        "data": list(images),
        "output_format": format_of(extension),
    }


def image_usage(facts: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return what images took together, ``None`` where one of them does not tell."""
    found = [one.get("usage") for one in facts]
    names = ("input_tokens", "output_tokens", "total_tokens", "image_tokens", "text_tokens")
    counts = dict.fromkeys(names, 0)
    for usage in found:
        if not isinstance(usage, dict) or "total_tokens" not in usage:
            return None
        for name in names:
            counts[name] += int(usage.get(name) or 0)
    details = {name: counts.pop(name) for name in names[3:]}
    return {**counts, "input_tokens_details": details}


def image_part(body: bytes) -> dict[str, str]:
    """Return an image as base64."""
    return {"b64_json": base64.b64encode(body).decode("ascii")}


def format_of(extension: str) -> str:
    """Return what that API calls the format of a file with ``extension``."""
    return "jpeg" if extension == "jpg" else extension


def answer_json(
    endpoint: str,
    name: str,
    model: str,
    body: bytes,
    media_type: str,
    facts: dict[str, Any],
    now: datetime,
) -> dict[str, Any]:
    """Return one result in the shape of the endpoint that it was asked by."""
    if endpoint in PICTURES:
        return image_json([image_part(body)], extension_of(media_type), now)
    said = said_of(media_type, body)
    if endpoint == RESPONSES:
        return response_json(name, model, said, facts, now, tokens_of(facts))
    return chat_json(name, model, said, facts, now)


def error_json(message: str, code: str, status: int, param: str | None = None) -> dict[str, Any]:
    """Return an error; ``param`` is the field that is to blame."""
    default = "server_error" if status >= 500 else "invalid_request_error"
    kind = TYPES.get(status, default)
    told = CODES.get(code, code)
    kind = "insufficient_quota" if told == "insufficient_quota" else kind
    return {"error": {"message": message, "type": kind, "param": param, "code": told}}
