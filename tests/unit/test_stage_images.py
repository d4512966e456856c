"""Resize, watermark and check, through the images provider that does their work."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headrace.artifact import Artifact
from headrace.errors import NotFoundError
from headrace.outcome import CallFailed, OutcomeKind
from headrace.provider import Reply
from headrace.providers.local.images import ImagesProvider
from headrace.providers.local.pixel_budget import PixelBudget
from headrace.recipe import parse_recipe
from headrace.stage import StageInput
from headrace.stages import build_stages
from headrace.testing import CallDesk, SimulatedProvider

FIRST = {"kind": "generate", "model": "simulated:m", "prompt": "x"}


def picture(
    width: int = 200, height: int = 100, mode: str = "RGB", form: str = "PNG", color: Any = None
) -> bytes:
    image = Image.linear_gradient("L").resize((width, height)).convert(mode)
    if color is not None:
        image = Image.new(mode, (width, height), color)
    out = io.BytesIO()
    image.save(out, form)
    return out.getvalue()


def see(body: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(body))
    image.load()
    return image


class Shop:
    """One stage on the images provider, and the desk that holds its source."""

    def __init__(self, *folders: Path, **settings: Any) -> None:
        self.provider = ImagesProvider(threads=1)
        self.desk = CallDesk(folders)
        self.folders = folders
        recipe = parse_recipe({"stages": [FIRST, settings]}, "r.toml")
        providers = {"simulated": SimulatedProvider(), "images": self.provider}
        self.stage = build_stages(recipe, providers)[1]

    def given(self, source: Artifact | None, **row: Any) -> StageInput:
        return StageInput(row, {}, {}, source, 3, "spring", self.folders)

    async def work(self, body: bytes, media_type: str = "image/png", **row: Any) -> Reply:
        source = self.desk.keep(body, media_type)
        request = self.stage.request(self.given(source, **row))
        try:
            return await self.provider.call(self.desk.call(request))
        finally:
            await self.provider.close()

    async def make(self, body: bytes, media_type: str = "image/png", **row: Any) -> bytes:
        return self.desk.body_of(await self.work(body, media_type, **row))

    async def fails(self, body: bytes, media_type: str = "image/png") -> str:
        with pytest.raises(CallFailed) as caught:
            await self.work(body, media_type)
        assert caught.value.outcome.kind is OutcomeKind.INVALID
        assert caught.value.outcome.remedy
        return caught.value.outcome.reason


# -- resize ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        ({"width": 100}, (100, 50)),
        ({"height": 25}, (50, 25)),
        ({"width": 100, "height": 100}, (100, 50)),
        ({"width": 400}, (200, 100)),
        ({"width": 60, "height": 60, "fit": "cover"}, (60, 60)),
        ({"width": 300, "height": 300, "fit": "cover"}, (300, 300)),
        ({"width": 60, "height": 60, "fit": "contain"}, (60, 60)),
        ({"width": 1}, (1, 1)),
    ],
)
async def test_resize_gives_the_size(settings: dict[str, Any], size: tuple[int, int]) -> None:
    """Inside fits without enlarging, cover and contain give exactly what was asked."""
    reply = await Shop(kind="resize", **settings).work(picture())
    assert reply.body is not None
    assert see(reply.body).size == size
    assert reply.facts == {"width": size[0], "height": size[1]}


async def test_contain_pads_with_the_background() -> None:
    """What the picture does not reach has the background color."""
    shop = Shop(kind="resize", width=60, height=60, fit="contain", background="#ff0000")
    assert see(await shop.make(picture())).convert("RGB").getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
async def test_formats_change_or_stay(form: str) -> None:
    """The format becomes what is asked, and stays what it was when nothing is."""
    reply = await Shop(kind="resize", format=form).work(picture(mode="RGBA"))
    assert reply.media_type == f"image/{form}"
    assert see(reply.body or b"").format == form.upper()
    reply = await Shop(kind="resize", width=10).work(picture(form=form.upper()), f"image/{form}")
    assert reply.media_type == f"image/{form}"


async def test_turned_photos_come_out_upright() -> None:
    """A photo that its EXIF data turns is turned before it is measured."""
    exif = Image.Exif()
    exif[0x0112] = 6
    out = io.BytesIO()
    Image.linear_gradient("L").resize((200, 100)).save(out, "JPEG", exif=exif)
    assert see(await Shop(kind="resize", height=50).make(out.getvalue())).size == (25, 50)


@pytest.mark.parametrize("body", [b"", b"not a picture", picture()[:60], b"<svg/>", b"BM" * 50])
async def test_what_is_no_picture_is_invalid(body: bytes) -> None:
    """Garbage, cut files and other formats end as invalid, never as a crash."""
    assert "picture" in await Shop(kind="resize", width=10).fails(body)


async def test_bombs_are_refused_by_their_header() -> None:
    """A picture of too many pixels is refused before a pixel is decoded."""
    from headrace.providers.simulated.png_body import PngBody

    body = PngBody(8000, 8000).whole(bytes(32))
    assert "megapixels" in await Shop(kind="resize", width=10).fails(body)


def test_nothing_before_is_invalid() -> None:
    """Without a previous artifact the row is invalid, and the reason names stage and row."""
    shop = Shop(kind="resize", width=10)
    with pytest.raises(CallFailed) as caught:
        shop.stage.request(shop.given(None))
    assert "row 3" in caught.value.outcome.reason


def test_source_shapes_the_fingerprint() -> None:
    """Another source is another request, though the settings are the same."""
    shop = Shop(kind="resize", width=10)
    prints = {
        shop.stage.request(shop.given(shop.desk.keep(body, "image/png"))).fingerprint
        for body in (b"one", b"two")
    }
    assert len(prints) == 2


# -- watermark ------------------------------------------------------------------------------


@pytest.mark.parametrize("position", ["bottom-right", "top-left", "center", "left", "tile"])
async def test_watermark_draws_where_it_should(position: str) -> None:
    """The mark changes its place in the picture and leaves the farthest corner alone."""
    plain = see(picture(400, 300, color="#336699"))
    body = await Shop(kind="watermark", text="© {{ brand }}", position=position, opacity=1).make(
        picture(400, 300, color="#336699"), brand="Teahouse"
    )
    image = see(body).convert("RGB")
    assert image.size == plain.size
    where = {(x > 200, y > 150) for x in range(400) for y in range(300) if marked(image, x, y)}
    assert where
    if position == "bottom-right":
        assert where == {(True, True)}
    if position == "top-left":
        assert where == {(False, False)}


def marked(image: Image.Image, x: int, y: int) -> bool:
    return image.getpixel((x, y)) != (0x33, 0x66, 0x99)


async def test_empty_text_marks_nothing() -> None:
    """A row that leaves the text empty gives the picture unmarked."""
    body = await Shop(kind="watermark", text="{{ brand }}").make(picture(), brand="")
    assert see(body).convert("RGB").tobytes() == see(picture()).convert("RGB").tobytes()


async def test_image_marks_are_known_by_content(tmp_path: Path) -> None:
    """A logo that is replaced under the same name is another request, and both are drawn."""
    logo = tmp_path / "logo.png"
    shop = Shop(tmp_path, kind="watermark", image="logo.png", opacity=1, size=0.5)
    prints, bodies = set(), set()
    for number, color in enumerate(("red", "blue")):
        logo.write_bytes(picture(50, 50, color=color))
        os.utime(logo, ns=(number, number))
        source = shop.desk.keep(picture(), "image/png")
        request = shop.stage.request(shop.given(source))
        prints.add(request.fingerprint)
        bodies.add(shop.desk.body_of(await shop.provider.call(shop.desk.call(request))))
    await shop.provider.close()
    assert len(prints) == len(bodies) == 2


async def test_a_mark_replaced_meanwhile_is_not_kept(tmp_path: Path) -> None:
    """A picture drawn with another mark than the request names is not delivered."""
    logo = tmp_path / "logo.png"
    logo.write_bytes(picture(50, 50, color="red"))
    shop = Shop(tmp_path, kind="watermark", image="logo.png")
    request = shop.stage.request(shop.given(shop.desk.keep(picture(), "image/png")))
    logo.write_bytes(picture(60, 60, color="blue"))
    with pytest.raises(CallFailed) as caught:
        await shop.provider.call(shop.desk.call(request))
    assert caught.value.outcome.kind is OutcomeKind.TRANSIENT
    await shop.provider.close()


@pytest.mark.parametrize("name", ["gone.png", "../secret.png", "/etc/hostname"])
def test_marks_stay_in_their_folders(tmp_path: Path, name: str) -> None:
    """A mark that is not there, or lies outside the folders, is invalid and named."""
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "secret.png").write_bytes(picture())
    shop = Shop(inside, kind="watermark", image=name)
    with pytest.raises(CallFailed) as caught:
        shop.stage.request(shop.given(shop.desk.keep(picture(), "image/png")))
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    assert name in caught.value.outcome.reason


# -- check ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"media_types": ["image/jpeg", "image/webp"]}, "media type"),
        ({"bytes_min": 1_000_000}, "below"),
        ({"bytes_max": 10}, "above"),
        ({"width": 201}, "width is 200 px, not 201"),
        ({"height_min": 101}, "height"),
        ({"width_max": 199}, "width"),
    ],
)
async def test_broken_rules_say_which(rules: dict[str, Any], reason: str) -> None:
    """A result that breaks a rule is rejected for that rule."""
    assert reason in await Shop(kind="check", **rules).fails(picture())


@pytest.mark.parametrize(
    "body",
    [
        picture(color="white"),
        picture(mode="L", color=7),
        picture(mode="RGBA", color=(0, 0, 0, 0)),
        picture(form="GIF", mode="P", color=3),
    ],
)
async def test_blank_pictures_are_rejected(body: bytes) -> None:
    """One single color, or nothing but transparency, is blank."""
    assert "blank" in await Shop(kind="check", not_blank=True).fails(body)


@pytest.mark.parametrize("size", [(200, 100), (900, 900)])
async def test_kept_rules_pass_the_same_artifact_on(size: tuple[int, int]) -> None:
    """A result that keeps the rules goes on as the same bytes, small or large."""
    image = Image.effect_noise(size, 100).convert("RGB")
    out = io.BytesIO()
    image.save(out, "PNG")
    shop = Shop(
        kind="check", width=size[0], height=size[1], not_blank=True, media_types=["image/*"]
    )
    reply = await shop.work(out.getvalue())
    assert reply.media_type == "image/png"
    assert shop.desk.body_of(reply) == out.getvalue()


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"chars_min": 50}, "below"),
        ({"chars_max": 5}, "above"),
        ({"forbidden": ["as an ai"]}, "as an ai"),
        ({"required": ["oolong"]}, "oolong"),
        ({"width_min": 5}, "picture"),
    ],
)
async def test_text_rules(rules: dict[str, Any], reason: str) -> None:
    """Texts are measured in characters and searched without regard to case."""
    body = "As an AI, I like green tea. ü".encode()
    assert reason in await Shop(kind="check", **rules).fails(body, "text/plain")


async def test_good_text_passes() -> None:
    """A text that keeps its rules goes on."""
    shop = Shop(kind="check", chars_min=3, required=["TEA"], media_types=["text/plain"])
    reply = await shop.work(b"green tea", "text/plain; charset=utf-8")
    assert shop.desk.body_of(reply) == b"green tea"


async def test_bytes_that_are_no_text() -> None:
    """A text rule on bytes that are no UTF-8 is broken."""
    assert "UTF-8" in await Shop(kind="check", chars_min=1).fails(b"\xff\xfe", "text/plain")


def test_unknown_work_is_not_found() -> None:
    """The images provider does three things; another is not found, with the nearest named."""
    with pytest.raises(NotFoundError) as caught:
        ImagesProvider().version("resise")
    assert "resize" in caught.value.remedy


async def test_large_pictures_wait_for_each_other() -> None:
    """Threads hold at most the budget's pixels at once, and one above it still gets through."""
    budget, gate = PixelBudget(100), threading.Barrier(2, timeout=10)
    held = most = 0
    lock = threading.Lock()

    def work(pixels: int) -> None:
        nonlocal held, most
        with budget.hold(pixels):
            with lock:
                held += min(pixels, 100)
                most = max(most, held)
            with lock:
                held -= min(pixels, 100)

    def both_at_once() -> None:
        with budget.hold(50):
            gate.wait()

    await asyncio.gather(*(asyncio.to_thread(work, 10 * n) for n in range(1, 20)))
    assert most <= 100
    await asyncio.gather(*(asyncio.to_thread(both_at_once) for _ in range(2)))
