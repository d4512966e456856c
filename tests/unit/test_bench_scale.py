"""The model of ``bench.scale``: nothing gets lost in it, and it keeps to the closed formulas."""

from __future__ import annotations

import random
from functools import partial

import pytest

from bench.scale.events import Lock, Log, Servers, Simulation
from bench.scale.model import Costs, Fleet, closed, opened
from bench.scale.report import fitted
from bench.scale.workers import Point

COSTS = Costs(worker_s=400e-6, commit_s=1e-3, item_s=300e-6)
SMALL = Fleet(workers=20, lanes=50, cores=4, call_s=0.5)


def test_a_server_with_a_line_waits_as_the_formula_for_m_m_1_says() -> None:
    """At arrivals of 0.7 and services of 1 a second, a customer stays 1 / (1 - 0.7) seconds."""
    simulation, chance = Simulation(), random.Random(5)
    server, stays_s = Servers(simulation, 1), list[float]()

    def arrive() -> None:
        came_s = simulation.now_s
        server.take(chance.expovariate(1.0), lambda: stays_s.append(simulation.now_s - came_s))

    at_s = 0.0
    for _ in range(60_000):
        at_s += chance.expovariate(0.7)
        simulation.after(at_s, arrive)
    simulation.run()
    assert len(stays_s) == 60_000
    assert sum(stays_s) / len(stays_s) == pytest.approx(1.0 / 0.3, rel=0.08)


def test_a_lock_is_held_by_one_at_a_time_in_the_order_of_asking() -> None:
    """Ten holders of a second each take ten seconds, one after the other."""
    simulation = Simulation()
    lock, ended = Lock(simulation), list[tuple[int, float]]()

    def hold(number: int) -> None:
        lock.take(partial(simulation.after, 1.0, free, number))

    def free(number: int) -> None:
        ended.append((number, simulation.now_s))
        lock.release()

    for number in range(10):
        simulation.after(0.0, hold, number)
    simulation.run()
    assert ended == [(number, number + 1.0) for number in range(10)]
    assert lock.held_s == pytest.approx(10.0)


def test_a_log_flushes_once_for_all_who_came_before_it_began() -> None:
    """Who comes during a flush shares the next one, however many they are."""
    simulation = Simulation()
    log, done = Log(simulation, 1.0), list[float]()
    for at_s in (0.0, 0.2, 0.4, 0.6):
        simulation.after(at_s, log.flush, lambda: done.append(simulation.now_s))
    simulation.run()
    assert done == [1.0, 2.0, 2.0, 2.0]
    assert log.flushes == 2


@pytest.mark.parametrize("workers", [1, 3])
def test_every_item_of_a_batch_ends_once(workers: int) -> None:
    """What goes in comes out, each with one start and one settle."""
    seen = closed(workers, 64, 3_001, 2, COSTS)
    assert seen.items_in == seen.items_out == 3_001
    assert seen.writes == 2 * 3_001
    assert 1.0 <= seen.group <= 400.0


def test_a_batch_never_goes_faster_than_its_work_allows() -> None:
    """The cores' time is a bound, and one worker's loop is another."""
    for workers in (1, 2, 4):
        seen = closed(workers, 512, 5_000, 2, COSTS)
        work_s = 5_000 * (COSTS.worker_s + COSTS.item_s) + seen.commits * COSTS.commit_s
        assert seen.ended_s >= max(work_s / 2, 5_000 * COSTS.worker_s / workers)


@pytest.mark.parametrize("owned", [False, True])
def test_every_item_of_a_fleet_ends_and_its_lanes_are_stepped(owned: bool) -> None:
    """What comes in goes out; without owners each call steps its lane at both ends."""
    fleet = Fleet(workers=20, lanes=50, cores=4, call_s=0.5, owned=owned)
    seen = opened(fleet, 200.0, 5.0, COSTS, seed=3)
    assert 800 < seen.items_in == seen.items_out < 1_200
    assert seen.steps == (0 if owned else 2 * seen.items_in)
    work_s = seen.items_in * COSTS.item_s + seen.commits * COSTS.commit_s
    work_s += seen.steps * COSTS.step_s
    assert seen.database_cores * 5.0 == pytest.approx(work_s)


def test_the_same_seed_gives_the_same_figures() -> None:
    """A run can be made again exactly."""
    first, second = (opened(SMALL, 100.0, 3.0, COSTS, seed=9) for _ in range(2))
    assert first == second
    assert first != opened(SMALL, 100.0, 3.0, COSTS, seed=10)


def test_costs_are_found_again_from_points_that_follow_them() -> None:
    """Points that were made from known costs give those costs back, idle work taken off."""
    points = [
        Point(
            1, wide, 1_000, 0.1, 10.0, 0.4, 1_000 * (300e-6 + each * 2e-3) + 10.0 * 0.01,
            each + 10.0 * 5.0 / 1_000, 10, 5_000, 3_000, 5.0, 0.02, 0.01, 0.0, 1.0, 0.001, each,
        )
        for wide, each in ((512, 0.02), (64, 0.1), (8, 0.3))
    ]  # fmt: skip
    costs = fitted(points)
    assert costs.commit_s == pytest.approx(2e-3)
    assert costs.item_s == pytest.approx(300e-6)
    assert costs.worker_s == pytest.approx(400e-6)
