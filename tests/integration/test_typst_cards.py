"""Promises of the six ready templates: hard rows stay inside the margins, emptiness is balanced."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from headrace.contact_sheet import FailedTile, contact_sheet
from headrace.providers.typst_engine import Rendered, Renderer, RenderJob, TemplateColumn
from headrace.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
RECIPES = ROOT / "src" / "headrace" / "recipes"
CARDS = ("product", "social", "square", "quote", "event", "price-list")

HARD = {
    "a very long text": "Handcrafted full-grain leather weekender duffel bag, " * 40,
    "one word without a break": "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunter" * 6,
    "Japanese": "手作りの波佐見焼マグカップ藍色グラデーション" * 12,
    "Arabic": "سماعات لاسلكية بخاصية إلغاء الضوضاء " * 15,
    "emoji": "🎧👩🏽‍🚀🇯🇵🪴" * 40,
    "wide capitals": "W" * 500,
    "marks above and below": "Z̷̢̛A̴̡L̸̨G̵Ǫ " * 60,
}


@pytest.fixture
async def renderer() -> AsyncIterator[Renderer]:
    async with Renderer(timeout_s=30) as opened:
        yield opened


def filled(columns: tuple[TemplateColumn, ...], text: str) -> dict[str, Any]:
    row: dict[str, Any] = {column.name: text for column in columns if column.kind == "text"}
    for column in columns:
        if column.kind == "list":
            row[column.name] = [f"{text} | {text[:40]}"] * 30
    return row


def picture(done: Rendered) -> Image.Image:
    return Image.open(io.BytesIO(done.body)).convert("RGB")


def border(image: Image.Image, width: int = 20) -> list[Image.Image]:
    w, h = image.size
    boxes = [(0, 0, w, width), (0, h - width, w, h), (0, 0, width, h), (w - width, 0, w, h)]
    return [image.crop(box) for box in boxes]


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("kind", list(HARD))
async def test_no_text_reaches_the_edge(renderer: Renderer, card: str, kind: str) -> None:
    """The outermost pixels of a card full of hard text are those of a card with little."""
    columns = renderer.template_columns(card)
    text = HARD[kind]
    plain = "أ" if kind == "Arabic" else "."
    full, little = await asyncio.gather(
        renderer.render(RenderJob(card, filled(columns, text))),
        renderer.render(RenderJob(card, filled(columns, plain))),
    )
    for ours, quiet in zip(border(picture(full)), border(picture(little)), strict=True):
        difference = ImageChops.difference(ours, quiet).convert("L").point(lambda v: 255 * (v > 24))
        assert difference.getbbox() is None, f"{card}: {kind} reaches the edge"


@pytest.mark.parametrize("card", CARDS)
async def test_only_the_required_cells_are_enough(renderer: Renderer, card: str) -> None:
    columns = renderer.template_columns(card)
    row = {column.name: "Only this" for column in columns if column.required}
    done = await renderer.render(RenderJob(card, row))
    assert (done.width_px, done.height_px) == renderer.template_size_px(card)
    assert done.warnings == ()
    assert len(picture(done).resize((64, 64)).getcolors(4096) or []) > 3


@pytest.mark.parametrize("card", CARDS)
async def test_every_parameter_is_documented(renderer: Renderer, card: str) -> None:
    assert all(column.doc.endswith(".") for column in renderer.template_columns(card))


async def test_right_to_left_titles_stand_at_the_right(renderer: Renderer) -> None:
    """On a product card the photo changes sides with the script."""
    left, right = await asyncio.gather(
        renderer.render(RenderJob("product", {"title": "Mug", "accent": "#ff0000"})),
        renderer.render(RenderJob("product", {"title": "مصباح", "accent": "#ff0000"})),
    )
    photo_of_left = picture(left).getpixel((1000, 200))
    assert picture(right).getpixel((250, 200))[0] > 90
    assert photo_of_left[0] > 90


async def test_emoji_are_drawn_in_color(renderer: Renderer) -> None:
    done = await renderer.render(RenderJob("quote", {"quote": "🍓🍓🍓"}))
    colors = picture(done).resize((270, 270)).getcolors(270 * 270) or []
    assert sum(count for count, (red, green, _) in colors if red > 180 and green < 80) > 200


def recipe_columns(name: str) -> tuple[set[str], dict[str, Any]]:
    recipe = read_recipe(RECIPES / f"{name}.toml")
    return {*recipe.required, *recipe.optional}, recipe.body["stages"][0]


@pytest.mark.parametrize(
    "recipe",
    ["product-card", "social-card", "square-card", "quote-card", "event-card", "price-list"],
)
async def test_a_recipe_fills_every_parameter_of_its_template(
    renderer: Renderer, recipe: str
) -> None:
    columns, stage = recipe_columns(recipe)
    declared = renderer.template_columns(stage["template"])
    assert set(stage["inputs"]) == {column.name for column in declared}
    assert set(stage["inputs"]) <= columns


async def test_all_example_rows_become_cards(renderer: Renderer, tmp_path: Path) -> None:
    with (EXAMPLES / "products.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 200
    names = {column.name for column in renderer.template_columns("product")}
    jobs = [
        RenderJob(
            "product", {k: v for k, v in row.items() if k in names}, photo_folders=(EXAMPLES,)
        )
        for row in rows
    ]
    done = await asyncio.gather(*(renderer.render(job) for job in jobs))
    assert len({hashlib.sha256(one.body).digest() for one in done}) == 199  # one row stands twice
    tiles = [(row["title"], one.body) for row, one in zip(rows, done, strict=True)]
    sheet = contact_sheet(tiles, tmp_path / "sheet.jpg")
    assert Image.open(sheet).width > 2000


def test_a_contact_sheet_shows_failed_rows_and_counts_the_rest(tmp_path: Path) -> None:
    good = io.BytesIO()
    Image.new("RGB", (120, 63), "navy").save(good, "PNG")
    tiles = [
        ("fine", good.getvalue()),
        ("broken", b"not a picture"),
        ("gone", tmp_path / "gone.png"),
        ("refused", FailedTile("content_policy")),
        ("left out", good.getvalue()),
    ]
    out = contact_sheet(iter(tiles), tmp_path / "deep" / "sheet.png", columns=2, limit=4)
    with Image.open(out) as sheet:
        assert sheet.width == 2 * 40 + 2 * 252 + 20
    again = contact_sheet(tiles, tmp_path / "again.png", columns=2, limit=4)
    assert out.read_bytes() == again.read_bytes()
