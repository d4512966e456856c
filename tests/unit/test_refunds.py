"""Tokens that calls reserve and do not use: given back where the provider does, and only there."""

from __future__ import annotations

from random import Random

import pytest

from headrace.limits import Dimension, Limit, Load, Quota, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer
from headrace.refunds import DOUBTS_MAX, Refunds
from headrace.simulator.limiters import (
    FixedWindow,
    Gcra,
    Limiter,
    SlidingLog,
    SubWindow,
    TokenBucket,
)
from headrace.simulator.rules import LaneRules, OtherTenant, Rule
from headrace.testing.lane_model import LaneModel, Told
from tests.unit.lanes_drawn import exact, latency

A_MINUTE, EACH = 200_000.0, 1000
RATE = A_MINUTE / 60.0
LANES, MINUTES = 30, 5
HALF = (EACH // 4, 3 * EACH // 4)
"""Calls use half of what they reserve, on average."""


def lane(limiter: Limiter, refunds: bool, setting: bool | None = None, **more: object) -> LaneModel:
    """Return a told lane of tokens whose calls use about half of what they reserve."""
    told = (Limit(Dimension.TOKENS, A_MINUTE, 60.0),)
    values: dict[str, object] = {
        "rules": LaneRules([Rule(Dimension.TOKENS, limiter)], refunds=refunds),
        "quota": Quota(64, told, pinned=True, tokens_refunded=setting),
        "latency": latency(1.0),
        "items": 2000,
        "load": Load(tokens=EACH),
        "hint": exact,
        "used": lambda random: random.randint(*HALF),
        "names": True,
    }
    return LaneModel(**(values | more))  # type: ignore[arg-type]


def used_of_it(run: Told, from_s: float = 0.0) -> float:
    """Return how much of the limit was used, in tokens really used, after the first rush."""
    if from_s:
        return run.rate(from_s, run.end_s - 5.0) * run.used / run.done / RATE
    return (run.used - A_MINUTE) / (RATE * run.end_s)


def test_what_comes_back_is_used_again() -> None:
    """A told limit that refunds: 44 % of it are used when nothing is given back, 97 % when it is.

    None of the calls is refused, before as after.
    """
    before = lane(TokenBucket(RATE, A_MINUTE), True, setting=False).run()
    after = lane(TokenBucket(RATE, A_MINUTE), True, setting=True).run()
    assert used_of_it(before) <= 0.46
    assert used_of_it(after) >= 0.97
    assert (before.refused, after.refused) == (0, 0)


@pytest.mark.parametrize("announces", ["start", "end"])
@pytest.mark.parametrize("pinned", [True, False])
def test_headers_show_what_comes_back(announces: str, pinned: bool) -> None:
    """Within two minutes what is announced as left proves it: from then on 97 % are used."""
    quota = Quota(64, (Limit(Dimension.TOKENS, A_MINUTE, 60.0),), pinned=pinned)
    model = lane(TokenBucket(RATE, A_MINUTE), True, quota=quota, announces=announces, items=3000)
    run = model.run()
    assert model.pacer.refunds.found
    assert used_of_it(run, 120.0) >= 0.97
    assert run.refused == 0


def drawn(seed: int) -> tuple[dict[str, object], list[Limiter]]:
    """Return a lane of tokens drawn from ``seed``, and its limiter several times over."""
    random = Random(seed)
    amount = random.choice([60_000.0, 200_000.0, 1_000_000.0])
    parts = random.choice([60, 200, 300])
    rate, each = amount / 60.0, round(amount / parts)
    most = random.choice([each // 5, each // 2, each])
    kind = random.choice(["bucket", "half", "strict", "fixed", "sliding", "sub"])

    def make() -> Limiter:
        if kind in ("bucket", "half"):
            return TokenBucket(rate, amount if kind == "bucket" else amount / 2)
        if kind == "strict":
            return Gcra(rate, amount / 6)
        if kind == "fixed":
            return FixedWindow(amount, 60.0, 17.0)
        return SlidingLog(amount, 60.0) if kind == "sliding" else SubWindow(amount, 60.0, 10.0)

    told = (Limit(Dimension.TOKENS, amount, 60.0),) if random.random() < 0.7 else ()
    pinned = bool(told) and random.random() < 0.5
    share = OtherTenant(1.0, Load(tokens=round(0.2 * rate)), 1.0, seed)
    return {
        "quota": (random.choice([4, 64, 256]), told, pinned, None if told else 2.0),
        "latency": latency(random.choice([0.2, 1.0, 5.0, 20.0])),
        "items": MINUTES * parts,
        "load": Load(tokens=each),
        "used": lambda random: random.randint(0, most),
        "announces": random.choice(["start", "end"]),
        "other": share if random.random() < 0.3 else None,
        "seed": seed,
        "until_s": 20_000.0,
    }, [make() for _ in range(3)]


def run_drawn(seed: int, number: int, refunds: bool, setting: bool | None) -> LaneModel:
    """Run a drawn lane and return it, with what it came to as ``told``."""
    values, limiters = drawn(seed)
    concurrency, told, pinned, start = values.pop("quota")  # type: ignore[misc]
    rule, other = Rule(Dimension.TOKENS, limiters[number]), values.pop("other")
    rules = LaneRules([rule], refunds=refunds, other=other)  # type: ignore[arg-type]
    quota = Quota(concurrency, told, pinned, start, tokens_refunded=setting)
    model = lane(limiters[number], refunds, rules=rules, quota=quota, **values)
    model.told = model.run()
    return model


def test_nothing_is_given_back_where_the_provider_does_not() -> None:
    """Thirty drawn lanes that keep what was reserved are run to the call as without headers."""
    for seed in range(LANES):
        looked, blind = (run_drawn(seed, n, False, s) for n, s in ((0, None), (1, False)))
        assert (looked.pacer.refunds.found, looked.pacer.refunds.doubts) == (False, 0), seed
        assert looked.told.accepts_s == blind.told.accepts_s, seed


def test_giving_back_costs_hardly_a_refusal() -> None:
    """Over 30 drawn lanes that refund, finding it out saves time and refuses no 0.05 % more."""
    found = [run_drawn(seed, 0, True, None) for seed in range(LANES)]
    blind = [run_drawn(seed, 1, True, False) for seed in range(LANES)]
    refused = [sum(one.told.refused for one in many) for many in (found, blind)]
    took_s = [sum(one.told.end_s for one in many) for many in (found, blind)]
    assert any(one.pacer.refunds.found for one in found)
    assert refused[0] - refused[1] <= 0.0005 * sum(one.told.done for one in found)
    assert took_s[0] < 0.95 * took_s[1]


def test_a_setting_that_is_wrong_is_borne() -> None:
    """Where tokens are said to come back and do not, under 1 % is refused, and 95 % are used."""
    run = lane(TokenBucket(RATE, A_MINUTE), False, setting=True).run()
    assert run.refused_share() < 0.01
    assert (run.done * EACH - A_MINUTE) / (RATE * run.end_s) >= 0.95


def test_a_window_that_forgets_is_given_less_back() -> None:
    """What comes back after its window is lost there; still under 0.4 % is refused."""
    for limiter in (FixedWindow(A_MINUTE, 60.0, 17.0), SlidingLog(A_MINUTE, 60.0)):
        run = lane(limiter, True, setting=True, items=3000).run()
        assert run.refused_share() < 0.004
        assert used_of_it(run) >= 0.6


def test_a_finding_that_a_refusal_follows_is_taken_back() -> None:
    """Twice found and twice refused, headers are not believed again; a setting stands."""
    seen, told = Refunds(), Refunds(True)
    for _ in range(DOUBTS_MAX):
        seen.found = True
        seen.refused(1.0)
        assert not seen.given
        told.refused(1.0)
    _show(seen)
    assert not seen.given
    assert told.given
    fresh = Refunds()
    _show(fresh)
    assert fresh.given


def _show(refunds: Refunds) -> None:
    """Announce that nothing is ever missing, while a whole limit is sent in ten seconds."""
    limit = Limit(Dimension.TOKENS, A_MINUTE, 60.0, A_MINUTE - EACH)
    for number in range(200):
        now_s = number / 20.0
        left = refunds.take(float(EACH), now_s)
        refunds.hear(limit, (now_s, left), (float(EACH), float(EACH)), now_s + 0.01)


@pytest.mark.parametrize("window_s", [3600.0, 86_400.0, None])
def test_long_quotas_show_nothing(window_s: float | None) -> None:
    """What is left of an hour, of a day or of nobody knows what is no evidence."""
    refunds = Refunds()
    for number in range(300):
        limit = Limit(Dimension.TOKENS, A_MINUTE, window_s, A_MINUTE - EACH)
        left = refunds.take(float(EACH), number * 0.1)
        refunds.hear(limit, (number * 0.1, left), (1000.0, 1000.0), number * 0.1)
    assert not refunds.given


@pytest.mark.parametrize("refused", [0, 3])
def test_a_lane_at_half_its_limit_shows_nothing(refused: int) -> None:
    """A bucket that is never drawn down is full anyway, however many calls it refused beside."""
    refunds, limiter = Refunds(), TokenBucket(RATE, A_MINUTE)
    for number in range(400):
        now_s = number * EACH / (0.5 * RATE)
        left = refunds.take(float(EACH), now_s)
        limiter.take(EACH, now_s)
        for _ in range(refused):
            refunds.take(float(EACH), now_s)
            refunds.untake(float(EACH), now_s)
        limit = Limit(Dimension.TOKENS, A_MINUTE, 60.0, limiter.remaining(now_s))
        refunds.hear(limit, (now_s, left), (float(EACH), float(EACH)), now_s + 0.01)
    assert not refunds.given


def pacer(setting: bool | None = True) -> Pacer:
    """Return a lane of ten tokens a second, and of 250 a day."""
    limits = (Limit(Dimension.TOKENS, 600.0, 60.0), Limit(Dimension.TOKENS, 250.0, 86_400.0))
    return Pacer(Quota(8, limits, pinned=True, tokens_refunded=setting), 0.0)


def ended(tokens: int | None) -> Outcome:
    return Outcome(OutcomeKind.SUCCESS, said=Said(tokens=tokens))


@pytest.mark.parametrize(("setting", "comes"), [(True, 90), (False, 0), (None, 0)])
def test_the_next_call_may_go_sooner_when_tokens_come_back(
    setting: bool | None, comes: int
) -> None:
    """Each token that comes back shortens the wait by its slot; by default none does."""
    one, load = pacer(setting), Load(tokens=100)
    ticket = one.send(load, 0.0)
    before_s = one.wait_s(load, 1.0)
    one.end(ticket, ended(10), 1.0)
    pace = one.rates[Dimension.TOKENS].pace
    assert before_s - one.wait_s(load, 1.0) == pytest.approx(comes / pace)
    assert one.in_flight == 0


def test_a_day_s_quota_counts_what_was_used() -> None:
    """Of 250 a day, seven calls that reserve 100 and use 20 leave room for an eighth."""
    one, load = pacer(), Load(tokens=100)
    for number in range(8):
        assert one.wait_s(load, number * 100.0) < 100.0
        assert one.shut_s(number * 100.0) == 0.0, number
        one.end(one.send(load, number * 100.0), ended(20), number * 100.0 + 1.0)


@pytest.mark.parametrize("tokens", [None, 100, 500])
def test_what_was_used_or_is_not_told_is_not_given_back(tokens: int | None) -> None:
    """Nothing comes back from a call that used all it reserved, or more, or does not say."""
    one, load = pacer(), Load(tokens=100)
    ticket = one.send(load, 0.0)
    before_s = one.wait_s(load, 1.0)
    one.end(ticket, ended(tokens), 1.0)
    assert one.wait_s(load, 1.0) == before_s


def test_what_was_never_taken_here_is_not_given_back() -> None:
    """A call that left while the shared lane could not be asked gives nothing back to it."""
    one, load = pacer(), Load(tokens=100)
    ticket = one.send(load, 0.0)
    ticket.marks = ()
    before_s = one.wait_s(load, 1.0)
    one.end(ticket, ended(0), 1.0)
    assert one.wait_s(load, 1.0) == before_s
