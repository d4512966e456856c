"""The ``limits`` table of a provider: what its owner tells is pinned, what is wrong is said."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import ConfigError
from headrace.limits import Dimension, Limit, start_width
from headrace.providers.remote.quotas import (
    CONCURRENCY_START,
    RATE_START,
    read_quota,
    read_refunded,
)


def test_a_lane_of_which_nothing_is_told_starts_cautiously() -> None:
    """Three calls in flight, more by the size of batches, and two a second, only to begin with."""
    quota = read_quota({}, "limits")
    assert (quota.concurrency, quota.advised, quota.rate_start) == (3, True, RATE_START)
    assert (quota.limits, quota.pinned, quota.learns) == ((), False, True)


def test_told_limits_are_pinned_each_with_its_window() -> None:
    """Every dimension by second, minute, hour or day; nothing is held back beyond them."""
    table = {
        "requests_per_minute": 500,
        "tokens_per_minute": 30_000.5,
        "images_per_hour": 5,
        "requests_per_day": 10_000,
    }
    quota = read_quota(table, "limits")
    assert quota.limits == (
        Limit(Dimension.REQUESTS, 500, 60.0),
        Limit(Dimension.TOKENS, 30_000.5, 60.0),
        Limit(Dimension.IMAGES, 5, 3600.0),
        Limit(Dimension.REQUESTS, 10_000, 86_400.0),
    )
    assert quota.pinned
    assert quota.rate_start is None


def test_a_daily_limit_alone_does_not_tell_the_pace() -> None:
    """How much a day takes says nothing about a second: the start stays cautious."""
    assert read_quota({"requests_per_day": 10_000}, "limits").rate_start == RATE_START


def test_a_told_cap_is_where_calls_in_flight_start_and_end() -> None:
    """A start above the cap is the cap; a start below it is kept."""
    cap = (Limit(Dimension.CONCURRENCY, 24.0),)
    assert read_quota({"concurrency": 24}, "limits").concurrency == 24
    assert read_quota({"concurrency": 24}, "limits", 64).concurrency == 24
    assert read_quota({"concurrency": 24}, "limits", 4).concurrency == 4
    assert read_quota({"concurrency": 24}, "limits").limits == cap
    assert read_quota({}, "limits", 64).concurrency == 64


@pytest.mark.parametrize("value", [0, -1, True, "60", None, float("nan"), float("inf"), [60]])
@pytest.mark.parametrize("key", ["requests_per_minute", "concurrency"])
def test_a_limit_is_a_number_above_zero(key: str, value: Any) -> None:
    """The error names the key, shows the value and says what to do."""
    with pytest.raises(ConfigError) as caught:
        read_quota({key: value}, "[providers.x] limits")
    assert caught.value.place == f"[providers.x] limits {key}"
    assert repr(value) in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("value", [0.5, 24.0])
def test_calls_in_flight_are_whole(value: float) -> None:
    """Half a call cannot be in flight."""
    with pytest.raises(ConfigError, match="whole number"):
        read_quota({"concurrency": value}, "limits")


def test_an_unknown_limit_is_told_its_nearest() -> None:
    """A slip of the pen is answered with the key that was meant."""
    with pytest.raises(ConfigError, match="Did you mean 'requests_per_minute'"):
        read_quota({"request_per_minute": 60}, "limits")


def test_limits_must_be_a_table() -> None:
    """A bare number says nothing about its window."""
    with pytest.raises(ConfigError, match="requests_per_minute = 500"):
        read_quota(60, "limits")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("preset", "start"), [("free", (3, 1.0)), ("paid", (8, 2.0)), ("self-hosted", (4, None))]
)
def test_a_preset_is_where_a_lane_starts(preset: str, start: tuple[int, float | None]) -> None:
    """A preset sets the start and pins nothing; what is told beside it wins."""
    quota = read_quota({}, "limits", preset=preset)
    assert (quota.concurrency, quota.rate_start, quota.pinned) == (*start, False)
    assert read_quota({"concurrency": 2}, "limits", preset=preset).concurrency == 2


def test_an_unknown_preset_is_an_error() -> None:
    """A misspelt preset names the one that was meant."""
    with pytest.raises(ConfigError, match="unknown preset") as raised:
        read_quota({}, "limits", preset="payed")
    assert "paid" in str(raised.value.remedy)


@pytest.mark.parametrize("value", [True, False, None])
def test_whether_tokens_come_back_may_be_told(value: bool | None) -> None:
    """What is said is taken as it is; what is not said is left to be found out."""
    refunded = read_refunded(value, "[providers.x] tokens_refunded")
    assert refunded is value
    assert read_quota({}, "limits", tokens_refunded=refunded).tokens_refunded is value


@pytest.mark.parametrize("value", ["true", 1, 0.5, []])
def test_whether_tokens_come_back_is_yes_or_no(value: Any) -> None:
    """Anything else is shown, with its place and what to do."""
    with pytest.raises(ConfigError) as caught:
        read_refunded(value, "[providers.x] tokens_refunded")
    assert caught.value.place == "[providers.x] tokens_refunded"
    assert repr(value) in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("table", "concurrency", "preset"),
    [
        ({}, 4, None),
        ({}, None, "paid"),
        ({"requests_per_minute": 60}, None, None),
        ({"images_per_day": 9}, None, None),
    ],
)
def test_the_size_of_batches_matters_only_where_nothing_is_told(
    table: dict[str, float], concurrency: int | None, preset: str | None
) -> None:
    """A start, a preset or any limit is somebody's word: no batch widens that start."""
    quota = read_quota(table, "limits", concurrency, preset)
    assert not quota.advised
    assert quota.concurrency == (concurrency or CONCURRENCY_START)


def test_the_start_follows_the_advice_by_batch_size() -> None:
    """10 to 20 items begin with 3 to 5 in flight, up to 100 with 5 to 8, more with 8 to 12."""
    sizes = (0, 1, 10, 15, 20, 60, 100, 101, 300, 500, 10**12)
    assert [start_width(items) for items in sizes] == [3, 3, 3, 4, 5, 6, 8, 8, 10, 12, 12]
    widths = [start_width(items) for items in range(600)]
    assert widths == sorted(widths)
