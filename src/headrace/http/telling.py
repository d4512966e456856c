"""An answer that is told while it is bought: first what is heard of it, in the end the rest.

What was told is a part of what is kept, or the telling ends with an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from datetime import datetime

from headrace.generation import GenerationError
from headrace.http.ended import Answered, EndedError
from headrace.live_text import Listener
from headrace.openai_responses import pieces as cut
from headrace.outcome import Outcome
from headrace.tool_calls import said_of


class Telling:
    """One answer to one caller; ``name`` and ``at`` are its id and time from the first piece on.

    ``answering`` goes on when its caller has left.
    """

    def __init__(self, name: str, at: datetime, listener: Listener) -> None:
        self.name = name
        self.at = at
        self.listener = listener
        self.answering: asyncio.Task[Answered] | None = None
        self._first = ""

    async def begins(self) -> bool:
        """Wait until something can be told; false where all is there, or will be, at once.

        Raises what the answer raises.
        """
        self._first = await self._next()
        if not self._first:
            self.whole()
        return bool(self._first)

    async def pieces(self) -> AsyncGenerator[str, None]:
        """Yield the text in pieces, as it is heard; what was not heard in the end.

        Raises what the answer raises, and ``EndedError`` where it broke off.
        """
        piece = self._first
        while piece:
            yield piece
            piece = await self._next()
        for piece in self._rest():
            yield piece

    def whole(self) -> Answered:
        """Return the answer when all is told; raises what it raises."""
        assert self.answering is not None
        return self.answering.result()

    def close(self) -> None:
        """Listen no longer; the answer is made all the same."""
        self.listener.close()

    @property
    def is_answered(self) -> bool:
        """Tell whether the answer is there, or has failed."""
        return self.answering is not None and self.answering.done()

    async def until_more(self) -> None:
        """Wait until something new was said or shown, or the answer is there."""
        assert self.answering is not None
        changed = asyncio.ensure_future(self.listener.changed.wait())
        try:
            await asyncio.wait({changed, self.answering}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            changed.cancel()

    async def _next(self) -> str:
        """Return what is heard next, empty when the answer is there."""
        while True:
            piece = self.listener.take()
            if piece:
                return piece
            if self.listener.cut_off is not None:
                raise _ended(self.listener.cut_off)
            if self.is_answered:
                return ""
            await self.until_more()

    def _rest(self) -> Iterator[str]:
        made = self.whole().made[0]
        text = said_of(made.artifact.media_type, made.body).content or ""
        heard = self.listener.heard()
        if not text.startswith(heard):
            raise EndedError(
                GenerationError(
                    "the answer was begun in other words than it has now",
                    outcome="lost_result",
                    remedy="Ask again: what was kept is in the cache.",
                )
            )
        return cut(text[len(heard) :]) if len(text) > len(heard) else iter(())


def _ended(outcome: Outcome) -> EndedError:
    return EndedError(
        GenerationError(outcome.reason, outcome=outcome.kind.value, remedy=outcome.remedy)
    )
