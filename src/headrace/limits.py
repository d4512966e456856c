"""What a lane may take: limits by dimension, the load of one call, and what is known beforehand."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise

LONG_S, DAY_S = 3600.0, 86_400.0
"""A window of so many seconds as the first is used up, and not kept to call by call."""
WAIT_S_MAX = 40 * DAY_S
"""No wait is longer: the longest honest one is a monthly quota's."""


class Dimension(StrEnum):
    """What a limit counts. All but concurrency are counted per window of time."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    IMAGES = "images"
    CONCURRENCY = "concurrency"


RATES = (Dimension.REQUESTS, Dimension.TOKENS, Dimension.IMAGES)
"""The dimensions that are counted per window of time."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One cap of a lane: ``amount`` per ``window_s`` seconds, or in flight.

    ``window_s`` is ``None`` for concurrency, and where the source does not say.
    ``remaining`` is what is left now, ``reset_s`` the seconds until the bucket is full
    again or its window ends. ``amount`` is ``None`` where only those are known.
    """

    dimension: Dimension
    amount: float | None = None
    window_s: float | None = None
    remaining: float | None = None
    reset_s: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """What one call takes: ``tokens`` is the estimate, input and the most of output.

    ``tokens_in`` of them are input that answers count again; 0 where they do not.
    """

    requests: int = 1
    tokens: int = 0
    images: int = 0
    tokens_in: int = 0

    def recounted(self, factor: float) -> Load:
        """Return it with each token of its input counted ``factor`` times."""
        more = round((factor - 1.0) * self.tokens_in)
        return replace(self, tokens=self.tokens + more) if more else self


ONE_CALL = Load()


@dataclass(frozen=True, slots=True)
class Said:
    """What a response says about the limits of its lane, apart from how the call ended.

    ``bucket`` is the limit that refused, where the answer tells it; ``ramp``: the rate
    rose too fast, though within its limits; ``tokens`` were really used, ``tokens_in`` of
    them by what was sent.
    """

    limits: tuple[Limit, ...] = ()
    bucket: Dimension | None = None
    ramp: bool = False
    tokens: int | None = None
    tokens_in: int = 0


@dataclass(frozen=True, slots=True)
class Quota:
    """What is known of a lane before its first call.

    ``limits`` are told by the user or documented by the provider; ``pinned`` ones are
    never exceeded, others only seed what is learned. ``concurrency`` is where calls in
    flight start; ``rate_start`` the calls per second to start with, ``None`` to hold
    nothing back until the first refusal. A lane that does not ``learn`` (a computation
    on this machine) has its concurrency and nothing else. ``tokens_refunded``: the provider
    gives back what calls reserve and do not use; ``None`` where nobody says. ``advised``:
    nobody tells where to start, so the size of the batches that ask may widen it.
    """

    concurrency: int = 8
    limits: tuple[Limit, ...] = ()
    pinned: bool = False
    rate_start: float | None = None
    learns: bool = True
    tokens_refunded: bool | None = None
    advised: bool = False


START_WIDTHS = ((10, 3), (20, 5), (100, 8), (500, 12))
"""Calls in flight with which a batch of so many items begins; in between, in proportion."""


def start_width(items: int) -> int:
    """Return with how many calls in flight, 3 to 12, ``items`` begin at an unknown lane."""
    for (few, least), (many, most) in pairwise(START_WIDTHS):
        if items <= many:
            return least + (most - least) * max(0, items - few) // (many - few)
    return START_WIDTHS[-1][1]
