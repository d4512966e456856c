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


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    """Its path is the place."""
    broken = tmp_path / "broken.toml"
    broken.write_text("limits = [")
    for path in (tmp_path / "none.toml", broken):
        with pytest.raises(ConfigError) as caught:
            read_scenario(path)
        assert caught.value.place == str(path)
