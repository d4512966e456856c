"""Brand rules: phrases found as people mean them, bounds that say by how much."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import prose
from headrace.brand import breaches, read_brand, rules_for
from headrace.errors import RecipeError
from headrace.providers.local.rules import broken_rules


@pytest.mark.parametrize(
    ("text", "phrase", "where"),
    [
        ("So cheap.", "cheap", "line 1, “so cheap.”"),
        ("One.\n\nA CHEAP\n  trick", "cheap trick", "line 3, "),
        ("a game-changing day", "game-chang*", "“a game-changing day”"),
        ("ﬁne print", "fine", "line 1"),
        ("che\u200bap", "cheap", "line 1"),
        ("STRASSE", "straße", "line 1"),
        ("100% pure", "100%", "line 1"),
        ("とても安い品", "安い", "line 1"),
    ],
)
def test_phrases_are_found_as_people_mean_them(text: str, phrase: str, where: str) -> None:
    """Case, spacing, ligatures and unseen characters do not hide a phrase; its place is told."""
    (found,) = breaches(text, {"forbidden": [phrase]})
    assert repr(phrase) in found
    assert where in found


@pytest.mark.parametrize(
    ("text", "phrase"),
    [("cheapest", "cheap"), ("encheap", "cheap"), ("cheap. Trick", "cheap trick"), ("", "a")],
)
def test_parts_of_words_are_no_phrase(text: str, phrase: str) -> None:
    """A phrase is whole words: "cheapest" is not "cheap", unless a star says so."""
    assert breaches(text, {"forbidden": [phrase]}) == []


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"words_min": 10}, "it has 7 words, below 10"),
        ({"words_max": 3}, "it has 7 words, above 3"),
        ({"sentence_words_max": 4}, "a sentence has 5 words, above 4 (“The quick brown fox"),
        ({"lix_max": 3}, "it is too hard to read: LIX 4, above 3"),
        ({"required": ["hare"]}, "it lacks the phrase 'hare'"),
    ],
)
def test_bounds_say_by_how_much(rules: dict[str, Any], said: str) -> None:
    """Each complaint names the bound and the value; markup is not counted."""
    (found,) = breaches("## **The quick brown fox jumps.**\n\n- It stops.", rules)
    assert found.startswith(said)


def test_lix_is_bjornssons() -> None:
    """Words in a sentence plus the share of words over six letters: 10 / 2 + 100 * 1 / 10."""
    text = "The canals carry water. Wheels turn slowly where machines rest."
    assert len(prose.words(text)) == 10
    assert prose.lix(text) == 5 + 10.0
    assert prose.lix("") == 0.0


def test_rules_of_a_language_come_on_top() -> None:
    """Its phrases are added, its bounds win, regions do not matter; unknown ones get the rest."""
    brand = read_brand(
        'forbidden = ["synergy"]\nwords_max = 100\n[languages.de]\nforbidden = ["billig*"]\n'
        "words_max = 120\n",
        "b",
    )
    assert rules_for(brand, "de-AT") == {"forbidden": ["synergy", "billig*"], "words_max": 120}
    assert (
        rules_for(brand, "fr")
        == rules_for(brand, "")
        == {
            "forbidden": ["synergy"],
            "words_max": 100,
        }
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("forbiden = []", "did you mean"),
        ('forbidden = "cheap"', "not a list"),
        ('forbidden = [""]', "no phrase"),
        ('forbidden = ["*"]', "no phrase"),
        ("words_max = true", "not a number"),
        ("words_max = -1", "not between"),
        ("words_min = 5\nwords_max = 4", "above"),
        ("languages = 3", "languages"),
        ("", "no rule"),
        ("words_max = ", "TOML"),
        ("[languages]\nde = 1", "not a table"),
    ],
)
def test_a_wrong_brand_file_says_where(text: str, said: str) -> None:
    """The file is checked before anything is bought; the error has its place."""
    with pytest.raises(RecipeError) as caught:
        read_brand(text, "recipe (check): files.brand")
    assert "files.brand" in caught.value.place
    assert said in f"{caught.value.message} {caught.value.remedy}".replace("Did", "did")


@given(st.text(), st.text(min_size=1).filter(lambda phrase: phrase.strip(" *")))
def test_any_text_gets_a_verdict(text: str, phrase: str) -> None:
    """No text and no phrase is an error, and complaints are bounded."""
    rules = {"forbidden": [phrase], "required": [phrase], "words_min": 1, "lix_max": 30}
    assert len(breaches(text, rules)) <= 12


def test_a_phrase_everywhere_is_told_a_few_times() -> None:
    """A text full of one phrase gives a bounded complaint, quickly."""
    assert len(breaches("cheap " * 50_000, {"forbidden": ["cheap"]})) == 12


def test_a_check_tells_all_that_is_wrong() -> None:
    """Old and new rules of a text are told together, so that one more answer can mend them all."""
    rules = {
        "chars_max": 5,
        "forbidden": ["tea"],
        "brand": {"required": ["Fen"]},
        "schema": {"type": "object"},
    }
    found = broken_rules(b"some tea", {"media_type": "text/plain", "rules": rules})
    assert [part[:18] for part in found] == [
        "its length is 8 ch",
        "it holds the forbi",
        "it lacks the phras",
        "it is not JSON (Ex",
    ]
