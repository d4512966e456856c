"""A scenario that cannot be meant is refused with the place and the remedy."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.errors import ConfigError
from headrace.simulator.scenario import build_settings, read_scenario
from headrace.simulator.settings import Settings
from headrace.simulator.terms import lane_rules

INF, NAN = float("inf"), float("nan")
EXAMPLE = Path(__file__).parents[2] / "examples" / "scenario.toml"


def test_the_example_is_valid_and_names_every_setting() -> None:
    """Whoever reads the example has seen everything that can be set."""
    settings = build_settings(read_scenario(EXAMPLE), str(EXAMPLE))
    assert len(settings.limits) == 3
    lane_rules(settings)
    text = EXAMPLE.read_text()
    for name in (field.name for field in msgspec.structs.fields(Settings)):
        assert re.search(rf"^(# )?(\[+)?{name}\b", text, re.MULTILINE), name


@pytest.mark.parametrize(
    ("tree", "said", "remedy"),
    [
        ({"latencies": {}}, "unknown setting 'latencies'", "Did you mean 'latency'?"),
        ({"latency": {"median": 1}}, "unknown setting latency.'median'", "median_s"),
        ({"limits": [{"ammount": 1}]}, "unknown setting limits.'ammount'", "amount"),
        ({"limits": [{"kind": "buket"}]}, "limits.kind = 'buket'", "Did you mean 'bucket'?"),
        ({"limits": [{"amount": 0}]}, "limits, number 1: amount = 0", "above 0"),
        ({"limits": [{"dimension": "concurrency", "amount": 1.5}]}, "1.5 calls", "whole"),
        ({"limits": "many"}, "limits: Expected `array`", "examples/scenario.toml"),
        ({"retry_after": "milliseconds"}, "retry_after = 'milliseconds'", "'seconds'"),
        ({"faults": [{"kind": "504"}]}, "faults.kind = '504'", "'50"),
        ({"faults": [{"kind": "500", "share": 2}]}, "more than all calls", "0 to 1"),
        ({"faults": [{"kind": "500", "from_s": 5, "until_s": 1}]}, "not after from_s", "Swap"),
        ({"changes": [{"at_s": 1, "factor": 0}]}, "stops the lane", "outage"),
        ({"other": {}}, "there are none", "other.rate"),
        ({"shapes": ["openai", "replikate"]}, "'replikate'", "Did you mean 'replicate'?"),
        ({"latency": {"slots": 0}}, "latency.slots = 0", "1 or more"),
        ({"states_limits": "no"}, "states_limits: Expected `bool`", "examples/scenario.toml"),
        ({"crash_class": "E"}, "crash_class = 'E'", "A, B, C, D"),
        ({"limits": [{"dimension": "requsts"}]}, "'requsts'", "Did you mean 'requests'?"),
        (
            {"changes": [{"at_s": 1, "factor": 0.5, "dimension": "token"}]},
            "'token'",
            "Did you mean 'tokens'?",
        ),
        ({"limits": [{"amount": INF}]}, "limits, number 1: amount = inf", "finite"),
        ({"limits": [{}, {"burst": NAN}]}, "limits, number 2: burst = nan", "finite"),
        ({"limits": [{"offset_s": -INF}]}, "limits, number 1: offset_s = -inf", "finite"),
        ({"changes": [{"at_s": 1, "factor": NAN}]}, "changes, number 1: factor = nan", "finite"),
        ({"changes": [{"at_s": INF, "factor": 2}]}, "changes, number 1: at_s = inf", "finite"),
        ({"faults": [{"kind": "500", "from_s": NAN}]}, "faults, number 1: from_s = nan", "finite"),
        ({"faults": [{"kind": "500", "until_s": NAN}]}, "number 1: until_s = nan", "finite"),
        ({"other": {"rate": 1.0, "from_s": NAN}}, "other.from_s = nan", "finite"),
        ({"snapshots_s": [1.0, NAN]}, "snapshots_s = nan", "finite"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(
    tree: dict[str, Any], said: str, remedy: str
) -> None:
    """The message shows what was written, the remedy what to write."""
    with pytest.raises(ConfigError) as caught:
        build_settings(tree, "scenario.toml")
    assert said in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.place == "scenario.toml"


def change(at_s: float, until_s: float | None = None, about: str | None = None) -> dict[str, Any]:
    """Return a change of the limits, for ever or until a moment, of one dimension or of all."""
    told = {"at_s": at_s, "factor": 0.5, "until_s": until_s, "dimension": about}
    return {name: value for name, value in told.items() if value is not None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([change(10, 30), change(20, 40)], "number 2 begins at 20 s, number 1 ends at 30 s"),
        ([change(20, 40), change(10, 30)], "number 1 begins at 20 s, number 2 ends at 30 s"),
        ([change(10), change(20, 40)], "number 2 begins at 20 s, number 1 ends never"),
        ([change(10, 30, "tokens"), change(20, 40, "tokens")], "number 1 ends at 30 s"),
        ([change(10, 30, "tokens"), change(20, 40)], "number 1 ends at 30 s"),
        ([change(10, 30), change(20, 40, "tokens")], "number 1 ends at 30 s"),
    ],
)
def test_changes_of_the_same_limits_must_not_overlap(
    changes: list[dict[str, Any]], said: str
) -> None:
    """The end of one would end the other as well: both are named, with the remedy."""
    with pytest.raises(ConfigError) as caught:
        build_settings({"changes": changes}, "scenario.toml")
    assert said in caught.value.message
    assert "Set until_s" in caught.value.remedy


def test_changes_may_follow_each_other_and_go_on_beside_those_of_other_limits() -> None:
    """One may begin when another ends; and what never ends may be written as ``inf``."""
    build_settings({"changes": [change(10, 20), change(20, 30), change(30, INF)]})
    build_settings({"changes": [change(10, 30, "tokens"), change(20, 40, "requests")]})


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    """Its path is the place."""
    broken = tmp_path / "broken.toml"
    broken.write_text("limits = [")
    for path in (tmp_path / "none.toml", broken):
        with pytest.raises(ConfigError) as caught:
            read_scenario(path)
        assert caught.value.place == str(path)
