"""Tools in Google's shape: declarations, calls and their responses, and the signatures of thoughts.

A model with ``-3`` in its name wants its signatures back, as Google's third generation does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.simulator.calling import AUTO, NONE, REQUIRED, Wish, objects, schemas_of
from headrace.waits import dig

_MODES = {"AUTO": AUTO, "VALIDATED": AUTO, "ANY": REQUIRED, "NONE": NONE}
_SIGNED = "c2lnbmVk"


def wrong_tools(body: Mapping[str, Any], model: str) -> str:
    """Return what is wrong with calls and responses, empty when nothing is."""
    for tool in declarations(body):
        odd = sorted(tool.keys() - {"name", "description", "parameters", "parametersJsonSchema"})
        if odd:
            return f"Invalid JSON payload received. Unknown name {odd[0]!r}"
    if "toolConfig" in body and not declarations(body):
        return "Function calling config is set without function_declarations."
    waiting = 0
    for content in objects(body.get("contents")):
        parts = objects(content.get("parts"))
        calls = [part for part in parts if "functionCall" in part]
        if sum("functionResponse" in part for part in parts) != waiting:
            return (
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn."
            )
        if calls and "-3" in model and calls[0].get("thoughtSignature") != _SIGNED:
            return "Function call is missing a thought_signature in functionCall parts."
        waiting = len(calls)
    return ""


def declarations(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the functions that a body declares."""
    tools = objects(body.get("tools"))
    return [one for tool in tools for one in objects(tool.get("functionDeclarations"))]


def wish_of(body: Mapping[str, Any]) -> Wish:
    """Return what a body says of tools."""
    allowed = dig(body, "toolConfig", "functionCallingConfig", "allowedFunctionNames")
    mode = dig(body, "toolConfig", "functionCallingConfig", "mode")
    contents = objects(body.get("contents")) or [{}]
    parts = objects(contents[-1].get("parts")) or [{}]
    return Wish(
        schemas_of(declarations(body), "parametersJsonSchema"),
        _MODES.get(str(mode), AUTO),
        str(allowed[0]) if isinstance(allowed, list) and allowed else "",
        str(parts[-1].get("text", "")),
    )


def calling(wish: Wish, number: int, words: str) -> list[dict[str, Any]] | None:
    """Return the parts of an answer that calls; ``None`` where nothing is called."""
    calls = wish.calls(number)
    if not calls:
        return None
    parts: list[dict[str, Any]] = [{"text": words}] if wish.talks else []
    for place, (name, given) in enumerate(calls):
        told = {"id": f"sim{number:06d}{place:02d}", "name": name, "args": given}
        # Only the first of several is signed.
        parts.append({"functionCall": told, **({} if place else {"thoughtSignature": _SIGNED})})
    return parts
