"""Answers of the messages API that come in pieces, put together as if they came whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import aiohttp

from headrace.providers.remote.http_calls import read_object
from headrace.providers.remote.server_events import Spoken, broken_off, data_of
from headrace.providers.remote.words import encode_words

STREAMED: Mapping[str, Any] = MappingProxyType({"stream": True})
"""What is added to a body to be answered in pieces."""


async def read_spoken(response: aiohttp.ClientResponse, say: Callable[[str], None]) -> bytes:
    """Return a message whose text is said as it comes; an error as it is told.

    Raises ``CallFailed`` (lost_result) where it ends without a reason to stop, or without
    ``message_stop``: half a text is no answer.
    """
    whole = _Whole(say)
    async for data in data_of(response):
        told = read_object(data) if data.strip() else {}
        if told is None:
            raise broken_off()
        if told.get("type") == "error":
            return encode_words(told)
        if told.get("type") == "message_stop":
            if not whole.is_finished:
                break
            return encode_words(whole.told())
        whole.take(told)
    raise broken_off()


class _Whole:
    """A message that grows: its text, what tools are called with, and the thinking before that."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._about: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._text = Spoken(say)
        self._tools: dict[Any, dict[str, Any]] = {}
        self._inputs: dict[Any, list[str]] = {}
        self._thoughts: dict[str, dict[str, Any]] = {}

    @property
    def is_finished(self) -> bool:
        """Tell whether it was said why it stops."""
        return self._about.get("stop_reason") is not None

    def take(self, told: dict[str, Any]) -> None:
        """Take one event in."""
        kind, place = told.get("type"), str(told.get("index"))
        if kind == "message_start":
            self._know(_object(told, "message"))
        elif kind == "message_delta":
            self._know({**_object(told, "delta"), "usage": told.get("usage")})
        elif kind == "content_block_start":
            self._begin(place, _object(told, "content_block"))
        elif kind == "content_block_delta":
            delta = _object(told, "delta")
            self._say(delta.get("text"))
            more = delta.get("partial_json")
            if place in self._thoughts:
                _grow(self._thoughts[place], delta)
            if place in self._inputs and isinstance(more, str):
                self._inputs[place].append(more)

    def _begin(self, place: str, block: dict[str, Any]) -> None:
        self._say(block.get("text"))
        if block.get("type") == "tool_use":
            self._tools[place], self._inputs[place] = block, []
        elif block.get("type") in ("thinking", "redacted_thinking"):
            self._thoughts[place] = {**block}

    def told(self) -> dict[str, Any]:
        """Return it as one that came whole."""
        content: list[dict[str, Any]] = [*self._thoughts.values()]
        content.append({"type": "text", "text": self._text.whole()})
        for place, block in self._tools.items():
            given = read_object("".join(self._inputs[place]).encode("utf-8", "replace"))
            content.append(block if given is None else {**block, "input": given})
        usage = {"usage": self._usage} if self._usage else {}
        return {**self._about, **usage, "content": content}

    def _know(self, told: Mapping[str, Any]) -> None:
        usage = _object(told, "usage")
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        for name in ("id", "model", "type", "stop_reason"):
            if told.get(name) is not None:
                self._about[name] = told[name]

    def _say(self, text: Any) -> None:
        if isinstance(text, str):
            self._text.add(text)


def _grow(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name in ("thinking", "signature"):
        if isinstance(delta.get(name), str):
            block[name] = block.get(name, "") + delta[name]


def _object(told: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = told.get(name)
    return value if isinstance(value, dict) else {}
