"""The article recipe on a real engine: complaints, resuming where it failed, nothing paid again."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from headrace.clock import SystemClock
from headrace.config import Config
from headrace.engine import Engine, open_engine, open_source
from headrace.outcome import OutcomeKind, failed
from headrace.provider import Call, CrashClass, Reply
from headrace.recipe import Recipe
from headrace.simulator.scenario import build_settings
from headrace.simulator.server import Simulator
from headrace.store.audit import verify
from headrace.submission import Terms
from headrace.watching import Batch, ItemResult
from tests.integration.scripted import Scripted
from tests.integration.test_engine import CREDIT, balance, engine_on

EXAMPLES = Path(__file__).parents[2] / "examples"
GOOD = "Clean the chain each week. " * 30
FRONT = {
    "title": "A chain that lasts for years",
    "description": "What to do each week and each month so that a chain runs for years.",
    "slug": "a-chain-that-lasts",
    "keywords": ["chain", "cleaning", "wear"],
    "cta": "Book a check of your drivetrain.",
}
BRAND = 'forbidden = ["cheap*"]\nwords_min = 20\nwords_max = 5000\n'
Answer = Callable[[str, str, int], str | OutcomeKind]


class Writers(Scripted):
    """Models called outline, draft, voice and seo, whose answers a test gives by the call."""

    def __init__(self, answer: Answer | None = None) -> None:
        super().__init__(name="writers")
        self.calls: list[tuple[str, str]] = []
        self.asked: list[dict[str, Any]] = []
        self.answer: Answer = answer or (lambda model, prompt, nth: self.usual(model))

    def usual(self, model: str) -> str:
        return json.dumps(FRONT) if model == "seo" else f"{model}: {GOOD}"

    def counts(self) -> dict[str, int]:
        """How many calls each model had since the last look."""
        found = dict(Counter(model for model, _ in self.calls))
        self.calls.clear()
        return found

    async def call(self, call: Call) -> Reply:
        model, prompt = call.request.model, call.request.params["prompt"]
        self.calls.append((model, prompt))
        self.asked.append(call.request.params)
        said = self.answer(model, prompt, sum(name == model for name, _ in self.calls))
        if isinstance(said, OutcomeKind):
            raise failed(said, f"scripted {said.value}", cost_microusd=0)
        return Reply("text/plain", body=said.encode(), cost_microusd=40_000)


ONCE = {"outline": 1, "draft": 1, "voice": 1, "seo": 1}


class Desk:
    """An engine with the writers, the article recipe, and the files a person would edit."""

    def __init__(self, engine: Engine, writers: Writers, folder: Path) -> None:
        self.engine, self.writers, self.folder = engine, writers, folder
        self.write("brand", BRAND)
        self.write("voice", "Write plainly.")

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def recipe(self, **changes: dict[str, Any]) -> Recipe:
        stages: dict[str, Any] = {
            name: {"model": f"writers:{name}"} for name in ("outline", "draft", "voice", "seo")
        }
        files = {name: str(self.folder / name) for name in ("brand", "voice")}
        return self.engine.recipe("article", stages | {"files": files} | changes)

    async def run(self, *rows: dict[str, str], **changes: dict[str, Any]) -> Batch:
        given = list(rows) or [{"topic": "chains"}]
        recipe = self.recipe(**changes)
        batch = await self.engine.submit(given, recipe, columns=["topic"], terms=Terms())
        await batch.done()
        return batch

    async def only(self, batch: Batch) -> ItemResult:
        items = [item async for item in batch.items()]
        assert len(items) == 1
        return items[0]

    async def text(self, item: ItemResult) -> str:
        assert item.artifact is not None
        return await self.engine.reading.text(item.artifact)

    async def audit(self) -> None:
        async with self.engine.database.acquire() as connection:
            assert await verify(connection) == []
        assert await balance(self.engine, "held") == 0
        assert await balance(self.engine, "overrun") == 0


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    writers = Writers()
    async with engine_on(database_url, tmp_path, writers) as engine:
        yield Desk(engine, writers, tmp_path)


async def test_a_topic_becomes_a_page(desk: Desk) -> None:
    """Four models are asked once each, and the page is Markdown with the metadata as YAML."""
    item = await desk.only(await desk.run())
    assert (item.state, item.file) == ("succeeded", "a-chain-that-lasts")
    assert desk.writers.counts() == ONCE
    assert item.artifact is not None
    assert item.artifact.extension == "md"
    _, front, body = (await desk.text(item)).split("---\n", 2)
    assert yaml.safe_load(front) == FRONT | {"topic": "chains"}
    assert body.strip().startswith("voice: Clean the chain")
    assert body.strip().endswith(FRONT["cta"])
    assert item.spent_microcredits == 4 * CREDIT
    await desk.audit()


async def test_a_failed_stage_resumes_there(desk: Desk) -> None:
    """A person's retry buys the stage that failed and those after it, and none before."""
    desk.writers.answer = lambda model, prompt, nth: (
        OutcomeKind.REFUSED if model == "voice" else desk.writers.usual(model)
    )
    batch = await desk.run()
    assert (await desk.only(batch)).state == "refused"
    assert desk.writers.counts() == {"outline": 1, "draft": 1, "voice": 1}
    desk.writers.answer = lambda model, prompt, nth: desk.writers.usual(model)
    from headrace.lifecycle import ItemState

    await batch.retry({ItemState.REFUSED})
    await batch.done()
    assert (await desk.only(batch)).state == "succeeded"
    assert desk.writers.counts() == {"voice": 1, "seo": 1}
    await desk.audit()


async def test_a_breach_goes_back_with_the_complaint(desk: Desk) -> None:
    """The voice model is told which phrase and where, with its answer; nothing before is bought."""
    desk.writers.answer = lambda model, prompt, nth: (
        f"A cheap trick. {GOOD}" if (model, nth) == ("voice", 1) else desk.writers.usual(model)
    )
    item = await desk.only(await desk.run())
    assert item.state == "succeeded"
    again = [prompt for model, prompt in desk.writers.calls if model == "voice"][1]
    assert "forbidden phrase 'cheap*' (line 1, “a cheap trick." in again
    assert "A cheap trick." in again
    assert desk.writers.counts() == ONCE | {"voice": 2}
    assert "cheap" not in await desk.text(item)
    assert item.spent_microcredits == 5 * CREDIT
    assert {"voice.rejected.1", "voice.complaint.1"} < item.outputs.keys()
    await desk.audit()


async def test_a_run_after_a_complaint_buys_nothing(desk: Desk) -> None:
    """What was rejected, the complaint and what came of it are all found again in the cache."""
    desk.writers.answer = lambda model, prompt, nth: (
        f"A cheap trick. {GOOD}" if (model, nth) == ("voice", 1) else desk.writers.usual(model)
    )
    first = await desk.only(await desk.run())
    assert desk.writers.counts() == ONCE | {"voice": 2}
    desk.writers.answer = lambda model, prompt, nth: OutcomeKind.REFUSED
    second = await desk.only(await desk.run())
    assert desk.writers.counts() == {}
    assert second.artifact == first.artifact
    assert second.spent_microcredits == 0


async def test_complaints_end(desk: Desk) -> None:
    """After its complaints the item fails with the reason; a retry buys the voice once."""
    desk.writers.answer = lambda model, prompt, nth: (
        f"A cheap trick. {GOOD}" if model == "voice" else desk.writers.usual(model)
    )
    batch = await desk.run(brand={"complaints": 2})
    item = await desk.only(batch)
    assert item.state == "failed"
    assert item.error is not None
    assert "forbidden phrase 'cheap*'" in item.error["reason"]
    assert item.error["stage"] == "brand"
    assert desk.writers.counts() == {"outline": 1, "draft": 1, "voice": 3}
    assert item.spent_microcredits == 3 * CREDIT + 2 * CREDIT
    await desk.audit()
    desk.writers.answer = lambda model, prompt, nth: desk.writers.usual(model)
    from headrace.lifecycle import ItemState

    await batch.retry({ItemState.FAILED})
    await batch.done()
    assert (await desk.only(batch)).state == "succeeded"
    assert desk.writers.counts() == {"voice": 1, "seo": 1}
    await desk.audit()


async def test_without_complaints_a_breach_fails_at_once(desk: Desk) -> None:
    """A recipe that grants no second answer gets the reason after the first."""
    desk.writers.answer = lambda model, prompt, nth: (
        "Too short." if model == "voice" else desk.writers.usual(model)
    )
    item = await desk.only(await desk.run(brand={"complaints": 0}))
    assert item.state == "failed"
    assert item.error is not None
    assert "2 words, below 20" in item.error["reason"]
    assert desk.writers.counts() == {"outline": 1, "draft": 1, "voice": 1}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("I cannot do that.", "not JSON"),
        ("{", "not JSON"),
        (json.dumps(FRONT | {"title": "x"}), "title: 'x' is too short"),
        (json.dumps({**FRONT, "slug": "../../etc"}), "slug"),
        (json.dumps({"title": FRONT["title"]}), "required"),
        ("[" * 5000, ""),
    ],
)
async def test_metadata_that_does_not_fit_is_asked_again(desk: Desk, bad: str, said: str) -> None:
    """JSON that does not parse or fit goes back to its model with the place of the fault."""
    desk.writers.answer = lambda model, prompt, nth: (
        bad if (model, nth) == ("seo", 1) else desk.writers.usual(model)
    )
    item = await desk.only(await desk.run())
    assert item.state == "succeeded"
    again = [prompt for model, prompt in desk.writers.calls if model == "seo"][1]
    assert said in again
    assert desk.writers.counts() == ONCE | {"seo": 2}


async def test_the_same_bad_answer_is_not_taken_from_the_cache(desk: Desk) -> None:
    """A model that errs alike three times is asked three times, and its fourth answer counts."""
    desk.writers.answer = lambda model, prompt, nth: (
        "no" if model == "seo" and nth <= 3 else desk.writers.usual(model)
    )
    assert (await desk.only(await desk.run())).state == "succeeded"
    assert desk.writers.counts() == ONCE | {"seo": 4}
    await desk.audit()


async def test_another_voice_buys_only_from_the_voice_on(desk: Desk) -> None:
    """Editing the voice file leaves outline and draft in the cache."""
    await desk.run()
    assert desk.writers.counts() == ONCE
    await desk.run()
    assert desk.writers.counts() == {}
    desk.write("voice", "Write like a sailor.")
    desk.writers.answer = lambda model, prompt, nth: desk.writers.usual(model) + " "
    await desk.run()
    assert desk.writers.counts() == {"voice": 1, "seo": 1}
    assert desk.writers.asked[-2]["system"] == "Write like a sailor."


async def test_a_batch_keeps_the_files_it_was_submitted_with(desk: Desk) -> None:
    """A worker needs no file: their texts are part of the batch, and of its recipe's version."""
    before = desk.recipe()
    (desk.folder / "brand").write_text(BRAND.replace("cheap", "dear"))
    after = desk.recipe()
    assert before.version != after.version
    (desk.folder / "brand").unlink()
    batch = await desk.engine.submit([{"topic": "x"}], before, columns=["topic"], terms=Terms())
    desk.engine._held._held.clear()
    await batch.done()
    assert (await desk.only(batch)).state == "succeeded"


async def test_a_crash_between_complaint_and_answer_keeps_the_complaint(
    database_url: str, tmp_path: Path
) -> None:
    """The item's complaint is in the database: another process goes on with it, and pays once."""
    writers = Writers()

    def answer(model: str, prompt: str, nth: int) -> str | OutcomeKind:
        if model != "voice":
            return writers.usual(model)
        return f"A cheap trick. {GOOD}" if nth == 1 else OutcomeKind.AUTH

    writers.answer = answer
    async with engine_on(database_url, tmp_path, writers) as engine:
        desk = Desk(engine, writers, tmp_path)
        # Without the cache, which would give the rejected answer and so the complaint again.
        terms = Terms(cache="off")
        rows = [{"topic": "chains"}]
        batch = await engine.submit(rows, desk.recipe(), columns=["topic"], terms=terms)
        while (await batch.summary()).waiting == 0:
            await batch.changed(0.05)
        batch_id = batch.uuid
    assert writers.counts() == {"outline": 1, "draft": 1, "voice": 2}
    writers.answer = lambda model, prompt, nth: writers.usual(model)
    async with engine_on(database_url, tmp_path, writers) as engine:
        batch = engine.batch(batch_id)
        await batch.resume()
        await batch.done()
        item = await Desk(engine, writers, tmp_path).only(batch)
        assert item.state == "succeeded"
        assert "A cheap trick." in writers.calls[0][1]
        assert writers.counts() == {"voice": 1, "seo": 1}


def test_the_reserve_covers_every_complaint(desk: Desk) -> None:
    """What an item may cost at most counts each stage as often as it may be asked."""
    from headrace.complaint import rounds_of
    from headrace.stages import build_stages

    stages = build_stages(desk.recipe(), desk.engine.providers)
    names = [stage.name for stage in stages]
    rounds = dict(zip(names, rounds_of(stages), strict=True))
    assert rounds == {
        "outline": 1, "draft": 1, "voice": 3, "brand": 3, "seo": 4, "metadata": 4, "page": 1,
        "save": 1,
    }  # fmt: skip


async def test_the_recipe_is_rehearsed_on_the_simulator(database_url: str, tmp_path: Path) -> None:
    """Against a provider on localhost, over HTTP, every example row becomes a page."""
    scenario = tomllib.loads((EXAMPLES / "articles-scenario.toml").read_text())
    simulator = Simulator(build_settings(scenario | {"latency": {"median_s": 0.0}}), SystemClock())
    await simulator.start(0)
    try:
        table = {"base_url": simulator.url + "/v1", "limits": {"concurrency": 16}}
        config = Config(home=str(tmp_path), database_url=database_url, providers={"openai": table})
        async with open_engine(config) as engine:
            with open_source(str(EXAMPLES / "articles.csv")) as source:
                batch = await engine.submit(source, "article", columns=source.columns)
            await batch.done()
            items = [item async for item in batch.items()]
            assert [item.state for item in items] == ["succeeded"] * 12, items[0].error
            assert items[3].file == "a04"
    finally:
        await simulator.close()


def test_class_of_the_writers_is_blind() -> None:
    """The tests above hold for the class that is hardest: nothing helps after a crash."""
    assert Writers().crash_class is CrashClass.BLIND
