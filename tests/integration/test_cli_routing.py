"""Several models for a stage on the command line: what is estimated, delivered and told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.test_cli_run import RUN, Shell

CONFIG = """
[retry]
base_s = 0.0
cap_s = 0.0
[providers.first]
kind = "simulated"
cost_microusd = 20000
price_microcredits = 1000000
failures = { auth = 1.0 }
[providers.second]
kind = "simulated"
cost_microusd = 50000
price_microcredits = 3000000
"""
RECIPE = """
[columns]
required = ["title", "sku"]
[[stages]]
name = "make"
kind = "generate"
models = ["first:any", { model = "second:any", params = { size = 512 } }]
prompt = "{{ title }}"
"""


@pytest.fixture
def shell(tmp_path: Path, database_url: str) -> Shell:
    shell = Shell(tmp_path, database_url)
    (tmp_path / "headrace.toml").write_text(CONFIG)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    shell.table("a,One", "b,Two", "c,Three", "d,One")
    return shell


async def test_results_report_and_words_say_who_made_it_and_why(shell: Shell) -> None:
    """A bad key at the first model: the second delivers, and every place says so."""
    told = await shell(*RUN, "--canary", "2")
    assert told.code == 0, told.err
    assert "made by second/any: first/any is shut: the simulated provider rejected" in told.out
    rows = shell.results()
    assert {(row["headrace_provider"], row["headrace_model"]) for row in rows} == {
        ("second", "any")
    }
    assert sum(row["headrace_moved"].startswith("first/any is shut") for row in rows) >= 3
    report = json.loads((shell.folder / "out" / "in" / "report.json").read_text())
    assert sum(by["items"] for by in report["made_by"]) == 4
    assert {by["provider"] for by in report["made_by"]} == {"second"}
    assert report["cost_microusd"] == 3 * 50_000
    shown = (await shell("show", report["batch"], "--row", "1", "--json")).json
    assert shown["rows"][0]["made"]["make"]["provider"] == "second"


async def test_a_canary_that_another_model_made_goes_on_and_says_so(shell: Shell) -> None:
    """A canary whose first model rejects its key is fine where the second makes it."""
    told = await shell(*RUN, "--canary", "2", "--look-first")
    assert "2 of 2 succeeded" in told.out
    assert "2 not made by the first model: first/any is shut" in told.out


async def test_an_estimate_takes_the_dearest_and_any_cached_result(shell: Shell) -> None:
    """The quote is the worst case of all models; what any of them has made is cached."""
    words = ("estimate", "in.csv", "--recipe", "recipe.toml", "--json")
    quote = (await shell(*words)).json
    assert (quote["to_buy"], quote["duplicates"]) == (3, 1)
    assert quote["cost_microusd_max"] == 3 * 50_000
    assert quote["credits_microcredits_max"] == 3 * 3_000_000
    await shell(*RUN)
    assert (await shell(*words)).json["cached"] == 3


async def test_a_wrong_list_is_an_error_with_its_place(shell: Shell) -> None:
    """A model without its provider is named by its place in the list."""
    text = RECIPE.replace('"second:any"', '"second"')
    (shell.folder / "recipe.toml").write_text(text)
    told = await shell(*RUN)
    assert told.code == 2
    assert "models[2]" in told.err
