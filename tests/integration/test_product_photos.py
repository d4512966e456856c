"""The product photo recipe on a real engine: references in, stage on stage, styles by name."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headrace.engine import Engine
from headrace.provider import Call, Reply
from headrace.submission import Terms
from headrace.watching import ItemResult
from tests.integration.scripted import Scripted
from tests.integration.test_engine import engine_on
from tests.unit.test_stage_sources import picture


class Studio(Scripted):
    """An image model that tints what goes in: each call's picture tells how often it was made."""

    def __init__(self) -> None:
        super().__init__(name="studio")
        self.seen: list[tuple[str, dict[str, Any], dict[str, list[bytes]]]] = []

    async def call(self, call: Call) -> Reply:
        placed = call.request.placed()
        bodies = {name: [await call.source(one) for one in all_] for name, all_ in placed.items()}
        self.seen.append((call.request.model, call.request.params, bodies))
        taken = [Image.open(io.BytesIO(one)) for found in bodies.values() for one in found]
        size = taken[0].size if taken else (64, 64)
        if call.request.model == "upscale":
            size = (size[0] * 2, size[1] * 2)
        out = io.BytesIO()
        drawn = Image.linear_gradient("L").resize(size).convert("RGB")
        drawn.putpixel((0, 0), (len(self.seen), 0, 0))
        drawn.save(out, "PNG")
        return Reply("image/png", body=out.getvalue(), cost_microusd=40_000)

    def of(self, model: str) -> list[tuple[dict[str, Any], dict[str, list[bytes]]]]:
        """The calls of one model: params, and the bodies that went in by param."""
        return [(params, bodies) for name, params, bodies in self.seen if name == model]


MODELS = {name: {"model": f"studio:{name}"} for name in ("photo", "refine", "upscale")}


async def made(engine: Engine, folder: Path, *rows: dict[str, Any]) -> list[ItemResult]:
    recipe = engine.recipe("product-photo", MODELS)
    terms = Terms(folders=(str(folder),))
    columns = sorted({name for row in rows for name in row})
    batch = await engine.submit(list(rows), recipe, columns=columns, terms=terms)
    await batch.done()
    return [item async for item in batch.items()]


@pytest.fixture
def studio() -> Studio:
    return Studio()


@pytest.fixture
async def engine(database_url: str, tmp_path: Path, studio: Studio) -> AsyncIterator[Engine]:
    async with engine_on(database_url, tmp_path / "home", studio) as opened:
        yield opened


async def test_each_stage_works_on_the_picture_before(
    engine: Engine, studio: Studio, tmp_path: Path
) -> None:
    """The reference goes into the photo, the photo into the retouch, that into the upscaler."""
    reference = picture(size=(80, 60))
    (tmp_path / "mug.png").write_bytes(reference)
    row = {"title": "Mug", "sku": "M1", "reference": "mug.png", "seed": "7", "mark": "Fen"}
    (item,) = await made(engine, tmp_path, row)
    assert (item.state, item.file) == ("succeeded", "M1"), item.error
    ((params, bodies),) = studio.of("photo")
    assert bodies == {"input_image": [reference]}
    assert params["seed"] == 7
    ((_, refined),) = studio.of("refine")
    ((upscale, upscaled),) = studio.of("upscale")
    assert refined["input_image"] != upscaled["image"]
    assert upscale == {"image": {"source": 0}}
    assert item.artifact is not None
    assert Image.open(io.BytesIO(await engine.reading.body(item.artifact.sha256))).size == (
        160,
        120,
    )


async def test_a_style_is_picked_by_its_name(
    engine: Engine, studio: Studio, tmp_path: Path
) -> None:
    """A cell names a preset, an empty one takes the default, an unknown one is told the nearest."""
    rows = [{"title": "Mug", "style": style} for style in ("Dark", "", "vintge")]
    items = await made(engine, tmp_path, *rows)
    assert [item.state for item in items] == ["succeeded", "succeeded", "failed"]
    prompts = sorted(params["prompt"] for params, _ in studio.of("photo"))
    assert "black slate" in prompts[0]
    assert "seamless white" in prompts[1]
    assert items[2].error is not None
    assert "'vintge'" in items[2].error["reason"]
    assert "vintage" in items[2].error["remedy"]


async def test_the_same_reference_is_bought_once(
    engine: Engine, studio: Studio, tmp_path: Path
) -> None:
    """Rows with the same words, seed and picture are one purchase; another picture is another."""
    for name, color in (("a.png", "red"), ("copy-of-a.png", "red"), ("b.png", "blue")):
        (tmp_path / name).write_bytes(picture(color))
    names = ("a.png", "copy-of-a.png", "b.png")
    items = await made(engine, tmp_path, *({"title": "Mug", "reference": name} for name in names))
    assert [item.state for item in items] == ["succeeded"] * 3
    assert len(studio.of("photo")) == 2


async def test_a_result_is_the_reference_of_the_next_batch(
    engine: Engine, studio: Studio, tmp_path: Path
) -> None:
    """``sha256:…`` of a delivered picture goes in, without any file."""
    (first,) = await made(engine, tmp_path, {"title": "Mug"})
    assert first.artifact is not None
    digest = f"sha256:{first.artifact.sha256.hex()}"
    (second,) = await made(engine, tmp_path, {"title": "Jug", "reference": digest})
    assert second.state == "succeeded"
    _, bodies = studio.of("photo")[-1]
    assert bodies["input_image"] == [await engine.reading.body(first.artifact.sha256)]


async def test_a_picture_that_is_gone_costs_nothing(
    engine: Engine, studio: Studio, tmp_path: Path
) -> None:
    """A digest that nothing has, and a path outside, fail their rows before anything is paid."""
    rows = [{"title": "Mug", "reference": name} for name in ("sha256:" + "0" * 64, "../../x.png")]
    items = await made(engine, tmp_path, *rows)
    assert [item.state for item in items] == ["failed", "failed"]
    assert sum(item.cost_microusd for item in items) == 0
    assert not studio.seen
