"""Texts as rules read them: folded, cut into words, each with what it may be in disguise."""

from __future__ import annotations

import re
import sys
import unicodedata
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache, lru_cache

SPELLED_MIN = 3
"""So many letters standing alone, one after another, may be a word that is spelled out."""
KNOWN_CHARS_MAX = 64
"""What is found out about longer words is not kept."""

_MARKS = re.compile("[\u0300-\u036f]")
# Each letter is a word: what is written without spaces cannot be cut without a dictionary.
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff"
)
_KATAKANA = "\u30a1-\u30fa\u30fc-\u30ff"
_ENDS_CLAUSE = re.compile("[.,;:!?()\\[\\]\n|/•–—。、，；：！？「」・]")

_SPACES = re.compile(r"[^\S\n]+")
_ODD_SPACE = re.compile(r"[^\S\n ]| {2}")
_BETWEEN = {code: " " for code in range(128) if not chr(code).isalnum() or chr(code).isupper()}
"""What stands between the words of a folded ASCII text."""
_SPELLED = array("I", [1] * SPELLED_MIN).tobytes()
_SIGNED = re.compile("[^\\W_]{1,40}(?:[@$][^\\W_]{1,40}){1,8}")

# Letters that look like Latin ones. Ukrainian and Serbian ones stand beside the Russian.
_LOOKALIKES = str.maketrans(
    "авекмнорстухіјѕԁһӏԛԝѵαβεικνορτυχγωℓıøłđħɡɑ",
    "abekmhopctyxijsdhlqwvabeiknoptuxywlioldhga",
)
_DIGITS = str.maketrans("013457@$", "oieastas")
_DIGITS_L = str.maketrans("013457@$", "oleastas")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a text.

    ``forms`` are what it may stand for, as it is written first. ``at`` counts words from the
    beginning (a letter of a script without spaces counts half), ``clause`` the clauses.
    ``start`` and ``end`` are its place in the folded text.
    """

    forms: tuple[str, ...]
    at: float
    clause: int
    start: int
    end: int


def folded(text: str) -> str:
    """Return ``text`` as rules compare it.

    Compatible forms are one (NFKC), case is folded, accents and what is there and not seen
    are gone, white space is one space each; line ends stay.
    """
    if text.isascii():
        plain = text.lower()
    else:
        plain = unicodedata.normalize("NFKC", _unseen().sub("", text)).casefold()
        if not plain.isascii():
            plain = _MARKS.sub("", unicodedata.normalize("NFKD", plain))
            plain = unicodedata.normalize("NFC", plain)
    # Most texts have none: to look for them takes a tenth of replacing each single space.
    return _SPACES.sub(" ", plain) if _ODD_SPACE.search(plain) else plain


def words(text: str) -> list[Word]:
    """Return the words of a ``folded`` text, and those that it spells out or writes with signs."""
    found: list[Word] = []
    run: list[Word] = []
    at, clause, gap = 0.0, 0, ""
    for one in _word().finditer(text):
        if found:
            between = text[found[-1].end : one.start()]
            clause += _ENDS_CLAUSE.search(between) is not None
            if between != gap and len(run) > 1:
                found += _spelled(run)
                run = run[-1:]
            gap = between
        word = Word(forms_of(one[0]), at, clause, one.start(), one.end())
        if len(one[0]) == 1 and "a" <= word.forms[-1] <= "z":
            run.append(word)
        else:
            found += _spelled(run)
            run = []
        found.append(word)
        at += 0.5 if len(one[0]) == 1 and not one[0].isascii() else 1.0
    found += _spelled(run)
    if found and ("@" in text or "$" in text):
        found += _with_signs(text, found)
    return found


def plain_words(text: str) -> list[str] | None:
    """Return the words of a ``folded`` text by themselves, in a fraction of the time of ``words``.

    ``None`` where some may be spelled out or written with signs: what ``words`` finds as well.
    """
    if "@" in text or "$" in text:
        return None
    found = text.translate(_BETWEEN).split() if text.isascii() else _word().findall(text)
    # Bytes are compared, which is quick; what is found across two lengths only costs time.
    return None if _SPELLED in array("I", map(len, found)).tobytes() else found


def _spelled(run: list[Word]) -> list[Word]:
    """Return the word that single letters spell, if there are enough of them."""
    if len(run) < SPELLED_MIN:
        return []
    form = "".join(one.forms[-1] for one in run)
    return [Word((form,), run[-1].at, run[-1].clause, run[0].start, run[-1].end)]


def _with_signs(text: str, found: list[Word]) -> list[Word]:
    """Return the words in which signs stand for letters; they are cut at the signs as well."""
    starts = [word.start for word in found]
    made = []
    for one in _SIGNED.finditer(text):
        first = found[min(bisect_left(starts, one.start()), len(found) - 1)]
        made.append(Word(forms_of(one[0]), first.at, first.clause, one.start(), one.end()))
    return made


def forms_of(word: str) -> tuple[str, ...]:
    """Return what a word may stand for, itself first: look-alikes, digits for letters."""
    if word.isascii() and (word.isalpha() or word.isdecimal()):
        return (word,)
    # What is kept is bounded in characters too: a text may be one word.
    return _known_forms(word) if len(word) <= KNOWN_CHARS_MAX else _made_forms(word)


def _made_forms(word: str) -> tuple[str, ...]:
    forms = [word]
    latin = word.translate(_LOOKALIKES)
    if latin.isascii():
        forms.append(latin)
    if any("a" <= char <= "z" for char in latin):
        forms += [latin.translate(_DIGITS), latin.translate(_DIGITS_L)]
    return tuple(dict.fromkeys(forms))


_known_forms = lru_cache(maxsize=1 << 16)(_made_forms)


@cache
def _unseen() -> re.Pattern[str]:
    """Return what finds characters without width: formats, fillers, variation selectors."""
    return re.compile(
        f"[{_ranges('Cf')}\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f"
        "\U000e0100-\U000e01ef]"
    )


@cache
def _word() -> re.Pattern[str]:
    """Return what finds words; vowel signs and other marks belong to them."""
    marks = _ranges("Mn", "Mc")
    single = f"[{_UNSPACED}]"
    inside = f"(?:[^\\W_{_UNSPACED}{_KATAKANA}]|[{marks}])"
    return re.compile(f"[{_KATAKANA}]+|{single}[{marks}]*|{inside}+")


@cache
def _ranges(*categories: str) -> str:
    """Return all characters of some Unicode categories as the inside of a character class."""
    found: list[tuple[int, int]] = []
    for code in range(min(sys.maxunicode, 0x1FFFF) + 1):
        if unicodedata.category(chr(code)) in categories:
            if found and found[-1][1] == code - 1:
                found[-1] = (found[-1][0], code)
            else:
                found.append((code, code))
    if "Cf" in categories:
        found.append((0xE0000, 0xE007F))
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in found)
