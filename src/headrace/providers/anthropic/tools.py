"""Tools in OpenAI's words, said in Anthropic's: definitions, calls, results; calls read back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from headrace.openai_tools import in_openais_words
from headrace.outcome import Outcome, OutcomeKind, failed
from headrace.providers.anthropic.messages import CUT_OFF, Told, nothing, result_of
from headrace.providers.remote.chat_params import arguments_of, check_tools_told, encode
from headrace.tool_calls import EXTRA, function_call, kept, made_up_id
from headrace.waits import dig

PROVIDER = "anthropic"
"""The name under which a call has what is Anthropic's own: the thinking before it."""

_ODD = re.compile(r"[^A-Za-z0-9_-]")
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_NATIVE = "Write tools in the one way or in the other, not both."


def tools_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``tools`` and ``tool_choice`` as they change, ``None`` for what is to be left out.

    Raises ``CallFailed`` (invalid).
    """
    tools, choice = params.get("tools"), params.get("tool_choice")
    found: dict[str, Any] = {"tools": None} if tools == [] else {}
    if in_openais_words(tools):
        told = {name: params.get(name) for name in ("tool_choice", "parallel_tool_calls")}
        check_tools_told({"tools": tools, **told})
        found["tools"] = [_definition(tool["function"]) for tool in tools or ()]
    elif isinstance(choice, dict) and choice.get("type") in ("function", "custom", "allowed_tools"):
        refuse(f"tool_choice of the type {choice['type']} without such tools", _NATIVE)
    is_word = isinstance(choice, str) and choice in _CHOICES
    if choice is not None and not is_word and not isinstance(choice, dict):
        refuse(f"tool_choice = {shown(choice)}", "Write none, auto or required.")
    if not tools and choice == "required":
        refuse("tool_choice = 'required' without tools", "Send tools, or leave it out.")
    said = _choice(choice, single=params.get("parallel_tool_calls") is False) if tools else None
    if said is not None or isinstance(choice, str):
        found["tool_choice"] = said
    return found


def check_calls(messages: Any) -> None:
    """Raise ``CallFailed`` (invalid) for calls and results that do not belong together."""
    check_tools_told({"messages": messages})


def _definition(function: Mapping[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters") or {}
    told = {"name": function["name"], "description": function.get("description") or None}
    schema = {"type": "object", **parameters}
    if "properties" not in parameters:
        schema["properties"] = {}
    strict = True if function.get("strict") else None
    found = {**told, "input_schema": schema, "strict": strict}
    return {name: value for name, value in found.items() if value is not None}


def _choice(choice: Any, *, single: bool) -> dict[str, Any] | None:
    """What the model may choose; ``None`` where nothing is to be said, or all is said already."""
    if isinstance(choice, dict) and choice.get("type") != "function":
        return None
    told: dict[str, Any] = (
        {"type": _CHOICES[choice or "auto"]} if not isinstance(choice, dict) else {}
    )
    if isinstance(choice, dict):
        told = {"type": "tool", "name": dig(choice, "function", "name")}
    if single and told["type"] != "none":
        return {**told, "disable_parallel_tool_use": True}
    return told if choice is not None else None


def call_blocks(message: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Return the blocks before an assistant's text, and those of its calls; raises ``CallFailed``.

    Calls were checked.
    """
    before: list[Any] = []
    uses: list[Any] = []
    for call in message["tool_calls"]:
        thoughts = dig(call, EXTRA, PROVIDER, "thinking")
        before += thoughts if isinstance(thoughts, list) else []
        given = arguments_of(call)
        if given is None:
            what = f"the arguments {shown(call['function']['arguments'])}"
            refuse(what, "Write them as a JSON object.")
        name = call["function"]["name"]
        uses.append({"type": "tool_use", "id": _id(call["id"]), "name": name, "input": given})
    return before, uses


def result_block(message: Mapping[str, Any], content: Any) -> dict[str, Any]:
    """Return the block of a tool's result; ``content`` is a text, or blocks."""
    told = {"type": "tool_result", "tool_use_id": _id(message["tool_call_id"])}
    return {**told, "content": content} if content else told


def _id(told: str) -> str:
    """An id as Anthropic takes it: others' may have letters that its own never have."""
    return _ODD.sub("_", told)


def answer_of(told: Told, *, is_json: bool) -> tuple[str, bytes] | Outcome:
    """Return the media type and bytes of an answer to who offers functions, or how it ended."""
    if told.uses and told.stop not in ("refusal", "pause_turn"):
        if told.stop in CUT_OFF:
            return nothing(told, "end")  # what a tool is called with is whole, or not there
        calls = [_call(told, place, use) for place, use in enumerate(told.uses)]
        return kept(told.text, calls, is_json=False)
    found = result_of(told, "")
    return found if isinstance(found, Outcome) else kept(told.text, (), is_json=is_json)


def _call(told: Told, place: int, use: Mapping[str, Any]) -> dict[str, Any]:
    thoughts = {PROVIDER: {"thinking": [*told.thoughts]}} if told.thoughts and not place else None
    name = use.get("id")
    known = name if isinstance(name, str) and name else made_up_id(told.id, place, told.text)
    return function_call(str(use.get("name")), encode(use["input"]).decode(), known, thoughts)


def shown(value: Any) -> str:
    """Return a value as a message shows it."""
    return repr(value)[:50]


def refuse(what: str, remedy: str) -> NoReturn:
    """Raise ``CallFailed`` (invalid) for what Anthropic has no words for."""
    raise failed(OutcomeKind.INVALID, f"{what}: Anthropic's models are not asked so", remedy=remedy)
