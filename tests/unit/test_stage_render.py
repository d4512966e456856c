"""The render stage and the template provider, with a renderer that only pretends."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from headrace.errors import HeadraceError, RecipeError
from headrace.outcome import CallFailed, OutcomeKind
from headrace.price import FREE
from headrace.provider import CrashClass, Provider
from headrace.providers.local.template import VERSION_S, TemplateProvider
from headrace.providers.typst_engine import (
    Rendered,
    Renderer,
    RendererClosedError,
    RenderJob,
    TemplateColumn,
    TemplateError,
    TemplateMemoryError,
    TemplateMissingError,
    TemplateTimeoutError,
    WorkerCrashError,
)
from headrace.recipe import parse_recipe
from headrace.request import Request
from headrace.stage import StageInput
from headrace.stages import build_stages
from headrace.stages.render import Render
from headrace.testing import CallDesk, ManualClock, SimulatedProvider
from headrace.testing.conformance import ProviderConformance, StageConformance

COLUMNS = (
    TemplateColumn("title", required=True),
    TemplateColumn("price"),
    TemplateColumn("photo", kind="photo"),
)


class Pretender:
    """Stands for the renderer: remembers its jobs and gives what it is told to."""

    def __init__(self) -> None:
        self.columns = COLUMNS
        self.version = "v1"
        self.jobs: list[RenderJob] = []
        self.error: HeadraceError | None = None
        self.during: Callable[[], object] = lambda: None
        self.warmed = self.closed = 0

    def template_version(self, name: str) -> str:
        if name != "card":
            raise TemplateMissingError(f"no template {name!r}", remedy="Did you mean 'card'?")
        return self.version

    def template_columns(self, name: str) -> tuple[TemplateColumn, ...]:
        return self.columns

    async def warm(self) -> None:
        self.warmed += 1

    async def close(self) -> None:
        self.closed += 1

    async def render(self, job: RenderJob) -> Rendered:
        self.jobs.append(job)
        self.during()
        if self.error is not None:
            raise self.error
        return Rendered(b"picture", job.format.media_type, 120, 80)


class Shop:
    """A render stage on a template provider whose renderer pretends."""

    def __init__(self, folder: Path | None = None, **settings: Any) -> None:
        self.pretender = Pretender()
        self.clock = ManualClock()
        self.provider = TemplateProvider(
            clock=self.clock, build=lambda: cast(Renderer, self.pretender)
        )
        self.folders = (folder,) if folder is not None else ()
        self.settings = settings

    def stage(self) -> Render:
        table = {"kind": "render", "template": "card"} | self.settings
        providers: dict[str, Provider] = {"template": self.provider}
        (stage,) = build_stages(parse_recipe({"stages": [table]}, "r.toml"), providers)
        assert isinstance(stage, Render)
        return stage

    def request(self, **row: Any) -> Request:
        return self.stage().request(StageInput(row, {}, {}, None, 1, "b", self.folders))

    def fails(self, **row: Any) -> CallFailed:
        with pytest.raises(CallFailed) as caught:
            self.request(**row)
        assert caught.value.outcome.kind is OutcomeKind.INVALID
        return caught.value

    def wrong(self) -> RecipeError:
        with pytest.raises(RecipeError) as caught:
            self.stage()
        assert "r.toml" in caught.value.place
        return caught.value


class TestTemplateProvider(ProviderConformance):
    """The template provider, against the suite."""

    unknown_model = "crad"

    async def make_provider(self) -> Provider:
        return Shop().provider

    def make_request(self, provider: Provider, number: int) -> Request:
        params = {"inputs": {"title": f"tea {number}"}, "format": "png"}
        return Request("template", "card", "v1", params)

    async def make_failing(self, provider: Provider) -> Request | None:
        pretender = cast(Pretender, cast(TemplateProvider, provider)._renderer)
        pretender.error = TemplateError("title overflows")
        return self.make_request(provider, 1)


class TestRender(StageConformance):
    """The render stage, against the suite."""

    def make_stage(self) -> Render:
        return Shop(inputs={"title": "{{ name }}", "price": "{{ price }}"}).stage()

    def make_input(self, number: int) -> StageInput:
        row = {"name": f"tea {number}", "price": "5", "other": "x"}
        return StageInput(row, {}, {}, None, number, "b")


def test_inputs_and_looks_are_the_request() -> None:
    """The request holds filled inputs and the look; the model is the template."""
    shop = Shop(inputs={"title": "The {{ name }}"}, format="webp", scale=2, quality=80)
    request = shop.request(name="tea")
    assert (request.provider, request.model, request.version) == ("template", "card", "v1")
    assert request.params == {
        "inputs": {"title": "The tea"},
        "format": "webp",
        "scale": 2,
        "quality": 80,
    }


def test_without_inputs_columns_match_by_name() -> None:
    """Without an inputs table the row's columns go to the parameters of the same names."""
    shop = Shop()
    assert shop.stage().columns() == {"title"}
    assert shop.request(title="tea", price="", sku="7").params["inputs"] == {"title": "tea"}
    shop.pretender.columns = ()
    assert shop.request(any="x").params["inputs"] == {"any": "x"}


async def test_an_edited_template_is_another_request() -> None:
    """An edit while a batch runs changes the fingerprint, a quarter of a second later at most."""
    shop = Shop()
    stage, given = shop.stage(), StageInput({"title": "tea"}, {}, {}, None, 1, "b")
    before = stage.request(given).fingerprint
    shop.pretender.version = "v2"
    assert stage.request(given).fingerprint == before
    await shop.clock.advance(VERSION_S)
    assert stage.request(given).fingerprint != before


async def test_an_edit_seen_by_a_render_is_seen_by_the_next_row() -> None:
    """After a render that met an edited template, the next request has the new version."""
    shop = Shop()
    request = shop.request(title="tea")
    shop.pretender.version = "v2"
    with pytest.raises(CallFailed, match="changed"):
        await shop.provider.call(CallDesk().call(request))
    await shop.provider.call(CallDesk().call(shop.request(title="tea")))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"template": "crad"}, ["crad", "card"]),
        ({"inputs": {"titel": "x"}}, ["titel", "'title'"]),
        ({"inputs": {"price": "x"}}, ["title", "needs"]),
        ({"format": "gif"}, ["gif"]),
        ({"scale": 99}, ["scale"]),
        ({"quality": 0}, ["quality"]),
        ({"photo_fallback": 1}, ["photo_fallback"]),
        ({"inputs": {"title": "x"}, "photo_columns": ["photo"]}, ["photo_columns"]),
    ],
)
def test_wrong_recipes_are_told_when_built(settings: dict[str, Any], words: list[str]) -> None:
    """What cannot fit the template is an error of the recipe, before any row."""
    error = str(Shop(**settings).wrong())
    for word in words:
        assert word in error


def test_another_provider_cannot_render() -> None:
    """A provider called template that knows no templates is refused."""
    recipe = parse_recipe({"stages": [{"kind": "render", "template": "card"}]}, "r.toml")
    with pytest.raises(RecipeError, match="renders no templates"):
        build_stages(recipe, {"template": SimulatedProvider()})


def test_photo_content_shapes_the_fingerprint(tmp_path: Path) -> None:
    """A photo replaced under the same path is another request; the same content the same one."""
    photo = tmp_path / "tea.jpg"
    shop = Shop(tmp_path)
    prints = []
    for number, content in enumerate((b"green", b"black", b"green")):
        photo.write_bytes(content)
        os.utime(photo, ns=(number, number))
        prints.append(shop.request(title="tea", photo="tea.jpg").fingerprint)
    assert prints[0] == prints[2] != prints[1]


def test_photos_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many rows over one photo read it once."""
    (tmp_path / "tea.jpg").write_bytes(b"green")
    shop = Shop(tmp_path)
    shop.request(title="tea", photo="tea.jpg")
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("read again"))
    shop.request(title="other", photo="tea.jpg")


@pytest.mark.parametrize("photo", ["gone.jpg", "../out.jpg", "/etc/hostname", ".", "https://a/b"])
def test_bad_photos_are_the_rows_fault(tmp_path: Path, photo: str) -> None:
    """A photo that is missing, outside, a folder or an address is invalid, named, with a remedy."""
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "out.jpg").write_bytes(b"x")
    outcome = Shop(inside).fails(title="tea", photo=photo).outcome
    assert photo in outcome.reason


def test_fallback_forgives_only_missing_photos(tmp_path: Path) -> None:
    """With the fallback a missing photo is drawn as a placeholder; one outside stays an error."""
    shop = Shop(tmp_path, photo_fallback=True)
    missing = shop.request(title="tea", photo="gone.jpg")
    assert missing.params["photos"] == {"photo": "absent"}
    shop.fails(title="tea", photo="../out.jpg")


async def test_a_render_is_free_and_measured(tmp_path: Path) -> None:
    """A success has the picture, its size, and no cost; the renderer got the call's folders."""
    shop = Shop(tmp_path, format="jpeg", scale=2)
    request = shop.request(title="tea")
    reply = await shop.provider.call(CallDesk((tmp_path,)).call(request))
    assert (reply.body, reply.media_type, reply.cost_microusd) == (b"picture", "image/jpeg", 0)
    assert reply.facts == {"width": 120, "height": 80}
    (job,) = shop.pretender.jobs
    assert (job.template, job.scale, job.photo_folders) == ("card", 2.0, (tmp_path,))
    assert shop.provider.price(request) == FREE
    assert shop.provider.crash_class is CrashClass.PURE


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TemplateError("unknown variable", place="card.typ:3"), OutcomeKind.INVALID),
        (TemplateTimeoutError("too long", remedy="Look for a loop."), OutcomeKind.INVALID),
        (TemplateMemoryError("too much"), OutcomeKind.INVALID),
        (WorkerCrashError("ended"), OutcomeKind.TRANSIENT),
        (RendererClosedError("closed"), OutcomeKind.TRANSIENT),
    ],
)
async def test_errors_become_outcomes(error: HeadraceError, kind: OutcomeKind) -> None:
    """The row's and the template's faults are invalid; a worker that died may be tried again."""
    shop = Shop()
    shop.pretender.error = error
    with pytest.raises(CallFailed) as caught:
        await shop.provider.call(CallDesk().call(shop.request(title="tea")))
    assert caught.value.outcome.kind is kind
    assert error.message in caught.value.outcome.reason
    assert error.place in caught.value.outcome.reason
    assert caught.value.outcome.remedy == error.remedy


async def test_what_changed_meanwhile_is_rendered_again(tmp_path: Path) -> None:
    """A picture of a photo or template replaced during the render is never delivered."""
    photo = tmp_path / "tea.jpg"
    photo.write_bytes(b"green")
    shop = Shop(tmp_path)
    desk = CallDesk((tmp_path,))
    request = shop.request(title="tea", photo="tea.jpg")
    await shop.provider.call(desk.call(request))
    for change in (
        lambda: photo.write_bytes(b"black tea"),
        photo.unlink,
        lambda: setattr(shop.pretender, "version", "v2"),
    ):
        shop.pretender.during = change
        with pytest.raises(CallFailed) as caught:
            await shop.provider.call(desk.call(request))
        assert caught.value.outcome.kind is OutcomeKind.TRANSIENT
        shop.pretender.during = lambda: None
        photo.write_bytes(b"green")


async def test_renderer_is_built_when_needed() -> None:
    """A provider that nobody uses builds nothing; open warms, close ends."""
    shop = Shop()
    await shop.provider.close()
    assert shop.pretender.closed == 0
    await shop.provider.open()
    await shop.provider.close()
    assert (shop.pretender.warmed, shop.pretender.closed) == (1, 1)


@pytest.mark.process
async def test_a_real_card_is_rendered() -> None:
    """The built-in product template draws a row through real workers, twice the same."""
    provider = TemplateProvider(workers=1)
    table = {"kind": "render", "template": "product", "scale": 0.5}
    (stage,) = build_stages(parse_recipe({"stages": [table]}, "r.toml"), {"template": provider})
    await provider.open()
    try:
        request = stage.request(StageInput({"title": "Green tea"}, {}, {}, None, 1, "b"))
        replies = [await provider.call(CallDesk().call(request)) for _ in range(2)]
        failing = stage.request(StageInput({}, {}, {}, None, 1, "b"))
        with pytest.raises(CallFailed, match="title"):
            await provider.call(CallDesk().call(failing))
    finally:
        await provider.close()
    assert replies[0].body == replies[1].body
    assert (replies[0].body or b"").startswith(b"\x89PNG")
    assert replies[0].facts["width"] > 100
