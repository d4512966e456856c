"""The pacer on lanes of several limits that change and are shared, drawn by lot, in virtual time.

Bounds are those of 2,000 draws, told and hidden each, with a margin; what was seen stands in
each test.
"""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.limits import Load
from headrace.pacing import Pacer, Ticket
from headrace.testing.lane_model import Told
from tests.unit.lanes_drawn import Mixed, mixed

ITEMS = 500
SEEDS = st.integers(0, 10**6)


class Watched(Pacer):
    """A pacer that notes by how many calls its cap of calls in flight was ever passed."""

    above = 0.0

    def send(self, load: Load, now_s: float, lead_s: float = 0.0) -> Ticket:
        """Send as a pacer does. A cap may be a fraction: the call that reaches it may go."""
        cap = self.width.cap
        ticket = super().send(load, now_s, lead_s)
        self.above = max(self.above, self.in_flight - max(1.0, cap))
        return ticket


def next_lane(seed: int, told: bool, *, crossed: bool) -> Mixed:
    """Return the lane of the first seed from ``seed`` on that is crossed, or is not."""
    while (lane := mixed(seed, ITEMS, told)).crossed is not crossed:
        seed += 1
    return lane


def run(lane: Mixed, told: bool) -> Told:
    """Run a lane for four times what its items need at the least it ever allows, and ten minutes.

    What holds on every lane, whatever it is like, is checked here.
    """
    lane.model.until_s = 4 * lane.least_s + 600
    pacer = lane.model.learned = Watched(lane.model.quota, 0.0)
    seen = lane.model.run()
    assert pacer.above < 1.0
    assert seen.sent == seen.done + seen.refused + pacer.in_flight
    if told:
        assert seen.in_flight_max <= lane.width
    return seen


@settings(max_examples=150, deadline=None, derandomize=True)
@given(SEEDS, st.booleans())
def test_any_mixture_of_limits_is_served_without_a_standstill_or_leaks(
    seed: int, told: bool
) -> None:
    """Tokens, calls in flight, changes and others: all is done, in time, and never stands still.

    All items are done in the time of ``run`` (seen: 245 s over the four times); no two minutes
    pass without an accepted call (63 s, of windows of a minute); at most 35 % are refused (27 %;
    one draw in a hundred has more than 6.2 %); every permit comes back, and no cap of calls in
    flight is passed.
    """
    lane = next_lane(seed, told, crossed=False)
    seen = run(lane, told)
    assert seen.done == ITEMS
    assert lane.model.pacer.in_flight == 0
    assert max(later - at for at, later in pairwise([0.0, *seen.accepts_s])) <= 120
    assert seen.refused_share() <= 0.35


@settings(max_examples=60, deadline=None, derandomize=True)
@given(SEEDS, st.booleans())
def test_a_crossed_lane_leaks_nothing_and_goes_on(seed: int, told: bool) -> None:
    """Where refusals say next to nothing of our own pace, less is promised, but never nothing.

    Those are limits that hold under eight calls, or calls in flight that no refusal names, and
    that others use as well. No ten minutes pass without an accepted call (seen: 433 s); in
    the time of ``run`` one item in 20 is delivered (seen: 47 of 500 at worst); at most 55 % are
    refused (46 %), every permit comes back, and no cap of calls in flight is passed.
    """
    lane = next_lane(seed, told, crossed=True)
    seen = run(lane, told)
    assert seen.done >= ITEMS / 20
    assert max(later - at for at, later in pairwise([0.0, *seen.accepts_s])) <= 600
    assert seen.refused_share() <= 0.55


def test_nearly_all_crossed_lanes_deliver_all_in_time() -> None:
    """Of fifty crossed lanes 48 do in the time of ``run`` (seen: all but fourteen of 1,062)."""
    whole, count = 0, 0
    for seed in range(200):
        lane = mixed(seed, ITEMS, seed % 2 == 0)
        if lane.crossed and count < 50:
            count += 1
            whole += run(lane, seed % 2 == 0).done == ITEMS
    assert count == 50
    assert whole >= 0.95 * count


def test_the_refused_share_of_many_mixtures_is_small() -> None:
    """Of 120 drawn mixtures that are not crossed half are refused under 2.5 %, 19 in 20 under 8 %.

    Seen over 2,000: 0.8 and 4.6 % where the limits are told, 1.6 and 4.0 % where not.
    """
    lanes = [mixed(seed, ITEMS, seed % 2 == 0) for seed in range(170)]
    plain = [lane for lane in lanes if not lane.crossed][:120]
    shares = sorted(lane.model.run().refused_share() for lane in plain)
    assert len(shares) == 120
    assert shares[60] <= 0.025
    assert shares[114] <= 0.08
