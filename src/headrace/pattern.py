"""Patterns matched in one pass, in time that grows with the text and never with its malice.

Python's own expressions go back and try again: ``(a+)+$`` takes them years. Here all ways
are followed at once, as sets of states; a set that was seen before is not worked out again.
"""

from __future__ import annotations

from headrace.folding import folded
from headrace.pattern_syntax import PatternError, Step, compile_pattern

__all__ = ["Pattern", "PatternError", "TooDearError"]

SETS_MAX = 2_000
"""So many sets of states are remembered; then all are forgotten."""
WORK_MAX = 4_000_000
"""Steps that one look may take beside two for each character: about a second. Honest patterns
come nowhere near it."""
STATES_FREE = 32

_States = tuple[int, ...]


class TooDearError(Exception):
    """A pattern needs more work for a text than it may."""


class Pattern:
    """One pattern; upper and lower case, accents and width are alike, as in a folded text."""

    def __init__(self, pattern: str) -> None:
        self.text = pattern
        self._steps: list[Step] = compile_pattern(_folded(pattern))
        self._last = len(self._steps) - 1
        self._known: dict[tuple[_States, str, str], _States] = {}

    def find(self, text: str) -> int | None:
        """Return where the first match in a folded text ends, ``None`` where there is none.

        Raises ``TooDearError``.
        """
        states: _States = ()
        work, before, most = 0, "", WORK_MAX + 2 * len(text)
        for at, char in enumerate([*text, ""]):
            work += 1
            key = (states, before, char)
            onward = self._known.get(key)
            if onward is None:
                work += len(states) * 4 + STATES_FREE
                onward = self._onward(states, before, char)
                if len(self._known) >= SETS_MAX * 8:
                    self._known.clear()
                self._known[key] = onward
            if self._last in onward:
                return at
            if work > most:
                raise TooDearError(self.text)
            states, before = onward, char
        return None

    def _onward(self, states: _States, before: str, char: str) -> _States:
        """Return the states behind ``char``; only the accepting one, if it is reached before."""
        reached = self._reached([0, *states], before, char)
        if self._last in reached:
            return (self._last,)
        if not char:
            return ()
        onward: set[int] = set()
        for place in reached:
            step = self._steps[place]
            if step.test is not None and step.test(char):
                onward.update(step.onward)
        return tuple(sorted(onward))

    def _reached(self, states: list[int], before: str, char: str) -> set[int]:
        """Return the states that are reached without a character, between two of them."""
        seen: set[int] = set()
        left = list(states)
        while left:
            place = left.pop()
            if place in seen:
                continue
            seen.add(place)
            step = self._steps[place]
            if step.test is None and (step.edge is None or _holds(step.edge, before, char)):
                left += step.onward
        return seen


def _holds(edge: str, before: str, after: str) -> bool:
    if edge == "begin":
        return before in ("", "\n")
    if edge == "end":
        return after in ("", "\n")
    border = _is_word(before) != _is_word(after)
    return border if edge == "border" else not border


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _folded(pattern: str) -> str:
    r"""Return a pattern in folded letters; ``\D``, ``\W``, ``\S`` and ``\B`` keep theirs."""
    parts = pattern.split("\\")
    made = [folded(parts[0])]
    plain = False
    for part in parts[1:]:
        if plain or not part:
            # Behind a backslash that is itself escaped, or that escapes the next one.
            made.append(folded(part))
            plain = not plain and not part
            continue
        made.append(part[0] + folded(part[1:]))
    return "\\".join(made)
