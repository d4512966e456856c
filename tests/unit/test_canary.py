"""The canary's verdict, and money in words: pure decisions."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.canary import Seen, is_over, verdict
from headrace.cli.pausing import pause_code
from headrace.errors import UsageError
from headrace.pause import Pause, PauseCode, read_pause
from headrace.price import read_usd, usd_exact


def seen(**more: Any) -> Seen:
    told: dict[str, Any] = dict.fromkeys(
        ("ended", "shut", "succeeded", "cached", "fatal", "calls", "refusals"), 0
    )
    told |= {"items": 3, "calls_untold": 0, "cost_microusd": 0, "latency_p50_ms": None}
    return Seen(**(told | more))


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (seen(ended=3, succeeded=3), None),
        (seen(ended=3, succeeded=2), None),
        (seen(ended=3, succeeded=1), PauseCode.CANARY),
        (seen(items=2, ended=2, succeeded=1), None),
        (seen(items=1, ended=1), PauseCode.CANARY),
        (seen(ended=3, succeeded=2, fatal=1, error={"code": "auth"}), PauseCode.AUTH),
        (
            seen(ended=2, shut=1, succeeded=2, fatal=1, error={"code": "quota_exhausted"}),
            PauseCode.QUOTA_EXHAUSTED,
        ),
    ],
)
def test_more_than_half_failing_or_one_fatal_error_stops(
    found: Seen, code: PauseCode | None
) -> None:
    """Half is still good enough; what every further item would meet is not."""
    why = verdict(found, look_first=False)
    assert (why.code if why is not None else None) == code


def test_who_wants_to_look_is_told_of_failures_first() -> None:
    """A failed canary is no mere look."""
    good = verdict(seen(ended=3, succeeded=3), look_first=True)
    bad = verdict(seen(ended=3), look_first=True)
    assert good is not None
    assert bad is not None
    assert (good.code, bad.code) == (PauseCode.LOOK_FIRST, PauseCode.CANARY)


def test_a_canary_is_over_when_nothing_is_under_way() -> None:
    """An item that waits for a key counts as seen, one that waits for its turn does not."""
    assert is_over(seen(ended=2, shut=1))
    assert not is_over(seen(ended=2))


def test_a_quote_needs_costs_that_are_known() -> None:
    """Where a call did not tell its cost, or all was cached, no price of a row is claimed."""
    assert seen(ended=3, succeeded=3, cached=1, cost_microusd=80_000).cost_each_microusd == 40_000
    assert seen(ended=3, succeeded=3, calls_untold=1).cost_each_microusd is None
    assert seen(ended=3, succeeded=3, cached=3).cost_each_microusd is None


@pytest.mark.parametrize(
    ("code", "exits"),
    [
        (PauseCode.BUDGET, 4),
        (PauseCode.QUOTA_EXHAUSTED, 4),
        (PauseCode.AUTH, 5),
        (PauseCode.CANARY, 3),
        (PauseCode.LOOK_FIRST, 0),
        (PauseCode.PERSON, 0),
    ],
)
def test_each_pause_has_its_exit_code(code: PauseCode, exits: int) -> None:
    """Money is 4, a key is 5, failed rows are 3 for who minds them, a wish is no failure."""
    assert pause_code(Pause(code, ""), minds_failed=True) == exits
    assert pause_code(Pause(code, ""), minds_failed=False) == (0 if exits == 3 else exits)


def test_a_pause_is_read_as_it_was_written() -> None:
    """What the column holds is the pause again; a batch without one has none."""
    why = Pause(PauseCode.BUDGET, "the cap is reached", "Raise it.")
    assert why.event_data().startswith('{"state": "paused"')
    assert read_pause(why.event_data().replace('"state": "paused", ', "")) == why
    assert read_pause(None) is None


@pytest.mark.parametrize(
    ("text", "amount"),
    [("12.50", 12_500_000), ("$3", 3_000_000), ("0", 0), ("0.000001", 1), ("0.0000019", 1)],
)
def test_dollars_are_read_exactly(text: str, amount: int) -> None:
    """Without a detour by floating point; less than a millionth is cut, never rounded up."""
    assert read_usd(text) == amount


@pytest.mark.parametrize("text", ["", "twelve", "-1", "nan", "inf", "1e12", "1,5"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    """A cap that was misread would be none."""
    with pytest.raises(UsageError, match="dollars"):
        read_usd(text)


@pytest.mark.parametrize(
    ("amount", "text"), [(12_500_000, "12.50"), (15_100, "0.0151"), (0, "0.00"), (1, "0.000001")]
)
def test_a_cap_is_shown_to_the_last_digit(amount: int, text: str) -> None:
    """Nobody is told that $0.01 does not fit under $0.01."""
    assert usd_exact(amount) == text
    assert read_usd(text) == amount
