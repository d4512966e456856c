"""Phrases in texts: whole words in any disguise that ``folding`` knows, however many there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from headrace.folding import KNOWN_CHARS_MAX, Word, folded, words


@dataclass(frozen=True, slots=True)
class Found:
    """A phrase in a text: which one, and its first and last word by their place in the list."""

    phrase: str
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class _Phrase:
    text: str
    parts: tuple[str, ...]
    stems: tuple[bool, ...]

    def fits(self, text: Sequence[Word], at: int) -> bool:
        return at + len(self.parts) <= len(text) and all(
            any(form.startswith(part) if is_stem else form == part for form in text[at + n].forms)
            for n, (part, is_stem) in enumerate(zip(self.parts, self.stems, strict=True))
        )


class Phrases:
    """A set of phrases, looked for all at once: time grows with the text, not with the set.

    Words fit whole; one with ``*`` at its end stands for any ending. A phrase without a
    letter or digit is never found.
    """

    def __init__(self, phrases: Iterable[str]) -> None:
        self._whole: dict[str, list[_Phrase]] = {}
        self._stems: dict[str, list[_Phrase]] = {}
        for text in dict.fromkeys(phrases):
            made = _parsed(text)
            if made is not None:
                known = self._stems if made.stems[0] else self._whole
                known.setdefault(made.parts[0], []).append(made)
        self._lengths = sorted({len(stem) for stem in self._stems})
        first = [*self._whole, *self._stems]
        self._heads = {word[:3] for word in first}
        self._shorts = {word for word in first if len(word) < 3}
        self._starts: dict[str, tuple[_Phrase, ...]] = {}

    def find(self, text: Sequence[Word]) -> Iterator[Found]:
        """Yield every phrase in the words of a text, by where it begins."""
        for at, word in enumerate(text):
            for form in word.forms:
                for phrase in self._beginning(form):
                    if phrase.fits(text, at):
                        yield Found(phrase.text, at, at + len(phrase.parts) - 1)

    def begins(self, forms: Iterable[str]) -> bool:
        """Tell whether a word, by what it may stand for, may be the first of a phrase."""
        for form in forms:  # a loop: each word of each text comes by
            head = form[:3]
            if head not in self._heads and not (
                head[:2] in self._shorts or head[:1] in self._shorts
            ):
                continue  # most words are none's beginning by their first letters
            if self._beginning(form):
                return True
        return False

    def _beginning(self, form: str) -> tuple[_Phrase, ...]:
        """Return the phrases that may begin with a word; what was asked once is known."""
        known = self._starts.get(form)
        if known is None:
            found = list(self._whole.get(form, ()))
            for length in self._lengths:
                if length > len(form):
                    break
                found += self._stems.get(form[:length], ())
            known = tuple(found)
            if len(self._starts) < _KNOWN_MAX and len(form) <= KNOWN_CHARS_MAX:
                self._starts[form] = known
        return known


_KNOWN_MAX = 50_000


def has_words(phrase: str) -> bool:
    """Tell whether a phrase can be found at all: it has a letter or a digit."""
    return _parsed(phrase) is not None


def _parsed(text: str) -> _Phrase | None:
    parts: list[str] = []
    stems: list[bool] = []
    for written in text.split():
        found = words(folded(written.removesuffix("*")))
        parts += [word.forms[0] for word in found]
        stems += [False] * len(found)
        if found and written.endswith("*"):
            stems[-1] = True
    return _Phrase(text, tuple(parts), tuple(stems)) if parts else None
