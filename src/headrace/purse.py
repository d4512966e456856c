"""A tenant's credits by when they expire: which are spent first, and which come back.

What expires first is spent first. Of credits that are held, what is posted is taken from those
that expire first, and what comes back is counted among those that last longest. The two take from
opposite ends of what is held, so that their sums are all one needs to know, in whatever order
they happened; a reserve is taken from what is available then, so each has to be told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Lot:
    """What is left of a grant that expires, in micro-credits; ``grant_id`` is its entry."""

    grant_id: int
    expires_at: datetime
    available: int
    held: int = 0


@dataclass(frozen=True, slots=True)
class Purse:
    """A tenant's micro-credits, those in ``lots`` (the first to expire first) among them."""

    available: int
    held: int
    lots: tuple[Lot, ...] = ()

    def with_lot(self, lot: Lot) -> Purse:
        """Return the purse after a grant that expires."""
        lots = sorted((*self.lots, lot), key=lambda one: (one.expires_at, one.grant_id))
        return replace(self, available=self.available + lot.available, lots=tuple(lots))

    def reserved(self, amount: int) -> Purse:
        """Return the purse after a reserve: of what expires first, what is available of it."""
        lots, rest = [], amount
        for lot in self.lots:
            taken = min(lot.available, rest)
            rest -= taken
            lots.append(replace(lot, available=lot.available - taken, held=lot.held + taken))
        return Purse(self.available - amount, self.held + amount, tuple(lots))

    def expired(self, now: datetime) -> tuple[Purse, dict[int, int]]:
        """Return the purse without what is past its time, and how much of which grant that is.

        What is held of a grant may still be spent; what of it comes back is past its time.
        """
        lots, gone = [], {}
        for lot in self.lots:
            is_over = lot.expires_at <= now and lot.available > 0
            if is_over:
                gone[lot.grant_id] = lot.available
            lots.append(replace(lot, available=0) if is_over else lot)
        left = replace(self, available=self.available - sum(gone.values()), lots=tuple(lots))
        return left, gone

    def caught_up(self, available: int, held: int) -> Purse:
        """Return the purse after all that was posted and came back, by the balances now."""
        purse, returned = self, available - self.available
        posted = self.held - held - returned
        # A release before this one grants and reserves without telling; balances stay true.
        if posted < 0:
            purse = replace(purse, available=purse.available - posted)
            returned, posted = returned + posted, 0
        if returned < 0:
            purse, returned = purse.reserved(-returned), 0
        lots = []
        for lot in purse.lots:
            taken = min(lot.held, posted)
            posted -= taken
            lots.append(replace(lot, held=lot.held - taken))
        lasting = purse.held - posted - sum(lot.held for lot in purse.lots)
        returned -= min(returned, max(0, lasting))
        for place in reversed(range(len(lots))):
            lot = lots[place]
            back = min(lot.held, returned)
            returned -= back
            lots[place] = replace(lot, available=lot.available + back, held=lot.held - back)
        return Purse(available, held, tuple(lots))
