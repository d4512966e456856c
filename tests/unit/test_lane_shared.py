"""The shared state of a lane: it survives being written, time is steady, permits never leak."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace.gates.drift import Lately
from headrace.gates.packing import pack, pack_pacer, unpack, unpack_pacer
from headrace.gates.shared import GRACE_S_MIN, SharedLane, pack_lane, unpack_lane
from headrace.limits import Dimension, Limit, Load, Quota, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer, Ticket

SUCCESS = Outcome(OutcomeKind.SUCCESS)
REFUSED = Outcome(OutcomeKind.RATE_LIMITED)
QUOTAS = [
    Quota(),
    Quota(4, (Limit(Dimension.REQUESTS, 60, 60.0), Limit(Dimension.TOKENS, 9000, 60.0))),
    Quota(2, (Limit(Dimension.CONCURRENCY, 2.0),), pinned=True),
    Quota(8, rate_start=5.0),
    Quota(8, (Limit(Dimension.TOKENS, 900, 60.0),), tokens_refunded=True),
]
LOAD = Load(1, 100, 1)
OUTCOMES = st.one_of(
    st.none(),
    st.builds(Outcome, st.sampled_from(list(OutcomeKind))),
    st.builds(
        Outcome,
        st.just(OutcomeKind.RATE_LIMITED),
        wait_s=st.one_of(st.none(), st.floats(0.0, 30.0)),
        said=st.one_of(st.none(), st.builds(Said, bucket=st.sampled_from([None, *Dimension]))),
    ),
    st.builds(
        Outcome,
        st.just(OutcomeKind.SUCCESS),
        said=st.builds(Said, limits=st.just((Limit(Dimension.REQUESTS, 30, 60.0, 5.0, 2.0),))),
    ),
    st.builds(
        Outcome,
        st.just(OutcomeKind.SUCCESS),
        said=st.builds(
            Said,
            limits=st.just((Limit(Dimension.TOKENS, 900, 60.0, 890.0),)),
            tokens=st.integers(0, 200),
        ),
    ),
)
EVENTS = st.lists(
    st.tuples(st.floats(0.0, 3.0), st.integers(0, 20), OUTCOMES), min_size=1, max_size=80
)


def live(pacer: Pacer, events: list[tuple[float, int, Outcome | None]], now_s: float,
         out: list[Ticket]) -> tuple[list[object], float]:  # fmt: skip
    """Let events happen to a pacer; return all that it decided, and the time."""
    decided: list[object] = []
    for passed_s, pick, outcome in events:
        now_s += passed_s
        wait_s = pacer.wait_s(LOAD, now_s)
        decided += [wait_s, pacer.shut_s(now_s), pacer.credit.left, pacer.width.cap]
        if wait_s < 1.0:
            out.append(pacer.send(LOAD, now_s, wait_s))
        if out and pick % 3:
            ticket = out.pop(pick % len(out))
            pacer.end(ticket, outcome, max(now_s, ticket.sent_s))
            now_s = max(now_s, ticket.sent_s)
    return decided, now_s


def give_up_what_is_not_passed_on(pacer: Pacer) -> None:
    """Take from a pacer what a process that is alone has, and those that share a lane have not."""
    for rate in pacer.rates.values():
        for part in (rate, *rate.moments, *rate.empties):
            for one in fields(part):
                if "alone" in one.metadata:
                    setattr(part, one.name, one.metadata["alone"])


REFUSED_LATE = [  # one that was sent earlier is heard of after another
    [(0.0, 1, None), (2.0, 1, REFUSED), (1.0, 1, replace(REFUSED, wait_s=6.0)), (2.0, 0, None),
     (3.0, 0, None), (3.0, 0, None), (3.0, 0, None), (0.5, 0, None), (1.0, 2, REFUSED)],
    [(1.0, 7, None), (1.0, 1, REFUSED), (0.0, 2, REFUSED), (0.0, 0, None)],
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@example(QUOTAS[1], *REFUSED_LATE)
@given(st.sampled_from(QUOTAS), EVENTS, EVENTS)
def test_a_pacer_restored_at_any_moment_decides_the_same(
    quota: Quota,
    before: list[tuple[float, int, Outcome | None]],
    after: list[tuple[float, int, Outcome | None]],
) -> None:
    """Written and read again in between, a lane goes on as if nothing had been."""
    out: list[Ticket] = []
    pacer = Pacer(quota, 0.0)
    _, now_s = live(pacer, before, 0.0, out)
    give_up_what_is_not_passed_on(pacer)
    found = unpack(pack(pack_pacer(pacer)))
    assert found is not None
    other = unpack_pacer(found[0], quota)
    assert live(other, after, now_s, list(out)) == live(pacer, after, now_s, list(out))


def test_bytes_of_another_release_or_damaged_ones_are_not_read() -> None:
    """A lane whose state is not understood is begun anew, without an error."""
    lane = SharedLane(Pacer(Quota(8, rate_start=5.0), 0.0))
    good = pack_lane(lane)
    assert unpack_lane(good, Quota()) is not None
    for bad in (b"", b"\x00", good[:-7], good.replace(b"grow", b"glow")):
        assert unpack_lane(bad, Quota()) is None
    found = unpack(good)
    assert found is not None
    found[0][1] = [1, 2]
    assert unpack_lane(pack(*found), Quota()) is None


def test_a_start_by_advice_is_shared() -> None:
    """What one worker's batch advised is the start of all; a smaller one does not narrow it."""
    quota = Quota(3, advised=True)
    lane = SharedLane(Pacer(quota, 0.0))
    lane.pacer.width.advise(100)
    other = unpack_lane(pack_lane(lane), quota)
    assert other is not None
    assert other.width == 8.0
    assert not other.pacer.width.advise(12)
    assert other.pacer.width.advise(1000)


def test_what_is_for_one_process_alone_is_not_in_the_row() -> None:
    """A lane that was packed has no trail, counts nothing more, and goes on."""
    pacer = Pacer(QUOTAS[1], 0.0)
    for number in range(40):
        kind = OutcomeKind.RATE_LIMITED if number == 30 else OutcomeKind.SUCCESS
        pacer.end(pacer.send(LOAD, float(number)), Outcome(kind), number + 0.5)
    found = unpack_lane(pack_lane(SharedLane(pacer)), QUOTAS[1])
    assert found is not None
    rate = found.pacer.rates[Dimension.REQUESTS]
    assert (rate.trail, rate.frame, rate.framed) == (None, None, ())
    assert all(one.counts is None for one in rate.moments)
    found.pacer.end(found.pacer.send(LOAD, 50.0), Outcome(OutcomeKind.RATE_LIMITED), 50.5)
    assert rate.counted(51.0) is None


def test_a_lane_is_a_few_kilobytes() -> None:
    """After any amount of work the row stays small enough to lie in one page."""
    pacer = Pacer(QUOTAS[1], 0.0)
    now_s = 0.0
    for number in range(5000):
        now_s += min(5.0, pacer.wait_s(LOAD, now_s))
        kind = OutcomeKind.RATE_LIMITED if number % 17 == 0 else OutcomeKind.SUCCESS
        pacer.end(pacer.send(LOAD, now_s), Outcome(kind), now_s + 0.01)
        now_s += 0.01
    assert len(pack_lane(SharedLane(pacer))) < 8000


def test_the_time_of_a_lane_neither_goes_back_nor_leaps() -> None:
    """A server's clock that was set back or ahead does not move a lane's time."""
    lane = SharedLane(Pacer(Quota(), 0.0), shift_s=-1000.0)
    assert lane.now(1000.0, None) == 0.0
    assert lane.now(1001.0, 2.0) == 1.0
    assert lane.now(400.0, 3.0) == 1.0, "set back: time stands still for this step"
    assert lane.now(400.5, 3.0) == 1.5, "and goes on from there"
    assert lane.now(90_000.0, 3.5) == 3.5, "set ahead: by no more than the worker's own clock"
    assert lane.now(90_000.5, 99.0) == 4.0


def shared(width: int) -> SharedLane:
    limit = Limit(Dimension.CONCURRENCY, float(width))
    return SharedLane(Pacer(Quota(width, (limit,), pinned=True), 0.0))


def give(lane: SharedLane, member_id: int, out: int, now_s: float = 0.0) -> Ticket | float:
    return lane.give(lane.present(member_id, out), Load(), now_s, now_s + 0.05)


def test_a_worker_that_comes_back_counts_what_it_really_has_out() -> None:
    """Given back in its absence, or lost with the state: its permits are counted again, once."""
    lane = shared(5)
    for out in range(3):
        give(lane, 1, out)
    assert lane.pacer.in_flight == 3
    lane.missing({1}, 10.0)
    lane.missing({1}, 10.0 + GRACE_S_MIN)
    assert lane.pacer.in_flight == 0
    assert not lane.members
    lane.present(1, 3)
    lane.present(1, 3)
    assert lane.pacer.in_flight == 3


def test_what_a_missing_worker_had_is_kept_for_a_grace_time() -> None:
    """No sooner than twice as long as calls take; and not at all if it shows up again."""
    lane = shared(5)
    give(lane, 1, 0)
    lane.took(20.0)
    lane.missing({1}, 100.0)
    lane.missing({1}, 139.0)
    assert lane.pacer.in_flight == 1
    lane.present(1, 1)
    lane.missing(set(), 139.5)
    lane.missing({1}, 200.0)
    lane.missing({1}, 239.0)
    assert lane.pacer.in_flight == 1
    lane.missing({1}, 240.0)
    assert lane.pacer.in_flight == 0


def test_a_probe_that_died_with_its_worker_does_not_shut_the_lane_for_ever() -> None:
    """Another probe may go when the worker that had the last one is given up."""
    lane = shared(5)
    lane.pacer.circuit.shut(0.0)
    ticket = give(lane, 1, 0)
    assert isinstance(ticket, Ticket)
    assert ticket.probe
    assert give(lane, 2, 0) == math.inf
    lane.missing({1}, 10.0)
    lane.missing({1}, 12.0)
    assert isinstance(give(lane, 2, 0, 12.0), Ticket)


def test_permits_ahead_keep_the_distance_of_the_pace() -> None:
    """Taken together for the next moments, each is for its own, one slot after another."""
    pacer = Pacer(Quota(100, (Limit(Dimension.REQUESTS, 1, 0.01),), pinned=True), 0.0)
    lane = SharedLane(pacer)
    moments = []
    for step in range(40):
        while isinstance(found := give_paced(lane, step * 0.04), Ticket):
            moments.append(found.sent_s)
    gaps = [b - a for a, b in pairwise(moments[5:])]
    assert min(gaps) > 0.009
    assert max(gaps) < 0.0115


def test_what_one_worker_s_call_gives_back_serves_another() -> None:
    """Tokens that come back are the lane's: whoever steps it next may have them."""
    limits = (Limit(Dimension.TOKENS, 600.0, 60.0),)
    lane = SharedLane(Pacer(Quota(8, limits, pinned=True, tokens_refunded=True), 0.0))
    load, one, other = Load(tokens=100), lane.present(1, 0), lane.present(2, 0)
    ticket = lane.give(one, load, 0.0, 60.0)
    assert isinstance(ticket, Ticket)
    at_s = ticket.sent_s
    before_s = lane.give(other, load, at_s, at_s)
    assert isinstance(before_s, float)
    lane.end(one, ticket, Outcome(OutcomeKind.SUCCESS, said=Said(tokens=20)), at_s)
    again = unpack_lane(pack_lane(lane), lane.pacer.quota)
    assert again is not None
    after_s = again.give(again.present(2, 0), load, at_s, at_s)
    assert isinstance(after_s, float)
    assert before_s - after_s == pytest.approx(80.0 / lane.pacer.rates[Dimension.TOKENS].pace)


def give_paced(lane: SharedLane, now_s: float) -> Ticket | float:
    return lane.give(lane.present(1, lane.pacer.in_flight), Load(), now_s, now_s + 0.05)


def test_places_that_cannot_be_shared_evenly_go_round() -> None:
    """While another waits for a place, the worker that was served last leaves it to it."""
    lane = shared(1)
    ticket = give(lane, 1, 0)
    assert isinstance(ticket, Ticket)
    other = lane.present(2, 0)
    other.held, other.wants = True, 1
    one = lane.present(1, 1)
    lane.end(one, ticket, SUCCESS, 1.0)
    one.wants = 1
    assert lane.give(one, Load(), 1.0, 1.05) == math.inf
    assert lane.call(one), "the other one is woken"
    assert not lane.call(one), "once"
    assert isinstance(lane.give(other, Load(), 1.0, 1.05), Ticket)


@pytest.mark.parametrize("given_before", [0, 40])
def test_alone_a_worker_has_half_of_its_share_and_no_burst(given_before: int) -> None:
    """The first call comes after a slot of the halved pace; nothing at all without a share."""
    share = Lately()
    for number in range(given_before):
        share.note(number * 0.25, 6)
    drift = share.drift(10.0, 6)
    sent, now_s = [], 10.0
    while now_s < 30.0:
        if drift.wait_s(0, now_s) == 0.0:
            drift.send(now_s)
            sent.append(now_s)
        now_s += 0.01
    assert drift.width == 3
    if not given_before:
        assert not sent
        return
    assert len(sent) == pytest.approx(40, abs=2), "4 a second before, 2 a second now"
    assert min(b - a for a, b in pairwise(sent)) > 0.45
    assert drift.wait_s(3, now_s) is None
