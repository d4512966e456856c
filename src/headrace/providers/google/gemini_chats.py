"""Chats in OpenAI's words, said in Google's: messages become contents, and what goes with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headrace.providers.google.gemini_tools import OURS as TOOLS
from headrace.providers.google.gemini_tools import (
    call_parts,
    invalid,
    result_part,
    tools_of,
)
from headrace.providers.remote.chat_params import check_tools_told
from headrace.request import Request
from headrace.waits import dig

_ROLES = {"user": "user", "assistant": "model"}
_SYSTEM = ("system", "developer")
_EFFORTS = ("minimal", "low", "medium", "high")
_OURS = ("messages", "max_completion_tokens", "reasoning_effort", "response_format", *TOOLS)
_TEXTS = ("text", "input_text", "output_text")
_DATA = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,([A-Za-z0-9+/=\s]*)", re.I)


def in_googles_words(request: Request) -> Request:
    """Return a request whose chat is said in Google's words; others as they are.

    Raises ``CallFailed`` (invalid) for what Google has no words for.
    """
    params = request.params
    if "messages" not in params:
        return request
    said = {name: value for name, value in params.items() if name not in _OURS}
    system, contents = _told(params["messages"])
    if system:
        said.setdefault("system", {"parts": system})
    said["contents"] = [*params.get("contents", ()), *contents]
    if params.get("max_completion_tokens") is not None:
        said.setdefault("max_tokens", params["max_completion_tokens"])
    params = {**_form(params), **_thinking(params), **tools_of(params), **said}
    return replace(request, params=params)


def _told(messages: Any) -> tuple[list[Any], list[Any]]:
    """The parts of a chat's system messages, and its other messages as contents."""
    if not isinstance(messages, list):
        raise invalid("messages must be a list")
    check_tools_told({"messages": messages})
    system: list[Any] = []
    contents: list[Any] = []
    calls: dict[str, Any] = {}
    for message in messages:
        if not isinstance(message, dict):
            raise invalid("a message is no object")
        role = message.get("role")
        if role == "tool":
            _add_result(contents, calls[message["tool_call_id"]], message)
            continue
        calls = {call["id"]: call for call in message.get("tool_calls") or ()}
        parts = _said(message)
        if role in _SYSTEM:
            system += parts
        elif parts:
            contents.append({"role": _ROLES[str(role)], "parts": parts})
    return system, contents


def _said(message: dict[Any, Any]) -> list[Any]:
    """The parts of a message that is no tool's."""
    role = message.get("role")
    if role not in (*_ROLES, *_SYSTEM) or message.get("function_call"):
        raise invalid(f"a message of the role {str(role)[:50]!r}, or with a function's call")
    if message.get("name") is not None:
        raise invalid("the name of a message", "Say in the message's content who speaks.")
    parts = _parts(message.get("content"))
    return parts + call_parts(message) if message.get("tool_calls") else parts


def _add_result(contents: list[Any], call: Any, message: dict[Any, Any]) -> None:
    """Add what a tool found; the results of one message's calls go out together."""
    parts = _parts(message.get("content"))
    if any(part.keys() != {"text"} for part in parts):
        raise invalid("a tool's result that is no text", "Send pictures in a message of the user.")
    part = result_part(call, "".join(part["text"] for part in parts))
    last = contents[-1]["parts"]
    if "functionResponse" in last[-1]:
        last.append(part)
    else:
        contents.append({"role": "user", "parts": [part]})


def _parts(content: Any) -> list[Any]:
    if content is None or isinstance(content, str):
        return [{"text": content}] if content else []
    if not isinstance(content, list):
        raise invalid("a message's content is neither a text nor a list of parts")
    return [_part(part) for part in content]


def _part(part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind in _TEXTS and isinstance(part.get("text"), str):
        return {"text": part["text"]}
    if kind == "image_url":
        detail = dig(part, "image_url", "detail")
        if detail not in (None, "auto"):
            said = f"image_url.detail = {str(detail)[:50]!r}"
            raise invalid(said, "Leave it out, and write mediaResolution for all pictures.")
        address = dig(part, "image_url", "url")
        found = _DATA.fullmatch(address) if isinstance(address, str) else None
        if found is None:
            raise invalid("a picture of a chat is no data: address with base64")
        return {"inlineData": {"mimeType": found[1].lower(), "data": "".join(found[2].split())}}
    raise invalid(f"a part of the kind {str(kind)[:50]!r}")


def _form(params: Mapping[str, Any]) -> dict[str, Any]:
    """What asks for JSON."""
    form = params.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "json_schema":
        schema = dig(form, "json_schema", "schema")
        if not isinstance(schema, dict):
            raise invalid("response_format holds no schema")
        return {"responseJsonSchema": schema}
    if kind == "json_object":
        return {"responseMimeType": "application/json"}
    return {} if form is None or kind == "text" else {"response_format": form}


def _thinking(params: Mapping[str, Any]) -> dict[str, Any]:
    """How long it is to think; Google's older models know no levels, and say so."""
    effort = params.get("reasoning_effort")
    if effort is None:
        return {}
    if effort == "none":
        return {"thinkingBudget": 0}
    if effort not in _EFFORTS:
        raise invalid(f"reasoning_effort = {str(effort)[:50]!r}")
    return {"thinkingLevel": str(effort).upper()}
