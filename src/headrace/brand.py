"""A brand's guardrails: a file of phrases and bounds that people edit, and texts judged by it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from headrace import prose
from headrace.errors import RecipeError
from headrace.nearest import did_you_mean

PHRASES = ("forbidden", "required")
BOUNDS = ("words_min", "words_max", "lix_max", "sentence_words_max")
PHRASES_MAX = 500
PHRASE_CHARS_MAX = 200
COMPLAINTS_MAX = 12
_BOUND_MAX = 1_000_000

Rules = dict[str, Any]


def read_brand(text: str, place: str) -> dict[str, Rules]:
    """Return the rules of a brand file by language, those of every language under ``""``.

    The file is TOML: phrases and bounds at the top for all languages, and a table
    ``[languages.de]`` for each that has more. Raises ``RecipeError``.
    """
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"not valid TOML: {error}", place=place) from error
    languages = tree.pop("languages", {})
    if not isinstance(languages, dict):
        raise _wrong(f"languages = {languages!r}", "Write [languages.de].", place)
    found = {"": _rules(tree, place)}
    for language, table in languages.items():
        found[_short(language)] = _rules(table, f"{place} [languages.{language}]")
    if not any(found.values()):
        raise _wrong("the file has no rule", 'Add forbidden = ["…"], say.', place)
    return found


def rules_for(brand: Mapping[str, Rules], language: str) -> Rules:
    """Return the rules for a language: its phrases beside those of all, its bounds instead."""
    base, own = brand.get("", {}), brand.get(_short(language), {})
    if not language.strip():
        return dict(base)
    made = {**base, **own}
    for key in PHRASES:
        phrases = [*base.get(key, ()), *own.get(key, ())]
        if phrases:
            made[key] = list(dict.fromkeys(phrases))
    return made


def _short(language: str) -> str:
    """Return the language without its region: ``de`` for ``de-AT``."""
    return language.strip().lower().replace("_", "-").partition("-")[0]


def _rules(table: Any, place: str) -> Rules:
    if not isinstance(table, dict):
        raise _wrong(f"{table!r} is not a table", 'forbidden = ["…"]', place)
    for key, value in table.items():
        if key not in (*PHRASES, *BOUNDS):
            remedy = did_you_mean(key, (*PHRASES, *BOUNDS, "languages"))
            raise _wrong(f"unknown key {key!r}", remedy, place)
        if key in PHRASES:
            _check_phrases(key, value, place)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise _wrong(f"{key} = {value!r} is not a number", f"{key} = 100", place)
        elif not 0 <= value <= _BOUND_MAX:
            raise _wrong(f"{key} = {value!r} is not between 0 and {_BOUND_MAX:,}", "", place)
    if table.get("words_min", 0) > table.get("words_max", _BOUND_MAX):
        raise _wrong("words_min is above words_max", "Swap them.", place)
    return dict(table)


def _check_phrases(key: str, value: Any, place: str) -> None:
    if not isinstance(value, list) or len(value) > PHRASES_MAX:
        raise _wrong(f"{key} is not a list of {PHRASES_MAX} at most", f'{key} = ["…"]', place)
    for phrase in value:
        is_text = isinstance(phrase, str) and phrase.strip(" *")
        if not is_text or len(phrase) > PHRASE_CHARS_MAX:
            raise _wrong(
                f"{phrase!r} in {key} is no phrase",
                f"Write a text of 1 to {PHRASE_CHARS_MAX} characters; '*' only at its end.",
                place,
            )


def _wrong(message: str, remedy: str, place: str) -> RecipeError:
    return RecipeError(message, remedy=remedy, place=place)


def breaches(text: str, rules: Rules) -> list[str]:
    """Return what of ``rules`` a text breaks, each with the phrase or bound and where it is."""
    found: list[str] = []
    for complaint in _complaints(text, rules):
        found.append(complaint)
        if len(found) == COMPLAINTS_MAX:
            break
    return found


def _complaints(text: str, rules: Rules) -> Iterator[str]:
    folded = prose.plain(text)
    for phrase in rules.get("forbidden", ()):
        for where in prose.places(folded, phrase):
            yield f"it holds the forbidden phrase {phrase!r} ({where})"
    for phrase in rules.get("required", ()):
        if next(prose.places(folded, phrase), None) is None:
            yield f"it lacks the phrase {phrase!r}"
    yield from _past_bounds(text, rules)


def _past_bounds(text: str, rules: Rules) -> Iterator[str]:
    count = len(prose.words(text))
    least, most = rules.get("words_min"), rules.get("words_max")
    if least is not None and count < least:
        yield f"it has {count:,} words, below {least:,}"
    if most is not None and count > most:
        yield f"it has {count:,} words, above {most:,}"
    hardest = rules.get("lix_max")
    if hardest is not None and prose.lix(text) > hardest:
        yield f"it is too hard to read: LIX {prose.lix(text):.0f}, above {hardest:g}"
    longest = rules.get("sentence_words_max")
    if longest is not None:
        for sentence in prose.sentences(text):
            if len(sentence) > longest:
                start = " ".join(sentence[:6])
                yield f"a sentence has {len(sentence)} words, above {longest:g} (“{start} …”)"
