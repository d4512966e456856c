"""Alerts and the dashboard ask for metrics that there are; each alert fires, and stays silent."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.metrics import OF_DATABASE, OF_PROCESS
from headrace.outcome import OutcomeKind

ROOT = Path(__file__).resolve().parents[2]
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
CASES = ROOT / "deploy" / "prometheus" / "alerts_test.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "headrace.json"
OBSERVABILITY = ROOT / "docs" / "observability.md"
RUNBOOK = ROOT / "docs" / "alerts.md"

FAMILIES = {family.shown: family for family in (*OF_PROCESS, *OF_DATABASE)}
PROMTOOL = shutil.which("promtool")


def rules() -> list[dict[str, Any]]:
    """All alerts."""
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> dict[str, str]:
    """Every query of the dashboard, by its panel."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in board["panels"]
        for target in panel.get("targets", [])
    }
    for one in board["annotations"]["list"]:
        found[one["name"]] = one["expr"]
    return found


def unknown_in(query: str) -> list[str]:
    """The metrics, labels and outcomes of a query that there are not."""
    wrong = []
    for name, chosen in re.findall(r"(headrace_\w+)(?:\{([^}]*)\})?", query):
        family = FAMILIES.get(re.sub(r"_(bucket|sum|count)$", "", name), FAMILIES.get(name))
        if family is None:
            wrong.append(name)
            continue
        for label, _, values in re.findall(r"(\w+)(=~|=|!=)\"([^\"]*)\"", chosen):
            if label not in family.labels:
                wrong.append(f"{name}: {label}")
            kinds = {kind.value for kind in OutcomeKind}
            if label == "outcome" and not set(values.split("|")) <= kinds:
                wrong.append(f"{name}: {values}")
    return wrong


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is_and_leads_to_its_runbook(rule: dict[str, Any]) -> None:
    """Its metrics exist, it waits before it fires, and its words and its runbook are there."""
    assert unknown_in(rule["expr"]) == []
    assert "headrace_" in rule["expr"]
    assert re.fullmatch(r"\d+[mh]", rule["for"])
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{rule['alert'].lower()}"
    assert f"## {rule['alert']}\n" in RUNBOOK.read_text(encoding="utf-8")


def test_the_runbook_tells_of_no_alert_that_there_is_not() -> None:
    """Every heading of the runbook is an alert."""
    told = re.findall(r"^## (\w+)$", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert sorted(told) == sorted(rule["alert"] for rule in rules())


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    """An alert without both is not known to work."""
    fires, silent = set(), set()
    for case in yaml.safe_load(CASES.read_text(encoding="utf-8"))["tests"]:
        for one in case["alert_rule_test"]:
            (fires if one["exp_alerts"] else silent).add(one["alertname"])
    names = {rule["alert"] for rule in rules()}
    assert fires == names
    assert silent == names


@pytest.mark.parametrize(("panel", "query"), queries().items(), ids=lambda one: str(one)[:40])
def test_the_dashboard_asks_for_what_there_is(panel: str, query: str) -> None:
    """No panel is empty because its metric has another name."""
    assert unknown_in(query) == [], panel


def test_the_dashboard_has_no_two_panels_in_one_place() -> None:
    """Panels have ids of their own and do not lie on each other."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_names_are_looked_for_strictly() -> None:
    """The check itself finds a wrong metric, a wrong label and a wrong outcome."""
    assert unknown_in('rate(headrace_nothing_total{a="b"}[5m])') == ["headrace_nothing_total"]
    assert unknown_in('headrace_items{tenant="x"}') == ["headrace_items: tenant"]
    assert unknown_in('headrace_attempts_total{outcome="429"}') == ["headrace_attempts_total: 429"]
    assert unknown_in('headrace_call_duration_seconds_bucket{model="m"}') == []


def test_every_metric_is_documented_and_nothing_else() -> None:
    """docs/observability.md has a line for each metric, with its labels."""
    text = OBSERVABILITY.read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(headrace_\w+)` \| ([^|]*) \|", text, flags=re.MULTILINE))
    labels = {name: re.findall(r"`(\w+)`", words) for name, words in told.items()}
    assert labels == {name: list(family.labels) for name, family in FAMILIES.items()}


def test_no_label_can_grow_without_end() -> None:
    """Tenants, batches, items, shards and workers are no labels."""
    found = {label for family in FAMILIES.values() for label in family.labels}
    assert found == {
        "provider", "model", "lane", "outcome", "source", "state", "class", "account", "what",
        "version",
    }  # fmt: skip


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_the_rules_good_and_their_cases_true() -> None:
    """Prometheus' own tool reads the rules, and each fires and stays silent as it should."""
    assert PROMTOOL is not None
    for words in (["check", "rules", ALERTS.name], ["test", "rules", CASES.name]):
        done = subprocess.run(
            [PROMTOOL, *words], cwd=ALERTS.parent, capture_output=True, text=True, timeout=100,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
