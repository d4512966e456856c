"""Inputs that a provider counts otherwise than they are estimated."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.inputs import HEARD_MIN, LEAST, MOST, Inputs
from headrace.limits import Dimension, Limit, Load, Quota
from headrace.providers.anthropic.messages import read_told
from headrace.providers.openai.replies import tokens_in
from headrace.simulator.limiters import TokenBucket
from headrace.simulator.rules import LaneRules, Rule
from headrace.testing.lane_model import LaneModel
from tests.unit.lanes_drawn import REMOTE, exact, latency

A_MINUTE, WINDOW_S = 300_000.0, 60.0
CALL = Load(tokens=1000, tokens_in=800)
TOLD = Quota(64, (Limit(Dimension.TOKENS, A_MINUTE, WINDOW_S),))


def lane(counts: float, quota: Quota = TOLD, names_input: float | None = None) -> LaneModel:
    """Return a lane of tokens whose inputs of 800 are counted ``counts`` times."""
    rules = LaneRules([Rule(Dimension.TOKENS, TokenBucket(A_MINUTE / WINDOW_S, 30_000))])
    model = LaneModel(rules, quota, latency(0.6), 900, load=CALL, hint=exact, names=True)
    model.counts, model.names_input = counts, names_input
    return model


def used(model: LaneModel) -> tuple[float, float]:
    """Run; return the share of the limit that was used, and the refused share, after a minute."""
    run = model.run()
    each = CALL.tokens + (model.counts - 1.0) * CALL.tokens_in
    return run.rate(60.0, run.end_s) * each / (A_MINUTE / WINDOW_S), run.refused_share(60.0)


@pytest.mark.parametrize("counts", [0.5, 0.9, 1.0, 1.1, 1.5])
def test_a_told_limit_of_tokens_is_used_though_inputs_are_counted_otherwise(counts: float) -> None:
    """Estimates may be off by half: 97 % of the limit is used, hardly a call refused."""
    share, refused = used(lane(counts))
    assert share >= 0.97
    assert refused <= 0.005


def test_a_limit_that_counts_what_is_asked_is_borne() -> None:
    """Answers name half of what the limit counts: after some refusals that is not believed."""
    share, refused = used(lane(1.0, names_input=0.5))
    assert share >= 0.9
    assert refused <= 0.02


def test_a_rate_that_was_learned_is_one_of_estimates() -> None:
    """Where nobody told the limit, loads stay what they are: the rate was found with them."""
    model = lane(0.5, REMOTE)
    share, _ = used(model)
    assert model.pacer.inputs.heard > HEARD_MIN
    assert share >= 0.9
    assert model.pacer.rates[Dimension.TOKENS].told is None
    assert model.pacer.send(CALL, 1e6).load == CALL


def test_a_correction_needs_some_answers() -> None:
    """A first answer alone changes nothing."""
    inputs = Inputs()
    for _ in range(HEARD_MIN - 1):
        inputs.hear(800, 400)
    assert inputs.corrected(CALL) == CALL
    inputs.hear(800, 400)
    assert inputs.corrected(CALL) == Load(tokens=600, tokens_in=800)


def test_a_refusal_takes_back_a_part_of_what_was_saved_and_nothing_of_what_was_added() -> None:
    """Less may have been counted than a limit takes; more never was."""
    less, more = Inputs(), Inputs()
    for _ in range(HEARD_MIN):
        less.hear(800, 400)
        more.hear(800, 1600)
    saved, added = less.factor, more.factor
    less.refused()
    more.refused()
    assert saved == 0.5
    assert 0.5 < less.factor < 1.0
    assert more.factor == added == 2.0


@given(st.lists(st.tuples(st.integers(-5, 10**12), st.integers(-5, 10**12)), max_size=40))
def test_whatever_answers_name_a_load_stays_a_load(heard: list[tuple[int, int]]) -> None:
    """Absurd counts move an estimate within bounds, and never below nothing."""
    inputs = Inputs()
    for estimated, counted in heard:
        inputs.hear(estimated, counted)
        inputs.refused()
    assert math.isfinite(inputs.factor)
    assert LEAST <= inputs.factor <= MOST
    load = inputs.corrected(CALL)
    assert CALL.tokens - CALL.tokens_in <= load.tokens <= MOST * CALL.tokens


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 12, "completion_tokens": 3}, 12),
        ({"input_tokens": 9, "output_tokens": 3}, 9),
        ({"prompt_tokens": "12"}, 0),
        ({"prompt_tokens": -4}, 0),
        (None, 0),
    ],
)
def test_what_openai_s_shapes_name(usage: object, counted: int) -> None:
    """Chats and responses name their input by two names; what is no count is none."""
    assert tokens_in(usage) == counted


def test_what_anthropic_reads_from_a_cache_is_not_counted() -> None:
    """Its limits leave out what was read from a cache, and count what was written into it."""
    told = read_told(
        b'{"usage": {"input_tokens": 20, "cache_creation_input_tokens": 100,'
        b' "cache_read_input_tokens": 5000, "output_tokens": 7}}'
    )
    assert told is not None
    assert told.tokens_in == 120
