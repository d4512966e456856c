"""The live line: honest counts, a rate over a window, an ETA only where something is known."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from headrace.cli.progress import Rate, bar, duration, folded, progress_line, wait_lines
from headrace.store.batches import Summary
from headrace.store.progress import COUNTED
from headrace.store.reports import Wait

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


def summary(**counts: Any) -> Summary:
    told: dict[str, Any] = {
        "id": UUID(int=1),
        "tenant_id": "default",
        "name": "cards",
        "state": "running",
        "class_name": "batch",
        "recipe_name": "product-card",
        "recipe_version": bytes(32),
        "item_count": 200,
        "cache_mode": "reuse",
        "unknown_policy": "retry",
        "columns": None,
        "source": "{}",
        "reserve_microcredits": 0,
        "created_at": NOW,
        "finished_at": None,
    }
    zeros = dict.fromkeys((*COUNTED, "event_seq"), 0)
    return Summary(**(told | zeros | counts))


def test_the_line_tells_what_a_person_asks() -> None:
    """Ended of all, by what became of them, speed, time left and cost."""
    now = summary(succeeded=33, cached=2, running=12, pending=155)
    assert progress_line(now, 41.0) == (
        "Generating 33 of 200 · 31 done · 2 cached · 0 failed · 12 running · 41/s · "
        "ETA 4 s · cost $0.00"
    )


def test_no_rate_no_eta() -> None:
    """Where nothing is known of the speed, neither speed nor time left is claimed."""
    text = progress_line(summary(pending=200), None)
    assert "/s" not in text
    assert "ETA" not in text


def test_an_ended_batch_has_no_eta() -> None:
    """Nothing is left to wait for."""
    assert "ETA" not in progress_line(summary(succeeded=200), 10.0)


def test_failed_counts_refused_and_dead() -> None:
    """Whatever ended without a result is failed to the person who waits for it."""
    assert "6 failed" in progress_line(summary(failed=1, refused=2, dead=3), None)


def test_a_cost_that_is_partly_unknown_says_so() -> None:
    """An unknown cost is never shown as zero."""
    line = progress_line(summary(cost_microusd=40_000, cost_unknown=1), None)
    assert line.endswith("cost $0.04 known + 1 call unknown")
    line = progress_line(summary(cost_unknown=3), None)
    assert line.endswith("cost unknown (3 calls)")


def test_an_estimate_stands_beside_the_true_cost() -> None:
    """What list prices say is called about, and never added to what is known."""
    both = summary(cost_microusd=420_000, cost_estimate_microusd=1_100_000)
    assert progress_line(both, None).endswith("cost $0.42 known + about $1.10")
    alone = summary(cost_estimate_microusd=1_100_000, cost_cap_microusd=2_000_000)
    assert progress_line(alone, None).endswith("cost about $1.10 of $2.00 at most")


def test_the_rate_is_that_of_the_window() -> None:
    """A slow start is forgotten once it has left the window."""
    rate = Rate()
    for second in range(0, 60):
        rate.add(float(second), second)
    for second in range(60, 80):
        rate.add(float(second), 60 + (second - 60) * 10)
    assert rate.per_s() == pytest.approx(10.0)


def test_a_resumed_batch_starts_from_where_it_stands() -> None:
    """What was done before this process came counts towards no rate."""
    rate = Rate()
    rate.add(0.0, 150)
    assert rate.per_s() is None
    rate.add(1.0, 160)
    assert rate.per_s() == pytest.approx(10.0)


def test_standing_still_is_no_rate() -> None:
    """Nothing ended in the window: no division, no infinite ETA."""
    rate = Rate()
    rate.add(0.0, 5)
    rate.add(5.0, 5)
    assert rate.per_s() is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0.1 s"), (4.2, "4.2 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    """Two units at most, none that a person would have to divide."""
    assert duration(seconds) == text


def test_waiting_items_say_why_and_until_when() -> None:
    """Each reason has its line: how many, why, until when, and what helps."""
    waits = [
        Wait(1, NOW + timedelta(minutes=5), "auth", "the key was rejected", "Set REPLICATE_KEY."),
        Wait(3, NOW + timedelta(seconds=30), "rate_limited", "429 from the provider"),
    ]
    until = (NOW + timedelta(minutes=5)).astimezone()
    assert wait_lines(waits, NOW) == [
        f"1 waiting: auth (the key was rejected) · the next in 5 min 0 s, at {until:%H:%M}"
        " → Set REPLICATE_KEY.",
        "3 waiting: rate limited (429 from the provider) · the next in 30 s",
    ]
    assert wait_lines(waits[1:], NOW + timedelta(seconds=31))[0].endswith("due now")
    assert wait_lines([], NOW) == []


def test_a_long_wait_names_the_hour() -> None:
    """An hour's wait is told as a time of day too."""
    until = NOW + timedelta(hours=1)
    (told,) = wait_lines([Wait(1, until, "quota_exhausted", None)], NOW)
    assert told.endswith(f"the next in 1 h 0 min, at {until.astimezone():%H:%M}")


def test_a_wait_until_another_day_names_the_day() -> None:
    """What is due tomorrow at noon is not told as if it were today."""
    until = NOW + timedelta(days=1)
    (told,) = wait_lines([Wait(1, until, "quota_exhausted", None)], NOW)
    assert told.endswith(f"the next in 24 h 0 min, at {until.astimezone():%Y-%m-%d %H:%M}")


def test_what_waits_for_its_time_has_no_time_left() -> None:
    """When all that is left waits until tomorrow, nobody is told that it takes eight seconds."""
    assert "ETA" not in progress_line(summary(waiting=8, succeeded=4), 1.0)
    assert "ETA 9 s" in progress_line(summary(waiting=8, pending=1, succeeded=4), 1.0)


def test_a_canary_and_a_pause_are_named() -> None:
    """While only the first rows run, or nothing, the line does not say it is generating."""
    trying = progress_line(summary(state="canary", canary=3, pending=200), 1.0)
    assert trying.startswith("Trying the first 3 rows: 0 of 200")
    assert "ETA" not in trying
    paused = progress_line(summary(state="paused", pending=190, succeeded=10), 1.0)
    assert paused.startswith("Paused at 10 of 200")


def test_the_cost_stands_against_its_cap() -> None:
    """Who set a cap sees how near it is."""
    told = progress_line(summary(cost_microusd=40_000, cost_cap_microusd=12_500_000), None)
    assert told.endswith("cost $0.04 of $12.50 at most")


@pytest.mark.parametrize("done", [0, 1, 99, 100])
def test_the_bar_keeps_its_width(done: int) -> None:
    """The bar is as wide as it was told to be, and full only at the end."""
    full, empty = bar(done, 100, 40)
    assert len(full) + len(empty) == 40
    assert (full == "━" * 40) == (done == 100)


def test_the_bar_of_an_empty_batch() -> None:
    """A batch without rows is no division by zero."""
    assert bar(0, 0, 10) == ("", "━" * 10)


def test_a_narrow_terminal_breaks_between_parts() -> None:
    """No number is torn from its unit, and nothing is cut off."""
    text = progress_line(summary(succeeded=33, cached=2, running=12, pending=155), 41.0)
    for width in (30, 60, 78, 200):
        lines = folded(text, width).splitlines()
        assert max(map(len, lines)) <= width
        assert " · ".join(line.strip() for line in lines) == text
