"""Estimates end to end: from an answer's usage to attempts, counts, caps and reports."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from headrace.config import load_config
from headrace.engine import shelf_of
from headrace.errors import ConfigError
from headrace.outcome import CallFailed, OutcomeKind
from headrace.provider import Call, Reply
from headrace.providers.openai.adapter import OpenAIProvider
from headrace.providers.remote.costs import told_microusd
from headrace.providers.shelf import Shelf
from headrace.request import Request
from headrace.testing import CallDesk
from tests.integration.playing import HurriedClock
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
    ("usage", "cost"),
    [
        ({"cost": 0.0042}, 4200),
        ({"cost": 0.0002, "is_byok": False}, 200),
        ({"cost": 0.0002, "is_byok": True}, None),
        ({"cost": 0.0002, "is_byok": True, "cost_details": {}}, None),
        (
            {
                "cost": 0.0002,
                "is_byok": True,
                "cost_details": {"upstream_inference_cost": 0.004},
            },
            4200,
        ),
        ({"cost": -1}, None),
        ({"cost": 1e300}, None),
        ({"cost": 5e-7, "is_byok": 1}, 1),
    ],
)
def test_a_fee_beside_another_bill_is_not_the_cost(usage: dict[str, Any], cost: int | None) -> None:
    """Where a key of one's own pays the model, both have to be told; a part is no cost."""
    assert told_microusd({}, usage) == cost


async def test_an_error_inside_of_a_success_has_no_estimate() -> None:
    """A price by the request says nothing of a call that gave only an error."""
    broken = {"error": {"message": "upstream is broken", "code": 502}}
    with pytest.raises(CallFailed) as caught:
        await bought(says(broken), prices={"gpt-x": {"request_usd": 0.01}})
    assert (caught.value.outcome.cost_microusd, caught.value.outcome.estimate_microusd) == (
        None,
        None,
    )
    reply, _, _ = await bought(says(CHAT), prices={"gpt-x": {"request_usd": 0.01}})
    assert reply.estimate_microusd == 10_000


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


async def test_what_a_usage_does_not_tell_is_not_estimated() -> None:
    """Tools that the server runs, and images inside of a response, are billed beside the usage."""
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    said = {"type": "message", "content": [{"type": "output_text", "text": "yes"}]}
    drawn = {"type": "image_generation_call", "result": base64.b64encode(PNG).decode()}
    function = {"type": "function", "name": "f"}
    for tool, output, estimate in (
        (function, said, 3000),
        ({"type": "web_search"}, said, None),
        ({"type": "image_generation"}, drawn, None),
    ):
        answer = {"status": "completed", "output": [output], "usage": usage}
        request = ask(api="responses", tools=[tool])
        reply, _, _ = await bought(says(answer), request, prices=PRICES)
        assert (reply.cost_microusd, reply.estimate_microusd) == (None, estimate)
    reply, _, _ = await bought(says(CHAT), ask(web_search_options={}), prices=PRICES)
    assert reply.estimate_microusd is None
    flex = ask(service_tier="priority")
    for tier, estimate in (("default", 33_000), ("priority", None), (None, None)):
        reply, _, _ = await bought(says(CHAT | {"service_tier": tier}), flex, prices=PRICES)
        assert reply.estimate_microusd == estimate


async def test_an_edit_is_estimated_by_what_went_in_and_came_out() -> None:
    """Pictures that go in have a price of their own."""
    prices = {
        "input_usd_per_million": 5,
        "image_input_usd_per_million": 8,
        "image_output_usd_per_million": 30,
    }
    usage = {
        "input_tokens": 110,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 100},
        "output_tokens": 200,
    }
    desk = CallDesk()
    source = desk.keep(PNG, "image/png").sha256.hex()
    request = Request("mine", "gpt-image-9", "1", {"image": {"source": 0}}, (source,))
    async with speaking(says(image(PNG, usage=usage))) as speaker:
        table = {"base_url": speaker.url, "prices": {"gpt-image-9": prices}}
        provider = OpenAIProvider.from_config("mine", table, CLOCK)
        reply = await provider.call(desk.call(request))
        await provider.close()
    assert speaker.heard[0].path == "/v1/images/edits"
    assert reply.estimate_microusd == 10 * 5 + 100 * 8 + 200 * 30
    assert provider.price(request).cost_microusd_max is None


async def test_an_image_that_is_none_was_billed_all_the_same() -> None:
    """A picture that breaks off, and none at all: what the usage tells was paid for."""
    usage = {"input_tokens": 10, "output_tokens": 100, "total_tokens": 110}
    prices = {"gpt-image-9": {"input_usd_per_million": 5, "image_output_usd_per_million": 30}}
    for answer, estimate in (
        (image(PNG[:-20], usage=usage), 3050),
        ({"data": [], "usage": usage}, 3050),
        ({"data": []}, None),
    ):
        async with speaking(says(answer)) as speaker:
            table = {"base_url": speaker.url, "prices": prices}
            provider = OpenAIProvider.from_config("mine", table, CLOCK)
            with pytest.raises(CallFailed) as caught:
                await provider.call(CallDesk().call(ask("gpt-image-9")))
            await provider.close()
        assert caught.value.outcome.kind is OutcomeKind.NO_OUTPUT
        assert caught.value.outcome.estimate_microusd == estimate


# -- the other providers -----------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """A model of the built-in list, an answer that tells what it used, and what that costs."""

    kind: str
    model: str
    answer: dict[str, Any]
    estimate: int
    most: int | None
    table: dict[str, Any] = field(default_factory=lambda: {"api_key": "k"})
    params: dict[str, Any] = field(default_factory=dict)


INLINE = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
PAINTED = {
    "candidates": [
        {
            "content": {"parts": [{"inlineData": {"data": base64.b64encode(PNG).decode()}}]},
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 10,
        "candidatesTokenCount": 1290,
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
    },
}
OUTPUTS = {"id": "p1", "status": "succeeded", "output": [INLINE, INLINE]}
KNOWN = {
    "openai": Known(
        "openai",
        "gpt-5-mini-2025-08-07",
        {
            "choices": [{"message": {"content": "yes"}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        },
        45,
        None,
    ),
    "anthropic": Known(
        "anthropic",
        "claude-haiku-4-5",
        {
            "type": "message",
            "content": [{"type": "text", "text": "yes"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 9, "output_tokens": 12},
        },
        9 + 12 * 5,
        # The body is 94 bytes long, each a token at most, beside 4096 of output.
        94 + 4096 * 5,
    ),
    "gemini": Known("gemini", "gemini-2.5-flash-image", PAINTED, 3 + 1290 * 30, None),
    "vertex": Known(
        "vertex",
        "gemini-2.5-flash-image",
        PAINTED,
        3 + 1290 * 30,
        None,
        {"project": "the-project"},
    ),
    "replicate": Known(
        "replicate",
        "black-forest-labs/flux-schnell",
        OUTPUTS,
        6000,
        12_000,
        params={"num_outputs": "4"},
    ),
    "bfl": Known(
        "bfl",
        "flux-dev",
        {"id": "t1", "status": "Ready", "result": {"sample": INLINE}},
        25_000,
        25_000,
    ),
}


@pytest.mark.parametrize("name", KNOWN)
async def test_a_known_model_is_estimated_and_everything_else_is_unknown(name: str) -> None:
    """The list counts at the official address only; what is not in it is never guessed."""
    known = KNOWN[name]
    request = Request("mine", known.model, "1", {"prompt": "A card", **known.params})
    # For Google, a name with "image" in it paints; for Replicate, every name has an owner.
    unheard = replace(request, model="unheard/of" if name == "replicate" else "unheard")
    if known.answer is PAINTED:
        unheard = replace(request, model="unheard-image")
    official = made(known.kind, known.table)
    assert official.price(request).cost_microusd_max == known.most
    assert official.price(unheard).cost_microusd_max is None
    async with speaking(says(known.answer)) as speaker:
        elsewhere = made(known.kind, known.table | {"base_url": speaker.url})
        assert elsewhere.price(request).cost_microusd_max is None
        untold = await elsewhere.call(CallDesk().call(request))
        # As if the official server had answered so.
        elsewhere.costs = official.costs
        told = await elsewhere.call(CallDesk().call(request))
        other = await elsewhere.call(CallDesk().call(unheard))
        await elsewhere.close()
    for reply in (untold, other):
        assert (reply.cost_microusd, reply.estimate_microusd) == (None, None)
    assert (told.cost_microusd, told.estimate_microusd) == (None, known.estimate)


def made(kind: str, table: dict[str, Any]) -> Any:
    """A provider as the shelf makes it, named like its kind; sleeping takes no time."""
    return Shelf({"mine": {"kind": kind, **table}}, (), HurriedClock())["mine"]


async def test_a_prediction_is_billed_by_its_seconds_where_that_is_its_price() -> None:
    """predict_time, also of one that failed; without it, or with nonsense, unknown."""
    prices = {"me/mine": {"second_usd": 0.001}}
    request = Request("mine", "me/mine", "1", {"prompt": "A card"})
    for metrics, estimate in (
        ({"predict_time": 2.5, "total_time": 9}, 2500),
        ({"predict_time": True}, None),
        ({"predict_time": -1}, None),
        ({"predict_time": float("nan")}, None),
        ({"image_count": -1, "predict_time": 1}, None),
        ([], None),
        (None, None),
    ):
        for status in ("succeeded", "failed"):
            async with speaking(says(OUTPUTS | {"status": status, "metrics": metrics})) as speaker:
                provider = made("replicate", {"base_url": speaker.url, "prices": prices})
                assert provider.price(request).cost_microusd_max is None
                try:
                    ended: Any = await provider.call(CallDesk().call(request))
                except CallFailed as failure:
                    ended = failure.outcome
                await provider.close()
            assert (ended.cost_microusd, ended.estimate_microusd) == (None, estimate)


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
