"""Schedules as words: moments of an expression, hours, settings, what a tick takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.cron import Due, check_cron, due_moments, next_after, read_zone
from headrace.errors import ConfigError, InputError
from headrace.hours import Hours, read_share, read_windows, window_words
from headrace.schedule import ALL_MAX, Known, Missed, made_of, read_settings
from headrace.schedule_settings import read_schedules

BERLIN = read_zone("Europe/Berlin")
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def moments(cron: str, begins: datetime, count: int) -> list[str]:
    found, at = [], begins
    for _ in range(count):
        later = next_after(cron, BERLIN, at)
        assert later is not None
        assert later > at
        found.append(later.astimezone(BERLIN).strftime("%m-%d %H:%M%z"))
        at = later
    return found


def test_a_moment_that_does_not_exist_comes_after_the_gap() -> None:
    """On 29 March there is no 02:30 in Berlin: the tick comes at 03:00, once."""
    assert moments("30 2 * * *", datetime(2026, 3, 28, tzinfo=UTC), 3) == [
        "03-28 02:30+0100", "03-29 03:00+0200", "03-30 02:30+0200",
    ]  # fmt: skip


def test_a_moment_that_happens_twice_comes_once() -> None:
    """On 25 October 02:30 happens twice in Berlin: the tick comes at the first of the two."""
    begins = datetime(2026, 10, 24, 12, tzinfo=UTC)
    assert moments("30 2 * * *", begins, 2) == ["10-25 02:30+0200", "10-26 02:30+0100"]


def test_a_moment_of_the_first_pass_does_not_come_again_in_the_second() -> None:
    """Looked at between the two 02:50s, the next 02:50 is that of the next day."""
    between = datetime(2026, 10, 25, 1, 40, tzinfo=UTC)
    assert moments("50 2 * * *", between, 1) == ["10-26 02:50+0100"]


def test_every_hour_that_passes_has_its_tick() -> None:
    """What runs every hour runs in both hours that are called 2, and in none that there is not."""
    assert moments("0 * * * *", datetime(2026, 10, 24, 23, 30, tzinfo=UTC), 4) == [
        "10-25 02:00+0200", "10-25 02:00+0100", "10-25 03:00+0100", "10-25 04:00+0100",
    ]  # fmt: skip
    assert moments("0 * * * *", datetime(2026, 3, 29, 0, 30, tzinfo=UTC), 2) == [
        "03-29 03:00+0200", "03-29 04:00+0200",
    ]  # fmt: skip


@given(
    cron=st.sampled_from(
        ["0,30 2,3 * * *", "30 2 * * *", "*/20 * * * *", "15 * * * *", "5 1 * * SUN"]
    ),
    zone=st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC"]),
    minutes=st.integers(0, 480_000),
)
@settings(max_examples=60, deadline=None)
def test_moments_only_go_forward(cron: str, zone: str, minutes: int) -> None:
    """Whatever the clocks do, each moment is later than the one before."""
    at = NOW + timedelta(minutes=minutes)
    for _ in range(10):
        later = next_after(cron, read_zone(zone), at)
        assert later is not None
        assert later > at
        at = later


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("", "UTC"), ("* * * *", "UTC"), ("* * * * * *", "UTC"), ("61 * * * *", "UTC"),
        ("@daily", "UTC"), ("0 0 30 2 *", "UTC"), ("x" * 5000, "UTC"), ("0 0 * * MON#9", "UTC"),
        ("0 0 * * *", "Mars/Olympus"), ("0 0 * * *", "../../etc/passwd"), ("0 0 * * *", ""),
        ("0 0 * * *", "Europe"),
    ],
)  # fmt: skip
def test_what_is_no_schedule_is_refused_with_its_place(cron: str, zone: str) -> None:
    """A wrong expression or timezone is an error that says where."""
    with pytest.raises(InputError) as caught:
        check_cron(cron, zone, NOW)
    assert caught.value.place in ("cron", "timezone")


def test_missed_moments_are_passed_over_or_made_up_for() -> None:
    """Only what is on time is made by skip, the last by latest, the last 24 by all."""
    hourly = [NOW - timedelta(hours=n) for n in range(30, 0, -1)]
    due = Due(hourly, NOW + timedelta(hours=1))
    assert made_of(due, Missed.SKIP, NOW) == ([], hourly)
    assert made_of(due, Missed.LATEST, NOW) == (hourly[-1:], hourly[:-1])
    assert made_of(due, Missed.ALL, NOW) == (hourly[-ALL_MAX:], hourly[:-ALL_MAX])
    on_time = Due([NOW - timedelta(seconds=2)], None)
    assert made_of(on_time, Missed.SKIP, NOW) == (on_time.moments, [])


def test_years_of_missed_minutes_are_not_gone_through() -> None:
    """Of a minutely schedule that nobody looked at for years, only the last day is gone through."""
    due = due_moments("* * * * *", read_zone("UTC"), NOW - timedelta(days=2000), NOW)
    assert not due.is_whole
    assert len(due.moments) <= 1441
    assert (due.moments[-1], due.next_at) == (NOW, NOW + timedelta(minutes=1))


def test_hours_go_past_midnight_in_their_timezone() -> None:
    """In Berlin a window from 22:00 holds at 21:30 UTC in winter; each may have its own share."""
    hours = Hours("Europe/Berlin", read_windows(["22:00-06:00=30%", "12:00-13:00"], "windows"), 0.5)
    at = datetime(2026, 1, 1, 21, 30, tzinfo=UTC)
    assert hours.share_at(at) == 0.3
    assert hours.share_at(at.replace(hour=4, minute=59)) == 0.3
    assert hours.share_at(at.replace(hour=5, minute=0)) == 0.0
    assert hours.share_at(at.replace(hour=11, minute=15)) == 0.5
    assert Hours(share=0.2).share_at(at) == 0.2
    assert [window_words(one) for one in hours.windows] == ["22:00-06:00=30%", "12:00-13:00"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "22-06",
        "25:00-06:00",
        "24:00-06:00",
        "10:00-10:00",
        "1:00-2:00=0%",
        "1:00-2:00=300%",
        "1:00-2:00=x",
    ],
)
def test_what_is_no_window_is_refused(text: str) -> None:
    """A wrong window is an error that names it."""
    with pytest.raises(InputError):
        read_windows([text], "windows")


def test_a_share_is_a_part_of_the_whole() -> None:
    """Above nothing, and at most all."""
    assert read_share("12.5%", "share") == 0.125
    for text in ("0%", "101%", "30", "-5%", "٣٠%"):
        with pytest.raises(InputError):
            read_share(text, "share")


@pytest.mark.parametrize(
    "told",
    [
        {"class": "first"}, {"cache": "no"}, {"rows": "some"}, {"missed": "none"}, {"rows_max": 0},
        {"rows_max": 10**9}, {"canary": -1}, {"key": ["a\0"]}, {"key": [""]}, {"key": ["a"] * 99},
        {"windows": ["x"]}, {"share": "0%"},
    ],
)  # fmt: skip
def test_settings_out_of_bounds_are_refused(told: dict[str, Any]) -> None:
    """Each setting is one of its words, or within its bounds."""
    with pytest.raises(InputError):
        read_settings(told)


def test_only_a_row_that_was_really_tried_is_tried_again() -> None:
    """What failed on the way comes again three times at most; what cannot be used does not."""
    assert Known(1, "failed", 2).failed
    assert not Known(1, "failed", 0).failed
    assert not Known(3, "failed", 2).failed
    assert Known(1, "dead", 3).failed
    assert not Known(1, "refused", 1).failed
    assert not Known(1, "pending", 0).is_made
    assert Known(1, None, None).is_made


def test_a_database_is_for_the_tenants_that_it_names_and_its_url_is_not_shown() -> None:
    """Another tenant is told of no such database, and a wrong table shows none of its values."""
    told = {"databases": {"shop": {"url": "postgresql://u:hunter2@db/x"}}}
    assert read_schedules(told).database("shop", "default").timeout_s == 60
    with pytest.raises(InputError):
        read_schedules(told).database("shop", "other")
    with pytest.raises(ConfigError) as caught:
        read_schedules({"databases": {"shop": {"url": "mysql://u:hunter2@db/x"}}})
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError):
        read_schedules({"folders": "x"})


def test_a_row_is_another_one_under_another_schedule_or_recipe() -> None:
    """Digests tell schedules and versions of recipes apart."""
    from headrace.schedule import digest_of

    one, two = UUID(int=1), UUID(int=2)
    assert (
        len({digest_of(one, b"a", b"r"), digest_of(two, b"a", b"r"), digest_of(one, b"b", b"r")})
        == 3
    )
