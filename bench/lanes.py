"""The controller alone, in virtual time, on scenarios drawn by lot: hundreds a minute.

python -m bench.lanes                        200 drawn scenarios, seed 1000
python -m bench.lanes --fixed                the benchmark's own, for comparison only
python -m bench.lanes --kind shared --verbose
python -m bench.lanes --fixed --only shared --draws 16
python -m bench.lanes --told --draws 2       told limits of every kind, every form of the wait
python -m bench.lanes --duration 300 --learning 100

``--draws`` runs each scenario so often, with other arrivals, latencies and late calls each time,
and prints the mean and the worst of them.

Limits, hints, headers, other users and changes are the simulator's; database and network
are an assumed delay. What it shows is where a decision is wrong, not what an engine costs.
"""

from __future__ import annotations

import argparse
import heapq
import math
import multiprocessing
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from random import Random
from statistics import mean
from typing import Any

from bench.admission.cases import all_cases
from bench.admission.drawn import draw
from bench.admission.measured import Measured, Span, windows_filled
from bench.admission.scenario import Scenario
from bench.admission.targets import TARGETS
from bench.admission.told import told_cases
from headrace.limits import Dimension, Limit, Load, Said
from headrace.outcome import Outcome, OutcomeKind
from headrace.pacing import Pacer, Ticket
from headrace.providers.remote.quotas import read_quota
from headrace.simulator.chances import Places, fault_of, latency_s
from headrace.simulator.makespan import Snapshot, Work, ideal_from
from headrace.simulator.rules import Admitted, Refused
from headrace.simulator.settings import STRAY, Settings
from headrace.simulator.terms import lane_rules, standing
from headrace.simulator.truth import Entry

LEAD_S, REFUSAL_S, ANSWER_S = 0.01, 0.025, 0.003
LATE_S, LATE_SHARE, LATER_S = 0.0015, 0.03, 0.008
"""Calls leave up to ``LATE_S`` late, some of them up to ``LATER_S``: a busy machine's timers."""
PATIENCE, PATIENCE_S = 1.6, 20.0
NAMED = ("text", "body", "seconds", "date", "float", "ms", "retryinfo", "true", "none")


_STRAY = Refused(Dimension.REQUESTS, STRAY, math.inf)
"""A refusal for no limit, without a wait."""


@dataclass
class Run:
    """A pacer against the rules of a scenario; times in seconds from the first call."""

    case: Scenario
    seed: int = 1
    entries: list[Entry] = field(default_factory=list)
    snapshot: Snapshot | None = None
    done: int = 0

    def __post_init__(self) -> None:
        self.settings: Settings = self.case.built()
        self.rules = lane_rules(self.settings)
        self.fresh = self.rules.copy()
        count = self.case.count(self.seed)
        self.loads = [work.load for work in self.case.works(count, self.seed)]
        self.random = Random(f"{self.case.name}/{self.seed}")
        self.pacer = Pacer(read_quota(dict(self.case.told), "limits"), 0.0)
        self.pacer.width.advise(count)
        self.events: list[tuple[float, int, Ticket, Admitted | Refused, Entry]] = []
        self.open: dict[int, tuple[float, Admitted]] = {}
        self.last_s = 0.0
        self.sent = 0
        self.admitted = 0
        self.places = Places(self.settings.latency.slots)

    def run(self) -> Measured:
        """Send everything, or what can be sent in the time given; returns the figures."""
        line, now_s, pacer = list(reversed(self.loads)), 0.0, self.pacer
        until_s = self.case.duration_s * PATIENCE + PATIENCE_S
        while self.done < len(self.loads) and now_s < until_s:
            next_s = self.events[0][0] if self.events else math.inf
            wait_s = pacer.wait_s(line[-1], now_s) if line else math.inf
            if wait_s <= LEAD_S:
                self._send(line.pop(), now_s, wait_s)
                continue
            wake_s = now_s + wait_s - LEAD_S
            if next_s <= wake_s:
                now_s = next_s
                again = self._end(now_s)
                if again is not None:
                    line.append(again)
            else:
                now_s = wake_s + 1e-5
        return self._measured()

    def _late_s(self) -> float:
        more = self.random.random() < LATE_SHARE
        return 0.0005 + self.random.uniform(0, LATER_S if more else LATE_S)

    def _send(self, load: Load, now_s: float, wait_s: float) -> None:
        ticket = self.pacer.send(load, now_s, wait_s)
        late_s = self._late_s()
        left = getattr(self.pacer, "left", None)
        if left is not None:
            left(ticket, now_s + wait_s + late_s)
        at_s = self.last_s = max(self.last_s, now_s + wait_s + late_s + 0.0003)
        if self.snapshot is None and at_s >= self.case.learning_s:
            self._keep()
        self.sent += 1
        fault = fault_of(self.settings, self.sent, at_s)
        stray = fault is not None and fault.kind == STRAY
        verdict = _STRAY if stray else self.rules.admit(load, at_s)
        good = isinstance(verdict, Admitted)
        took_s = REFUSAL_S
        if good:
            took_s = latency_s(self.settings, self.admitted)
            placed = self.places.enter(at_s, took_s)
            took_s = took_s if placed is None else placed[1] - at_s
            self.admitted += 1
            self.open[self.sent] = (at_s + took_s, verdict)
        entry = Entry(
            at_s, "openai", "m", load.requests, load.tokens, load.images,
            "admitted" if good else "refused", "" if good else verdict.dimension.value, "",
            at_s + took_s, 200 if good else 429, str(self.sent), good, good, len(self.open), None,
        )  # fmt: skip
        heapq.heappush(self.events, (at_s + took_s + ANSWER_S, self.sent, ticket, verdict, entry))

    def _keep(self) -> None:
        self.rules.advance(self.case.learning_s)
        busy = [(max(end_s, self.case.learning_s), one) for end_s, one in self.open.values()]
        self.snapshot = Snapshot(self.case.learning_s, self.rules.copy(), self.admitted, busy)

    def _end(self, now_s: float) -> Load | None:
        """Let a call end; returns what goes back in line."""
        _, number, ticket, verdict, entry = heapq.heappop(self.events)
        self.entries.append(entry)
        self.last_s = max(self.last_s, entry.ended_s)
        limits = self._announced(entry.ended_s)
        if isinstance(verdict, Refused):
            named = self.settings.retry_after in NAMED and verdict is not _STRAY
            said = Said(limits, verdict.dimension if named else None)
            told = Outcome(OutcomeKind.RATE_LIMITED, wait_s=self._hint(verdict, now_s), said=said)
            self.pacer.end(ticket, told, now_s)
            return ticket.load
        self.rules.finish(verdict, self.last_s)
        self.open.pop(number)
        self.done += 1
        said = Said(limits, tokens=ticket.load.tokens)
        self.pacer.end(ticket, Outcome(OutcomeKind.SUCCESS, said=said), now_s)
        return None

    def _announced(self, now_s: float) -> tuple[Limit, ...]:
        terms = self.settings.headers
        if terms.kind == "none":
            return ()
        factor = terms.factor if terms.kind == "misleading" else 1.0
        self.rules.advance(self.last_s)
        found = []
        for rule in self.rules.rules:
            here = standing(rule.limiter, self.last_s)
            amount, left = math.floor(here.amount * factor), math.floor(here.remaining * factor)
            found.append(Limit(rule.dimension, amount, here.window_s, left, here.reset_s))
        return tuple(found)

    def _hint(self, refused: Refused, now_s: float) -> float | None:
        form, wait_s = self.settings.retry_after, refused.wait_s
        if form == "none" or math.isinf(wait_s):
            return None
        if refused.dimension is Dimension.CONCURRENCY:
            wait_s = self.settings.busy_wait_s
        if form in ("seconds", "body"):
            return float(max(1, math.ceil(wait_s)))
        if form == "date":
            return math.ceil(now_s + 0.37 + wait_s) - math.floor(now_s + 0.37)
        return math.ceil(wait_s * 1000) / 1000

    def _measured(self) -> Measured:
        case = self.case
        seen = Measured(case.name, "virtual", case.situation, len(self.loads), delivered=self.done)
        good = sorted(
            (one for one in self.entries if one.verdict == "admitted"), key=lambda e: e.arrived_s
        )
        seen.whole = self._span(0.0, good, Snapshot(0.0, self.fresh))
        if self.snapshot is not None:
            seen.after = self._span(case.learning_s, good, self.snapshot)
            seen.after.filled = windows_filled(self.entries, self.settings, case.learning_s)
        return seen

    def _span(self, from_s: float, good: list[Entry], start: Snapshot) -> Span:
        late = [one for one in good if one.arrived_s >= from_s]
        works = [Work(Load(one.requests, one.tokens, one.images)) for one in late]
        refused = sum(e.verdict == "refused" and e.arrived_s >= from_s for e in self.entries)
        span = Span(requests=len(late) + refused, refused=refused)
        if late:
            span.ideal_s = ideal_from(self.settings, works, start)
            span.achieved_s = max(one.ended_s for one in late) - from_s
        return span


def one_run(drawn: tuple[Scenario, int]) -> Measured:
    """Return what a scenario came to; its draw changes who else comes when, and what is late.

    The first draw is the scenario as the benchmark has it, with a window that begins with the
    run; in the others windows have begun before.
    """
    case, draw_number = drawn
    if draw_number > 1:
        seed = case.settings.get("seed", 1) + 1000 * (draw_number - 1)
        case = replace(case, settings=_under_way(case.settings, seed))
    return Run(case, draw_number).run()


def _under_way(settings: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return settings with another seed, and windows that begin at a moment drawn by it."""
    random = Random(f"under way/{seed}")
    limits = [
        one | {"offset_s": round(random.uniform(0.0, one.get("window_s", 60.0)), 3)}
        for one in settings["limits"]
    ]
    return settings | {"seed": seed, "limits": limits}


def line(seen: Measured) -> str:
    """Return one scenario's figures in a line."""
    after, whole = seen.after.utilisation or 0.0, seen.whole.utilisation or 0.0
    return (
        f"{seen.scenario:16} util {whole:6.1%} after {after:6.1%}  refused "
        f"{seen.whole.refused_share:6.2%} after {seen.after.refused_share:6.2%}  "
        f"{'; '.join(missed(seen))}"
    )


def missed(seen: Measured) -> list[str]:
    """Return which of its targets a run missed; memory is not measured here."""
    said = TARGETS[seen.situation].missed(seen)
    return [one for one in said if not one.startswith("peak")]


def _chosen(options: argparse.Namespace) -> list[Scenario]:
    """Return the scenarios that are asked for."""
    if options.fixed:
        cases = all_cases()
    elif options.told:
        cases = list(told_cases())
    else:
        cases = [draw(options.seed, number + 1) for number in range(options.count)]
    cases = [
        one for one in cases if one.kind == "plain" and one.name not in ("high-rate", "faults")
    ]
    cases = [one for one in cases if not options.only or one.name in options.only]
    cases = [one for one in cases if not options.kind or one.situation.startswith(options.kind)]
    if options.duration is not None:
        cases = [replace(one, duration_s=options.duration, items=None) for one in cases]
    if options.learning is not None:
        cases = [replace(one, learning_s=options.learning) for one in cases]
    return cases


def main() -> None:
    """Run the scenarios asked for and print sums by situation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--fixed", action="store_true", help="the benchmark's own scenarios")
    parser.add_argument("--told", action="store_true", help="told limits of every kind")
    parser.add_argument("--only", action="append", help="scenarios of this name")
    parser.add_argument("--kind", help="only scenarios whose situation begins so")
    parser.add_argument("--verbose", action="store_true", help="a line for each that missed")
    parser.add_argument("--draws", type=int, default=1, help="runs of each scenario")
    parser.add_argument("--duration", type=float, help="seconds that the ideal client needs")
    parser.add_argument("--learning", type=float, help="seconds that count as learning")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    cases = _chosen(options)
    if not cases:
        parser.error("no scenario of that name or kind; see bench/admission/cases.py")
    began = time.monotonic()
    with multiprocessing.Pool(options.jobs) as pool:
        runs = [(case, number + 1) for case in cases for number in range(options.draws)]
        found = pool.map(one_run, runs, chunksize=1)
    sums: dict[str, list[Measured]] = defaultdict(list)
    for (case, _), seen in zip(runs, found, strict=True):
        sums[case.name if options.draws > 1 else seen.situation].append(seen)
        if options.verbose and (options.fixed or options.only or missed(seen)):
            print(line(seen), "|", case.title)
    print(f"{'situation':22} runs  met   util  worst  p10   refused p90  whole-util")
    for name, group in sorted(sums.items()):
        report(name, group)
    report("all", found)
    print(f"took {time.monotonic() - began:.0f} s")


def report(name: str, group: list[Measured]) -> None:
    """Print what a group of scenarios came to."""
    utils = sorted(one.after.utilisation or 0.0 for one in group)
    refused = sorted(one.after.refused_share for one in group)
    whole = mean(one.whole.utilisation or 0.0 for one in group)
    met = sum(not missed(one) for one in group)
    print(
        f"{name:22} {len(group):4} {met:4}  {mean(utils):6.1%} {utils[0]:6.1%} "
        f"{utils[len(utils) // 10]:6.1%} {mean(refused):6.2%} "
        f"{refused[-1 - len(refused) // 10]:6.2%} {whole:6.1%}"
    )


if __name__ == "__main__":
    main()
