"""The words of the simulator's refusals: whether they state the limit, and what is read of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bench.admission.cases import all_cases
from bench.admission.drawn import draw
from bench.admission.scenario import Scenario
from headrace.limits import Dimension, Limit, Load
from headrace.signals import Signal, read_signal
from headrace.simulator.desk import Desk
from headrace.simulator.lane import Ask, Lane, Turned
from headrace.simulator.scenario import build_settings
from headrace.simulator.settings import RETRY_AFTER, SHAPES, Settings
from headrace.simulator.shapes.anthropic import AnthropicErrors
from headrace.simulator.shapes.bfl import BflErrors
from headrace.simulator.shapes.errors import Errors
from headrace.simulator.shapes.fal import FalErrors
from headrace.simulator.shapes.gemini import GeminiErrors
from headrace.simulator.shapes.openai_errors import OpenAIErrors
from headrace.simulator.shapes.queue import QueueErrors
from headrace.simulator.shapes.replicate import ReplicateErrors
from headrace.simulator.truth import Truth
from headrace.simulator.wire import Answer
from headrace.testing.manual_clock import ManualClock

VOICES: dict[str, type[Errors]] = {
    "anthropic": AnthropicErrors,
    "openai": OpenAIErrors,
    "replicate": ReplicateErrors,
    "bfl": BflErrors,
    "queue": QueueErrors,
    "fal": FalErrors,
    "gemini": GeminiErrors,
}
MANY = 50_000
ONE = Load(tokens=7, images=1)
DIMENSIONS = ("requests", "tokens", "images", "concurrency")


def refusal(settings: Settings, load: Load = ONE, shape: str = "openai") -> Answer:
    """Return the first refusal of a lane that is sent many such calls in one moment."""
    clock = ManualClock()
    lane = Lane(settings, clock, Truth(0))
    voice = VOICES[shape](Desk(lane, clock))
    for number in range(MANY):
        entered = lane.enter(Ask(shape, "model-x", load, str(number)))
        if isinstance(entered, Turned):
            return voice.turned(entered)
    raise AssertionError("nothing was refused")


def limited(dimension: str, kind: str = "bucket", **more: Any) -> Settings:
    """Return settings with one limit, and headers that tell nothing."""
    is_width = dimension == "concurrency"
    one = {"dimension": dimension, "kind": "concurrency" if is_width else kind, "amount": 613}
    return build_settings({"limits": [one], "headers": {"kind": "none"}} | more)


def read(answer: Answer, provider: str = "openai") -> Signal:
    """Return what headrace reads of an answer."""
    return read_signal(provider, answer.status, dict(answer.headers), answer.whole)


def words_of(answer: Answer) -> str:
    """Return an answer's body as text."""
    return answer.whole.decode()


REACHED = "Rate limit reached for model-x in organization org-simulated on"


@pytest.mark.parametrize(
    ("dimension", "stated", "named"),
    [
        (
            "requests",
            f"{REACHED} requests per min (RPM): Limit 613, Used 613, Requested 1.",
            f"{REACHED} requests per min (RPM).",
        ),
        (
            "tokens",
            f"{REACHED} tokens per min (TPM): Limit 613, Used 609, Requested 7.",
            f"{REACHED} tokens per min (TPM).",
        ),
        (
            "images",
            f"{REACHED} input-images per min: Limit 613, Used 613, Requested 1.",
            f"{REACHED} input-images per min.",
        ),
        (
            "concurrency",
            "Too many concurrent requests for model-x: Limit 613.",
            "Too many concurrent requests for model-x.",
        ),
    ],
)
def test_openai_states_the_limit_or_only_names_it(dimension: str, stated: str, named: str) -> None:
    """As the setting says; what was exceeded is read of both."""
    terms = {"retry_after": "none"}
    for states, said in ((True, stated), (False, named)):
        answer = refusal(limited(dimension, states_limits=states, **terms))
        assert f'"message":"{said}"' in words_of(answer)
        assert read(answer).said.bucket is Dimension(dimension)


def test_a_call_too_large_for_its_limit_is_told_the_amount_or_not() -> None:
    """What to do about it stays in either case."""
    for states, amounts in ((True, ": Limit 613, Requested 700."), (False, ".")):
        answer = refusal(limited("tokens", states_limits=states), Load(tokens=700))
        said = "Request too large for model-x on tokens per min (TPM)"
        assert f"{said}{amounts} The input or output tokens must be" in words_of(answer)


def test_a_limit_below_one_a_minute_is_stated_with_its_fraction() -> None:
    """One in two minutes is half of one a minute in words and headers, and read as that."""
    one = {"kind": "fixed", "amount": 1, "window_s": 120}
    for kind in ("none", "true"):
        answer = refusal(build_settings({"limits": [one], "headers": {"kind": kind}}))
        assert "(RPM): Limit 0.5, Used 0.5, Requested 1." in words_of(answer)
        (limit,) = read(answer).said.limits
        assert (limit.dimension, limit.amount, limit.window_s) == (Dimension.REQUESTS, 0.5, 60.0)
    assert dict(answer.headers)["x-ratelimit-limit-requests"] == "0.5"
    told = refusal(build_settings({"limits": [one]}), shape="replicate")
    assert "is 0.5 per minute" in words_of(told)


def test_replicate_states_the_limit_or_only_names_it() -> None:
    """As the setting says; the wait is told in both."""
    about = "Request was throttled. Your rate limit for creating predictions is"
    told = refusal(limited("requests"), shape="replicate")
    assert f"{about} 613 per minute. Your rate limit resets in ~1s." in words_of(told)
    silent = refusal(limited("requests", states_limits=False), shape="replicate")
    assert f"{about} reached. Your rate limit resets in ~1s." in words_of(silent)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_no_shape_tells_an_amount_that_it_is_not_to_state(shape: str, dimension: str) -> None:
    """However it tells the wait, in short windows and in days."""
    for form in RETRY_AFTER:
        for kind in ("bucket", "fixed", "day"):
            settings = limited(dimension, kind, states_limits=False, retry_after=form)
            answer = refusal(settings, shape=shape)
            assert answer.status == 429
            assert "613" not in words_of(answer)
            assert read(answer, shape).said.limits == ()


# ---------------------------------------------------------------- the admission benchmark


def headers_of(case: Scenario) -> str:
    """Return which headers a scenario has."""
    return case.built().headers.kind


def in_words(case: Scenario) -> tuple[Limit, ...]:
    """Return the limits that are read of a scenario's refusal, misleading headers left out."""
    answer = refusal(case.built(), Load(tokens=550, images=1))
    if headers_of(case) == "misleading":
        told = [(name, value) for name, value in answer.headers if "ratelimit" not in name]
        answer.headers = tuple(told)
    return read(answer).said.limits


CASES = [case for case in all_cases() if case.settings["limits"] and case.name != "high-rate"]


DRAWN = [draw(seed, number) for seed in (1, 1000) for number in range(1, 41)]


def test_no_answer_tells_the_amount_of_a_hidden_limit() -> None:
    """In none of the benchmark's scenarios, nor in those drawn by lot; headers may tell lies."""
    hidden = [case for case in [*CASES, *DRAWN] if case.know == "hidden"]
    assert len(hidden) > 40
    assert {headers_of(case) for case in hidden} == {"none", "misleading"}
    assert {case.name: found for case in hidden if (found := in_words(case))} == {}


def test_headers_that_mislead_are_not_set_right_by_words() -> None:
    """Who believes them finds out by being refused, and not by reading on."""
    cases = [case for case in [*CASES, *DRAWN] if headers_of(case) == "misleading"]
    assert {case.know for case in cases} == {"announced", "hidden"}
    assert {case.name: found for case in cases if (found := in_words(case))} == {}


def test_limits_that_are_told_or_announced_are_stated_by_refusals_too() -> None:
    """Nothing is kept back where nothing is hidden; headers are left out of it here."""
    for case in CASES:
        if case.name in ("told-buckets", "told-fixed", "announced", "halves-told"):
            told = replace(case, settings=case.settings | {"headers": {"kind": "none"}})
            assert in_words(told)[0].amount, case.name
