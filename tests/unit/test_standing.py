"""How a lane is said to be doing, from one look to the next."""

from __future__ import annotations

from headrace.gate import LaneNow
from headrace.limits import Dimension, Load, Quota, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer
from headrace.standing import Standing


def test_a_limit_learned_between_two_looks_is_told() -> None:
    """A lane that meets its first refusal, on a limit nobody knew of, goes on being told of."""
    pacer, standing, load = Pacer(Quota(rate_start=2.0), 0.0), Standing(), Load(tokens=100)
    standing.look(LaneNow("a", pacer, 0.0, 0, None), 0.0)
    ticket = pacer.send(load, 1.0)
    said = Said(bucket=Dimension.TOKENS)
    pacer.end(ticket, Outcome(OutcomeKind.RATE_LIMITED, wait_s=0.3, said=said), 1.1)
    assert Dimension.TOKENS in pacer.rates
    for now_s in (2.0, 3.0):
        standing.look(LaneNow("a", pacer, now_s, 0, None), now_s)
    live = standing.live(LaneNow("a", pacer, 3.0, 0, None), "here")
    assert (live["sent"], live["refused"]) == (1, 1.0)
