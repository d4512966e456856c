"""Tools in OpenAI's shape: what a chat says of them, and a message that calls them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.simulator.calling import AUTO, NONE, Wish, objects, schemas_of
from headrace.waits import dig


def wrong_tools(body: Mapping[str, Any]) -> str:
    """Return what is wrong with the tools of a chat, empty when nothing is."""
    if body.get("tool_choice") not in (None, NONE) and not body.get("tools"):
        return "'tool_choice' is only allowed when 'tools' are specified."
    waiting: set[str] = set()
    for number, message in enumerate(objects(body["messages"])):
        if message.get("role") == "tool":
            if str(message.get("tool_call_id")) not in waiting:
                return (
                    "messages with role 'tool' must be a response to a preceeding message with "
                    f"'tool_calls' (messages.[{number}])"
                )
            waiting.remove(str(message.get("tool_call_id")))
            continue
        if waiting:
            break
        calls = objects(message.get("tool_calls"))
        odd = [name for call in calls for name in call.keys() - {"id", "type", "function"}]
        if odd:
            return f"Unknown parameter: 'messages[{number}].tool_calls[0].{odd[0]}'."
        waiting = {str(call.get("id")) for call in calls}
    return "tool_call_ids did not have response messages" if waiting else ""


def wish_of(body: Mapping[str, Any]) -> Wish:
    """Return what a chat says of tools."""
    functions = objects([tool.get("function") for tool in objects(body.get("tools"))])
    choice = body.get("tool_choice") or AUTO
    named = dig(choice, "function", "name")
    last = (objects(body.get("messages")) or [{}])[-1]
    said = last.get("content") if last.get("role") == "user" else ""
    return Wish(
        schemas_of(functions, "parameters"),
        str(choice),
        named if isinstance(named, str) else "",
        said if isinstance(said, str) else "",
        body.get("parallel_tool_calls") is False,
    )


def calling(wish: Wish, number: int, words: str) -> tuple[dict[str, Any], str] | None:
    """Return a message that calls, and why it ends; ``None`` where nothing is called."""
    calls = wish.calls(number)
    if not calls:
        return None
    message = {
        "role": "assistant",
        "content": words if wish.talks else None,
        "refusal": None,
        "tool_calls": [
            {
                "id": f"call_sim{number:08d}{place:02d}",
                "type": "function",
                "function": {"name": name, "arguments": msgspec.json.encode(given).decode()},
            }
            for place, (name, given) in enumerate(calls)
        ],
    }
    # As with the real one: whoever names the function is told that it stopped.
    return message, "stop" if wish.named else "tool_calls"
