"""The pacer, alone, in virtual time: what it promises on any limit, told or hidden."""

from __future__ import annotations

import math
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.limits import DAY_S, Dimension, Limit, Load, Quota, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer, Ticket
from headrace.simulator.holds import Concurrency
from headrace.simulator.limiters import Gcra, TokenBucket
from headrace.simulator.rules import Change, LaneRules, OtherTenant, Rule
from headrace.testing.lane_model import LaneModel
from tests.unit.lanes_drawn import REMOTE, drawn, exact, latency, no_hint

SUCCESS = Outcome(OutcomeKind.SUCCESS)
ONE = Load()


def refused(wait_s: float | None = None, said: Said | None = None) -> Outcome:
    return Outcome(OutcomeKind.RATE_LIMITED, wait_s=wait_s, said=said)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.booleans())
def test_any_limit_is_served_with_few_refusals_and_without_leaks(seed: int, told: bool) -> None:
    """Whatever the limit and its hints: all is done, few are refused, every permit comes back."""
    model, rate = drawn(seed, 700, told)
    run = model.run()
    assert run.done == 700
    assert model.pacer.in_flight == 0
    assert run.refused_share() <= (0.06 if told else 0.20)
    # A window of a minute may have to pass before anything is known of a hidden limit.
    assert run.end_s <= 14 * 700 / rate + 600


def test_the_refused_share_of_many_lanes_is_small() -> None:
    """Over 120 drawn lanes the median is refused under 1.5 % hidden, under 0.4 % told."""
    shares = {told: sorted(_shares(told)) for told in (True, False)}
    assert shares[True][30] <= 0.004
    assert shares[False][30] <= 0.015


def _shares(told: bool) -> list[float]:
    return [drawn(seed, 1000, told)[0].run().refused_share() for seed in range(60)]


@pytest.mark.parametrize("hint", [no_hint, exact])
def test_a_hidden_bucket_is_found_to_a_percent(hint) -> None:  # type: ignore[no-untyped-def]
    """After learning, a hidden bucket is used to 98 % and refuses less than 0.6 %."""
    rules = LaneRules([Rule(Dimension.REQUESTS, TokenBucket(10, 100))])
    model = LaneModel(rules, REMOTE, latency(0.5), 4000, hint=hint)
    run = model.run()
    assert run.rate(100, run.accepts_s[-1]) >= 9.8
    assert run.refused_share(100) <= 0.006


def test_a_told_limit_is_used_without_refusals() -> None:
    """A told bucket is emptied in a rush and then kept at its rate: 99 %, none refused."""
    quota = Quota(limits=(Limit(Dimension.REQUESTS, 600, 60.0),), rate_start=2.0)
    rules = LaneRules([Rule(Dimension.REQUESTS, TokenBucket(10, 600))])
    run = LaneModel(rules, quota, latency(0.5), 3000).run()
    assert run.refused == 0
    assert (3000 - 600) / 10 / run.accepts_s[-1] >= 0.98


def test_strict_pacing_is_learned_from_a_few_refusals() -> None:
    """A told limit that bears no burst at all is used to 97 %, with a handful refused."""
    quota = Quota(limits=(Limit(Dimension.REQUESTS, 300, 60.0),), rate_start=2.0)
    run = LaneModel(
        LaneRules([Rule(Dimension.REQUESTS, Gcra(5, 1))]), quota, latency(1.0), 1500
    ).run()
    assert run.refused <= 6
    assert run.rate(20, run.accepts_s[-1]) >= 0.97 * 5


def test_a_hidden_width_is_found() -> None:
    """A limit of calls in flight is found, and is not taken for a rate."""
    rules = LaneRules([Rule(Dimension.CONCURRENCY, Concurrency(12))])
    model = LaneModel(rules, REMOTE, latency(3.0), 2000, hint=no_hint)
    run = model.run()
    assert model.pacer.width.known
    assert model.pacer.width.cap == 12
    assert run.refused_share() <= 0.01


def test_a_server_that_only_grows_slower_is_not_flooded() -> None:
    """Without a single refusal, the width stays near what the server can do at once."""
    pacer, random, now_s = Pacer(Quota(concurrency=4), 0.0), Random(1), 0.0
    under_way: list[tuple[float, Ticket]] = []
    for _ in range(6000):
        while pacer.wait_s(ONE, now_s) <= 0:
            ticket = pacer.send(ONE, now_s)
            took_s = 0.5 * max(1.0, pacer.in_flight / 8) * random.uniform(0.9, 1.1)
            under_way.append((now_s + took_s, ticket))
        under_way.sort(key=lambda call: call[0])
        now_s, ticket = under_way.pop(0)
        pacer.end(ticket, SUCCESS, now_s)
    assert 8 <= pacer.width.cap <= 24


def test_a_limit_that_falls_and_returns_is_followed() -> None:
    """Half the limit for a minute and back: the whole is done at 85 % of what was possible."""
    rules = LaneRules(
        [Rule(Dimension.REQUESTS, TokenBucket(20, 20))], changes=[Change(60, 0.5, 120)]
    )
    run = LaneModel(rules, REMOTE, latency(0.5), 5000, hint=exact).run()
    assert run.refused_share() <= 0.02
    assert (5000 + 600) / 20 / run.end_s >= 0.85


def test_others_are_left_their_share() -> None:
    """Beside another user of the key nearly all of the rest is used, under 2 % refused."""
    rules = LaneRules([Rule(Dimension.REQUESTS, TokenBucket(20, 40))], other=OtherTenant(6, seed=4))
    run = LaneModel(rules, REMOTE, latency(1.0), 4000, hint=exact).run()
    assert run.refused_share() <= 0.02
    assert run.rate(60, run.accepts_s[-1]) >= 0.85 * 14


@pytest.mark.parametrize("wait_s", [None, 0.2])
def test_refused_for_ever_it_still_asks(wait_s: float | None) -> None:
    """Under nothing but refusals the lane asks ever less often, but at least each minute."""
    pacer, now_s, asked = Pacer(REMOTE, 0.0), 0.0, []
    for _ in range(60):
        now_s += max(0.0, pacer.wait_s(ONE, now_s))
        ticket = pacer.send(ONE, now_s)
        asked.append(now_s)
        now_s += 0.03
        pacer.end(ticket, refused(wait_s), now_s)
    gaps = [later - earlier for earlier, later in pairwise(asked)]
    assert max(gaps) <= 61.0
    assert gaps[-1] >= 30.0


@pytest.mark.parametrize(
    "kind",
    [OutcomeKind.OVERLOADED, OutcomeKind.TRANSIENT, OutcomeKind.TIMEOUT, OutcomeKind.UNKNOWN],
)
def test_server_errors_teach_no_limit(kind: OutcomeKind) -> None:
    """Failures of the server leave the pace of the lane as it was."""
    pacer = Pacer(Quota(limits=(Limit(Dimension.REQUESTS, 600, 60.0),)), 0.0)
    before = pacer.rates[Dimension.REQUESTS].pace
    for now_s in range(5):
        ticket = pacer.send(ONE, float(now_s))
        pacer.end(ticket, Outcome(kind), now_s + 0.5)
    rate = pacer.rates[Dimension.REQUESTS]
    assert (rate.pace >= before, rate.hi, rate.told) == (True, math.inf, 10.0)


def test_an_outage_lets_one_probe_through_at_a_time() -> None:
    """After ten failures in a row calls go singly, and one success opens the lane again."""
    pacer = Pacer(Quota(concurrency=32, learns=False), 0.0)
    for ticket in [pacer.send(ONE, 0.0) for _ in range(12)]:
        pacer.end(ticket, Outcome(OutcomeKind.OVERLOADED), 1.0)
    wait_s = pacer.wait_s(ONE, 1.0)
    assert 0 < wait_s <= 5.0
    probe = pacer.send(ONE, 1.0 + wait_s)
    assert probe.probe
    assert pacer.wait_s(ONE, 1.0 + wait_s) == math.inf
    pacer.end(probe, SUCCESS, 10.0)
    assert pacer.wait_s(ONE, 10.0) <= 0


def test_an_unseen_end_frees_the_probe() -> None:
    """A probe whose call was never sent does not hold the lane for ever."""
    pacer = Pacer(Quota(concurrency=8, learns=False), 0.0)
    for ticket in [pacer.send(ONE, 0.0) for _ in range(10)]:
        pacer.end(ticket, Outcome(OutcomeKind.TRANSIENT), 1.0)
    probe = pacer.send(ONE, 10.0)
    pacer.end(probe, None, 10.1)
    assert pacer.wait_s(ONE, 10.1) < 10.0


def test_tokens_and_requests_are_taken_together() -> None:
    """The scarcer of two limits holds a call back, and neither is overdrawn."""
    limits = (Limit(Dimension.REQUESTS, 600, 60.0), Limit(Dimension.TOKENS, 6000, 60.0))
    pacer, now_s, load = Pacer(Quota(64, limits, pinned=True), 0.0), 0.0, Load(tokens=500)
    sent = 0
    while now_s < 60.0:
        wait_s = pacer.wait_s(load, now_s)
        if wait_s <= 0:
            pacer.end(pacer.send(load, now_s), SUCCESS, now_s)
            sent += 1
        else:
            now_s += wait_s
    assert sent * 500 <= 6000 + 6000 + 500
    assert sent >= 22


def test_a_pinned_limit_is_never_exceeded() -> None:
    """What the user pins holds, also where the provider would bear more."""
    quota = Quota(64, (Limit(Dimension.REQUESTS, 60, 60.0),), pinned=True)
    rules = LaneRules([Rule(Dimension.REQUESTS, TokenBucket(1000, 1000))])
    run = LaneModel(rules, quota, latency(0.1), 300).run()
    for start_s in range(0, 240, 10):
        assert run.rate(start_s, start_s + 60) * 60 <= 60 + 60 + 1


@pytest.mark.parametrize("wait_s", [math.inf, 1e18, 400 * DAY_S])
def test_absurd_waits_are_bounded(wait_s: float) -> None:
    """A wait of ages shuts the lane for 40 days at most, in numbers a date can hold."""
    pacer = Pacer(REMOTE, 0.0)
    pacer.end(pacer.send(ONE, 0.0), refused(wait_s), 0.1)
    assert pacer.shut_s(0.1) <= 40 * DAY_S + 1


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_the_same_events_give_the_same_decisions(seed: int) -> None:
    """No clock, no chance: two pacers that hear the same decide the same."""
    assert _walk(seed) == _walk(seed)


def _walk(seed: int) -> list[float]:
    random, pacer, now_s = Random(seed), Pacer(REMOTE, 0.0), 0.0
    under_way: list[Ticket] = []
    decisions = []
    kinds = [SUCCESS, refused(), refused(0.7), Outcome(OutcomeKind.OVERLOADED), None]
    for _ in range(200):
        now_s += random.expovariate(4.0)
        wait_s = pacer.wait_s(ONE, now_s)
        decisions.append(wait_s)
        assert wait_s >= 0.0
        if wait_s <= 0.01:
            under_way.append(pacer.send(ONE, now_s, wait_s))
        if under_way and random.random() < 0.6:
            ticket = under_way.pop(random.randrange(len(under_way)))
            pacer.end(ticket, random.choice(kinds), max(now_s, ticket.sent_s))
    for ticket in under_way:
        pacer.end(ticket, None, now_s)
    assert pacer.in_flight == 0
    return decisions


def test_a_day_s_quota_stands_beside_the_minute_s() -> None:
    """The minute's pace holds until the day's quota is used up, then nothing goes for a day."""
    limits = (Limit(Dimension.REQUESTS, 60, 60.0), Limit(Dimension.REQUESTS, 100, DAY_S))
    pacer, now_s, sent = Pacer(Quota(64, limits, pinned=True), 0.0), 0.0, 0
    while now_s < 600.0:
        wait_s = pacer.wait_s(ONE, now_s)
        if wait_s <= 0:
            pacer.end(pacer.send(ONE, now_s), SUCCESS, now_s)
            sent += 1
        else:
            now_s += wait_s
    assert sent == 100
    assert now_s == pytest.approx(DAY_S)
    assert pacer.rates[Dimension.REQUESTS].told == 1.0


def test_a_quota_that_is_used_up_says_so() -> None:
    """People are told which quota shut the lane, and it shuts for the rest of its window."""
    pacer = Pacer(Quota(8, (Limit(Dimension.REQUESTS, 2, DAY_S),), pinned=True), 0.0)
    for _ in range(2):
        pacer.end(pacer.send(ONE, 10.0), SUCCESS, 10.0)
    assert pacer.shut_s(10.0) == pytest.approx(DAY_S)
    assert pacer.why_shut() == "its 2 requests a day are used up"


ADVISED = Quota(3, advised=True)


def test_the_largest_batch_that_asks_widens_an_untried_start() -> None:
    """A smaller batch, or a call on demand, never narrows what a larger one was advised."""
    pacer = Pacer(ADVISED, 0.0)
    widths = []
    for items in (1, 12, 100, 1, 1000, 20):
        pacer.width.advise(items)
        widths.append(pacer.width.cap)
    assert widths == [3.0, 3.0, 8.0, 8.0, 12.0, 12.0]


def test_a_told_start_is_never_widened_by_a_batch() -> None:
    """Whoever names a start has it, however large the batch."""
    for quota in (Quota(4), Quota(4, (Limit(Dimension.CONCURRENCY, 6),)), Quota(4, learns=False)):
        pacer = Pacer(quota, 0.0)
        before = pacer.width.cap
        assert not pacer.width.advise(10_000)
        assert pacer.width.cap == before


@pytest.mark.parametrize("said", [None, Said(bucket=Dimension.CONCURRENCY)])
def test_after_a_refusal_no_batch_widens_the_start(said: Said | None) -> None:
    """A lane that refused is one of which something is known: it grows by what it bears."""
    pacer = Pacer(ADVISED, 0.0)
    pacer.end(pacer.send(ONE, 0.0), refused(said=said), 0.5)
    assert not pacer.width.advise(1000)


def test_after_a_first_look_at_the_latency_no_batch_widens_the_start() -> None:
    """Once three in flight were found good and doubled, the lane grows by what it finds."""
    pacer = Pacer(ADVISED, 0.0)
    for at_s in (0.0, 1.0):
        for ticket in [pacer.send(ONE, at_s) for _ in range(3)]:
            pacer.end(ticket, SUCCESS, at_s + 0.5)
    assert pacer.width.cap == 6.0
    assert not pacer.width.advise(1000)


def test_a_wider_start_is_judged_by_calls_that_used_it() -> None:
    """Calls sent three at a time say nothing of twelve: they do not double it."""
    pacer = Pacer(ADVISED, 0.0)
    tickets = [pacer.send(ONE, 0.0) for _ in range(3)]
    assert pacer.width.advise(1000)
    for number in range(7):
        pacer.end(tickets.pop(), SUCCESS, 0.5 + number)
        tickets.append(pacer.send(ONE, 0.5 + number))
    assert pacer.width.cap == 12.0


def test_what_we_are_slow_at_ourselves_narrows_no_lane() -> None:
    """A database or store that is away makes calls late and not their server slow."""
    pacer, now_s = Pacer(Quota(8), 0.0), 0.0
    found: list[float] = []
    for late_s in (0.0, 30.0):
        for _ in range(40):
            tickets = [pacer.send(ONE, now_s) for _ in range(int(pacer.width.cap))]
            call_s = 0.4 * max(1.0, len(tickets) / 8)  # a server with eight places
            now_s += call_s + late_s
            for ticket in tickets:
                pacer.end(ticket, SUCCESS, now_s, call_s)
        found.append(pacer.width.cap)
    assert found[0] >= 8
    assert found[1] >= found[0]
