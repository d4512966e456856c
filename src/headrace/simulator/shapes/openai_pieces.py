"""A chat completion of OpenAI's shape in pieces: chunks as server-sent events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.simulator.wire import Answer

WORDS = 4
"""In one piece."""


def cut_chat(answer: Answer, with_usage: bool) -> list[bytes]:
    """Return the events of a completion: role, words, why it ends, usage if asked for, the end."""
    body = answer.body if isinstance(answer.body, bytes) else b"".join(answer.body)
    told: dict[str, Any] = msgspec.json.decode(body)
    choice = told["choices"][0]
    words = choice["message"]["content"].split(" ")
    about = {**told, "object": "chat.completion.chunk"}
    usage = about.pop("usage")
    more = {"usage": None} if with_usage else {}
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    for start in range(0, len(words), WORDS):
        space = " " if start else ""
        deltas.append({"content": space + " ".join(words[start : start + WORDS])})
    chunks: list[Mapping[str, Any]] = [
        {**about, **more, "choices": [_choice(delta)]} for delta in deltas
    ]
    chunks.append({**about, **more, "choices": [_choice({}, choice["finish_reason"])]})
    if with_usage:
        chunks.append({**about, "choices": [], "usage": usage})
    events = [b"data: %b\n\n" % msgspec.json.encode(chunk) for chunk in chunks]
    return [*events, b"data: [DONE]\n\n"]


def _choice(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
