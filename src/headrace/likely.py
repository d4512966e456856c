"""Which windows are the likeliest, where it is known only roughly when they open.

Where no wait is told a limit that is shut is asked now and then, and its windows open somewhere
between the last call that was refused and the first that was not. Each width and each moment for
an opening either agrees with all that was accepted and refused, or does not; the larger the part
of the moments that agree, the likelier is the width, and widths that providers use are likelier
than others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headrace.fitting import Moment
from headrace.trail import USUAL_S, WIDTHS_S
from headrace.windows import JITTER_S, SLACK, SLACK_CALLS, Window, agreed, count

MINUTE_S, MINUTE, USUAL, ODD = 60.0, 4.0, 1.0, 6.0
"""How likely a width is: of a minute, each other usual one, and all the others together."""
WEIGHTS = tuple(
    (MINUTE if width_s == MINUTE_S else USUAL)
    if width_s in USUAL_S
    else ODD / (len(WIDTHS_S) - len(USUAL_S))
    for width_s in WIDTHS_S
)
"""How likely each of the widths is beside the others."""
HEARD_S = 0.15
"""So much later than we think may a limit have been asked."""
OPEN = 0.4
"""A limit is asked again when it is open by then with this likelihood."""
HALVES = 6
"""So often is a time within which a window may have opened halved."""


@dataclass(frozen=True, slots=True)
class Likely:
    """A window that may be, how likely it is beside the others, and when it opens next."""

    window: Window
    weight: float
    opens_s: float


@dataclass(frozen=True, slots=True)
class _Look:
    """What is asked of a window: when it was empty, and when not; ``slack`` is no difference."""

    empties: tuple[Moment, ...]
    others: tuple[Moment, ...]
    cost: float
    slack: float


def likely(history: Sequence[Moment], cost: float, pace: float) -> list[Likely]:
    """Return the windows that agree with what happened, by the units a second they let in."""
    known = [one for one in history if one.counts is not None]
    empties = tuple(one for one in known if one.empty)
    opened = [one for one in empties if one.opened_s is not None]
    if not opened:
        return []
    others = tuple(one for one in known if not one.empty)
    look = _Look(empties, others, cost, SLACK_CALLS * cost + JITTER_S * pace)
    surest, last_s = min(opened, key=lambda one: one.open_off_s), empties[-1].at_s
    found = []
    for width_s, width in zip(WIDTHS_S, WEIGHTS, strict=True):
        # Half of it for windows that slide, half for fixed ones.
        weight = 0.5 * width
        slides = _sliding(look, width_s)
        if slides is not None:
            found.append(Likely(slides, weight, _leaves_s(empties[-1], cost, width_s)))
        for from_s, until_s, window in _fixed(look, surest, width_s):
            past = math.floor((last_s - until_s) / width_s)
            part = (until_s - from_s) / width_s
            found.append(Likely(window, weight * part, until_s + (past + 1) * width_s))
    return sorted(found, key=lambda one: one.window.rate)


def within(found: Sequence[Likely], low: float, high: float) -> tuple[Window, ...]:
    """Return the windows between two parts of all that is likely, the slowest first."""
    total = sum(one.weight for one in found)
    kept, past = [], 0.0
    for one in found:
        until = past + one.weight
        if until > low * total and past < high * total:
            kept.append(one.window)
        past = until
    return tuple(kept)


def opening_s(opens: Sequence[tuple[float, float]], now_s: float) -> float | None:
    """Return when it is likely enough to be open, of the moments that are still to come."""
    coming = [one for one in opens if one[0] > now_s]
    left = OPEN * sum(weight for _, weight in coming)
    for at_s, weight in coming:
        left -= weight
        if left <= 0:
            return at_s
    return None


def _leaves_s(moment: Moment, cost: float, width_s: float) -> float:
    """Return when the first call leaves the window that ends at a moment."""
    taken, near_s, far_s = count(moment, width_s), 0.0, width_s
    for _ in range(HALVES + 3):
        middle_s = 0.5 * (near_s + far_s)
        if taken - count(moment, width_s - middle_s) < 0.5 * cost:
            near_s = middle_s
        else:
            far_s = middle_s
    return moment.at_s + far_s


def _sliding(look: _Look, width_s: float) -> Window | None:
    least, most = 0.0, math.inf
    for one in look.empties:
        taken = count(one, width_s)
        least, most = max(least, taken), min(most, taken + (one.cost or look.cost))
        if one.opened_s is None:
            continue
        # The first call leaves between the last that was refused and the first that was not.
        still_s = width_s - (one.shut_s - one.open_off_s) + HEARD_S
        gone_s = width_s - (one.shut_s + one.open_off_s) - HEARD_S
        slack = look.cost + look.slack + SLACK * taken
        if count(one, still_s) < taken - slack or count(one, gone_s) >= taken - 1e-9:
            return None
    if _window(look, width_s, least, most) is None:
        return None
    least = max([least, *(count(one, width_s) for one in look.others)])
    return _window(look, width_s, least, most)


def _window(look: _Look, width_s: float, least: float, most: float) -> Window | None:
    if not look.cost < most < math.inf:
        return None
    return agreed(width_s, least, most, look.slack)


_Part = tuple[float, float, Window]
"""From when and until when a window may open, and what it then holds."""


def _fixed(look: _Look, surest: Moment, width_s: float) -> Iterator[_Part]:
    assert surest.opened_s is not None  # the caller chose one that was seen to open
    until_s = min(surest.opened_s + surest.open_off_s, surest.at_s + width_s)
    from_s = max(surest.opened_s - surest.open_off_s, until_s - width_s)
    if from_s < until_s:
        yield from _opening(look, width_s, from_s, until_s, HALVES)


def _opening(
    look: _Look, width_s: float, from_s: float, until_s: float, halves: int
) -> Iterator[_Part]:
    """Yield the parts of a time in which a window may open, from coarse to fine."""
    least, most, apart, split, off_s = 0.0, math.inf, 0.0, False, until_s - from_s
    for one in look.empties:
        past = math.floor((one.at_s - from_s) / width_s)
        if past != math.floor((one.at_s - until_s) / width_s):
            # For a part of the time the moment was in the window before.
            split = True
            continue
        into_s = one.at_s - from_s - past * width_s
        if one.opened_s is not None and abs(width_s - into_s + 0.5 * off_s - one.shut_s) > (
            0.5 * off_s + one.open_off_s + HEARD_S
        ):
            return
        fewest, taken = count(one, into_s - off_s), count(one, into_s)
        least, most = max(least, fewest), min(most, taken + (one.cost or look.cost))
        apart = max(apart, taken - fewest)
    if not split and _window(look, width_s, least, most) is None:
        return
    if halves and (split or apart > look.cost + look.slack):
        middle_s = 0.5 * (from_s + until_s)
        yield from _opening(look, width_s, from_s, middle_s, halves - 1)
        yield from _opening(look, width_s, middle_s, until_s, halves - 1)
        return
    for one in look.others:
        least = max(least, count(one, (one.at_s - from_s) % width_s - off_s))
    found = _window(look, width_s, least, most)
    if found is not None:
        yield from_s, until_s, found
