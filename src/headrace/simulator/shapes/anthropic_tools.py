"""Tools in the messages API: what is looked at first, and a message that calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.simulator.calling import AUTO, NONE, REQUIRED, Wish, objects, schemas_of
from headrace.waits import dig

SIGNATURE = "c2ltdWxhdGVk"
_CHOICES = {"auto": AUTO, "any": REQUIRED, "none": NONE, "tool": ""}
_TOOL = frozenset({"name", "description", "input_schema", "strict", "type", "cache_control"})


def wrong_tools(body: Mapping[str, Any]) -> str:
    """Return what is wrong with definitions, choice, calls and results; empty when nothing is."""
    names = set()
    for number, tool in enumerate(objects(body.get("tools"))):
        odd = sorted(tool.keys() - _TOOL)
        if odd:
            return f"tools.{number}.custom.{odd[0]}: Extra inputs are not permitted"
        if not isinstance(tool.get("name"), str):
            return f"tools.{number}.custom.name: Field required"
        if dig(tool, "input_schema", "type") != "object":
            return f"tools.{number}.custom.input_schema.type: Field required"
        names.add(tool["name"])
    choice = body.get("tool_choice")
    if choice is not None and not names:
        return "tool_choice may only be specified while providing tools"
    if choice is not None and str(dig(choice, "type")) not in _CHOICES:
        return "tool_choice: Input tag does not match any of the expected tags"
    return _wrong_results(body)


def _wrong_results(body: Mapping[str, Any]) -> str:
    waiting: set[str] = set()
    for number, message in enumerate(body["messages"]):
        blocks = _blocks(message)
        told = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if waiting - {*told}:
            return f"messages.{number - 1}: `tool_use` ids were found without `tool_result` blocks"
        if {*told} - waiting:
            return f"messages.{number}.content.0: unexpected `tool_use_id` found in `tool_result`"
        waiting = {block["id"] for block in blocks if block["type"] == "tool_use"}
        thinks = blocks and blocks[0]["type"] == "thinking" and blocks[0]["signature"] == SIGNATURE
        if waiting and body.get("thinking") and not thinks:
            return f"messages.{number}.content.0.type: Expected `thinking`, but found `tool_use`"
    return "messages: `tool_use` ids were found without `tool_result` blocks" if waiting else ""


def _blocks(message: Mapping[str, Any]) -> list[Any]:
    return message["content"] if isinstance(message["content"], list) else []


def wish_of(body: Mapping[str, Any]) -> Wish:
    """Return what a body says of tools."""
    choice = body.get("tool_choice") or {"type": "auto"}
    last = body["messages"][-1]
    blocks = _blocks(last)
    said = [block["text"] for block in blocks if block["type"] == "text"] or [last["content"]]
    is_result = any(block["type"] == "tool_result" for block in blocks)
    return Wish(
        schemas_of(objects(body.get("tools")), "input_schema"),
        _CHOICES[choice["type"]],
        str(choice.get("name", "")),
        "" if is_result or last["role"] != "user" else str(said[-1]),
        bool(choice.get("disable_parallel_tool_use")),
    )


def calling(wish: Wish, number: int, words: str, *, thinks: bool) -> list[dict[str, Any]] | None:
    """Return the blocks of a message that calls; ``None`` where nothing is called."""
    calls = wish.calls(number)
    if not calls:
        return None
    thought = {"type": "thinking", "thinking": "Which tool is it?", "signature": SIGNATURE}
    return [
        *([thought] if thinks else ()),
        *([{"type": "text", "text": words}] if wish.talks else ()),
        *(
            {
                "type": "tool_use",
                "id": f"toolu_sim{number:06d}{at:02d}",
                "name": name,
                "input": given,
            }
            for at, (name, given) in enumerate(calls)
        ),
    ]
