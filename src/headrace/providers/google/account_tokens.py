"""Access tokens of a cloud account: cached, fetched anew before they end, once for all callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from headrace.clock import Clock
from headrace.outcome import OutcomeKind, failed

FRESH_S = 225.0
"""A token with less time left is fetched anew; earlier, Google's machines hand out the same."""
USABLE_S = 30.0
"""A token with less time left is not sent any more: a call may wait before it is looked at."""
TOKEN_S_MAX = 30.0
PAUSE_S = 10.0
"""Between two tries to replace a token that still works."""


@dataclass(frozen=True, slots=True)
class Minted:
    """A fetched token, which no message ever shows; ``expires_at`` is aware, ``None`` for never.

    ``project`` is the account's own, ``payer`` the project that its use is billed to, where
    the account tells them.
    """

    token: str = field(repr=False)
    expires_at: datetime | None = None
    project: str | None = None
    payer: str | None = None


class AccountTokens:
    """The token of one account; ``mint`` fetches one, blocking, in a thread of its own.

    ``mint`` raises ``CallFailed``. It belongs to one event loop.
    """

    def __init__(self, mint: Callable[[], Minted], clock: Clock) -> None:
        self._mint = mint
        self._clock = clock
        self._held: Minted | None = None
        self._minting: asyncio.Task[Minted] | None = None
        self._again_s = 0.0
        self._seen: tuple[str, ...] = ()

    @property
    def seen(self) -> tuple[str, ...]:
        """Return the last tokens, so that they can be struck out of messages."""
        return self._seen

    async def get(self, deadline_s: float) -> Minted:
        """Return a token that is good for a call; raises ``CallFailed``: nothing was sent.

        While an older one still works nobody waits for the next.
        """
        held = self._held
        left_s = self._left_s(held)
        if held is not None and left_s > USABLE_S:
            now_s = self._clock.monotonic_s()
            if left_s <= FRESH_S and self._minting is None and now_s >= self._again_s:
                self._again_s = now_s + PAUSE_S
                self._begin()
            return held
        minting = self._minting or self._begin()
        wait_s = min(TOKEN_S_MAX, deadline_s)
        try:
            async with asyncio.timeout(wait_s):
                return await asyncio.shield(minting)
        except TimeoutError:
            raise failed(
                OutcomeKind.TIMEOUT,
                f"no access token within {wait_s:g} s",
                remedy="Nothing was sent. Check the network to Google's token server.",
            ) from None

    def reject(self, token: str) -> None:
        """Forget a token that the provider does not accept."""
        if self._held is not None and self._held.token == token:
            self._held = None

    async def close(self) -> None:
        """Wait for nobody: a token under way is no longer needed."""
        minting, self._minting = self._minting, None
        if minting is not None:
            minting.cancel()

    def _left_s(self, minted: Minted | None) -> float:
        if minted is None:
            return 0.0
        if minted.expires_at is None:
            return float("inf")
        return (minted.expires_at - self._clock.now()).total_seconds()

    def _begin(self) -> asyncio.Task[Minted]:
        minting = asyncio.create_task(self._fetch())
        self._minting = minting
        minting.add_done_callback(self._ended)
        return minting

    async def _fetch(self) -> Minted:
        minted = await asyncio.to_thread(self._mint)
        self._held = minted
        self._seen = (*self._seen, minted.token)[-2:]
        return minted

    def _ended(self, minting: asyncio.Task[Minted]) -> None:
        if self._minting is minting:
            self._minting = None
        if not minting.cancelled():
            # Read, so that it is not reported as lost: who waits for the token has it, too.
            minting.exception()
