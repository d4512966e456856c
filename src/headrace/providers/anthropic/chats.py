"""Chats in OpenAI's words, said in Anthropic's; what stands in Anthropic's own stays as it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headrace.outcome import CallFailed
from headrace.providers.anthropic.tools import (
    call_blocks,
    check_calls,
    refuse,
    result_block,
    shown,
    tools_of,
)
from headrace.request import Request
from headrace.waits import dig

PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif")

_SYSTEM = ("system", "developer")
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_TEXTS = ("text", "input_text", "output_text")
_TOLD_BACK = frozenset({"annotations", "audio", "function_call", "parsed", "refusal", "tool_calls"})
"""What a client may send back of an answer, beside its text."""
_DATA = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,([A-Za-z0-9+/=\s]*)", re.I)
_DROPPED = frozenset(
    {"parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"}
)
_SAID = frozenset({"max_completion_tokens", "reasoning_effort", "response_format"})
_NO_TOOLS = "Write tools and tool_choice."
_WITHOUT: dict[str, tuple[tuple[Any, ...], str]] = {
    "audio": ((), "Leave it out: answers are texts."),
    "frequency_penalty": ((0,), "Leave it out, or say in a message what not to repeat."),
    "function_call": (("none", "auto"), _NO_TOOLS),
    "functions": (([],), _NO_TOOLS),
    "logit_bias": (({},), "Leave it out, or say in a message which words to use."),
    "logprobs": ((False,), "Leave it out: Anthropic tells no probabilities."),
    "modalities": ((["text"],), "Leave it out: answers are texts."),
    "prediction": ((), "Leave it out: it changes nothing but the speed."),
    "presence_penalty": ((0,), "Leave it out, or say in a message what not to repeat."),
    "seed": ((), "Leave it out: no seed makes an answer the same again, the cache does."),
    "top_logprobs": ((0,), "Leave it out: Anthropic tells no probabilities."),
    "verbosity": (("medium",), "Say in a message how long the answer should be."),
    "web_search_options": ((), "Leave it out: nothing is looked up."),
}
"""What Anthropic has no word for: the values that ask for nothing, and what to do instead."""
OURS: frozenset[str] = frozenset(_SAID | _DROPPED | _WITHOUT.keys())
"""The fields of a chat that are OpenAI's alone."""


def is_chat(params: Mapping[str, Any]) -> bool:
    """Tell whether params may be in OpenAI's words: those of a recipe have a prompt."""
    return "messages" in params and "prompt" not in params


def in_anthropics_words(request: Request) -> Request:
    """Return a request whose chat is said in Anthropic's words; others as they are.

    Raises ``CallFailed`` (invalid) for what Anthropic has no words for.
    """
    params = request.params
    if not is_chat(params):
        return request
    said = {name: value for name, value in params.items() if name not in OURS}
    for name, (usual, remedy) in _WITHOUT.items():
        if params.get(name) is not None and params[name] not in usual:
            refuse(f"{name} = {shown(params[name])}", remedy)
    system, messages = _told(params["messages"])
    if system:
        said["system"] = _before(system, params.get("system"))
    if system and not messages and not request.sources:
        refuse("messages hold nothing but the system's", "Add a message of the role user.")
    said["messages"] = messages
    changed = {**_most(params), **_output(params), **tools_of(params), **_tier(params)}
    said = {name: value for name, value in (said | changed).items() if value is not None}
    return request if said == params else replace(request, params=said)


def measured(request: Request) -> Request:
    """Return the same for what is only measured: one that cannot be said is left as it is."""
    try:
        return in_anthropics_words(request)
    except CallFailed:
        return request


# -- messages ----------------------------------------------------------------------------


def _told(messages: Any) -> tuple[list[str], list[Any]]:
    """The texts of the system before the conversation, and the conversation.

    A system message later on keeps its place: newer models know such ones.
    """
    if not isinstance(messages, list):
        refuse("messages is no list", "Write a list of messages, each with role and content.")
    check_calls(messages)
    system: list[str] = []
    found: list[Any] = []
    for message in messages:
        if not isinstance(message, dict):
            refuse("a message is no object", "Write each message with role and content.")
        if message.get("role") in _SYSTEM and not found:
            system += _system(message.get("content"))
            continue
        if message.get("role") == "tool":
            _add_result(found, message)
            continue
        said = _message(message)
        if said["content"] not in ("", []):
            found.append(said)
    return system, found


def _system(content: Any) -> list[str]:
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    for block in blocks:
        kind = block.get("type") if isinstance(block, dict) else None
        if kind not in _TEXTS or not isinstance(block.get("text"), str):
            refuse("a system message that is no text", "Put pictures into a message of the user.")
    return [block["text"] for block in blocks if block["text"]]


def _before(system: list[str], own: Any) -> Any:
    """The system's texts, before what stands in Anthropic's own ``system``."""
    if own is None and len(system) == 1:
        return system[0]
    blocks: list[Any] = [{"type": "text", "text": one} for one in system]
    if isinstance(own, list):
        return blocks + own
    return blocks if own is None or own == "" else [*blocks, {"type": "text", "text": own}]


def _message(message: dict[Any, Any]) -> dict[Any, Any]:
    role = message.get("role")
    if role == "function" or message.get("function_call"):
        refuse(
            f"a message of the role {shown(role)} that belongs to a function",
            "Write tool_calls, and their results with the role tool.",
        )
    if message.get("name") is not None:
        refuse("the name of a message", "Say in the message's content who speaks.")
    said = {name: value for name, value in message.items() if name not in _TOLD_BACK}
    said.pop("name", None)
    said["role"] = "system" if role == "developer" else role
    content = _content(message)
    if message.get("tool_calls"):
        before, uses = call_blocks(message)
        text = [{"type": "text", "text": content}] if isinstance(content, str) else content
        content = [*before, *(one for one in text if not _is_empty(one)), *uses]
    return {**said, "content": content}


def _content(message: dict[Any, Any]) -> Any:
    """The content of a message: a text, or blocks."""
    content = message.get("content")
    if content is None:
        content = message.get("refusal") or ""
    if isinstance(content, list):
        return [_block(part) for part in content if not _is_empty(part)]
    if not isinstance(content, str):
        refuse("the content of a message", "Write a text, or a list of parts.")
    return content


def _add_result(found: list[Any], message: dict[Any, Any]) -> None:
    """Add what a tool found; the results of one message's calls go out in one of the user's."""
    block = result_block(message, _content(message))
    last = found[-1]["content"] if found and found[-1].get("role") == "user" else None
    if isinstance(last, list) and dig(last[-1], "type") == "tool_result":
        last.append(block)
    else:
        found.append({"role": "user", "content": [block]})


def _is_empty(part: Any) -> bool:
    """Tell whether a part is an empty text: the API takes none."""
    return isinstance(part, dict) and part.get("type") in _TEXTS and part.get("text") == ""


def _block(part: Any) -> Any:
    """A part of a message as a block; what is one already stays as it is."""
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        refuse("a part of a message without a type", 'Write {"type": "text", "text": "…"}.')
    if kind in _TEXTS or kind == "refusal":
        text = part.get("refusal" if kind == "refusal" else "text")
        if not isinstance(text, str):
            refuse(f"a part of the type {kind} without a text", "Write its text.")
        return part if kind == "text" else {"type": "text", "text": text}
    if kind == "image_url":
        return _picture(part)
    if kind in ("input_audio", "file", "input_file", "input_image"):
        refuse(f"a part of the type {kind}", "Send texts, and pictures as image_url.")
    return part


def _picture(part: dict[str, Any]) -> dict[str, Any]:
    address = dig(part, "image_url", "url")
    detail = dig(part, "image_url", "detail")
    if detail not in (None, "auto", "high", "original"):
        refuse(f"image_url.detail = {shown(detail)}", "Leave it out, and send a smaller picture.")
    found = _DATA.fullmatch(address) if isinstance(address, str) else None
    if found is None:
        refuse(
            "a picture whose image_url is no data: address with base64",
            'Write "url": "data:image/png;base64,…": no address is fetched.',
        )
    media_type = found[1].lower()
    if media_type not in PICTURES:
        refuse(f"a picture of the type {media_type[:50]}", f"Send {', '.join(PICTURES)}.")
    data = "".join(found[2].split())
    source = {"type": "base64", "media_type": media_type, "data": data}
    return {"type": "image", "source": source}


# -- the other fields --------------------------------------------------------------------


def _most(params: Mapping[str, Any]) -> dict[str, Any]:
    most, own = params.get("max_completion_tokens"), params.get("max_tokens")
    if most is None:
        return {}
    if own not in (None, most):
        refuse("max_completion_tokens beside another max_tokens", "Write one of the two.")
    return {"max_tokens": most}


def _output(params: Mapping[str, Any]) -> dict[str, Any]:
    """The form of an answer, and how much is thought about it."""
    found = {**_form(params.get("response_format")), **_effort(params.get("reasoning_effort"))}
    thinking = {"thinking": found.pop("thinking")} if "thinking" in found else {}
    own = params.get("output_config")
    if own is not None and not isinstance(own, dict):
        refuse("output_config is no object", "Leave it out, or write it as Anthropic has it.")
    for name in found.keys() & (own or {}).keys():
        refuse(f"output_config.{name} beside OpenAI's word for it", "Write one of the two.")
    if thinking and params.get("thinking") is not None:
        refuse("thinking beside reasoning_effort", "Write one of the two.")
    return {**thinking, **({"output_config": {**(own or {}), **found}} if found else {})}


def _form(form: Any) -> dict[str, Any]:
    kind = form.get("type") if isinstance(form, dict) else None
    if form is None or kind == "text":
        return {}
    if kind != "json_schema":
        refuse(
            f"response_format of the type {shown(kind)}",
            "Write a json_schema, or ask for JSON in a message.",
        )
    told = form.get("json_schema")
    schema = told.get("schema") if isinstance(told, dict) else None
    if not isinstance(schema, dict):
        refuse("response_format holds no schema", "Write it under json_schema.schema.")
    what = told.get("description")
    if isinstance(what, str) and what:
        schema = {"description": what, **schema}
    return {"format": {"type": "json_schema", "schema": schema}}


def _effort(effort: Any) -> dict[str, Any]:
    if effort is None:
        return {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    if effort not in _EFFORTS:
        remedy = f"Write none, {', '.join(_EFFORTS)}, or leave it out."
        refuse(f"reasoning_effort = {shown(effort)}", remedy)
    return {"effort": effort}


def _tier(params: Mapping[str, Any]) -> dict[str, Any]:
    tier = params.get("service_tier")
    if tier == "default":
        return {"service_tier": "standard_only"}
    if tier not in (None, "auto", "standard_only"):
        refuse(f"service_tier = {shown(tier)}", "Write auto or default, or leave it out.")
    return {}
