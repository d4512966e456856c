"""Chat completions and images of OpenAI's shape in pieces, as server-sent events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.simulator.bodies import Pictures, pieces_of
from headrace.simulator.wire import Answer

CALL_CHARS = 16
"""Of a call's arguments in one piece."""
FIRST_PARTIAL = 10**12
"""The number of the first picture that is not whole yet: far behind those of calls."""


def cut_chat(answer: Answer, with_usage: bool) -> list[bytes]:
    """Return the events of a completion: role, words, why it ends, usage if asked for, the end."""
    told: dict[str, Any] = msgspec.json.decode(answer.whole)
    choice = told["choices"][0]
    content, calls = choice["message"]["content"], choice["message"].get("tool_calls", ())
    about = {**told, "object": "chat.completion.chunk"}
    usage = about.pop("usage")
    more = {"usage": None} if with_usage else {}
    deltas: list[dict[str, Any]] = [
        {"role": "assistant", "content": None if content is None else ""}
    ]
    deltas += [{"content": piece} for piece in pieces_of(content or "") if content is not None]
    for index, call in enumerate(calls):
        whole = call["function"]["arguments"]
        begun = {**call["function"], "arguments": ""}
        deltas.append({"tool_calls": [{"index": index, **call, "function": begun}]})
        for start in range(0, len(whole), CALL_CHARS):
            piece = {"arguments": whole[start : start + CALL_CHARS]}
            deltas.append({"tool_calls": [{"index": index, "function": piece}]})
    chunks: list[Mapping[str, Any]] = [
        {**about, **more, "choices": [_choice(delta)]} for delta in deltas
    ]
    chunks.append({**about, **more, "choices": [_choice({}, choice["finish_reason"])]})
    if with_usage:
        chunks.append({**about, "choices": [], "usage": usage})
    events = [b"data: %b\n\n" % msgspec.json.encode(chunk) for chunk in chunks]
    return [*events, b"data: [DONE]\n\n"]


def _choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


def cut_image(answer: Answer, pictures: Pictures, partial: int) -> list[bytes]:
    """Return the events of images: so many that are not whole yet, then each as it is."""
    told: dict[str, Any] = msgspec.json.decode(answer.whole)
    about = {name: told[name] for name in ("background", "output_format", "size", "quality")}
    about["created_at"] = told["created"]
    events = []
    for index in range(partial):
        shown = b"".join(pictures.base64(FIRST_PARTIAL + index)).decode()
        events.append(
            {
                "type": "image_generation.partial_image",
                "b64_json": shown,
                "partial_image_index": index,
                **about,
            }
        )
    for image in told["data"]:
        whole = {"type": "image_generation.completed", **image, **about, "usage": told["usage"]}
        events.append(whole)
    return [
        b"event: %b\ndata: %b\n\n" % (str(one["type"]).encode(), msgspec.json.encode(one))
        for one in events
    ]
