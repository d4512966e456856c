"""What is said to Anthropic's messages API and what it says back, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import msgspec

from headrace.limits import Load
from headrace.outcome import CallFailed, Outcome, OutcomeKind, failed
from headrace.price_table import Usage
from headrace.providers.remote.cell_numbers import Kind, cell_value, wrong_cell
from headrace.providers.remote.chat_params import (
    CALL_TOKENS,
    count_of,
    encode,
    facts_of,
    messages_tokens,
    plain_usage,
    text_tokens,
)
from headrace.providers.remote.inlined import Inlined, is_source, sources_in
from headrace.providers.remote.words import decode_words
from headrace.request import Request
from headrace.waits import dig

MAX_TOKENS_DEFAULT = 4096
"""Sent where a stage names no ``max_tokens``: the API wants one."""
IMAGE_TOKENS = 1600
"""Counted for each picture that goes in: what the largest take."""
TOOLS_TOKENS = 2000
"""The most that Anthropic's own words about tools take beside the definitions."""
BLOCKS_MAX = 1000
_WORDS = ("text", "tool_use", "tool_result")

_NUMBERS: dict[str, Kind] = {
    "max_tokens": int,
    "temperature": float,
    "top_p": float,
    "top_k": int,
}
_FIXED = {
    "model": "the stage's model",
    "stream": "answers are read whole",
    "response_format": "write response_schema, a JSON schema, instead",
    "n": "each item is one result",
}
_TYPES: dict[str, tuple[type, str]] = {
    "messages": (list, "a list"),
    "response_schema": (dict, "a table: a JSON schema"),
    "output_config": (dict, "a table"),
}
_UNTOLD = (
    "mcp_servers",
    "container",
    "response_schema",
    "output_config",
    "speed",
    "inference_geo",
)
_LEFT_OUT = ("prompt", "messages", "response_schema", "output_config", "stop")


def wrong_param(name: str, value: Any) -> str:
    """Return what is wrong with a parameter, empty when nothing is."""
    if name in _FIXED:
        return f"{name!r} cannot be set: {_FIXED[name]}"
    if name in _NUMBERS:
        wrong = wrong_cell(name, value, _NUMBERS[name])
        if not wrong and name == "max_tokens" and float(value) < 1:
            return f"max_tokens = {value} is not 1 or more"
        return wrong
    if name in ("stop", "stop_sequences"):
        return "" if isinstance(value, str | list) else f"{name} is neither a text nor a list"
    if name in _TYPES and not isinstance(value, _TYPES[name][0]):
        return f"{name} = {repr(value)[:100]} is not {_TYPES[name][1]}"
    return ""


def body_of(
    request: Request,
    pictures: Sequence[Inlined] = (),
    more: Mapping[str, Any] = MappingProxyType({}),
) -> bytes:
    """Return the body of a call: ``messages``, then the pictures and the prompt as the user's.

    ``more`` are params of our own. Raises ``CallFailed`` (invalid) for a param that cannot be
    sent.
    """
    params = request.params
    for name, value in params.items():
        wrong = wrong_param(name, value)
        if wrong:
            raise failed(OutcomeKind.INVALID, wrong, remedy="Change the stage's params.")
    body: dict[str, Any] = {"model": request.model, "max_tokens": MAX_TOKENS_DEFAULT}
    body["messages"] = _messages(params, pictures)
    for name, value in params.items():
        if name not in _LEFT_OUT and not is_source(value):
            body[name] = cell_value(value, _NUMBERS[name]) if name in _NUMBERS else value
    stop = params.get("stop_sequences", params.get("stop"))
    if stop is not None:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    output = _output(params)
    if output:
        body["output_config"] = output
    return encode({**body, **more})


def _messages(params: Mapping[str, Any], pictures: Sequence[Inlined]) -> list[Any]:
    messages: list[Any] = [*params.get("messages", ())]
    blocks: list[Any] = [
        {
            "type": "image",
            "source": {"type": "base64", "media_type": one.media_type, "data": one.body},
        }
        for one in pictures
    ]
    prompt = params.get("prompt")
    if prompt is not None and not blocks:
        messages.append({"role": "user", "content": prompt})
    elif blocks:
        blocks += [] if prompt is None else [{"type": "text", "text": prompt}]
        messages.append({"role": "user", "content": blocks})
    if not messages:
        raise failed(
            OutcomeKind.INVALID,
            "there is neither a prompt nor messages",
            remedy="Write a prompt, or a message that is not empty.",
        )
    return messages


def _output(params: Mapping[str, Any]) -> dict[str, Any]:
    output = dict(params.get("output_config") or {})
    if "response_schema" in params:
        output["format"] = {"type": "json_schema", "schema": params["response_schema"]}
    return output


def forced_tool(request: Request) -> str:
    """Return the tool that the params force the model to call, empty where there is none.

    What it is called with is then the result.
    """
    choice = request.params.get("tool_choice")
    name = choice.get("name") if isinstance(choice, dict) and choice.get("type") == "tool" else ""
    return name if isinstance(name, str) else ""


def wants_json(request: Request) -> bool:
    """Tell whether the answer is to be JSON."""
    return dig(_output_of(request), "format", "type") == "json_schema" or bool(forced_tool(request))


def _output_of(request: Request) -> dict[str, Any]:
    told = request.params.get("output_config")
    return _output({**request.params, "output_config": told if isinstance(told, dict) else {}})


def load_of(request: Request) -> Load:
    """Return what a call takes at most: its input at four bytes a token, and ``max_tokens``."""
    params = request.params
    words, pictures = _apart(params.get("messages"))
    tokens = CALL_TOKENS + IMAGE_TOKENS * pictures + messages_tokens(words)
    for name in ("prompt", "system", "tools"):
        tokens += text_tokens(params.get(name))
    tokens += IMAGE_TOKENS * sources_in(params)
    most = cell_value(params.get("max_tokens"), int)
    return Load(tokens=tokens + max(0, int(most or MAX_TOKENS_DEFAULT)), tokens_in=tokens)


def _apart(messages: Any) -> tuple[Any, int]:
    """Messages without the pictures in them, and how many those are: base64 is no text."""
    if not isinstance(messages, list):
        return messages, 0
    words: list[Any] = []
    pictures = 0
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            words.append(message)
            continue
        kept = [block for block in content if not _is_picture(block)]
        pictures += len(content) - len(kept)
        words.append({**message, "content": kept})
    return words, pictures


def _is_picture(block: Any) -> bool:
    return isinstance(block, dict) and block.get("type") == "image"


def most_of(request: Request) -> Usage | None:
    """Return the most tokens that a call can use, ``None`` where nobody knows beforehand.

    Nobody does with pictures in it, with tools that run at Anthropic, or with a schema, whose
    explanation to the model is Anthropic's own. A token has one byte at least.
    """
    params = request.params
    tools = params.get("tools")
    if tools is not None and not (tools and _are_callers(tools)):
        return None
    if request.sources or any(name in params for name in _UNTOLD):
        return None
    if params.get("service_tier", "standard_only") != "standard_only":
        return None
    try:
        size = len(body_of(request))
    except CallFailed:
        return None
    if not _is_text(params.get("messages", [])):
        return None
    size += TOOLS_TOKENS if tools else 0
    return Usage(input_tokens=size, output_tokens=int(params.get("max_tokens", MAX_TOKENS_DEFAULT)))


def _are_callers(tools: Any) -> bool:
    """Tell whether all tools are run by who asks: those of Anthropic's have types."""
    return isinstance(tools, list) and all(
        isinstance(tool, dict) and "input_schema" in tool and tool.get("type") in (None, "custom")
        for tool in tools
    )


def _is_text(messages: list[Any]) -> bool:
    """Tell whether messages hold nothing but text, calls and their results."""
    for message in messages:
        content = message.get("content") if isinstance(message, dict) else None
        for block in content if isinstance(content, list) else ():
            kind = block.get("type") if isinstance(block, dict) else None
            if kind not in _WORDS or not _is_text([block]):
                return False
    return True


# -- answers -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """One answer: its text, what a tool is called with, and why it stopped, empty if untold.

    ``tools`` are pairs of a tool's name and its input; ``uses`` the same as blocks, ``thoughts``
    the blocks of thinking. ``fault``: an error stands where an
    answer should be. ``raw_usage`` is the usage as it came.
    """

    text: str = ""
    tools: tuple[tuple[str, dict[str, Any]], ...] = ()
    stop: str = ""
    fault: bool = False
    usage: dict[str, int] = field(default_factory=dict)
    raw_usage: Any = None
    tokens: int | None = None
    tokens_in: int = 0
    model: str | None = None
    id: str | None = None
    uses: tuple[dict[str, Any], ...] = ()
    thoughts: tuple[dict[str, Any], ...] = ()

    def facts(self) -> dict[str, Any]:
        """Return what is kept with the attempt."""
        return facts_of(self.usage, self.model, is_cut=self.stop in CUT_OFF)


_decode = msgspec.json.Decoder().decode
_SENT = ("input_tokens", "cache_creation_input_tokens")
_THOUGHTS = ("thinking", "redacted_thinking")
CUT_OFF = ("max_tokens", "model_context_window_exceeded")


def read_told(body: bytes) -> Told | None:
    """Return what an answer says; ``None`` for what is no JSON object."""
    try:
        value = decode_words(body, _decode)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    content = value.get("content")
    blocks = [b for b in (content if isinstance(content, list) else []) if isinstance(b, dict)]
    blocks = blocks[:BLOCKS_MAX]
    usage = value.get("usage")
    uses = [b for b in blocks if b.get("type") == "tool_use" and isinstance(b.get("input"), dict)]
    return Told(
        text="".join(_text(block.get("text")) for block in blocks if block.get("type") == "text"),
        tools=tuple((_text(block.get("name")), block["input"]) for block in uses),
        stop=_text(value.get("stop_reason")),
        fault=bool(value.get("error")) or value.get("type") == "error",
        usage=plain_usage(usage),
        raw_usage=usage,
        tokens=_used(usage),
        tokens_in=_sent(usage),
        model=_text(value.get("model"))[:200] or None,
        id=_text(value.get("id"))[:200] or None,
        uses=tuple(uses),
        thoughts=tuple(block for block in blocks if block.get("type") in _THOUGHTS),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _used(usage: Any) -> int | None:
    """The tokens that count against the limits: those read from a cache do not."""
    counts = [count_of(usage, name) for name in (*_SENT, "output_tokens")]
    return sum(one or 0 for one in counts) if None not in (counts[0], counts[2]) else None


def _sent(usage: Any) -> int:
    return sum(count_of(usage, name) or 0 for name in _SENT)


def result_of(told: Told, tool: str) -> bytes | Outcome:
    """Return the result of an answer, or how the call ended without one.

    ``tool`` is the one that was forced, empty where none was.
    """
    if told.stop == "refusal":
        remedy = "Change the prompt or the pictures, then try again."
        words = " ".join(told.text[:300].split())
        return Outcome(
            OutcomeKind.REFUSED,
            f"the model refused: {words}" if words else "the model refused",
            remedy=remedy,
        )
    if told.stop == "pause_turn":
        return Outcome(
            OutcomeKind.INVALID,
            "the model paused its turn to go on in another call",
            remedy="Take the tools that run at Anthropic out of tools, or allow them fewer uses.",
        )
    if tool:
        return _called(told, tool)
    if told.stop == "tool_use":
        return Outcome(
            OutcomeKind.INVALID,
            "the model asks for a tool to be called, and nobody is here to call it",
            remedy="Take it out of tools, or make it the answer's form by tool_choice.",
        )
    return told.text.encode("utf-8", "replace") if told.text else nothing(told, "word")


def _called(told: Told, tool: str) -> bytes | Outcome:
    """What the forced tool is called with; half of it is no JSON."""
    given = next((given for name, given in told.tools if name == tool), None)
    if given is None or told.stop in CUT_OFF:
        return nothing(told, "end")
    return encode(given)


def nothing(told: Told, what: str) -> Outcome:
    """Return how a call ended whose answer stops before its first word, or its end."""
    before = "before its end" if what == "end" else "before its first word"
    if told.stop == "max_tokens":
        return Outcome(
            OutcomeKind.INVALID,
            f"the answer was cut off {before}",
            remedy="Raise max_tokens: thinking counts, too.",
        )
    if told.stop == "model_context_window_exceeded":
        return Outcome(
            OutcomeKind.INVALID,
            f"the model's context was full {before}",
            remedy="Shorten the prompt or the messages.",
        )
    return Outcome(
        OutcomeKind.NO_OUTPUT,
        f"the answer holds no text{f': {told.stop[:100]}' if told.stop else ''}",
        remedy="It is tried again.",
    )
