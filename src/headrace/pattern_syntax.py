r"""The syntax of patterns: a regular expression without what no machine can match in one pass.

Literals, ``.``, ``[…]``, ``\d \w \s`` and their opposites, ``\b \B ^ $``, ``(…)``, ``(?:…)``,
``|``, ``* + ? {m,n}``. Nothing looks back or ahead, nothing is captured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

from headrace.errors import UsageError

PATTERN_CHARS_MAX = 500
STEPS_MAX = 600
"""The most steps that a pattern may unfold to; ``{m,n}`` copies what it repeats."""
DEPTH_MAX = 40

Test = Callable[[str], bool]
_SETS: dict[str, Test] = {
    "d": str.isdecimal,
    "w": lambda char: char.isalnum() or char == "_",
    "s": str.isspace,
}
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
_EDGES = {"^": "begin", "$": "end", "b": "border", "B": "inside"}


class PatternError(UsageError):
    """A pattern cannot be read; the message has the place in it."""


@dataclass(slots=True)
class Step:
    """One state of the machine: a test that eats a character, an edge, or a fork (neither).

    ``onward`` are the places of the states that follow.
    """

    test: Test | None = None
    edge: str | None = None
    onward: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the machine: where it begins, and the states whose ``onward`` is still open."""

    first: int
    open_ends: tuple[int, ...]


def compile_pattern(pattern: str) -> list[Step]:
    """Return the machine for ``pattern``: it begins at the state 0, and the last one accepts.

    Raises ``PatternError``.
    """
    if not pattern.strip() or len(pattern) > PATTERN_CHARS_MAX:
        raise PatternError(
            f"a pattern has 1 to {PATTERN_CHARS_MAX} characters, this one {len(pattern)}",
            remedy="Split it into several.",
        )
    return _Parser(pattern).machine()


class _Parser:
    """Reads a pattern once, from left to right, into states."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0
        self._steps = [Step()]

    def machine(self) -> list[Step]:
        """Return the states."""
        piece = self._branches()
        if self._at < len(self._pattern):
            raise self._wrong("a ) without its (", "Write \\) for the character itself.")
        self._steps[0].onward = [piece.first]
        self._close(piece, self._add(Step()))
        return self._steps

    # -- states ------------------------------------------------------------------------------

    def _add(self, step: Step) -> int:
        if len(self._steps) >= STEPS_MAX:
            raise self._wrong("the pattern is too large", "Repeat less often, or split it.")
        self._steps.append(step)
        return len(self._steps) - 1

    def _close(self, piece: _Piece, target: int) -> None:
        for place in piece.open_ends:
            self._steps[place].onward.append(target)

    def _joined(self, pieces: list[_Piece]) -> _Piece:
        if not pieces:
            place = self._add(Step())
            return _Piece(place, (place,))
        for before, after in pairwise(pieces):
            self._close(before, after.first)
        return _Piece(pieces[0].first, pieces[-1].open_ends)

    # -- reading -----------------------------------------------------------------------------

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _branches(self) -> _Piece:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            raise self._wrong("groups are nested too deeply", "Take some parentheses out.")
        branches = [self._sequence()]
        while self._peek() == "|":
            self._at += 1
            branches.append(self._sequence())
        self._depth -= 1
        if len(branches) == 1:
            return branches[0]
        fork = self._add(Step(onward=[one.first for one in branches]))
        return _Piece(fork, tuple(end for one in branches for end in one.open_ends))

    def _sequence(self) -> _Piece:
        pieces = []
        while self._peek() not in ("", "|", ")"):
            began = self._at
            piece = self._atom()
            pieces.append(self._repeated(piece, began))
        return self._joined(pieces)

    def _repeated(self, piece: _Piece, began: int) -> _Piece:
        ended, bounds = self._at, self._bounds()
        if bounds is None:
            return piece
        if self._peek() in ("*", "+", "{") or (self._peek() == "?" and self._skip_lazy()):
            raise self._wrong("a repeat of a repeat", "Put the inner one into parentheses.")
        least, most = bounds
        after = self._at
        pieces = [piece] if (least or most != 0) else []
        while len(pieces) < max(least, 1 if most is None else most):
            # Read again what is repeated: each copy has states of its own.
            self._at = began
            pieces.append(self._atom())
        self._at = max(after, ended)
        for number, one in enumerate(pieces):
            if number >= least:
                pieces[number] = self._optional(one)
        if most is None:
            pieces[-1] = self._loop(pieces[-1])
        return self._joined(pieces)

    def _skip_lazy(self) -> bool:
        """Pass over the ``?`` of a repeat that takes as little as it can: here they are alike."""
        self._at += 1
        return self._peek() in ("*", "+", "{", "?")

    def _optional(self, piece: _Piece) -> _Piece:
        fork = self._add(Step(onward=[piece.first]))
        return _Piece(fork, (*piece.open_ends, fork))

    def _loop(self, piece: _Piece) -> _Piece:
        fork = self._add(Step(onward=[piece.first]))
        self._close(piece, fork)
        return _Piece(piece.first, (fork,))

    def _bounds(self) -> tuple[int, int | None] | None:
        sign = self._peek()
        if sign in ("*", "+", "?") and sign:
            self._at += 1
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
        if sign != "{":
            return None
        end = self._pattern.find("}", self._at)
        first, comma, last = self._pattern[self._at + 1 : max(end, self._at + 1)].partition(",")
        numbers = [first] if not comma else [first or "0", last]
        good = all(one.isascii() and one.isdecimal() and len(one) < 4 for one in numbers if one)
        if end < 0 or not good or not (first or last):
            raise self._wrong("{ begins a repeat such as {2,5}", "Write \\{ for the character.")
        least = int(numbers[0])
        most = least if not comma else (int(last) if last else None)
        if most is not None and most < least:
            raise self._wrong(f"{{{least},{most}}} is the wrong way round", "Swap the numbers.")
        self._at = end + 1
        return least, most

    def _atom(self) -> _Piece:
        char = self._peek()
        self._at += 1
        if char == "(":
            return self._group()
        if char in ("*", "+", "?"):
            self._at -= 1
            raise self._wrong(f"there is nothing before {char}", f"Write \\{char} for it itself.")
        if char == "[":
            test = self._class()
        elif char == "\\":
            return self._escape()
        elif char in _EDGES and char in "^$":
            return self._one(Step(edge=_EDGES[char]))
        elif char == ".":
            test = _not_line_end
        else:
            test = char.__eq__
        return self._one(Step(test=test))

    def _one(self, step: Step) -> _Piece:
        place = self._add(step)
        return _Piece(place, (place,))

    def _group(self) -> _Piece:
        if self._peek() == "?":
            if not self._pattern.startswith("?:", self._at):
                raise self._wrong(
                    "(? looks ahead or back, names or captures, which patterns do not",
                    "Use (…) or (?:…).",
                )
            self._at += 2
        piece = self._branches()
        if self._peek() != ")":
            raise self._wrong("a ( without its )", "Close it, or write \\( for the character.")
        self._at += 1
        return piece

    def _escape(self) -> _Piece:
        char = self._peek()
        if char in ("b", "B"):
            self._at += 1
            return self._one(Step(edge=_EDGES[char]))
        return self._one(Step(test=self._escaped()))

    def _escaped(self) -> Test:
        """Return the test of what stands behind a backslash."""
        char = self._peek()
        if not char or (char.isalnum() and char.lower() not in (*_SETS, *_ESCAPED)):
            raise self._wrong(f"\\{char} is not known", "Known: \\d \\w \\s \\b and signs.")
        self._at += 1
        if char.lower() in _SETS:
            test = _SETS[char.lower()]
            return test if char.islower() else _not(test)
        return _ESCAPED.get(char, char).__eq__

    def _class(self) -> Test:
        """Return the test of a ``[…]``; ``[`` itself is read already."""
        is_not = self._peek() == "^"
        self._at += is_not
        tests: list[Test] = []
        first = True
        while first or self._peek() != "]":
            char = self._peek()
            if not char:
                raise self._wrong("a [ without its ]", "Close it, or write \\[ for the character.")
            first = False
            self._at += 1
            if char == "\\":
                tests.append(self._escaped())
                continue
            last = self._pattern[self._at + 1 : self._at + 2]
            if self._peek() == "-" and last not in ("", "]", "\\"):
                self._at += 2
                if last < char:
                    raise self._wrong(f"{char}-{last} is the wrong way round", "Swap them.")
                tests.append(_between(char, last))
            else:
                tests.append(char.__eq__)
        self._at += 1
        test = _any(tuple(tests))
        return _not(test) if is_not else test

    def _wrong(self, message: str, remedy: str) -> PatternError:
        return PatternError(
            f"{self._pattern[:80]!r}, character {self._at + 1}: {message}", remedy=remedy
        )


def _not_line_end(char: str) -> bool:
    return char != "\n"


def _not(test: Test) -> Test:
    return lambda char: not test(char)


def _between(first: str, last: str) -> Test:
    return lambda char: first <= char <= last


def _any(tests: tuple[Test, ...]) -> Test:
    return lambda char: any(test(char) for test in tests)
