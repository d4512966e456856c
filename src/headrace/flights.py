"""Single-flight inside a process: who is buying a fingerprint now, and who waits for it."""

from __future__ import annotations

import asyncio

from headrace.cache import CacheHit
from headrace.live_text import LiveText

Key = tuple[str, bytes]


class Flights:
    """The fingerprints being bought by this process; followers wait for their leader."""

    def __init__(self) -> None:
        self._leaders: dict[Key, list[asyncio.Future[CacheHit | None]]] = {}
        self._texts: dict[Key, LiveText] = {}

    def board(self, key: Key) -> asyncio.Future[CacheHit | None] | None:
        """Return ``None`` to the leader, who must call ``land``; a future to a follower.

        The future ends with the result, or with ``None`` when the leader failed.
        """
        followers = self._leaders.get(key)
        if followers is None:
            self._leaders[key] = []
            self._texts[key] = LiveText()
            return None
        future: asyncio.Future[CacheHit | None] = asyncio.get_running_loop().create_future()
        followers.append(future)
        return future

    async def follow(self, key: Key, future: asyncio.Future[CacheHit | None]) -> CacheHit | None:
        """Return the result of the leader; ``None``: it failed, and who asked leads from here on.

        Who is cancelled in the moment in which it became the leader lets the next one lead.
        """
        try:
            return await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.result() is None:
                self.land(key, None)
            raise

    def text(self, key: Key) -> LiveText:
        """Return what is said while a flight lasts; the next leader begins anew."""
        return self._texts[key]

    def land(self, key: Key, hit: CacheHit | None) -> None:
        """End the flight: all followers get ``hit``, or, after a failure, the first one leads.

        On failure only one follower is woken to try for itself; the others keep waiting
        for it, so that N identical requests never become N calls at once.
        """
        followers = self._leaders.pop(key, [])
        self._texts.pop(key, None)
        if hit is not None:
            for future in followers:
                if not future.done():
                    future.set_result(hit)
            return
        waiting = [future for future in followers if not future.done()]
        if waiting:
            self._leaders[key] = waiting[1:]
            self._texts[key] = LiveText()
            waiting[0].set_result(None)
