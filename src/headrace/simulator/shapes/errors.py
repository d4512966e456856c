"""What is no success, told apart once for all shapes; each puts it in its provider's words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from headrace.simulator.desk import Desk, json_answer
from headrace.simulator.hints import Hint, hint
from headrace.simulator.lane import Turned
from headrace.simulator.rules import Refused
from headrace.simulator.wire import Answer


class Errors(ABC):
    """A voice that asks its shape for words: one method for each thing that happens.

    ``true_forms`` are the forms in which the provider itself tells a wait.
    """

    true_forms: tuple[str, ...]

    def __init__(self, desk: Desk) -> None:
        self._desk, self._settings = desk, desk.settings

    def turned(self, turned: Turned) -> Answer:
        """Return the answer to a call that was turned away."""
        if turned.refused is not None:
            return self.limited(turned, turned.refused)
        if turned.is_stray:
            return stray()
        return self.spent() if turned.verdict == "spent" else self.full(turned)

    @abstractmethod
    def limited(self, turned: Turned, refused: Refused) -> Answer:
        """Return the answer to a call that a limit refused."""

    @abstractmethod
    def spent(self) -> Answer:
        """Return the answer to a call for which no money is left."""

    def full(self, turned: Turned) -> Answer:
        """Return the answer to a call that has no place or comes while nothing works."""
        return self.broken("503")

    @abstractmethod
    def broken(self, kind: str) -> Answer:
        """Return the answer to a call that failed in the provider; ``kind`` as in FAULTS."""

    def hint(self, wait_s: float) -> Hint:
        """Return a wait in the form that the settings ask for."""
        return hint(self._settings.retry_after, self.true_forms, wait_s, self._desk.clock)

    def plainly(self, wait_s: float, body: dict[str, Any], words: str) -> Answer:
        """Return a 429 with ``body``, into which the wait goes; ``words`` names its message."""
        told = self.hint(wait_s)
        if told.text_s is not None:
            body[words] += f", try again in {told.text_s:g}s"
        if told.body_s is not None:
            body["retry_after"] = told.body_s
        if told.retry_info:
            body["retryDelay"] = f"{wait_s:.3f}s"
        return json_answer(429, body, told.headers)


def stray() -> Answer:
    """Return a 429 for no limit, as providers send that have no room at the moment."""
    words = "Too many requests right now. Please try again."
    return json_answer(429, {"error": {"message": words, "code": 429}, "detail": words})


def status_of(kind: str) -> int:
    """Return the status that a fault is told with: its own where it is one, else 500."""
    return int(kind) if kind.isdigit() else 500


def bad_gateway() -> Answer:
    """Return what a proxy in front of the provider says when it cannot reach it."""
    page = b"<html><head><title>502 Bad Gateway</title></head></html>"
    return Answer(502, page, media_type="text/html")
