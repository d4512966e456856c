"""Tools in OpenAI's words: what a chat may say of them, looked at before anything is bought."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from headrace.errors import InputError

TOOLS_MAX = 128
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_CHOICES = ("none", "auto", "required")
_ONLY_FUNCTIONS = 'Write {"type": "function", "function": {"name": …}}: the caller runs them.'
_RESULTS = "Send the assistant's message, then one message of the role tool for each of its calls."


def check_tools(body: Mapping[str, Any]) -> None:
    """Raise ``InputError``, with the field that is to blame, for tools that cannot be meant.

    All that a chat says of them fits together: definitions, the choice among them, and in the
    messages each call and its one result.
    """
    names = _checked_tools(body.get("tools"))
    _check_choice(body.get("tool_choice"), names)
    parallel = body.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        _wrong("parallel_tool_calls", "parallel_tool_calls is neither true nor false")
    if body.get("functions"):
        _wrong("functions", "functions are no longer asked for in this way", "Write them as tools.")
    _check_messages(body.get("messages"))


def in_openais_words(tools: Any) -> bool:
    """Tell whether tools are written as OpenAI has them: what is called is then the answer."""
    return isinstance(tools, list) and any(
        isinstance(tool, dict)
        and (tool.get("type") == "function" or "function" in tool or "custom" in tool)
        for tool in tools
    )


def _checked_tools(tools: Any) -> set[str]:
    """Return the names of the functions."""
    if tools is None:
        return set()
    if not isinstance(tools, list):
        _wrong("tools", "tools is no list", _ONLY_FUNCTIONS)
    if len(tools) > TOOLS_MAX:
        _wrong("tools", f"tools has {len(tools):,} entries", f"Send {TOOLS_MAX} at most.")
    names: set[str] = set()
    for number, tool in enumerate(tools):
        at = f"tools[{number}]"
        if not isinstance(tool, dict):
            _wrong(at, f"{at} is no object", _ONLY_FUNCTIONS)
        if tool.get("type") != "function":
            kind = "has no type" if "type" not in tool else f"is of the type {_shown(tool['type'])}"
            _wrong(f"{at}.type", f"{at} {kind}, and nothing is run here", _ONLY_FUNCTIONS)
        name = _checked_function(tool.get("function"), f"{at}.function")
        if name in names:
            _wrong(f"{at}.function.name", f"two tools have the name {name!r}", "Name each apart.")
        names.add(name)
    return names


def _checked_function(function: Any, at: str) -> str:
    if not isinstance(function, dict):
        _wrong(at, f"{at} is no object", _ONLY_FUNCTIONS)
    name = function.get("name")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        what = "is missing" if name is None else f"= {_shown(name)} is no name"
        remedy = "Use letters, digits, _ and -, 64 at most."
        _wrong(f"{at}.name", f"{at}.name {what}", remedy)
    parameters = function.get("parameters")
    if parameters is not None and not (
        isinstance(parameters, dict) and parameters.get("type", "object") == "object"
    ):
        remedy = 'Write a JSON Schema of the type "object", or leave it out.'
        _wrong(f"{at}.parameters", f"{at}.parameters is not the schema of an object", remedy)
    for field, kind in (("description", str), ("strict", bool)):
        if function.get(field) is not None and not isinstance(function[field], kind):
            _wrong(f"{at}.{field}", f"{at}.{field} = {_shown(function[field])} has another type")
    return name


def _check_choice(choice: Any, names: set[str]) -> None:
    if choice is None or (choice in _CHOICES[:2] if isinstance(choice, str) else False):
        return
    if not names:
        _wrong("tool_choice", "tool_choice without tools", "Send tools, or leave it out.")
    if choice == "required":
        return
    named = choice.get("function") if isinstance(choice, dict) else None
    if not isinstance(named, dict) or choice.get("type") != "function":
        remedy = 'Write none, auto, required or {"type": "function", "function": {"name": …}}.'
        _wrong("tool_choice", f"tool_choice = {_shown(choice)} is not known", remedy)
    if named.get("name") not in names:
        what = f"tool_choice names {_shown(named.get('name'))}, which is none of the tools"
        _wrong("tool_choice.function.name", what)


def _check_messages(messages: Any) -> None:
    """Look at each call and its result: neither may be without the other."""
    open_ids: set[str] = set()
    asked_at = ""
    for number, message in enumerate(messages if isinstance(messages, list) else ()):
        at = f"messages[{number}]"
        if not isinstance(message, dict):
            continue  # what a message is else is the provider's to say
        if message.get("role") == "tool":
            told = message.get("tool_call_id")
            if not isinstance(told, str) or told not in open_ids:
                what = f"{at} is the result of a tool call {_shown(told)} that is not before it"
                _wrong(f"{at}.tool_call_id", what, _RESULTS)
            open_ids.remove(told)
            continue
        if open_ids:
            break
        if message.get("tool_calls"):
            open_ids, asked_at = _checked_calls(message, at), at
    if open_ids:
        what = f"the call {sorted(open_ids)[0][:80]!r} of {asked_at} has no result"
        _wrong(f"{asked_at}.tool_calls", what, _RESULTS)


def _checked_calls(message: Mapping[str, Any], at: str) -> set[str]:
    calls = message["tool_calls"]
    if message.get("role") != "assistant" or not isinstance(calls, list):
        _wrong(f"{at}.tool_calls", f"{at}.tool_calls is no list of an assistant's calls")
    ids: set[str] = set()
    for number, call in enumerate(calls):
        place = f"{at}.tool_calls[{number}]"
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or call.get("type", "function") != "function":
            _wrong(place, f"{place} is no call of a function", "Send it back as it came.")
        for name, value in (("id", call.get("id")), ("function.name", function.get("name"))):
            if not isinstance(value, str) or not value:
                _wrong(f"{place}.{name}", f"{place}.{name} is no text", "Send it back as it came.")
        if not isinstance(function.get("arguments"), str):
            what = f"{place}.function.arguments is no text"
            _wrong(f"{place}.function.arguments", what, "Write JSON as a text, as it came.")
        if call["id"] in ids:
            _wrong(f"{place}.id", f"two calls have the id {call['id'][:80]!r}")
        ids.add(call["id"])
    return ids


def _shown(value: Any) -> str:
    return repr(value)[:80]


def _wrong(param: str, message: str, remedy: str = "") -> NoReturn:
    raise InputError(message, remedy=remedy, param=param)
