"""What the messages API looks at before it answers: fields, roles, blocks, and their words."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from headrace.simulator.shapes.anthropic_tools import wrong_tools

FIELDS = frozenset(
    {"model", "max_tokens", "messages", "system", "stream", "stop_sequences", "temperature"}
    | {"top_p", "top_k", "tools", "tool_choice", "thinking", "output_config", "metadata"}
    | {"service_tier", "cache_control", "container", "inference_geo"}
)
EFFORTS = ("low", "medium", "high", "xhigh", "max")
PICTURES = ("image/jpeg", "image/png", "image/gif", "image/webp")
_FIELDS: Mapping[str, Mapping[str, type]] = {
    "tool_use": {"id": str, "name": str, "input": dict},
    "tool_result": {"tool_use_id": str},
    "thinking": {"thinking": str, "signature": str},
    "redacted_thinking": {"data": str},
}
_MESSAGE = frozenset({"role", "content"})


def wrong(body: Mapping[str, Any]) -> str:
    """Return what is wrong with a body, as the API says it; empty when nothing is."""
    odd = sorted(body.keys() - FIELDS)
    if odd:
        return f"{odd[0][:100]}: Extra inputs are not permitted"
    for name, kind in (("model", str), ("max_tokens", int), ("messages", list)):
        if name not in body:
            return f"{name}: Field required"
        if type(body[name]) is not kind:
            return f"{name}: Input should be a valid {kind.__name__}"
    return _wrong_values(body) or _wrong_output(body) or _wrong_messages(body) or wrong_tools(body)


def _wrong_values(body: Mapping[str, Any]) -> str:
    if body["max_tokens"] < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    for name in ("temperature", "top_p"):
        if name in body and not (type(body[name]) in (int, float) and 0 <= body[name] <= 1):
            return f"{name}: Input should be less than or equal to 1"
    ends = body.get("stop_sequences", [])
    if not isinstance(ends, list) or not all(isinstance(one, str) and one.strip() for one in ends):
        return "stop_sequences: each stop sequence must contain non-whitespace"
    return ""


def _wrong_output(body: Mapping[str, Any]) -> str:
    output = body.get("output_config", {})
    if not isinstance(output, dict) or output.get("effort", "low") not in EFFORTS:
        return "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
    form = output.get("format")
    if form is None:
        return ""
    schema = form.get("schema") if isinstance(form, dict) else None
    if not isinstance(schema, dict) or form.get("type") != "json_schema":
        return "output_config.format.schema: Field required"
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        return (
            "output_config.format.schema: For 'object' type, 'additionalProperties' must be "
            "explicitly set to false"
        )
    return ""


def _wrong_messages(body: Mapping[str, Any]) -> str:
    if not body["messages"]:
        return "messages: at least one message is required"
    for number, message in enumerate(body["messages"]):
        place = f"messages.{number}"
        if not isinstance(message, dict) or message.get("role") not in ("user", "assistant"):
            return f"{place}.role: Input should be 'user' or 'assistant'"
        odd = sorted(message.keys() - _MESSAGE)
        if odd:
            return f"{place}.{odd[0][:100]}: Extra inputs are not permitted"
        said = _wrong_content(message.get("content"))
        if said:
            return f"{place}.content{said}"
    system = _wrong_content(body.get("system", "x"))
    return f"system{system}" if system else ""


def _wrong_content(content: Any) -> str:
    if isinstance(content, str):
        return "" if content else ": messages must have non-empty content"
    if not isinstance(content, list) or not content:
        return ": messages must have non-empty content"
    told = ((number, _wrong_block(block)) for number, block in enumerate(content))
    return next((f".{number}{said}" for number, said in told if said), "")


def _wrong_block(block: Any) -> str:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text":
        good = isinstance(block.get("text"), str) and block["text"]
        return "" if good else ".text: text content blocks must be non-empty"
    fields = _FIELDS.get(str(kind))
    if fields and not all(isinstance(block.get(name), of) for name, of in fields.items()):
        return f".{kind}: Field required"
    if kind == "tool_result":
        said = _wrong_content(block.get("content", "x"))
        return said and f".tool_result{said}"
    if kind == "image":
        good = _is_picture(block.get("source"))
        return "" if good else ".image.source.base64: The image was specified wrongly"
    if fields is not None:
        return ""
    return f": Input tag {str(kind)[:50]!r} does not match any of the expected tags"


def _is_picture(source: Any) -> bool:
    if not isinstance(source, dict) or source.get("media_type") not in PICTURES:
        return False
    try:
        return bool(base64.b64decode(str(source.get("data")), validate=True))
    except (binascii.Error, ValueError):
        return False


def asked_for(body: Mapping[str, Any]) -> tuple[str, int]:
    """Return the words of the system and all messages, and how many pictures go in."""
    words: list[str] = []
    pictures = 0
    contents = [body.get("system", ""), *(one["content"] for one in body["messages"])]
    while contents:
        content = contents.pop(0)
        blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
        contents[:0] = [
            block.get("content", "") for block in blocks if block["type"] == "tool_result"
        ]
        words += [block["text"] for block in blocks if block["type"] == "text"]
        pictures += sum(block["type"] == "image" for block in blocks)
    return "\n".join(word for word in words if word), pictures
