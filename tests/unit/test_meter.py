"""What a process counts: exactly, under labels that strangers cannot multiply."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headrace.meter import LANES_MAX, LATENCY_BOUNDS_S, MODELS_MAX, Latency, Meter, public_lane


def test_models_behind_the_first_so_many_are_one() -> None:
    """Whoever names ten thousand models adds one series, and no call is lost from the sums."""
    meter = Meter()
    for number in range(10_000):
        meter.ended("p", f"m{number}", f"l{number}", "success", 1.0)
        meter.result("p", f"m{number}", "bought", 7)
        meter.cost("p", f"m{number}", 5, None)
    assert len(meter.latency) == MODELS_MAX + 1
    assert len({lane for _, _, lane, _ in meter.attempts}) == LANES_MAX + 1
    assert meter.attempts.total() == 10_000
    assert meter.results["p", "other", "bought"] == 10_000 - MODELS_MAX
    assert meter.artifact_bytes.total() == 70_000
    assert meter.cost_microusd.total() == 50_000


def test_a_model_that_was_known_stays_itself() -> None:
    """Those that came first keep their own series when there are too many."""
    meter = Meter()
    for number in range(2 * MODELS_MAX):
        meter.maker("p", f"m{number}")
    assert meter.maker("p", "m0") == ("p", "m0")
    assert meter.maker("q", "new") == ("q", "other")


def test_told_costs_and_estimates_are_apart() -> None:
    """An estimate counts only where nothing was told; a cost of nothing is no sample."""
    meter = Meter()
    meter.cost("p", "m", 5, 9)
    meter.cost("p", "m", None, 9)
    meter.cost("p", "m", 0, 9)
    meter.cost("p", "m", None, None)
    assert dict(meter.cost_microusd) == {("p", "m", "told"): 5, ("p", "m", "estimated"): 9}


@pytest.mark.parametrize(
    ("took_s", "place"), [(0.0, 0), (0.05, 0), (0.051, 1), (5.0, 7), (5.1, 8), (9999.0, 17)]
)
def test_a_latency_falls_into_the_class_that_it_fills(took_s: float, place: int) -> None:
    """A bound belongs to the class below it, and the last class has none."""
    latency = Latency()
    latency.note(took_s)
    assert latency.counts.index(1) == place
    assert len(latency.counts) == len(LATENCY_BOUNDS_S) + 1


@pytest.mark.parametrize(
    ("name", "tenant", "shown"),
    [
        ("openai/gpt", "acme", "openai/gpt"),
        ("openai/gpt@acme", "acme", "openai/gpt@own-key"),
        ("openai/gpt@acme/batch", "acme", "openai/gpt@own-key/batch"),
        ("flux@1.1", "1", "flux@1.1"),
        ("x@acmeco", "acme", "x@acmeco"),
        ("a@acme@acme", "acme", "a@acme@own-key"),
    ],
)
def test_a_lane_is_shown_without_its_tenant(name: str, tenant: str, shown: str) -> None:
    """Lanes of own keys are one; a name that only looks so stays."""
    assert public_lane(name, tenant) == shown


def test_counting_loads_nothing() -> None:
    """An engine that nobody watches loads neither Prometheus' client nor OpenTelemetry's SDK."""
    words = (
        "import sys, headrace.engine\n"
        "assert 'prometheus_client' not in sys.modules\n"
        "assert 'opentelemetry.sdk' not in sys.modules\n"
        "assert 'headrace.traces' in sys.modules\n"
        "from headrace.traces import traces_of_process\n"
        "assert traces_of_process()._tracer is None\n"
        "assert 'opentelemetry.sdk' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
