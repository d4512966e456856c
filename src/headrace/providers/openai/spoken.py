"""Answers of an OpenAI-shaped API that come in pieces, put together as if they came whole.

So all that is said of an answer (its text, a refusal, usage, an error) is read in one way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import aiohttp

from headrace.providers.remote.http_calls import read_object
from headrace.providers.remote.server_events import Spoken, broken_off, data_of
from headrace.providers.remote.words import encode_words
from headrace.tool_calls import CALLS_MAX, EXTRA

STREAMED_CHAT: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
STREAMED_RESPONSE: dict[str, Any] = {"stream": True}
"""What is added to a body to be answered in pieces."""

_DONE = b"[DONE]"
_ENDS = ("response.completed", "response.incomplete", "response.failed")


async def read_spoken_chat(response: aiohttp.ClientResponse, say: Callable[[str], None]) -> bytes:
    """Return a chat completion whose pieces are said as they come; an error as it is told.

    Raises ``CallFailed`` (lost_result) where it ends without a reason to finish, or without
    ``[DONE]``: half a text is no answer.
    """
    whole = _Whole(say)
    async for data in data_of(response):
        if data.strip() == _DONE:
            if not whole.is_finished:
                break
            return encode_words(whole.told())
        told = _event(data)
        if told.get("error") or told.get("object") == "error":
            return encode_words({"error": told.get("error") or told})
        whole.take(told)
    raise broken_off()


async def read_spoken_response(
    response: aiohttp.ClientResponse, say: Callable[[str], None]
) -> bytes:
    """Return a response whose text is said as it comes; raises as ``read_spoken_chat``."""
    spoken = Spoken(say)
    async for data in data_of(response):
        if data.strip() == _DONE:
            break
        told = _event(data)
        kind, delta, whole = told.get("type"), told.get("delta"), told.get("response")
        if kind == "response.output_text.delta" and isinstance(delta, str):
            spoken.add(delta)
        elif kind in _ENDS and isinstance(whole, dict):
            return encode_words(whole)
        elif kind == "error":
            return encode_words({"error": told.get("error") or told})
    raise broken_off()


def _event(data: bytes) -> dict[str, Any]:
    if not data.strip():
        return {}
    told = read_object(data)
    if told is None:
        raise broken_off()
    return told


class _Calls:
    """Calls of tools that grow: their arguments come in pieces, each with the place of its call."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []
        self._arguments: list[Spoken] = []
        self._places: dict[Any, int] = {}

    def take(self, deltas: Any) -> None:
        """Take the calls of one chunk in."""
        for delta in deltas if isinstance(deltas, list) else ():
            if isinstance(delta, dict):
                self._add(delta)

    def _add(self, delta: dict[str, Any]) -> None:
        place = self._place(delta.get("index"), delta.get("id"))
        if place is None:
            return
        call, function = self._told[place], delta.get("function")
        function = function if isinstance(function, dict) else {}
        for name, value in (("id", delta.get("id")), (EXTRA, delta.get(EXTRA))):
            if value:
                call[name] = value
        if isinstance(function.get("name"), str):
            call["function"]["name"] = call["function"].get("name") or function["name"]
        if isinstance(function.get("arguments"), str):
            self._arguments[place].add(function["arguments"])

    def _place(self, index: Any, name: Any) -> int | None:
        """The place of a call; some servers tell no index, or the same for several calls."""
        index = index if isinstance(index, int) else name if isinstance(name, str) else 0
        place = self._places.get(index)
        known = None if place is None else self._told[place].get("id")
        if place is not None and not (name and known and name != known):
            return place
        if len(self._told) >= CALLS_MAX:
            return None
        self._places[index] = len(self._told)
        self._told.append({"function": {}})
        self._arguments.append(Spoken(lambda piece: None))
        return self._places[index]

    def told(self) -> list[dict[str, Any]]:
        """Return them as they would have come whole."""
        for call, arguments in zip(self._told, self._arguments, strict=True):
            call["function"]["arguments"] = arguments.whole()
        return self._told


class _Whole:
    """A chat completion that grows; only its first choice counts."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._about: dict[str, Any] = {}
        self._content = Spoken(say)
        self._refusal = Spoken(lambda piece: None)
        self._calls = _Calls()
        self._finish: Any = None

    @property
    def is_finished(self) -> bool:
        """Tell whether it was said why it ends."""
        return self._finish is not None

    def take(self, told: dict[str, Any]) -> None:
        """Take one chunk in."""
        for name in ("id", "model", "service_tier", "usage"):
            if told.get(name) is not None:
                self._about[name] = told[name]
        choices = told.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict) and choice.get("index", 0) == 0:
                self._choose(choice)

    def _choose(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        content, refusal = delta.get("content"), delta.get("refusal")
        if isinstance(content, list):
            texts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "".join(text for text in texts if isinstance(text, str))
        if isinstance(content, str):
            self._content.add(content)
        if isinstance(refusal, str):
            self._refusal.add(refusal)
        self._calls.take(delta.get("tool_calls"))
        if choice.get("finish_reason") is not None:
            self._finish = choice["finish_reason"]

    def told(self) -> dict[str, Any]:
        """Return it as one that came whole."""
        message: dict[str, Any] = {"content": self._content.whole()}
        message["refusal"] = self._refusal.whole() or None
        message["tool_calls"] = self._calls.told()
        choice = {"index": 0, "message": message, "finish_reason": self._finish}
        return {**self._about, "choices": [choice]}
