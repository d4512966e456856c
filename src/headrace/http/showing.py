"""A picture that is shown while it is bought: previews as they come, who is slow misses some."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from headrace.http.ended import Answered
from headrace.http.telling import Telling
from headrace.preview import Preview


class Showing:
    """One picture to one caller, told by ``telling``."""

    def __init__(self, telling: Telling) -> None:
        self._telling = telling
        self._first: Preview | None = None

    async def begins(self) -> bool:
        """Wait until something can be shown; false where the picture is there.

        Raises what the answer raises.
        """
        self._first = await self._next()
        if self._first is None:
            self.whole()
        return self._first is not None

    async def previews(self) -> AsyncGenerator[Preview, None]:
        """Yield the previews; ends when the answer is there."""
        preview, self._first = self._first, None
        while preview is not None:
            yield preview
            preview = None  # while the next one is waited for nothing is held
            preview = await self._next()

    def whole(self) -> Answered:
        """Return the answer when all is shown; raises what it raises."""
        return self._telling.whole()

    def close(self) -> None:
        """Look no longer; the picture is made all the same."""
        self._telling.close()

    async def _next(self) -> Preview | None:
        telling = self._telling
        while True:
            preview = telling.listener.take_preview()
            if preview is not None or telling.is_answered:
                return preview
            await telling.until_more()
