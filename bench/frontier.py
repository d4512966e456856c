"""How much of a shared key anybody can use: the best of clients that know its rates.

python -m bench.frontier                     others take 40 % of 600 a minute, ten at once
python -m bench.frontier --share 0.2 --burst 20

The client knows the limit and the others' mean rate, has no latency, and learns nothing but
what a refusal tells: the exact wait. After one it lets ``rest`` calls' worth come in; then it
sends evenly, ``over`` (a part of what is left to it) above what others leave. What it wastes is
what overflows while the others happen to take less. No pace that is even on average does better
by knowing less, so the line of these is what a controller can be measured against.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from itertools import product

from headrace.limits import ONE_CALL, Dimension
from headrace.simulator.limiters import TokenBucket
from headrace.simulator.rules import LaneRules, OtherTenant, Refused, Rule

RESTS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
OVERS = (-0.12, -0.09, -0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.07, 0.1)
REFUSED = (0.003, 0.005, 0.01, 0.02, 0.03)


@dataclass(frozen=True)
class Point:
    """What one way of sending came to: shares of 1."""

    rest: float
    over: float
    used: float
    refused: float


def send(options: argparse.Namespace, rest: float, over: float) -> Point:
    """Send in virtual time; returns the share used of what others leave, and the refused share."""
    rate, seconds = options.rate, options.seconds
    bucket = TokenBucket(rate, options.burst)
    other = OtherTenant(rate * options.share, seed=options.seed)
    rules = LaneRules([Rule(Dimension.REQUESTS, bucket)], other=other)
    left = rate * (1.0 - options.share)
    now_s, accepted, refused = 0.0, 0, 0
    while now_s < seconds:
        found = rules.admit(ONE_CALL, now_s)
        if isinstance(found, Refused):
            refused += 1
            now_s += found.wait_s + max(0.0, rest - 1.0) / left
        else:
            accepted += 1
            now_s += 1.0 / (left * (1.0 + over))
    rules.advance(seconds)
    there = rate * seconds - rules.other_admitted
    return Point(rest, over, min(1.0, accepted / there), refused / (accepted + refused))


def main() -> None:
    """Print the most that is used for each share of refusals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--rate", type=float, default=10.0, help="calls a second of the limit")
    parser.add_argument("--burst", type=float, default=10.0, help="calls that it holds")
    parser.add_argument("--share", type=float, default=0.4, help="what others take of it")
    parser.add_argument("--seconds", type=float, default=20_000.0, help="virtual time of each way")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    points = [send(options, rest, over) for rest, over in product(RESTS, OVERS)]
    print("refused at most   used of what is left   by resting   and sending")
    for most in REFUSED:
        borne = [one for one in points if one.refused <= most]
        if not borne:
            print(f"{most:15.1%}   nothing tried keeps to that")
            continue
        best = max(borne, key=lambda one: one.used)
        print(
            f"{most:15.1%}   {best.used:12.1%} at {best.refused:.2%}   "
            f"{best.rest:10.0f}   {best.over:+.0%}"
        )


if __name__ == "__main__":
    main()
