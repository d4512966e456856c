"""The arithmetic of the admission benchmark: what it counts, what it draws, what it calls met."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import pytest

from bench.admission.__main__ import shown
from bench.admission.byhand import retry_after_s
from bench.admission.cases import all_cases
from bench.admission.drawn import draw
from bench.admission.job import Job, Told
from bench.admission.measured import (
    Measured,
    Outage,
    Span,
    items_delivered,
    outage_figures,
    refused_since,
    windows_filled,
)
from bench.admission.page import outage_lines, page, random_lines, row, verdict
from bench.admission.scenario import Scenario, told_rates
from bench.admission.schedule import Places
from bench.admission.targets import TARGETS
from headrace.simulator.makespan import ideal_s
from headrace.simulator.scenario import build_settings
from headrace.simulator.settings import Settings
from headrace.simulator.truth import Entry


def entry(
    arrived_s: float, verdict: str = "admitted", ended_s: float = 0.0, key: str = ""
) -> Entry:
    good = verdict == "admitted"
    return Entry(
        arrived_s, "openai", "m", 1, 10, 0, verdict, "", "", ended_s or arrived_s + 0.1,
        200 if good else 429, key or f"k{arrived_s}", good, good, 0, None,
    )  # fmt: skip


def seen(situation: str = "told", **more: object) -> Measured:
    found = Measured("told-gcra", "ours", situation, items=100, delivered=100)
    found.after = Span(50.0, 50.2, 100, 0)
    found.told = Told(succeeded=100)
    for name, value in more.items():
        setattr(found, name, value)
    return found


def test_utilisation_is_the_ideal_time_by_the_time_taken_and_never_above_one() -> None:
    assert Span(90.0, 100.0).utilisation == pytest.approx(0.9)
    assert Span(100.1, 100.0).utilisation == 1.0
    assert Span(None, 100.0).utilisation is None
    assert Span(10.0, 0.0).utilisation is None


def test_only_requests_after_learning_count_as_refused_after_it() -> None:
    calls = [entry(1, "refused"), entry(9), entry(10, "refused"), entry(11), entry(12)]
    assert refused_since(calls, 10.0) == (3, 1)
    assert refused_since([], 10.0) == (0, 0)


def windows(kind: str, amount: int, window_s: float) -> Settings:
    one = {"kind": kind, "amount": amount, "window_s": window_s}
    return build_settings({"limits": [one]})


def test_limits_that_count_by_windows_are_compared_by_whole_windows() -> None:
    # Ten windows of ten a second: nine in each, and two more refused, which fill nothing.
    calls = [entry(at + part / 10) for at in range(10) for part in range(9)]
    calls += [entry(5.05, "refused"), entry(6.05, "refused")]
    assert windows_filled(calls, windows("fixed", 10, 1.0), 2.5) == pytest.approx(0.9)
    assert windows_filled(calls, windows("sliding", 10, 1.0), 2.0) == pytest.approx(0.9)
    assert windows_filled(calls, windows("bucket", 10, 1.0), 2.0) is None
    assert windows_filled(calls, windows("fixed", 10, 1.0), 9.5) is None
    assert windows_filled([], windows("fixed", 10, 1.0), 0.0) is None
    assert Span(1.0, 2.0, filled=0.9).utilisation == 0.9


def test_what_another_user_of_the_key_took_is_not_asked_of_us() -> None:
    one = {"kind": "fixed", "amount": 100, "window_s": 10.0}
    shared = build_settings({"limits": [one], "other": {"share": 0.4}})
    calls = [entry(at / 6) for at in range(6 * 100)]
    assert windows_filled(calls, shared, 0.0) == pytest.approx(1.0, abs=0.06)
    assert windows_filled(calls, windows("fixed", 100, 10.0), 0.0) == pytest.approx(0.6)


def test_an_item_that_was_delivered_twice_is_one_item() -> None:
    calls = [entry(1, key="a"), entry(2, key="a"), entry(3, key="b"), entry(4, "refused", key="c")]
    assert items_delivered(calls) == 2


RATE = 10.0


def healthy(from_s: float, until_s: float) -> list[Entry]:
    """Calls at the rate of a healthy lane, each delivered at once."""
    return [
        entry(at / RATE, ended_s=at / RATE) for at in range(int(from_s * 10), int(until_s * 10))
    ]


def outage(calls: list[Entry]) -> Outage:
    """What an outage from 20 to 40 s did to such a lane."""
    return outage_figures(calls, 20.0, 40.0, RATE)


def test_amplification_is_requests_by_items_delivered_over_the_whole_run() -> None:
    """Pacing bounds requests a minute, not retries: who sends each item twice is told 2."""
    during = [entry(20 + at, "outage") for at in range(20)]
    seen = outage([*healthy(0, 20), *during, *healthy(47, 77)])
    assert seen.amplification == pytest.approx(520 / 500)
    assert seen.during == 20
    assert seen.peak == pytest.approx((200 + 20 + 130) / 600, abs=0.01)
    twice = [
        one._replace(verdict=verdict, delivered=verdict == "admitted")
        for one in healthy(0, 60)
        for verdict in ("outage", "admitted")
    ]
    assert outage(twice).amplification == pytest.approx(2.0)
    assert outage(during).amplification is None


def test_an_outage_is_recovered_from_when_the_goodput_is_back_and_stays() -> None:
    """A lane that falls back within half a minute has not recovered, however fast it was."""
    before = healthy(0, 20)
    assert outage([*before, *healthy(47, 77)]).recovery_s == pytest.approx(7.0)
    fell_back = [*before, *healthy(42, 53), *healthy(60, 95)]
    assert outage(fell_back).recovery_s == pytest.approx(20.0)
    assert outage([*before, *healthy(47, 59)]).recovery_s == pytest.approx(7.0)
    assert outage(before).recovery_s is None
    assert outage([*before, *healthy(47, 77)[::2]]).recovery_s is None


def test_the_target_of_an_outage_is_about_requests_by_items_and_recovery() -> None:
    """What was missed is named with what was seen; nothing measured is not met."""
    target = TARGETS["outage"]
    assert target.missed(seen("outage", outage=Outage(1.02, 1.02, 5, 3.0))) == []
    missed = target.missed(seen("outage", outage=Outage(1.3, 1.02, 5, None)))
    assert missed == ["amplification 1.30 > 1.10", "recovery unknown > 60 s"]
    assert len(target.missed(seen("outage"))) == 2


def test_the_outage_is_told_in_the_line_of_a_run_and_on_the_page() -> None:
    """Both figures and the recovery, for every client."""
    ours = seen("outage", outage=Outage(1.016, 1.02, 5, 3.0))
    other = seen("outage", client="A", outage=Outage(1.25, 1.5, 40, None))
    told = row(ours)
    assert "requests by items 1.016" in told
    assert "busiest minute 1.02 of the rate" in told
    assert "goodput back after 3 s" in told
    assert outage_lines([ours, other, seen()])[1:] == [
        "| ours | 1.016 | 1.02 | 5 | after 3 s |",
        "| A | 1.250 | 1.50 | 40 | never |",
    ]
    assert outage_lines([seen()]) == []


def test_the_page_says_which_targets_are_our_own() -> None:
    """Those of strays and of what is drawn and fits no line of the design's, with their numbers."""
    text = " ".join(page([], [], 0.0, []).split())
    assert "`strays`, where 3 in 100 are refused whatever one does (≥ 80%, refused ≤ 6.0%)" in text
    assert "those are our own choice" in text


def test_a_target_is_missed_by_what_is_below_it_lost_or_paid_twice() -> None:
    target = TARGETS["told"]
    assert target.missed(seen()) == []
    assert "98.0% < 99.0%" in target.missed(seen(after=Span(49.0, 50.0, 100, 0)))[0]
    assert "1.00% > 0.20%" in target.missed(seen(after=Span(50.0, 50.0, 100, 1)))[0]
    assert target.missed(seen(delivered=99)) == ["1 of 100 items not delivered"]
    assert target.missed(seen(paid_twice=2)) == ["2 paid twice"]
    broke = Told(errors={"broke: KeyError": 1, "{'kind': 'invalid'}": 1})
    assert target.missed(seen(told=broke)) == ["broke: KeyError"]
    assert "unknown" in target.missed(seen(after=Span(None, None, 100, 0)))[0]


def test_a_scenario_that_was_skipped_is_shown_as_skipped_and_never_as_met() -> None:
    skipped = seen(skipped="there is no such gate")
    assert verdict(skipped) == "skipped: there is no such gate"
    assert "skipped" in row(skipped)


def test_so_many_items_are_asked_for_that_the_ideal_client_needs_the_whole_time() -> None:
    for case in all_cases()[:12]:
        count, settings = case.count(1), case.built()
        loads = [work.load for work in case.works(count, 1)]
        assert ideal_s(settings, loads) >= case.duration_s > ideal_s(settings, loads[:-1])


def test_the_same_seed_gives_the_same_items_and_the_first_ones_do_not_change() -> None:
    case = all_cases()[0]
    assert list(case.rows(20, 3))[:10] == list(case.rows(10, 3))
    assert list(case.rows(10, 3)) != list(case.rows(10, 4))
    prompts = [item.prompt for item in case.rows(200, 1)]
    assert len(set(prompts)) == 200


def test_scenarios_drawn_by_lot_are_valid_and_follow_from_the_seed_alone() -> None:
    for number in range(1, 101):
        case = draw(5, number)
        assert case == draw(5, number)
        case.built()
        assert case.situation in TARGETS
        rate = next(iter(case.true_rates().values()))
        assert rate > 1.0


def test_every_fixed_scenario_is_valid_has_a_target_and_a_name_of_its_own() -> None:
    cases = all_cases()
    assert len({case.name for case in cases}) == len(cases) >= 26
    for case in cases:
        case.built()
        assert case.situation in TARGETS
        assert bool(case.told) == (case.know == "told")


def test_told_limits_become_rates_a_second() -> None:
    table = {"requests_per_minute": 600, "tokens_per_second": 5, "concurrency": 8}
    assert told_rates(table) == {"requests": 10.0, "tokens": 5}


def test_what_is_told_in_a_limits_table_is_the_truth() -> None:
    for case in all_cases():
        for name, rate in told_rates(case.told).items():
            assert case.true_rates()[name] == pytest.approx(rate)


def test_a_client_by_hand_reads_seconds_and_dates() -> None:
    assert retry_after_s("2.5") == 2.5
    assert retry_after_s("") == 0.0
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


def test_the_worst_and_the_median_of_the_drawn_scenarios_are_reported() -> None:
    found = []
    for number, used in enumerate((0.5, 0.9, 0.99), 1):
        one = seen(after=Span(100 * used, 100.0, 100, number))
        one.scenario = f"random-{number}"
        found.append(one)
    line = random_lines(found)[-1]
    assert "90.0%" in line
    assert "50.0% (random-1)" in line
    assert "3.00%" in line
    assert random_lines([]) == []


async def test_a_run_that_needs_the_whole_machine_has_it_alone() -> None:
    places, order = Places(4), []

    async def run(name: str, units: int) -> None:
        async with places.taken(units):
            order.append(f"{name} begins")
            for _ in range(5):
                await asyncio.sleep(0)
            order.append(f"{name} ends")

    await asyncio.gather(run("a", 2), run("b", 2), run("whole", 99), run("c", 1))
    assert order[:2] == ["a begins", "b begins"]
    at = order.index("whole begins")
    assert order[at + 1] == "whole ends"
    assert order[at + 2] == "c begins"


def test_a_scenario_is_carried_to_the_clients_process_unchanged() -> None:
    for case in all_cases():
        job = Job(url="", home="", scenario=asdict(case), items=1, seed=1, limit_s=1.0)
        assert isinstance(job.case, Scenario)
        assert job.case.name == case.name


def test_the_page_tells_what_was_asked_for_and_not_where_files_lie() -> None:
    given = ["--json", "/tmp/x.json", "--jobs", "4", "--keep=/tmp/logs", "--random", "3"]
    assert shown(given) == ["--jobs", "4", "--random", "3"]
