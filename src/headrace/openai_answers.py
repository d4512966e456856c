"""Answers in OpenAI's shape: a chat, an image, an error; on demand and in files of batches."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

STATUSES = {"refused": 400, "invalid": 400, "quota_exhausted": 429, "cancelled": 409}
CODES = {"refused": "content_policy_violation", "quota_exhausted": "insufficient_quota"}
STATUS_ELSE = 502
TYPES = {
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    429: "rate_limit_error",
}


def chat_json(
    name: str, model: str, text: str, facts: dict[str, Any], now: datetime
) -> dict[str, Any]:
    """Return a chat completion; ``name`` is its id, ``facts`` are those kept with the call."""
    told: dict[str, Any] = {
        "id": f"chatcmpl-{name}",
        "object": "chat.completion",
        "created": int(now.timestamp()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "finish_reason": "length" if facts.get("truncated") else "stop",
                "logprobs": None,
            }
        ],
    }
    usage = facts.get("usage")
    if isinstance(usage, dict):
        counts = {
            name: int(usage.get(name) or 0) for name in ("prompt_tokens", "completion_tokens")
        }
        told["usage"] = {
            **counts,
            "total_tokens": int(usage.get("total_tokens") or sum(counts.values())),
        }
    return told


def image_json(body: bytes, extension: str, now: datetime) -> dict[str, Any]:
    """Return an image as base64."""
    return {
        "created": int(now.timestamp()),
        "data": [{"b64_json": base64.b64encode(body).decode("ascii")}],
        "output_format": extension,
    }


def error_json(message: str, code: str, status: int) -> dict[str, Any]:
    """Return an error."""
    default = "server_error" if status >= 500 else "invalid_request_error"
    kind = TYPES.get(status, default)
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}
