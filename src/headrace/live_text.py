"""A text that is heard while it is bought: who says it, who listens, and how far each has heard.

The text is kept once, however many listen and however slowly: each knows its place in it. Of a
picture that is shown before it is whole only the last preview is kept: who is slow misses some.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from headrace.outcome import Outcome
from headrace.preview import Preview

LIVE_CHARS_MAX = 32 * 1024
"""What is longer is told at the end: so much may wait for who is slow, and be judged at once."""


class LiveText:
    """What one flight has said so far. For one event loop."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._chars = 0
        self._listeners: set[Listener] = set()
        self.is_heard = False
        """Whether anybody has taken a piece: no other text may follow it."""
        self.broken: Outcome | None = None
        """How it ended before it was whole: nothing will follow."""
        self.preview: Preview | None = None
        self.shown = 0
        """How many previews there were."""

    @property
    def is_wanted(self) -> bool:
        """Tell whether anybody listens, and nothing has been said to them yet."""
        return bool(self._listeners) and not self._pieces

    @property
    def previews_wanted(self) -> int:
        """Return how many previews those who listen want to see at most."""
        return max((one.previews_wanted for one in self._listeners), default=0)

    def show(self, preview: Preview) -> None:
        """Show a picture that is not whole yet to those who want to see it."""
        self.preview = preview
        self.shown += 1
        self._wake()

    def has_room(self, chars: int) -> bool:
        """Tell whether a piece of so many characters may be said."""
        return self._chars + chars <= LIVE_CHARS_MAX

    def say(self, piece: str) -> None:
        """Add a piece; there must be room for it."""
        self._chars += len(piece)
        self._pieces.append(piece)
        self._wake()

    def break_off(self, outcome: Outcome) -> None:
        """Tell those who have heard a part how it ended, and that nothing follows."""
        self.broken = outcome
        self._wake()

    def pieces_from(self, place: int) -> list[str]:
        """Return what was said after the first ``place`` pieces."""
        return self._pieces[place:]

    def join(self, listener: Listener) -> None:
        """Let one more listen, from the beginning."""
        self._listeners.add(listener)

    def leave(self, listener: Listener) -> None:
        """Let one go."""
        self._listeners.discard(listener)

    def _wake(self) -> None:
        for listener in self._listeners:
            listener.changed.set()


class Listener:
    """One caller who hears a text while it is bought; ``changed`` is set when there is more.

    Of a picture it sees as many previews as ``previews_max``.
    """

    def __init__(self, previews_max: int = 0) -> None:
        self.changed = asyncio.Event()
        self._text: LiveText | None = None
        self._place = 0
        self._previews_max = previews_max
        self._sees = False
        self._shown = 0
        self._seen = 0

    @property
    def has_heard(self) -> bool:
        """Tell whether anything was taken."""
        return self._place > 0

    @property
    def cut_off(self) -> Outcome | None:
        """Return how the text ended of which a part was taken; ``None`` while more may come."""
        return self._text.broken if self.has_heard and self._text is not None else None

    def heard(self) -> str:
        """Return all that was taken."""
        return "" if self._text is None else "".join(self._text.pieces_from(0)[: self._place])

    @property
    def previews_wanted(self) -> int:
        """Return how many previews are still wanted."""
        return self._previews_max - self._seen if self._sees else 0

    def attach(self, text: LiveText, *, sees: bool = False) -> None:
        """Listen to ``text``; who has heard a part of another stays with that one.

        ``sees``: previews may be seen, too.
        """
        if self.has_heard or text is self._text:
            return
        self.close()
        self._text, self._sees, self._shown = text, sees, 0
        text.join(self)
        self.changed.set()

    def take(self) -> str:
        """Return all that was said since the last time, as one piece; empty if nothing was."""
        self.changed.clear()
        if self._text is None or self._text.broken is not None:
            return ""
        pieces = self._text.pieces_from(self._place)
        if pieces:
            self._place += len(pieces)
            self._text.is_heard = True
        return "".join(pieces)

    def take_preview(self) -> Preview | None:
        """Return the last preview, once; ``None`` where there is no new one, or none wanted."""
        self.changed.clear()
        text = self._text
        if text is None or not self.previews_wanted or text.shown == self._shown:
            return None
        self._shown = text.shown
        self._seen += 1
        return text.preview

    def close(self) -> None:
        """Listen no longer."""
        if self._text is not None:
            self._text.leave(self)


class Listeners:
    """Who listens to which batch of one item, while it is bought by this process."""

    def __init__(self) -> None:
        self._by_batch: dict[UUID, Listener] = {}

    @contextmanager
    def hearing(self, batch_id: UUID, listener: Listener | None) -> Iterator[None]:
        """Let one listen to a batch while the block runs; the first keeps its place."""
        if listener is None or batch_id in self._by_batch:
            yield
            return
        self._by_batch[batch_id] = listener
        try:
            yield
        finally:
            del self._by_batch[batch_id]

    def of(self, batch_id: UUID) -> Listener | None:
        """Return who listens to a batch."""
        return self._by_batch.get(batch_id)
