"""Hooks and rules by themselves: signatures, tries, verdicts that are none, and patterns."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import ConfigError, HeadraceError
from headrace.folding import folded, words
from headrace.outcome import OutcomeKind, failed
from headrace.pattern import Pattern, PatternError, TooDearError
from headrace.phrases import Phrases
from headrace.policies import Policies
from headrace.policies.http_hook import HttpHook
from headrace.policies.moderation import ModerationHook
from headrace.policy import AwayError, Finding, Subject, When
from headrace.policy_table import HookTable, PolicyTable, read_policy
from headrace.testing.manual_clock import ManualClock
from headrace.webhook_signature import is_standard_webhook
from tests.integration.speaking import says, speaking, speaks

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ASKED = Subject(When.REQUEST, "t1", "make", "p", "m", "a mill", ("ab" * 32,))


def table(*, trusted: bool = True, **more: Any) -> HookTable:
    told = {"hooks": [{"name": "judge", **more}]}
    return read_policy(told, "test", ConfigError, trusted=trusted).hooks[0]


async def asked(clock: ManualClock, hook: Any, subject: Subject = ASKED) -> Finding | None:
    """Ask a hook that may wait between its tries, with real sockets in between."""
    import asyncio

    task = asyncio.ensure_future(hook.ask(subject))
    while not task.done():
        await asyncio.wait([task], timeout=0.01)
        if clock.sleepers:
            await clock.advance(clock.next_wake_s or 0.0)
    await hook.close()
    result: Finding | None = task.result()
    return result


# -- the http hook -----------------------------------------------------------------------------


async def test_a_hook_is_signed_and_tries_again() -> None:
    """The signature is a Standard Webhook's, the id the same for every try."""
    clock = ManualClock()
    async with speaking(says({}, 503), says({}, 429), says({"allow": True})) as speaker:
        hook = HttpHook(table(url=speaker.url, secret=SECRET), clock)
        assert await asked(clock, hook) is None
    assert len({one.headers["webhook-id"] for one in speaker.heard}) == 1
    assert len(speaker.heard) == 3
    last = speaker.heard[-1]
    assert is_standard_webhook(last.headers, last.body, SECRET, clock.now())
    assert last.json["pictures"] == ["ab" * 32]


@pytest.mark.parametrize(
    "answer",
    [
        says({"allow": "yes"}),
        says({}),
        says(b"not json"),
        says(b"[" * 60_000),
        says({"allow": True}, 404),
        says({"allow": True}, 302, {"Location": "/elsewhere"}),
        speaks(b"garbage\r\n\r\n"),
    ],
    ids=["text", "empty", "no-json", "deep", "404", "redirect", "garbage"],
)
async def test_what_is_no_verdict_lets_nothing_pass(answer: Any) -> None:
    """Only a plain yes is a yes; anything else counts as away, or passes where so told."""
    for on_failure in ("closed", "open"):
        clock = ManualClock()
        async with speaking(answer) as speaker:
            hook = HttpHook(table(url=speaker.url, on_failure=on_failure), clock)
            if on_failure == "closed":
                with pytest.raises(AwayError, match="judge"):
                    await asked(clock, hook)
            else:
                assert await asked(clock, hook) is None


async def test_a_recipes_hook_reaches_no_private_address() -> None:
    """What an operator may do, a recipe's author may not: 127.0.0.1 is not even connected to."""
    for host in ("127.0.0.1", "[::1]", "169.254.169.254", "localhost"):
        clock = ManualClock()
        hook = HttpHook(table(trusted=False, url=f"https://{host}:9/"), clock)
        with pytest.raises(AwayError, match="private"):
            await asked(clock, hook)


# -- moderations -------------------------------------------------------------------------------


class Moderator:
    """A provider whose moderations are what a test says."""

    name = "openai"

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.letters: list[Any] = []

    async def moderate(self, model: str, letter: Any, deadline_s: float) -> dict[str, Any]:
        self.letters.append(letter)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        told: dict[str, Any] = answer
        return told


SCORED = {
    "results": [
        {
            "flagged": True,
            "categories": {"violence": True, "sexual": False},
            "category_scores": {"violence": 0.6, "sexual": 0.2, "odd": "high"},
        }
    ]
}


@pytest.mark.parametrize(
    ("thresholds", "hit"),
    [
        ({}, "violence"),
        ({"violence": 0.7}, None),
        ({"violence": 0.6}, "violence"),
        ({"sexual": 0.1, "violence": 0.9}, "sexual"),
        ({"odd": 0.1}, None),
    ],
)
async def test_thresholds_decide_where_they_are_set(
    thresholds: dict[str, float], hit: str | None
) -> None:
    """Without thresholds what is flagged is a hit; with them only their categories count."""
    moderator: Any = Moderator(SCORED)
    told = table(kind="moderation", provider="openai", thresholds=thresholds)
    found = await asked(ManualClock(), ModerationHook(told, {"openai": moderator}, ManualClock()))
    assert (found.reason.rpartition(": ")[2] if found else None) == hit


async def test_a_moderation_that_fails_is_asked_again() -> None:
    """A rate limit is waited out; an answer that cannot be read is no verdict."""
    busy = failed(OutcomeKind.RATE_LIMITED, "slow down", wait_s=2.0)
    clock = ManualClock()
    moderator: Any = Moderator(busy, {"results": [{"flagged": False}]})
    told = table(kind="moderation", provider="openai")
    assert await asked(clock, ModerationHook(told, {"openai": moderator}, clock)) is None
    moderator = Moderator({"results": []})
    with pytest.raises(AwayError):
        await asked(clock, ModerationHook(told, {"openai": moderator}, clock))


# -- rules -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words_", "text", "hit"),
    [
        (["casino*"], "Two CASINOS", True),
        (["casino"], "casinos", False),
        (["free money"], "free\n  money", True),
        (["赌博"], "网上赌博网站", True),
        (["การพนัน"], "เว็บการพนันออนไลน์", True),
        (["जुआ"], "ऑनलाइन जुआ खेलें", True),
        (["жесть"], "Жесть!", True),
        (["ass"], "a classic glass pass", False),
        (["Straße"], "STRASSE", True),
        (["cafe"], "Café", True),
        (["c++"], "cc", False),
    ],
)
def test_words_fit_whole_in_any_script(words_: list[str], text: str, hit: bool) -> None:
    """Borders of words where a script has them, letters side by side where it has none."""
    found = next(Phrases(words_).find(words(folded(text))), None)
    assert (found is not None) is hit


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_text_can_be_folded_and_judged(text: str) -> None:
    """No text makes the rules stumble, and folding twice changes nothing more."""
    once = folded(text)
    assert folded(once) == once or folded(folded(once)) == folded(once)
    Policies({"words": ["x*"], "patterns": [r"\bx\b"]}, {}, ManualClock())
    policy = Policies({}, {}, ManualClock()).of(PolicyTable())
    policy.rules[0].find(Subject(When.REQUEST, "t", "s", "p", "m", text))


@settings(max_examples=300, deadline=None)
@given(
    st.text(alphabet="ab01()[]{}|*+?.^$\\dwbs-,", min_size=1, max_size=12),
    st.text(alphabet="ab01 -\n", max_size=30),
)
def test_a_pattern_means_what_it_means_in_python(pattern: str, text: str) -> None:
    """Whatever both read is found by both, and what cannot be read is told, not raised odd."""
    import re
    import warnings

    try:
        ours = Pattern(pattern).find(text) is not None
    except PatternError:
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = re.compile(pattern, re.MULTILINE | re.ASCII)
    except re.error:
        return
    if "\\b" not in pattern and "\\B" not in pattern:
        assert ours == (theirs.search(text) is not None), pattern


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|aa)+b", "(a*)*b", "(a|b)*a(a|b){60}c"])
def test_no_pattern_hangs_the_process(pattern: str) -> None:
    """What takes a backtracking engine years ends here: found, not found, or given up in bounds."""
    began = time.process_time()
    with contextlib.suppress(TooDearError):
        Pattern(pattern).find("aabab" * 8_000 + "a" * 20_000 + "!")
    assert time.process_time() - began < 60, "a bound against hanging, not a speed"


@pytest.mark.parametrize(
    ("told", "place", "message"),
    [
        ({"wrods": []}, "[policy]", "unknown key 'wrods'"),
        ({"words": "x"}, "[policy]", "not a list of texts"),
        ({"words": ["—"]}, "[policy]", "no word"),
        ({"patterns": ["a**"]}, "[policy]", "a repeat of a repeat"),
        ({"rules": [{"name": "a"}]}, "[[policy.rules]] 1", "without words or patterns"),
        ({"rules": [{"words": ["a"]}]}, "[[policy.rules]] 1", "no name"),
        ({"rules": [{"name": "a", "words": ["a"]}] * 2}, "[policy]", "two of them"),
        ({"hooks": [{"name": "h"}]}, "[[policy.hooks]] 1", "no address"),
        ({"hooks": [{"name": "h", "url": "https://u:p@x"}]}, "[[policy.hooks]] 1", "password"),
        ({"hooks": [{"name": "h", "url": "https://x", "secret": "no"}]}, "1", "secret"),
        ({"hooks": [{"name": "h", "url": "https://x", "timeout_s": 0}]}, "1", "timeout_s"),
        ({"hooks": [{"name": "h", "kind": "moderation"}]}, "1", "whose"),
        ({"hooks": "x"}, "[policy]", "no list"),
    ],
)
def test_every_mistake_has_place_and_message(told: Any, place: str, message: str) -> None:
    """Whoever wrote the table is told where, and what."""
    with pytest.raises(HeadraceError) as caught:
        read_policy(told, "headrace.toml", ConfigError, trusted=True)
    assert place in caught.value.place
    assert message in caught.value.message


def test_the_fingerprint_changes_with_what_is_judged_and_not_with_patience() -> None:
    """Another word is another policy; another timeout is the same."""

    def print_of(told: dict[str, Any]) -> str:
        return Policies(told, {}, ManualClock()).of(PolicyTable()).fingerprint

    hook = {"name": "h", "url": "https://x"}
    assert print_of({"words": ["a"]}) != print_of({"words": ["b"]})
    assert print_of({}) != print_of({"hooks": [hook]})
    assert print_of({"hooks": [hook]}) == print_of({"hooks": [{**hook, "timeout_s": 9}]})
