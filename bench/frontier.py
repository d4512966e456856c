"""How much of a shared key anybody can use: the best of clients that know its rates.

python -m bench.frontier                     the benchmark's scenarios whose key others use too
python -m bench.frontier shared random-8     these

The client knows the limit and the others' mean rate, has no latency, and learns nothing but
what a refusal tells: the exact wait. After one it lets ``rest`` calls' worth come in; then it
sends evenly, ``over`` (a part of what is left to it) above what others leave. What it wastes is
what overflows while the others happen to take less, and it is refused where they take more. So
the best of these is what a controller that has to learn the rates can be measured against; it
is no bound for one that would not send evenly.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
from dataclasses import dataclass
from itertools import cycle, product
from statistics import mean

from bench.admission.drawn import known_cases
from bench.admission.scenario import Scenario
from bench.admission.targets import TARGETS
from headrace.limits import Load
from headrace.simulator.rules import LaneRules, OtherTenant, Refused, Rule
from headrace.simulator.settings import Settings
from headrace.simulator.terms import lane_rules

RESTS = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 16.0, 32.0)
OVERS = (
    -0.5, -0.4, -0.3, -0.2, -0.15, -0.12, -0.09, -0.06, -0.04, -0.02, 0.0, 0.02, 0.04, 0.07, 0.1,
)  # fmt: skip
REFUSED = (0.005, 0.01, 0.02, 0.05, 0.15)
DRAWN, SEED = 20, 1
LOADS = 2000
AGAIN_S = 0.05
"""Who is refused without a wait, because only the others' going helps, asks again so soon."""


@dataclass(frozen=True)
class Point:
    """What one way of sending came to: shares of 1."""

    rest: float
    over: float
    used: float
    refused: float


@dataclass(frozen=True)
class Way:
    """One way of sending in a scenario, for so many seconds of virtual time."""

    case: Scenario
    rest: float
    over: float
    seconds: float


def send(way: Way) -> Point:
    """Send in virtual time; returns the share used of what others leave, and the refused share."""
    settings = way.case.built()
    lane, other = _shared(settings)
    rule, limit = lane.rules[0], settings.limits[0]
    assert limit.window_s is not None  # a rate, and no number of calls in flight
    rate = limit.amount / limit.window_s
    loads = [work.load for work in way.case.works(LOADS, SEED)]
    costs = [_cost(load, rule) for load in loads]
    left = rate - other.rate * _cost(other.load, rule)
    rest_s = (way.rest - 1.0) * mean(costs) / left
    now_s, accepted, calls, refused = 0.0, 0.0, 0, 0
    line = cycle(zip(loads, costs, strict=True))
    load, cost = next(line)
    while now_s < way.seconds:
        calls += 1
        found = lane.admit(load, now_s)
        if isinstance(found, Refused):
            refused += 1
            now_s += (AGAIN_S if math.isinf(found.wait_s) else found.wait_s) + rest_s
        else:
            accepted += cost
            now_s += cost / (left * (1.0 + way.over))
            load, cost = next(line)
    lane.advance(way.seconds)
    there = rate * way.seconds - lane.other_admitted * _cost(other.load, rule)
    return Point(way.rest, way.over, min(1.0, accepted / there), refused / calls)


def _shared(settings: Settings) -> tuple[LaneRules, OtherTenant]:
    """Return a lane of one limit, and who else uses it; raises ``LookupError`` for others."""
    lane = lane_rules(settings)
    if lane.other is None or len(lane.rules) != 1 or settings.changes:
        raise LookupError("no steady limit alone that others use too")
    return lane, lane.other


def _cost(load: Load, rule: Rule) -> float:
    return float(getattr(load, rule.dimension.value))


def cases(names: list[str]) -> list[Scenario]:
    """Return the scenarios of these names, all that are shared for none; raises ``LookupError``."""
    known = known_cases(SEED, DRAWN)
    shared = {name: one for name, one in known.items() if "shared" in one.situation}
    for name in names:
        if name not in shared:
            raise LookupError(
                f"{name}: others do not use its key" if name in known else f"no scenario {name}"
            )
    return [shared[name] for name in names or shared]


def report(case: Scenario, points: list[Point]) -> None:
    """Print the most that is used of a scenario for each share of refusals."""
    print(f"\n{case.name}: {case.title}; target {TARGETS[case.situation].told()}")
    print("refused at most   used of what is left   by resting   and sending")
    for most in REFUSED:
        borne = [one for one in points if one.refused <= most]
        if not borne:
            print(f"{most:15.1%}   nothing tried keeps to that")
            continue
        best = max(borne, key=lambda one: one.used)
        used = f"{best.used:.1%} at {best.refused:.2%}"
        print(f"{most:15.1%}   {used:>20}   {best.rest:10.0f}   {best.over:+11.0%}")


def main() -> int:
    """Print the most that is used for each share of refusals, scenario by scenario."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("scenario", nargs="*", help="names; none: all whose key is shared")
    parser.add_argument("--seconds", type=float, default=4000.0, help="virtual time of each way")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    try:
        chosen = cases(options.scenario)
    except LookupError as error:
        parser.error(str(error))
    with multiprocessing.Pool(options.jobs) as pool:
        for case in chosen:
            ways = [Way(case, rest, over, options.seconds) for rest, over in product(RESTS, OVERS)]
            report(case, pool.map(send, ways, chunksize=4))
    return 0


if __name__ == "__main__":
    sys.exit(main())
