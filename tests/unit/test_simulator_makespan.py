"""The ideal makespan agrees with what can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import UsageError
from headrace.limits import Load
from headrace.simulator.lane import Ask, Lane, Ticket
from headrace.simulator.makespan import ideal_s
from headrace.simulator.scenario import build_settings
from headrace.simulator.settings import Settings
from headrace.simulator.truth import Truth
from headrace.testing.manual_clock import ManualClock

AT_ONCE = {"median_s": 0.0}


def scenario(*limits: dict[str, Any], **more: Any) -> Settings:
    """Settings with these limits; calls take no time unless told."""
    return build_settings({"limits": list(limits), "latency": AT_ONCE} | more)


def ideal(count: int, *limits: dict[str, Any], load: Load | None = None, **more: Any) -> float:
    """The ideal for so many items that are alike."""
    return ideal_s(scenario(*limits, **more), [load or Load()] * count)


def test_a_bucket_takes_what_it_holds_at_once_and_the_rest_at_its_rate() -> None:
    """(N - capacity) / rate."""
    assert ideal(1000, {"amount": 600, "burst": 50}) == pytest.approx((1000 - 50) / 10)


def test_strict_pacing_takes_one_after_another() -> None:
    """(N - 1) / rate."""
    assert ideal(1000, {"amount": 600, "kind": "gcra"}) == pytest.approx(999 / 10)


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
def test_windows_let_a_whole_amount_through_each(kind: str) -> None:
    """1,000 items at 300 a window: the last go in the fourth."""
    assert ideal(1000, {"amount": 300, "kind": kind}) == pytest.approx(180.0)


def test_concurrency_takes_as_many_rounds_as_it_needs() -> None:
    """N x latency / K."""
    limit = {"dimension": "concurrency", "amount": 8}
    assert ideal(1000, limit, latency={"median_s": 2.0}) == pytest.approx(1000 * 2.0 / 8)


def test_slots_of_a_server_are_rounds_too() -> None:
    """Nobody is refused, but eight are worked on at a time."""
    assert ideal(1000, latency={"median_s": 2.0, "slots": 8}) == pytest.approx(250.0)


def test_the_scarcest_limit_decides() -> None:
    """Tokens allow one call a second, requests ten."""
    limits = ({"amount": 600}, {"dimension": "tokens", "amount": 6000, "burst": 100})
    assert ideal(100, *limits, load=Load(1, 100)) == pytest.approx(99.0)


def test_a_change_counts_while_it_lasts() -> None:
    """10/s for 10 s, 5/s for 10 s, 10/s: 249 after the first take 10 + 10 + 9.9 s."""
    limit = {"amount": 600, "burst": 1}
    changes = [{"at_s": 10.0, "until_s": 20.0, "factor": 0.5}]
    assert ideal(250, limit, changes=changes) == pytest.approx(29.9)


def test_outages_are_skipped() -> None:
    """Ten seconds in which nothing is let in, and the bucket fills meanwhile."""
    limit = {"amount": 600, "burst": 1}
    outage = [{"kind": "outage", "from_s": 5.0, "until_s": 15.0}]
    assert ideal(100, limit, faults=outage) == pytest.approx(9.9 + 10.0, abs=0.11)


def test_failed_calls_are_sent_again_and_cost_their_share() -> None:
    """A tenth fails: a ninth more calls than items."""
    limit = {"amount": 600, "burst": 1}
    told = ideal(2000, limit, faults=[{"kind": "500", "share": 0.1}])
    assert told == pytest.approx(200.0 / 0.9, rel=0.02)


def test_a_day_quota_makes_the_rest_wait_for_its_reset() -> None:
    """150 items at 100 a day, the day ends after an hour."""
    limit = {"kind": "day", "amount": 100, "offset_s": 3600.0}
    assert ideal(150, limit) == pytest.approx(3600.0)


def test_another_tenant_leaves_the_rest_of_the_quota() -> None:
    """Of 10/s somebody has 40 %: 6/s are left; one that goes away leaves more to the quick."""
    limit = {"amount": 600, "burst": 1}
    assert ideal(1000, limit, other={"share": 0.4}) == pytest.approx(1000 / 6.0, rel=0.06)
    quick = ideal(1000, limit, other={"share": 0.4, "insists": False})
    assert 99.9 < quick < 140


def test_an_item_that_no_limit_lets_in_is_an_error_and_not_for_ever() -> None:
    """More tokens than the bucket holds."""
    with pytest.raises(UsageError, match="never be let in"):
        ideal(1, {"dimension": "tokens", "amount": 100}, load=Load(1, 500))


async def test_the_ideal_after_a_snapshot_is_that_of_what_was_left() -> None:
    """A client that uses half the rate until 10 s; from there the ideal needs the rest."""
    clock = ManualClock()
    settings = scenario({"amount": 600, "burst": 1}, snapshots_s=[10.0])
    lane = Lane(settings, clock, Truth(1000))
    sent = 0
    while sent < 100:
        entered = lane.enter(Ask("openai", "m", Load(), f"k{sent}"))
        assert isinstance(entered, Ticket)
        lane.leave(entered, 200, paid=True, delivered=True)
        sent += 1
        await clock.advance(0.2)
    assert lane.ideal_s(lane.works()) == pytest.approx(9.9)
    assert len(lane.works(10.0)) == pytest.approx(50, abs=1)
    assert lane.ideal_after_s(10.0) == pytest.approx(4.95, abs=0.15)
    assert lane.ideal_after_s(11.0) is None


def test_ten_thousand_items_take_well_under_two_seconds() -> None:
    """With every kind of trouble at once; asked as many steps, not as a time."""
    settings = scenario(
        {"amount": 6000, "burst": 10},
        {"dimension": "tokens", "amount": 3_000_000},
        {"dimension": "concurrency", "amount": 64},
        latency={"median_s": 1.0, "sigma": 0.4},
        faults=[{"kind": "500", "share": 0.05}],
        other={"share": 0.2},
        refunds=True,
    )
    assert 100.0 < ideal_s(settings, [Load(1, 400)] * 10_000) < 400.0
