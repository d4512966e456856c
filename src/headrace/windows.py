"""Which windows explain what happened: limits that let so much in within so many seconds.

Where a window slides, a refusal says that what was taken in the window before it is all
that fits, and everything accepted says that as much does fit. Where windows are fixed the
same holds from the opening of a window to the refusal. A window is possible when all
refusals and all that was accepted agree about what it holds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.fitting import Moment
from headrace.trail import WIDTHS_S

SLACK_CALLS, SLACK, JITTER_S = 0.6, 0.01, 0.006
"""Counts that differ by less are the same: parts of a call, of the count, of a moment."""
SHUT_CALLS = 1.5
"""A limit that goes on within so many slots was no window that was shut."""
OFF, OFF_PHASE, OFF_EDGE = 0.12, 0.03, 0.05
"""In parts of a window: how well two of its openings must be known, how far they may be from a
multiple of it, and what is not counted at its beginning because it may belong to the one before."""
APART = 0.125
"""Refusals nearer to each other than this part of a window were of almost the same calls: they
agree on whatever it holds."""
TOLD_MOST, LEFT = 8, 0.5
"""So many of the latest refusals whose waits were told are asked what a window holds; by then so
much of a call has left it."""
LATE = 1.02
"""A window is longer by this than any time for which it was shut."""


@dataclass(frozen=True, slots=True)
class Window:
    """A possible window: ``least`` to ``most`` units in ``width_s``."""

    width_s: float
    least: float
    most: float

    @property
    def rate(self) -> float:
        """Units a second that it lets in."""
        return self.most / self.width_s


def agreed(width_s: float, least: float, most: float, slack: float) -> Window | None:
    """Return the window that holds between two counts; None where they contradict each other."""
    if least < most + slack + SLACK * most:
        return Window(width_s, min(least, most), most)
    return None


def count(moment: Moment, width_s: float) -> float:
    """Return the units taken in the last ``width_s`` before a moment, between the known ones."""
    counts = moment.counts
    assert counts is not None  # the caller asks only moments that know
    if width_s <= WIDTHS_S[0]:
        return counts[0] * max(0.0, width_s) / WIDTHS_S[0]
    below = bisect_right(WIDTHS_S, width_s) - 1
    if below + 1 >= len(counts):
        return counts[-1]
    part = (width_s - WIDTHS_S[below]) / (WIDTHS_S[below + 1] - WIDTHS_S[below])
    return counts[below] + (counts[below + 1] - counts[below]) * part


def sliding(history: Sequence[Moment], cost: float, pace: float) -> Iterator[Window]:
    """Yield the sliding windows that can have done it, the shortest first."""
    known = [one.counts for one in history if one.counts is not None]
    shut = [(one.at_s, one.counts) for one in history if one.counts is not None and one.empty]
    if len(shut) < 2:
        return
    refused = [counts for _, counts in shut]
    apart_s = shut[-1][0] - shut[0][0]
    slack = SLACK_CALLS * cost + JITTER_S * pace
    told = [one for one in history if one.exact][-TOLD_MOST:]
    by_width = zip(WIDTHS_S, zip(*refused, strict=True), zip(*known, strict=True), strict=True)
    for width_s, at_refusals, at_all in by_width:
        if width_s * APART > apart_s:
            return
        most, least = min(at_refusals) + cost, max(at_all)
        if most <= cost or least >= most - cost + slack + SLACK * most:
            continue
        if told:
            least, most = _as_told(told, width_s, cost, least, most)
        window = agreed(width_s, least, most, slack)
        if window is not None:
            yield window


def _as_told(
    told: Sequence[Moment], width_s: float, cost: float, least: float, most: float
) -> tuple[float, float]:
    """Narrow what a sliding window holds by told moments: then the call fits in, and not before.

    It holds nothing where no call has left it by then.
    """
    for one in told:
        call, still_s = one.cost or cost, width_s - one.shut_s
        fits = count(one, still_s - one.open_off_s)
        if count(one, width_s) - fits < LEFT * call:
            return math.inf, 0.0
        least = max(least, fits + call)
        most = min(most, count(one, still_s + one.open_off_s) + call)
    return least, most


def fixed(history: Sequence[Moment], cost: float, pace: float) -> Iterator[Window]:
    """Yield the fixed windows that can have done it, the shortest first."""
    known = [one for one in history if one.counts is not None]
    shut = [one for one in known if one.empty and one.opened_s is not None]
    if len(shut) < 2 or max(one.shut_s for one in shut) < SHUT_CALLS * cost / pace:
        return
    slack = SLACK_CALLS * cost + JITTER_S * pace
    for width_s in WIDTHS_S:
        well = [one for one in shut if one.open_off_s <= OFF * width_s]
        if len(well) < 2 or width_s <= LATE * well[-1].shut_s:
            continue
        last = well[-1]
        if not all(_is_in_step(one, last, width_s) for one in shut if one is not last):
            continue
        most, least = math.inf, 0.0
        for one in shut:
            # How much of the time before it was in its window, at least and at most.
            into_s, off_s = width_s - one.shut_s, one.open_off_s
            most = min(most, count(one, min(width_s, into_s + off_s)) + cost)
            least = max(least, count(one, max(0.0, into_s - off_s)))
        if most <= cost or least >= most - cost + slack + SLACK * most:
            continue
        least = max(least, _held(known, _opened_s(last), width_s))
        window = agreed(width_s, least, most, slack)
        if window is not None:
            yield window


def _opened_s(moment: Moment) -> float:
    assert moment.opened_s is not None  # the caller asks only those that were seen to open
    return moment.opened_s


def _is_in_step(one: Moment, last: Moment, width_s: float) -> bool:
    """Tell whether two openings are apart by a multiple of a window."""
    apart_s = _opened_s(last) - _opened_s(one)
    # Two refusals with an opening between them were in two windows.
    windows = max(1, round(apart_s / width_s))
    off_s = abs(apart_s - windows * width_s)
    return off_s <= one.open_off_s + last.open_off_s + OFF_PHASE * width_s


def _held(known: Sequence[Moment], opened_s: float, width_s: float) -> float:
    """Return the most that was accepted within one window, as an opening places it."""
    most = 0.0
    for one in known:
        if not one.empty:
            into_s = (one.at_s - opened_s) % width_s
            most = max(most, count(one, into_s - OFF_EDGE * width_s))
    return most
