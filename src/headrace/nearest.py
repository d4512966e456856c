"""The nearest known word, so that an error about an unknown one can say "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

WORD_CHARS_MAX = 200
"""What is longer is no slip of the pen; to compare megabytes takes gigabytes."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word most like ``word``, or ``None`` when none is near."""
    if len(word) > WORD_CHARS_MAX:
        return None
    folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[found[0]] if found else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a sentence that names the nearest known word, or lists all of them."""
    names = sorted(set(known))
    guess = nearest(word, names)
    if guess is not None:
        return f"Did you mean {str(guess)!r}?"  # of an enumeration's member, its word alone
    if not names:
        return "None is known here."
    return "Known: " + ", ".join(names) + "."
