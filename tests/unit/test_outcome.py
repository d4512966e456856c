"""Outcomes: a closed set, each with exactly one decision."""

from __future__ import annotations

import pytest

from headrace.outcome import DECISIONS, CallFailed, Decision, Outcome, OutcomeKind, failed


@pytest.mark.parametrize("kind", list(OutcomeKind))
def test_every_kind_has_one_decision(kind: OutcomeKind) -> None:
    """Each way to end leads to one of the known ways on."""
    assert DECISIONS[kind] in Decision
    assert Outcome(kind).decision is DECISIONS[kind]


def test_every_decision_is_used() -> None:
    """No way on stands in the set without an outcome that leads to it."""
    assert set(DECISIONS.values()) == set(Decision)
    assert set(DECISIONS) == set(OutcomeKind)


def test_only_success_succeeds() -> None:
    """No failure is ever taken for a success."""
    good = [kind for kind, decision in DECISIONS.items() if decision is Decision.SUCCEED]
    assert good == [OutcomeKind.SUCCESS]


@pytest.mark.parametrize("kind", [OutcomeKind.UNKNOWN, OutcomeKind.LOST_RESULT])
def test_what_may_be_paid_is_never_simply_retried(kind: OutcomeKind) -> None:
    """A call whose result is not in hand but may be billed is asked about, not repeated."""
    assert DECISIONS[kind] is Decision.ASK


def test_failed_carries_its_outcome() -> None:
    """``failed`` gives an exception with the outcome, its reason as text."""
    failure = failed(OutcomeKind.RATE_LIMITED, "too many", wait_s=2.0, remedy="wait")
    assert isinstance(failure, CallFailed)
    assert failure.outcome == Outcome(
        OutcomeKind.RATE_LIMITED, "too many", remedy="wait", wait_s=2.0
    )
    assert str(failure) == "too many"
    assert str(CallFailed(Outcome(OutcomeKind.AUTH))) == "auth"
