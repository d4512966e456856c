"""Measures of a text: words, sentences, how hard it is to read, where a phrase stands."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

LONG_WORD_LETTERS = 6
SHOWN_CHARS = 40

# A letter of a script that is written without spaces counts as a word.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+(?:['’\\-][^\\W{_UNSPACED}]+)*")
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s|$)|[。！？]+|\n\s*\n")
_MARKUP = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|[-*+>][ \t]+|\d+[.)][ \t]+)|[*_`~]", re.MULTILINE)
# What is there and not seen: a phrase with one of them inside is the same phrase.
_UNSEEN = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")


def words(text: str) -> list[str]:
    """Return the words of ``text``, Markdown's marks left out."""
    return _WORD.findall(_MARKUP.sub("", text))


def sentences(text: str) -> list[list[str]]:
    """Return the sentences of ``text``, each as its words; a heading is one."""
    parts = _SENTENCE_END.split(_MARKUP.sub("", text))
    return [found for found in map(_WORD.findall, parts) if found]


def lix(text: str) -> float:
    """Return the readability of ``text``: 20 very easy, 40 a newspaper, 60 a law; 0 for none.

    LIX (C. H. Björnsson, 1968): words in a sentence, plus the share of words of more than
    six letters in percent. It counts letters, not syllables, so that one bound serves
    every language that is written with spaces.
    """
    found = sentences(text)
    all_words = [word for sentence in found for word in sentence]
    if not all_words:
        return 0.0
    long = sum(len(word) > LONG_WORD_LETTERS for word in all_words)
    return len(all_words) / len(found) + 100 * long / len(all_words)


def plain(text: str) -> str:
    """Return ``text`` as phrases are compared: compatible forms one, case folded, unseen gone."""
    return unicodedata.normalize("NFKC", _UNSEEN.sub("", text)).casefold()


def places(folded: str, phrase: str) -> Iterator[str]:
    """Yield where ``phrase`` stands in a ``plain`` text: the line and the words around it.

    Whole words only, however they are spaced and cased; a ``*`` at the end stands for any
    ending.
    """
    for found in _finder(phrase).finditer(folded):
        start, end = found.span()
        line = folded.count("\n", 0, start) + 1
        room = max(8, (SHOWN_CHARS - (end - start)) // 2)
        around = " ".join(folded[max(0, start - room) : end + room].split())
        yield f"line {line}, “{around}”"


@lru_cache(maxsize=1024)
def _finder(phrase: str) -> re.Pattern[str]:
    is_stem = phrase.endswith("*")
    parts = plain(phrase.removesuffix("*")).split()
    inner = r"\s+".join(re.escape(part) for part in parts)
    # A border only where the phrase itself has a letter: "100%" has none at its end.
    begins = r"(?<!\w)" if parts and _is_letter(parts[0][0]) else ""
    ends = r"(?!\w)" if parts and _is_letter(parts[-1][-1]) and not is_stem else ""
    return re.compile(f"{begins}{inner}{ends}")


def _is_letter(char: str) -> bool:
    return char.isalnum() and not re.match(f"[{_UNSPACED}]", char)
