"""Policies end to end on a real PostgreSQL: what is not allowed is not bought, or not delivered."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.config import Config, Retry
from headrace.engine import Engine, open_engine
from headrace.errors import RecipeError
from headrace.generation import GenerationError
from headrace.lifecycle import ItemState
from headrace.recipe import Recipe, parse_recipe
from headrace.store.audit import verify
from headrace.submission import Terms
from headrace.watching import ItemResult
from tests.integration.scripted import Scripted
from tests.integration.speaking import Answer, Heard, http, says, speaking
from tests.integration.test_engine import CREDIT, balance
from tests.integration.test_http import served

ALLOWS, FORBIDS = says({"allow": True}), says({"allow": False, "rule": "brand", "reason": "No."})
GENERATE = {"name": "make", "kind": "generate", "model": "scripted:m", "prompt": "{{ t }}"}


def recipe(*stages: dict[str, Any], policy: dict[str, Any] | None = None) -> Recipe:
    body: dict[str, Any] = {"name": "test", "stages": list(stages) or [GENERATE]}
    if policy is not None:
        body["policy"] = policy
    return parse_recipe(body, "test.toml")


@asynccontextmanager
async def engine_with(
    url: str, home: Path, provider: Scripted, policy: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[Engine]:
    retry = Retry(attempts=3, base_s=0.0, cap_s=0.0)
    config = Config(home=str(home), database_url=url, retry=retry, policy=policy or {}, **more)
    async with open_engine(config, providers={provider.name: provider}) as engine:
        yield engine


async def ended(engine: Engine, texts: list[str], of: Recipe | None = None) -> list[ItemResult]:
    batch = await engine.submit(
        [{"t": text} for text in texts], of or recipe(), columns=["t"], terms=Terms()
    )
    await batch.done()
    return [item async for item in batch.items()]


async def sound(engine: Engine) -> None:
    async with engine.database.acquire() as connection:
        assert await verify(connection) == []
    assert await balance(engine, "held") == 0


def hook(url: str, **more: Any) -> dict[str, Any]:
    return {"hooks": [{"name": "judge", "url": url, "attempts": 1, **more}]}


# -- requests ----------------------------------------------------------------------------------


async def test_what_is_not_allowed_is_never_bought(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused row costs nothing and says which rule and what to do; the others are made."""
    provider = Scripted()
    rules = {"words": ["casino*"], "remedy": "Ask the shop."}
    async with engine_with(database_url, tmp_path, provider, rules) as engine:
        made = await ended(engine, ["a mill", "a xyzzy Cas\u200bino night", "naked child"])
        assert [item.state.value for item in made] == ["succeeded", "refused", "refused"]
        assert provider.prompts == ["a mill"]
        error = made[1].error or {}
        assert (error["code"], error["remedy"]) == ("refused", "Ask the shop.")
        assert "'policy'" in error["reason"]
        assert "'minors'" in (made[2].error or {})["reason"]
        assert [item.attempts for item in made] == [1, 0, 0]
        assert await balance(engine, "revenue") == CREDIT
        await sound(engine)
    assert "xyzzy" not in "".join(capsys.readouterr())


async def test_a_recipe_adds_rules_and_takes_none_away(database_url: str, tmp_path: Path) -> None:
    """A recipe's rule counts for its batches only, the built-in and the settings' for all."""
    provider = Scripted()
    async with engine_with(database_url, tmp_path, provider, {"words": ["casino"]}) as engine:
        more = recipe(policy={"rules": [{"name": "cards", "patterns": [r"\b\d{4} \d{4}\b"]}]})
        texts = ["1234 5678", "casino", "naked child", "tea"]
        states = [item.state.value for item in await ended(engine, texts, more)]
        assert states == ["refused", "refused", "refused", "succeeded"]
        assert (await ended(engine, ["1234 5678"]))[0].state is ItemState.SUCCEEDED


async def test_a_second_stage_is_judged_by_what_the_first_one_wrote(
    database_url: str, tmp_path: Path
) -> None:
    """Text of a model that goes into the next call is judged as a request of its own."""
    provider = Scripted()
    # Only requests are judged, so that the first stage's artifact itself passes.
    rules = {"rules": [{"name": "made", "words": ["made of roulette"], "on": "request"}]}
    second = {**GENERATE, "name": "again", "prompt": "{{ stages.make }}!"}
    async with engine_with(database_url, tmp_path, provider, rules) as engine:
        (item,) = await ended(engine, ["roulette"], recipe(GENERATE, second))
        assert item.state is ItemState.REFUSED
        assert provider.prompts == ["roulette"]
        assert item.cost_microusd == 40_000
        await sound(engine)


async def test_on_demand_and_in_openais_shape_it_is_a_content_policy_violation(
    database_url: str, tmp_path: Path
) -> None:
    """``generate`` raises, ``/v1`` answers 400; neither calls anybody."""
    async with served(database_url, tmp_path) as api:
        with pytest.raises(GenerationError) as caught:
            await api.engine.generate("scripted:m", "naked child")
        assert caught.value.outcome == "refused"
        said = [{"role": "user", "content": "a naked child"}]
        body = {"model": "sim:gpt-x", "messages": said}
        status, told = await api("POST", "/v1/chat/completions", body=body)
        assert (status, told["error"]["code"]) == (400, "content_policy_violation")
        assert api.scripted.prompts == []
        assert len(api.simulator.truth.calls) == 0


async def test_mistakes_are_told_with_their_place_before_anything_is_bought(
    database_url: str, tmp_path: Path
) -> None:
    """A bad pattern, an unknown key and a provider without moderations name place and remedy."""
    with pytest.raises(RecipeError) as bad:
        recipe(policy={"rules": [{"name": "x", "patterns": ["(a"]}]})
    assert "[[policy.rules]] 1" in bad.value.place
    assert "a ( without its )" in bad.value.message
    with pytest.raises(RecipeError, match="secret_env"):
        recipe(policy=hook("https://example.org", secret_env="HOME"))
    with pytest.raises(RecipeError, match="not https"):
        recipe(policy=hook("http://10.0.0.1/"))
    wrong = {"hooks": [{"name": "m", "kind": "moderation", "provider": "scripted"}]}
    async with engine_with(database_url, tmp_path, Scripted()) as engine:
        with pytest.raises(RecipeError, match="no moderations"):
            await ended(engine, ["x"], recipe(policy=wrong))


# -- artifacts ---------------------------------------------------------------------------------


async def test_a_forbidden_artifact_is_paid_once_refunded_and_given_to_nobody(
    database_url: str, tmp_path: Path
) -> None:
    """Its cost stays counted, its customer is not charged, and a twin is not bought again."""
    provider = Scripted()
    rules = {"rules": [{"name": "words", "words": ["made of dice"], "on": "artifact"}]}
    async with engine_with(database_url, tmp_path, provider, rules) as engine:
        made = await ended(engine, ["dice", "dice", "dice", "tea"])
        assert [item.state.value for item in made] == ["refused"] * 3 + ["succeeded"]
        assert sorted(provider.prompts) == ["dice", "tea"]
        assert sum(item.cost_microusd for item in made) == 2 * 40_000
        assert await balance(engine, "revenue") == CREDIT
        assert "this result" in (made[0].error or {})["reason"]
        await sound(engine)


async def test_a_cached_result_is_judged_again_only_when_the_policy_has_changed(
    database_url: str, tmp_path: Path
) -> None:
    """Under the same policy a hook hears of a result once; under another one once more."""
    provider = Scripted()
    async with speaking(ALLOWS) as speaker:
        for words, heard in ((["x"], 2), (["x"], 2), (["y"], 4), (["y"], 4)):
            rules = {"words": words, **hook(speaker.url)}
            async with engine_with(database_url, tmp_path, provider, rules) as engine:
                (item,) = await ended(engine, ["tea"])
                assert item.state is ItemState.SUCCEEDED
                assert len(speaker.heard) == heard
    assert provider.prompts == ["tea"]


async def test_what_was_cached_before_a_rule_is_not_served_after_it(
    database_url: str, tmp_path: Path
) -> None:
    """A new rule counts for results that are there already: in batches and on demand."""
    provider = Scripted()
    async with engine_with(database_url, tmp_path, provider) as engine:
        assert (await ended(engine, ["dice"]))[0].state is ItemState.SUCCEEDED
        await engine.generate("scripted:m", "roulette")
    rules = {"rules": [{"name": "r", "words": ["made of dice", "made of roulette"]}]}
    async with engine_with(database_url, tmp_path, provider, rules) as engine:
        assert (await ended(engine, ["dice"]))[0].state is ItemState.REFUSED
        with pytest.raises(GenerationError):
            await engine.generate("scripted:m", "roulette")
        await sound(engine)
    assert provider.prompts == ["dice", "roulette"]


async def test_while_a_hook_is_away_what_was_paid_is_kept_and_not_bought_again(
    database_url: str, tmp_path: Path
) -> None:
    """The item waits, the artifact is served to nobody, and is charged when it is delivered."""
    provider = Scripted()
    away = says({}, 503)
    async with speaking(away, away, ALLOWS) as speaker:
        rules = hook(speaker.url, on="artifact")
        async with engine_with(database_url, tmp_path, provider, rules) as engine:
            (item,) = await ended(engine, ["tea"])
            assert item.state is ItemState.SUCCEEDED
            assert (item.cost_microusd, item.spent_microcredits) == (40_000, CREDIT)
            assert await balance(engine, "revenue") == CREDIT
            await sound(engine)
    assert provider.prompts == ["tea"]
    assert len(speaker.heard) == 3


async def test_a_hook_that_stays_away_fails_the_item_refunded(
    database_url: str, tmp_path: Path
) -> None:
    """Closed, nothing is bought while a request's hook is away; open, it passes."""
    provider = Scripted()
    async with speaking(says({}, 500)) as speaker:
        for failure, state in (("closed", "failed"), ("open", "succeeded")):
            rules = hook(speaker.url, on="request", on_failure=failure)
            async with engine_with(database_url, tmp_path, provider, rules) as engine:
                (item,) = await ended(engine, ["tea"])
                assert item.state.value == state
                assert len(provider.prompts) == (failure == "open")
                await sound(engine)


# -- hooks -------------------------------------------------------------------------------------


async def test_a_hook_hears_the_bytes_of_what_is_too_large_for_the_database(
    database_url: str, tmp_path: Path
) -> None:
    """A picture fresh from its provider rests in the store before any row tells of it."""
    heard: list[Any] = []

    async def answer(one: Heard, writer: Any) -> None:
        heard.append(one.json)
        writer.write(http({"allow": True}))

    answering: Answer = answer
    provider = Scripted(body_bytes=300_000)
    async with (
        speaking(answering) as speaker,
        engine_with(database_url, tmp_path, provider, hook(speaker.url)) as engine,
    ):
        await ended(engine, ["tea"])
    (after,) = [one for one in heard if one["when"] == "artifact"]
    assert len(base64.b64decode(after["artifact"]["base64"])) == 300_000


async def test_a_hook_hears_the_request_and_then_the_artifact(
    database_url: str, tmp_path: Path
) -> None:
    """Texts, whose model, and the bytes; its words are what people read."""
    heard: list[Any] = []

    def judge(one: Heard) -> bytes:
        heard.append(one.json)
        return http({"allow": "dice" not in one.json["text"], "rule": "brand", "reason": "No."})

    async def answer(one: Heard, writer: Any) -> None:
        writer.write(judge(one))

    answering: Answer = answer
    provider = Scripted()
    async with (
        speaking(answering) as speaker,
        engine_with(database_url, tmp_path, provider, hook(speaker.url)) as engine,
    ):
        made = await ended(engine, ["tea", "dice", "dice"])
        assert [item.state.value for item in made] == ["succeeded", "refused", "refused"]
        assert (made[1].error or {})["reason"] == "No."
    assert len(heard) == 3, "equal requests are judged once"
    (after,) = [one for one in heard if one["when"] == "artifact"]
    assert (after["model"], after["text"]) == ("m", "made of tea")
    assert after["artifact"]["base64"]
    assert json.dumps(heard[0]).count("tenant") == 1
