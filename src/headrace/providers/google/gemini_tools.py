"""Tools in OpenAI's words, said in Google's: declarations, calls, results, and calls read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.openai_tools import in_openais_words
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.providers.google.gemini_replies import Told
from headrace.providers.remote.chat_params import arguments_of, check_tools_told, encode
from headrace.providers.remote.http_calls import read_object
from headrace.tool_calls import EXTRA, function_call, made_up_id
from headrace.waits import dig

PROVIDER = "google"
"""The name under which a call has what is Google's own: its signature, and its id."""
OURS = ("tools", "tool_choice", "parallel_tool_calls")

_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}


def invalid(what: str, remedy: str = "") -> CallFailed:
    """Return the failure of a chat that Google has no words for."""
    return failed(
        OutcomeKind.INVALID,
        f"{what}: Google's models are not asked so",
        remedy=remedy or "Send texts and pictures, or write contents as Google has them.",
    )


def tools_of(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is sent of a chat's tools; raises ``CallFailed`` (invalid).

    Tools in Google's own words go on as they are.
    """
    tools, choice = params.get("tools"), params.get("tool_choice")
    if not in_openais_words(tools):
        if choice not in (None, "auto", "none"):
            raise invalid("tool_choice without such tools", "Send tools, or write toolConfig.")
        return {"tools": tools} if tools else {}
    check_tools_told({name: params.get(name) for name in OURS})
    if params.get("parallel_tool_calls") is False:
        raise invalid("parallel_tool_calls = False", "Leave it out, and take the first call.")
    functions = [tool["function"] for tool in tools or ()]
    found: dict[str, Any] = {"tools": [{"functionDeclarations": [*map(_declared, functions)]}]}
    if isinstance(choice, dict):
        name = dig(choice, "function", "name")
        calling = {"mode": "ANY", "allowedFunctionNames": [name]}
    else:
        calling = {"mode": _MODES[choice or "auto"]}
    if calling["mode"] == "AUTO" and any(one.get("strict") for one in functions):
        calling = {"mode": "VALIDATED"}
    return {**found, "toolConfig": {"functionCallingConfig": calling}}


def _declared(function: Mapping[str, Any]) -> dict[str, Any]:
    told = {"name": function["name"], "description": function.get("description") or ""}
    parameters = function.get("parameters")
    # Google takes no schema of an object without properties: such a function takes nothing.
    if not parameters or not parameters.get("properties"):
        return told
    return {**told, "parametersJsonSchema": parameters}


def call_parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of an assistant's calls, which were checked; raises ``CallFailed``."""
    return [_call_part(call) for call in message["tool_calls"]]


def _call_part(call: Mapping[str, Any]) -> dict[str, Any]:
    given = arguments_of(call)
    if given is None:
        what = f"the arguments {repr(call['function']['arguments'])[:50]}"
        raise invalid(what, "Write them as a JSON object.")
    told = {**_named(call), "args": given}
    signature = dig(call, EXTRA, PROVIDER, "thought_signature")
    signed = {"thoughtSignature": signature} if isinstance(signature, str) else {}
    return {"functionCall": told, **signed}


def _named(call: Mapping[str, Any]) -> dict[str, Any]:
    """The name of a call, and the id that Google gave it: others' are not told to it."""
    name = dig(call, EXTRA, PROVIDER, "id")
    known = {"id": name} if isinstance(name, str) else {}
    return {**known, "name": call["function"]["name"]}


def result_part(call: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Return the part of what the tool of a call has found: an object, or a text as its output."""
    found = read_object(text.encode("utf-8", "replace")) if text.strip() else None
    response = {"output": text} if found is None else found
    return {"functionResponse": {**_named(call), "response": response}}


def calls_of(told: Told) -> Sequence[dict[str, Any]]:
    """Return the calls of an answer in OpenAI's words."""
    found = []
    for place, part in enumerate(told.calls):
        call = part["functionCall"]
        name, args = call.get("id"), call.get("args")
        own = {"thought_signature": part.get("thoughtSignature"), "id": name}
        kept = {key: value for key, value in own.items() if isinstance(value, str) and value}
        arguments = encode(args if isinstance(args, dict) else {}).decode()
        known = kept.get("id") or made_up_id(told.id, place, call["name"], arguments)
        extra = {PROVIDER: kept} if kept else None
        found.append(function_call(call["name"], arguments, known, extra))
    return found
