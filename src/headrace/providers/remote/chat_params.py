"""What chats have in common at every API: bodies, tools, sizes in tokens, counts of usage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.errors import InputError
from headrace.openai_tools import check_tools
from headrace.outcome import OutcomeKind, failed
from headrace.providers.remote.http_calls import read_object

CALL_TOKENS = 8
MESSAGE_TOKENS = 4

_UNREAD_TOKENS = 16
_NAME_CHARS_MAX, _COUNTS_MAX, _COUNT_MAX = 100, 64, 10**12

_encode = msgspec.json.Encoder().encode


def check_tools_told(told: Mapping[str, Any]) -> None:
    """Raise ``CallFailed`` (invalid) for tools, calls and results that do not fit together."""
    try:
        check_tools(told)
    except InputError as error:
        raise failed(
            OutcomeKind.INVALID, error.message, remedy=error.remedy or "Correct it."
        ) from None


def arguments_of(call: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a call of OpenAI's words is made with; ``None`` where that is no object."""
    told = call["function"]["arguments"]
    return read_object(told.encode("utf-8", "replace")) if told.strip() else {}


def encode(body: Any) -> bytes:
    """Return a body as JSON, bytes in it as base64; raises ``CallFailed`` (invalid)."""
    try:
        return _encode(body)
    except (TypeError, ValueError, RecursionError) as error:
        # Half of a surrogate pair, out of a row's own JSON, has no bytes.
        raise failed(
            OutcomeKind.INVALID,
            f"the params cannot be written as JSON: {error}",
            remedy="Correct the row's text.",
        ) from None


def text_tokens(value: Any) -> int:
    """Return the tokens of a text, or of the JSON of anything else, at four bytes a token."""
    if value is None or value == "":
        return 0
    if isinstance(value, str):
        return -(-len(value.encode("utf-8", "replace")) // 4)
    try:
        return -(-len(_encode(value)) // 4)
    except (TypeError, ValueError, RecursionError):
        return _UNREAD_TOKENS


def messages_tokens(messages: Any) -> int:
    """Return the tokens of a list of messages, with what each takes beside its text."""
    if not isinstance(messages, list):
        return 0
    return text_tokens(messages) + MESSAGE_TOKENS * len(messages)


def plain_usage(usage: Any) -> dict[str, int]:
    """Return the counts of a ``usage`` object, those nested in its details under their name."""
    if not isinstance(usage, dict):
        return {}
    counts: dict[str, int] = {}
    for name, value in usage.items():
        if _is_count(value):
            counts[name] = value
        elif isinstance(value, dict):
            counts.update({key: n for key, n in value.items() if _is_count(n) and n})
    return {name[:_NAME_CHARS_MAX]: n for name, n in [*counts.items()][:_COUNTS_MAX]}


def facts_of(usage: dict[str, int], model: str | None, *, is_cut: bool) -> dict[str, Any]:
    """Return what is kept with an attempt: its usage, its model, whether its text is cut."""
    facts: dict[str, Any] = {}
    if usage:
        facts["usage"] = usage
    if model:
        facts["model"] = model
    if is_cut:
        facts["truncated"] = True
    return facts


def count_of(usage: Any, name: str) -> int | None:
    """Return one count of a ``usage`` object, ``None`` where it cannot be one."""
    found = usage.get(name) if isinstance(usage, dict) else None
    return found if _is_count(found) else None


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _COUNT_MAX
