"""The credit of refusals: what a lane may still afford, and what becomes of an old debt."""

from __future__ import annotations

from headrace.refusal_credit import EACH, FORGIVEN, LEAST, MOST, QUIET_CALLS, RefusalCredit


def accepted(credit: RefusalCredit, calls: int, *, told: bool = False) -> RefusalCredit:
    """Let so many calls be accepted."""
    for _ in range(calls):
        credit.accepted(told=told)
    return credit


def test_accepted_calls_earn_a_refusal_now_and_then() -> None:
    """Of a hidden limit 250 calls earn one, of a told one a thousand; only so much is saved."""
    credit = RefusalCredit(0.0)
    assert round(accepted(credit, 250).left, 6) == 1.0
    assert round(accepted(RefusalCredit(0.0), 1000, told=True).left, 6) == 1.0
    assert accepted(credit, 5000).left == MOST


def test_refusals_and_looks_are_paid() -> None:
    """A refusal takes what it costs, down to a floor; a look is paid before."""
    credit = RefusalCredit(1.0)
    credit.spend(0.5)
    credit.refused(1.0)
    assert credit.left == -0.5
    for _ in range(200):
        credit.refused(1.0)
    assert credit.left == LEAST


def test_an_old_debt_is_forgiven_when_nothing_is_refused_any_more() -> None:
    """A lane that was led down in debt looks up after some hundred quiet calls, not thousands."""
    credit = RefusalCredit(-11.0)
    credit.refused(0.0)
    accepted(credit, QUIET_CALLS - 1)
    assert credit.left < -10.0
    accepted(credit, 200)
    assert FORGIVEN <= credit.left <= FORGIVEN + 0.2
    # From there on it earns what others do: looks that fail stay as rare as they were.
    before = credit.left
    accepted(credit, 100)
    assert round(credit.left - before, 6) == round(100 * EACH, 6)


def test_a_refusal_ends_the_quiet() -> None:
    """Who is refused every 150 calls pays its debt back as slowly as ever."""
    credit = RefusalCredit(-11.0)
    for _ in range(4):
        accepted(credit, 150)
        credit.refused(0.5)
    assert credit.left < -10.0
