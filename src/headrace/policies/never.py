"""What no platform may generate: sexual content with minors. It cannot be switched off.

A term for a minor near a sexual term, in ten languages, is a hit. Either alone is none, nor
is what is harmless (``baby shower``, ``naked cake``, ``nude pink``). It is a net with wide
meshes against the open request, not a moderation model: see ``docs/policy.md``.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from bisect import bisect_left
from functools import cache
from pathlib import Path
from typing import Any

from headrace.folding import KNOWN_CHARS_MAX, Word, forms_of, plain_words
from headrace.phrases import Found, Phrases
from headrace.policies.rules import told
from headrace.policy import Finding, Subject, When

NAME = "minors"
NEAR_WORDS = 10.0
CLOSE_WORDS = 4.0
NEGATED_WORDS = 5.0
HITS_MAX = 2_000
"""So many terms of a text are compared with each other; a text with more is cut there."""
CALM_MAX = 50_000
"""So many words are known to begin no term."""

_FILE = Path(__file__).with_name("never.toml")
_AGE = re.compile("[0-9]{1,2}")


class MinorsRule:
    """Sexual terms near terms for minors."""

    whens = frozenset(When)
    by_parts = True

    def __init__(self) -> None:
        lists = _lists()
        self._always = Phrases(lists["always"])
        self._minor = Phrases(lists["minor"])
        self._endearment = Phrases(lists["endearment"])
        self._explicit = Phrases(lists["explicit"])
        self._suggestive = Phrases(lists["suggestive"])
        self._abstract = Phrases(lists["abstract"])
        self._negation = Phrases(lists["negation"])
        self._harmless = Phrases(lists["harmless"])
        self._years = Phrases(lists["years"])
        self._aged = Phrases(lists["aged"])
        # Without one of these nothing is a hit.
        needed = ("always", "explicit", "suggestive", "abstract")
        self._alarming = Phrases(term for kind in needed for term in lists[kind])
        self._calm: set[str] = set()

    def find(self, subject: Subject) -> Finding | None:
        """Return what is wrong with a text, in words that do not repeat it."""
        if self._is_calm(subject.folded):
            return None
        text = subject.words
        spared = _covered(self._harmless.find(text))
        hit = any(not _touches(one, spared) for one in self._always.find(text))
        if not hit and not self._meets(text, spared):
            return None
        return Finding(
            NAME,
            f"the rule {NAME!r} does not allow {told(subject)}: sexual content with minors",
            "It cannot be switched off. If this is a mistake, word it so that neither a minor "
            "nor anything sexual is meant.",
        )

    def _is_calm(self, text: str) -> bool:
        """Tell whether no word of a folded text begins a term without which nothing is a hit."""
        found = plain_words(text)
        if found is None:
            return False
        calm = self._calm
        for word in set(found) - calm:
            if self._alarming.begins(forms_of(word)):
                return False
            # A number is seldom met again; it would take the place of a word that is.
            if len(calm) < CALM_MAX and len(word) <= KNOWN_CHARS_MAX and word.isalpha():
                calm.add(word)
        return True

    def _meets(self, text: list[Word], spared: set[int]) -> bool:
        sexual = self._sexual(text, spared)
        if not sexual:
            return False
        minors = [one for one in self._minor.find(text) if not _touches(one, spared)]
        minors = [*minors, *self._ages(text, spared)][:HITS_MAX]
        dear = [one for one in self._endearment.find(text) if not _touches(one, spared)]
        meant = sorted((text[one.first].at, text[one.first].clause) for one in minors)
        called = sorted([*meant, *((text[one.first].at, -1) for one in dear[:HITS_MAX])])
        for found, most, in_clause in sexual:
            word, places = text[found.first], meant if in_clause else called
            for at, clause in places[bisect_left(places, (word.at - most, -1)) :]:
                if at > word.at + most:
                    break
                if not in_clause or clause == word.clause:
                    return True
        return False

    def _sexual(self, text: list[Word], spared: set[int]) -> list[tuple[Found, float, bool]]:
        """Return the sexual terms, how far a minor has to be, and whether in another clause."""
        found = [(one, NEAR_WORDS, False) for one in self._explicit.find(text)]
        found += [(one, CLOSE_WORDS, True) for one in self._suggestive.find(text)]
        found += [
            (one, NEAR_WORDS, False)
            for one in self._abstract.find(text)
            if not self._is_negated(text, one)
        ]
        return [one for one in found if not _touches(one[0], spared)][:HITS_MAX]

    def _is_negated(self, text: list[Word], found: Found) -> bool:
        """Tell whether a text says that it wants none of something, in the same clause."""
        word = text[found.first]
        before = [
            one
            for one in text[max(0, found.first - int(NEGATED_WORDS)) : found.first]
            if one.clause == word.clause
        ]
        return next(self._negation.find(before), None) is not None

    def _ages(self, text: list[Word], spared: set[int]) -> list[Found]:
        """Return the ages below 18: a number before a word for years, or behind one for aged."""
        ages = []
        for at, word in enumerate(text):
            number = _AGE.match(word.forms[0])
            if number is None or int(number[0]) >= 18 or {at, at + 1} & spared:
                continue
            rest = word.forms[0][number.end() :]
            behind = [Word((rest,), 0.0, 0, 0, 0)] if rest else []
            if _begins(self._years, [*behind, *text[at + 1 : at + 4]]) or (
                not rest and _ends(self._aged, text[max(0, at - 3) : at])
            ):
                ages.append(Found("", at, at))
        return ages


def _begins(phrases: Phrases, text: list[Word]) -> bool:
    return any(one.first == 0 for one in phrases.find(text))


def _ends(phrases: Phrases, text: list[Word]) -> bool:
    return any(one.last == len(text) - 1 for one in phrases.find(text))


def _covered(found: Any) -> set[int]:
    return {place for one in found for place in range(one.first, one.last + 1)}


def _touches(found: Found, places: set[int]) -> bool:
    return any(place in places for place in range(found.first, found.last + 1))


@cache
def _lists() -> dict[str, list[str]]:
    """Return the terms of all languages by what they are."""
    tree = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    merged: dict[str, list[str]] = {}
    for language in tree.values():
        for kind, terms in language.items():
            merged.setdefault(kind, []).extend(terms)
    return merged


@cache
def never_version() -> str:
    """Return what changes with the lists and this module's reading of them."""
    return hashlib.sha256(b"1\n" + _FILE.read_bytes()).hexdigest()
