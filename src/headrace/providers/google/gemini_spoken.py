"""Answers of Google's streamGenerateContent, put together as if they came whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import aiohttp

from headrace.providers.google.gemini_replies import PARTS_MAX
from headrace.providers.remote.http_calls import read_object
from headrace.providers.remote.server_events import Spoken, broken_off, data_of
from headrace.providers.remote.words import encode_words
from headrace.waits import dig

_NO_REASON = (None, "", "FINISH_REASON_UNSPECIFIED")


async def read_spoken(response: aiohttp.ClientResponse, say: Callable[[str], None]) -> bytes:
    """Return an answer whose text is said as it comes; an error as it is told.

    Raises ``CallFailed`` (lost_result) where it ends without a reason to finish, or in the
    middle of a piece: half a text is no answer. A prompt that was blocked is a whole one.
    """
    whole = _Whole(say)
    # An error midway is told as JSON on lines of its own.
    async for data in data_of(response, bare=True):
        told = read_object(data) if data.strip() else {}
        if told is None:
            raise broken_off()
        if told.get("error"):
            return encode_words(told)
        whole.take(told)
    if not whole.is_finished:
        raise broken_off()
    return encode_words(whole.told())


class _Whole:
    """An answer that grows: the text of its first candidate, and what the last piece tells.

    Counts of usage are of all that came until then, so those of the last piece are all.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._about: dict[str, Any] = {}
        self._text = Spoken(say)
        self._calls: list[dict[str, Any]] = []
        self._end: dict[str, Any] = {}

    @property
    def is_finished(self) -> bool:
        """Tell whether it was said why it ends, and nothing came after that."""
        return bool(self._end) or bool(dig(self._about, "promptFeedback", "blockReason"))

    def take(self, told: Mapping[str, Any]) -> None:
        """Take one piece in."""
        for name in ("usageMetadata", "promptFeedback", "modelVersion", "responseId"):
            if told.get(name) is not None:
                self._about[name] = told[name]
        candidates = told.get("candidates")
        for candidate in candidates if isinstance(candidates, list) else ():
            if isinstance(candidate, dict) and candidate.get("index", 0) == 0:
                self._choose(candidate)

    def _choose(self, candidate: Mapping[str, Any]) -> None:
        parts = dig(candidate, "content", "parts")
        for part in parts[:PARTS_MAX] if isinstance(parts, list) else ():
            if isinstance(part, dict) and part.get("thought") is not True:
                self._add(part)
        names = ("finishReason", "finishMessage")
        end = {name: candidate[name] for name in names if candidate.get(name) is not None}
        if end.get("finishReason") not in _NO_REASON:
            self._end = end

    def _add(self, part: Mapping[str, Any]) -> None:
        text = part.get("text")
        if isinstance(text, str) and text:
            # Some models give a reason with every piece: the one that counts comes last.
            self._end = {}
            self._text.add(text)
        if "functionCall" in part and len(self._calls) < PARTS_MAX:
            names = ("functionCall", "thoughtSignature")
            self._calls.append({name: part[name] for name in names if name in part})

    def told(self) -> dict[str, Any]:
        """Return it as one that came whole."""
        text = self._text.whole()
        parts = [*([{"text": text}] if text else ()), *self._calls]
        content = {"role": "model", "parts": parts}
        candidates = [{"content": content, **self._end}] if parts or self._end else []
        return {**self._about, "candidates": candidates}
