"""Estimates end to end: from an answer's usage to attempts, counts, caps and reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace.config import load_config
from headrace.engine import shelf_of
from headrace.errors import ConfigError
from headrace.outcome import CallFailed
from headrace.provider import Call, Reply
from headrace.providers.openai import OpenAIProvider
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.speaking import Answer, says, speaking
from tests.integration.test_cli_run import Shell, shell
from tests.integration.test_engine import engine_on, rows, submit
from tests.integration.test_guards import CALL, CENT, Priced, audited, until
from tests.integration.test_openai import CHAT, CLOCK, PNG, ask, bought, chat, image

__all__ = ["shell"]

PRICES = {"gpt-x": {"input_usd_per_million": 1000, "output_usd_per_million": 2000}}
OFFICIAL = {"api_key": "sk-x", "base_url": "https://api.openai.com/v1"}


class Estimated(Priced):
    """Tells no cost, but what list prices say of it."""

    def __init__(self, price: int | None, estimate: int, **more: Any) -> None:
        super().__init__(price, None, **more)
        self.estimate = estimate

    async def call(self, call: Call) -> Reply:
        made = await super().call(call)
        return Reply(made.media_type, body=made.body, estimate_microusd=self.estimate)


# -- the openai provider -----------------------------------------------------------------------


async def test_a_chat_is_estimated_from_its_usage() -> None:
    """Nine tokens in and twelve out, at the prices of the provider's own table."""
    reply, _, _ = await bought(says(CHAT), prices=PRICES)
    assert (reply.cost_microusd, reply.estimate_microusd) == (None, 33_000)


async def test_what_a_gateway_says_it_cost_is_true() -> None:
    """A true cost leaves no estimate beside it."""
    told = says(CHAT, headers={"x-litellm-response-cost": "0.0042"})
    reply, _, _ = await bought(told, prices=PRICES)
    assert (reply.cost_microusd, reply.estimate_microusd) == (4200, None)


@pytest.mark.parametrize(
    "answer",
    [says(CHAT | {"usage": None}), says(CHAT | {"service_tier": "priority"})],
    ids=["no usage", "another tier"],
)
async def test_without_usage_or_at_another_tier_the_cost_is_unknown(answer: Answer) -> None:
    """Nothing is guessed."""
    reply, _, _ = await bought(answer, prices=PRICES)
    assert (reply.cost_microusd, reply.estimate_microusd) == (None, None)


async def test_an_image_is_estimated_by_its_tokens() -> None:
    """Text in at one price, the image out at another."""
    prices = {
        "gpt-image-9": {"input_usd_per_million": 5, "image_output_usd_per_million": 30},
    }
    usage = {"input_tokens": 10, "output_tokens": 100, "total_tokens": 110}
    reply, _, _ = await bought(says(image(PNG, usage=usage)), ask("gpt-image-9"), prices=prices)
    assert reply.estimate_microusd == 3050


async def test_a_refusal_that_used_tokens_has_an_estimate() -> None:
    """A refused chat is billed like any other."""
    async with speaking(says(chat(content=None, refusal="No."))) as speaker:
        table = {"base_url": speaker.url, "api_key": "sk-x", "prices": PRICES}
        provider = OpenAIProvider.from_config("mine", table, CLOCK)
        with pytest.raises(CallFailed) as caught:
            await provider.call(CallDesk().call(ask()))
        await provider.close()
    assert caught.value.outcome.estimate_microusd == 33_000


def test_the_worst_case_needs_a_most_of_the_output() -> None:
    """With a most it is the text at a byte a token and all of the output; else unknown."""
    provider = OpenAIProvider.from_config("openai", OFFICIAL, CLOCK)

    def most(model: str = "gpt-5-mini", **params: Any) -> int | None:
        return provider.price(ask(model, **params)).cost_microusd_max

    known = most(max_completion_tokens=1000)
    assert known is not None
    assert 2000 < known < 2100
    assert most(max_completion_tokens="1000") == known
    assert most(max_tokens=1000, service_tier="default") is not None
    assert most("gpt-5-mini-2025-08-07", max_completion_tokens=1000) is not None
    picture = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]
    for unknown in (
        most(),
        most(max_completion_tokens=-1),
        most(max_completion_tokens="many"),
        most("gpt-unheard-of", max_completion_tokens=1000),
        most(max_completion_tokens=1000, service_tier="priority"),
        most(max_completion_tokens=1000, messages=picture),
        most(max_completion_tokens=1000, messages="x"),
        most(max_completion_tokens=1000, modalities=["audio"]),
        most("gpt-image-2"),
        most("gpt-image-1.5", image="x"),
        provider.price(Request("openai", "gpt-5-mini", "", {})).cost_microusd_max,
    ):
        assert unknown is None
    low = most("gpt-image-1.5", size="1024x1024", quality="low")
    any_of_them = most("gpt-image-1.5")
    assert low is not None
    assert any_of_them is not None
    assert 9_000 < low < 10_000
    assert any_of_them > 200_000


def test_list_prices_hold_at_the_official_address_only() -> None:
    """A server of one's own under the same API has no price unless its table tells one."""
    for address in (
        "http://127.0.0.1:8000/v1",
        "https://gateway.example/v1",
        "http://api.openai.com/v1",
    ):
        local = OpenAIProvider.from_config("openai", OFFICIAL | {"base_url": address}, CLOCK)
        assert local.price(ask("gpt-5-mini", max_tokens=9)).cost_microusd_max is None
    with pytest.raises(ConfigError, match="image_usd"):
        OpenAIProvider.from_config("mine", {"prices": {"m": {"image_us": 1}}}, CLOCK)


def test_a_file_of_prices_counts_before_ours(tmp_path: Path) -> None:
    """By the provider's name or its kind; a section that is neither is a mistake."""
    file = tmp_path / "mine.toml"
    file.write_text('[openai.models]\n"gpt-5-mini" = { request_usd = 7 }\n')
    (tmp_path / "headrace.toml").write_text(
        f'prices = "{file}"\n[providers.openai]\napi_key = "sk-x"\n'
        '[providers.own]\nkind = "openai"\nbase_url = "http://127.0.0.1:9/v1"\n'
        '[providers.own.prices."m.1"]\nrequest_usd = 0.5\n'
    )
    config = load_config(tmp_path / "headrace.toml", environment={})
    shelf = shelf_of(config)
    request = ask("gpt-5-mini", max_tokens=9)
    assert shelf["openai"].price(request).cost_microusd_max == 7_000_000
    assert shelf["own"].price(request).cost_microusd_max is None
    assert shelf["own"].price(ask("m.1")).cost_microusd_max == 500_000
    file.write_text("[opnai.models]\n")
    with pytest.raises(ConfigError, match="Did you mean 'openai'"):
        shelf_of(config)["openai"]


# -- in a batch --------------------------------------------------------------------------------


async def test_estimates_are_summed_apart_from_true_costs(
    database_url: str, tmp_path: Path
) -> None:
    """Counts, items and attempts have the estimate; the true cost stays zero; the audit agrees."""
    provider = Estimated(CALL, CENT)
    async with engine_on(database_url, tmp_path, provider) as engine:
        batch = await submit(engine, rows(5))
        now = await batch.done()
        assert (now.cost_microusd, now.cost_estimate_microusd, now.cost_unknown) == (0, 5 * CENT, 0)
        assert (now.untold_microusd, now.in_flight_microusd) == (0, 0)
        items = [item async for item in batch.items()]
        assert {(item.cost_microusd, item.cost_estimate_microusd) for item in items} == {(0, CENT)}
        (attempt,) = await batch.attempts(0)
        assert (attempt["cost_microusd"], attempt["cost_estimate_microusd"]) == (None, CENT)
        assert await audited(engine) == []


async def test_a_cap_counts_estimates_where_there_is_no_true_cost(
    database_url: str, tmp_path: Path
) -> None:
    """A call counts by its estimate once it is known, not at its worst case."""
    async with engine_on(database_url, tmp_path, Estimated(4 * CENT, CENT)) as engine:
        batch = await submit(engine, rows(40), cost_cap_microusd=20 * CENT)
        now = await until(batch, "paused")
        assert (now.succeeded, now.cost_estimate_microusd) == (17, 17 * CENT)
        assert now.pause is not None
        assert "$0.00 spent, about $0.17 more by list prices" in now.pause.reason
        await batch.resume(cost_cap_microusd=100 * CENT)
        after = await batch.done()
        assert (after.succeeded, after.cost_estimate_microusd) == (40, 40 * CENT)
        assert await audited(engine) == []


async def test_calls_without_cost_and_estimate_are_counted(
    database_url: str, tmp_path: Path
) -> None:
    """Unknown is unknown: such calls are counted, for the batch and for each row."""
    async with engine_on(database_url, tmp_path, Priced(None, None)) as engine:
        batch = await submit(engine, rows(3))
        now = await batch.done()
        assert (now.cost_microusd, now.cost_estimate_microusd, now.cost_unknown) == (0, 0, 3)
        assert [item.cost_unknown async for item in batch.items()] == [1, 1, 1]
        assert await audited(engine) == []


async def test_the_canary_is_quoted_by_estimates_too(database_url: str, tmp_path: Path) -> None:
    """A quote that rests on list prices says about."""
    async with engine_on(database_url, tmp_path, Estimated(CALL, CENT)) as engine:
        batch = await submit(engine, rows(20), look_first=True)
        now = await until(batch, "paused")
        seen = await batch.canary_seen()
        assert (seen.calls_untold, seen.cost_each_microusd) == (0, CENT)
        told = seen.lines(now.open, now.cost_microusd + now.cost_estimate_microusd)
        assert "cost about $0.03 · about $0.01 each" in told[1]
        assert "about $0.20 for the whole batch" in told[2]


# -- for people --------------------------------------------------------------------------------

RECIPE = """
[columns]
required = ["title", "sku"]
[[stages]]
name = "make"
kind = "generate"
model = "mine:gpt-x"
prompt = "{{ title }}"
[stages.params]
max_completion_tokens = 100
"""


def settings(shell: Shell, url: str) -> None:
    """A provider at ``url`` with prices of its own, and a recipe that asks it."""
    (shell.folder / "headrace.toml").write_text(
        f'[providers.mine]\nkind = "openai"\nbase_url = "{url}"\n'
        '[providers.mine.prices."gpt-x"]\n'
        "input_usd_per_million = 1000\noutput_usd_per_million = 2000\n"
    )
    (shell.folder / "recipe.toml").write_text(RECIPE)


async def test_a_run_says_about_and_its_files_keep_it_apart(shell: Shell) -> None:
    """Standard output, report.json and results.csv: about, and never as a true cost."""
    shell.table("a,One", "b,Two")
    async with speaking(says(CHAT), says(CHAT)) as speaker:
        settings(shell, speaker.url)
        told = await shell("run", "in.csv", "--recipe", "recipe.toml", "--out", "out")
    assert told.code == 0, told.err
    assert "cost about $0.07 · " in told.out
    report = json.loads((shell.folder / "out/in/report.json").read_text())
    assert (report["cost_microusd"], report["cost_estimate_microusd"]) == (0, 66_000)
    assert report["calls_of_unknown_cost"] == 0
    row = shell.results()[0]
    assert (row["headrace_cost_usd"], row["headrace_cost_estimate_usd"]) == ("", "0.033")
    assert "about $0.07" in (await shell("batches")).out


async def test_an_estimate_goes_by_each_row_s_worst_case(shell: Shell) -> None:
    """A longer prompt costs more at most; without a most of the output it is unknown."""
    shell.table("a,One", f"b,{'Two ' * 100}")
    settings(shell, "http://127.0.0.1:9/v1")
    words = ("estimate", "in.csv", "--recipe", "recipe.toml")
    quote = (await shell(*words, "--json")).json
    assert 2 * 200_000 + 400_000 < quote["cost_microusd_max"] < 2 * 200_000 + 700_000
    text = (shell.folder / "recipe.toml").read_text().replace("max_completion_tokens = 100", "")
    (shell.folder / "recipe.toml").write_text(text)
    assert "cost at most unknown (a model without a list price" in (await shell(*words)).out


async def test_an_estimate_leaves_out_what_is_cached(shell: Shell) -> None:
    """Of three rows one is cached: only the worst cases of the other two are summed."""
    shell.table("a,One")
    assert (await shell("run", "in.csv", "--recipe", "recipe.toml", "--out", "out")).code == 0
    shell.table("a,One", "b,Two", "c,Three")
    quote = (await shell("estimate", "in.csv", "--recipe", "recipe.toml", "--json")).json
    assert (quote["cached"], quote["to_buy"], quote["cost_microusd_max"]) == (1, 2, 80_000)
