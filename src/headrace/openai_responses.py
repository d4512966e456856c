"""Responses of OpenAI's API: what one asks for, as a chat, and the answer in its shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Any

from headrace.errors import InputError
from headrace.tool_calls import EXTRA, Said, function_call

DELTA_CHARS = 400
"""A whole answer is streamed in pieces of so many characters."""

_NOT_HERE = ("previous_response_id", "conversation", "prompt", "background")
_DROPPED = frozenset(
    {"input", "instructions", "max_output_tokens", "text", "reasoning", "truncation", "include"}
    | {"parallel_tool_calls", "tools", "tool_choice", "max_tool_calls", "safety_identifier"}
    | {"prompt_cache_key", *_NOT_HERE}
)
_TEXTS = ("input_text", "output_text", "text")


def chat_of(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the chat that a response asks for; raises ``InputError``.

    So every provider that chats can answer, and an answer is shared with chats.
    """
    for name in _NOT_HERE:
        if body.get(name):
            raise InputError(
                f"{name!r} is not for responses here: nothing is kept between calls",
                remedy="Send the whole conversation as input.",
                param=name,
            )
    chat = {name: value for name, value in body.items() if name not in _DROPPED}
    chat["messages"] = _messages(body)
    chat |= _tools(body)
    if body.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    reasoning, text = body.get("reasoning"), body.get("text")
    if isinstance(reasoning, dict) and reasoning.get("effort") is not None:
        chat["reasoning_effort"] = reasoning["effort"]
    if isinstance(text, dict):
        if text.get("verbosity") is not None:
            chat["verbosity"] = text["verbosity"]
        form = _form(text.get("format"))
        if form is not None:
            chat["response_format"] = form
    return chat


def _form(told: Any) -> dict[str, Any] | None:
    if not isinstance(told, dict) or told.get("type") == "text":
        return None
    if told.get("type") == "json_schema":
        rest = {name: value for name, value in told.items() if name != "type"}
        return {"type": "json_schema", "json_schema": rest}
    return told


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = []
    if isinstance(body.get("instructions"), str) and body["instructions"]:
        found.append({"role": "system", "content": body["instructions"]})
    told = body.get("input")
    if isinstance(told, str):
        told = [{"role": "user", "content": told}]
    if not isinstance(told, list) or not told:
        raise InputError("input must be a text, or a list of one message or more")
    for one in told:
        kind = one.get("type") if isinstance(one, dict) else None
        if kind == "function_call":
            _add_call(found, one)
        elif kind == "function_call_output":
            found.append(_result(one))
        else:
            found.append(_message(one))
    return found


def _tools(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a chat says of the same tools: each function stands one level deeper there."""
    tools, choice = body.get("tools"), body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    if not tools:
        return {} if choice in (None, "none", "auto") else {"tool_choice": choice}
    told = [_deeper(one) for one in tools] if isinstance(tools, list) else tools
    parallel = body.get("parallel_tool_calls")
    return {"tools": told, "tool_choice": choice, "parallel_tool_calls": parallel}


def _deeper(tool: Any) -> Any:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        return tool
    function = {name: one for name, one in tool.items() if name != "type" and one is not None}
    return {"type": "function", "function": function}


def _add_call(found: list[dict[str, Any]], told: Mapping[str, Any]) -> None:
    """Add a call to the assistant's message before it: a chat has one for all of a turn."""
    for name in ("call_id", "name", "arguments"):
        if not isinstance(told.get(name), str):
            raise InputError(f"a function_call of the input has no {name}", param="input")
    extra = told.get(EXTRA)
    extra = extra if isinstance(extra, dict) else None
    call = function_call(told["name"], told["arguments"], told["call_id"], extra)
    if not found or found[-1]["role"] != "assistant":
        found.append({"role": "assistant", "content": None})
    found[-1].setdefault("tool_calls", []).append(call)


def _result(told: Mapping[str, Any]) -> dict[str, Any]:
    output = told.get("output")
    if isinstance(output, list):
        output = [_part(one) for one in output]
    elif not isinstance(output, str):
        raise InputError("a function_call_output is neither a text nor a list", param="input")
    return {"role": "tool", "tool_call_id": told.get("call_id"), "content": output}


def _message(told: Any) -> dict[str, Any]:
    if not isinstance(told, dict) or told.get("type", "message") != "message":
        kind = told.get("type") if isinstance(told, dict) else told
        raise InputError(
            f"input holds {str(kind)[:80]!r}, which is no message",
            remedy="Messages go in, and function_call with its function_call_output.",
            param="input",
        )
    role = told.get("role")
    if role not in ("user", "assistant", "system", "developer"):
        raise InputError(f"a message has the role {str(role)[:80]!r}")
    content = told.get("content")
    if isinstance(content, list):
        parts = [_part(one) for one in content]
        is_text = len(parts) == 1 and parts[0]["type"] == "text"
        content = parts[0]["text"] if is_text else parts
    elif not isinstance(content, str):
        raise InputError("the content of a message is neither a text nor a list")
    return {"role": "system" if role == "developer" else role, "content": content}


def _part(told: Any) -> dict[str, Any]:
    kind = told.get("type") if isinstance(told, dict) else None
    if kind in _TEXTS and isinstance(told.get("text"), str):
        return {"type": "text", "text": told["text"]}
    if kind == "input_image" and isinstance(told.get("image_url"), str):
        image = {"url": told["image_url"]}
        if told.get("detail") not in (None, "auto"):
            image["detail"] = told["detail"]
        return {"type": "image_url", "image_url": image}
    raise InputError(
        f"a message holds {str(kind)[:80]!r}, which cannot be sent",
        remedy="input_text with its text and input_image with its image_url can.",
    )


def response_json(
    name: str,
    model: str,
    said: Said,
    facts: Mapping[str, Any],
    now: datetime,
    usage: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return a response; ``name`` is its id, ``usage`` has the counts of a chat."""
    is_cut = bool(facts.get("truncated"))
    status = "incomplete" if is_cut else "completed"
    return {
        "id": f"resp_{name}",
        "object": "response",
        "created_at": int(now.timestamp()),
        "status": status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "instructions": None,
        "metadata": {},
        "model": model,
        "output": _output(name, said, status),
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "usage": None if usage is None else _usage(usage),
    }


def _output(name: str, said: Said, status: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if said.content is not None:
        part = {"type": "output_text", "text": said.content, "annotations": [], "logprobs": []}
        message = {"id": f"msg_{name}", "type": "message", "role": "assistant"}
        found.append({**message, "status": status, "content": [part]})
    for place, call in enumerate(said.calls):
        told = {
            "id": f"fc_{name}{place:02d}", "type": "function_call", "status": status,
            "call_id": call["id"], **call["function"],
        }  # fmt: skip
        found.append({**told, EXTRA: call[EXTRA]} if EXTRA in call else told)
    return found


def _usage(counts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "input_tokens": counts["prompt_tokens"],
        "input_tokens_details": counts["prompt_tokens_details"],
        "output_tokens": counts["completion_tokens"],
        "output_tokens_details": counts["completion_tokens_details"],
        "total_tokens": counts["total_tokens"],
    }


def response_events(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a whole response as the events by which it is streamed, numbered from 0."""
    if told["output"][0]["type"] == "message":
        deltas = (delta_event(told, piece) for piece in pieces(_text_of(told)))
        events = chain(begun_events(told), deltas, ended_events(told))
    else:
        events = chain(_created_events(told), _call_events(told, 0), [_end_event(told)])
    for number, event in enumerate(events):
        yield {**event, "sequence_number": number}


def begun_events(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events before the text of a response."""
    yield from _created_events(told)
    message = told["output"][0]
    empty = {**message, "status": "in_progress", "content": []}
    part = {**message["content"][0], "text": ""}
    yield {"type": "response.output_item.added", "output_index": 0, "item": empty}
    yield {"type": "response.content_part.added", **_at(told), "part": part}


def _created_events(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    begun = {**told, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}


def _call_events(told: Mapping[str, Any], first: int) -> Iterator[dict[str, Any]]:
    """Yield the events of the calls, which stand in the output from ``first`` on."""
    for index, item in enumerate(told["output"][first:], first):
        at = {"item_id": item["id"], "output_index": index}
        begun = {**item, "arguments": "", "status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": index, "item": begun}
        kind = "response.function_call_arguments"
        for piece in pieces(item["arguments"]):
            yield {"type": f"{kind}.delta", **at, "delta": piece}
        named = {"name": item["name"], "arguments": item["arguments"]}
        yield {"type": f"{kind}.done", **at, **named}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _end_event(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": f"response.{told['status']}", "response": told}


def delta_event(told: Mapping[str, Any], piece: str) -> dict[str, Any]:
    """Return the event that adds a piece to the text."""
    return {"type": "response.output_text.delta", **_at(told), "delta": piece, "logprobs": []}


def ended_events(told: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events after the text, those of calls among them."""
    at, message = _at(told), told["output"][0]
    part = message["content"][0]
    yield {"type": "response.output_text.done", **at, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **at, "part": part}
    yield {"type": "response.output_item.done", "output_index": 0, "item": message}
    yield from _call_events(told, 1)
    yield _end_event(told)


def failed_event(told: Mapping[str, Any], code: str, message: str) -> dict[str, Any]:
    """Return the event of a response that ends without its text being whole."""
    error = {"code": code, "message": message}
    failed = {**told, "status": "failed", "error": error, "output": [], "usage": None}
    return {"type": "response.failed", "response": failed}


def _at(told: Mapping[str, Any]) -> dict[str, Any]:
    return {"item_id": told["output"][0]["id"], "output_index": 0, "content_index": 0}


def _text_of(told: Mapping[str, Any]) -> str:
    text: str = told["output"][0]["content"][0]["text"]
    return text


def pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces, one at least."""
    for start in range(0, len(text) or 1, DELTA_CHARS):
        yield text[start : start + DELTA_CHARS]
