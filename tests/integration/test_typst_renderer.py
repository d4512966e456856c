"""Promises of the renderer: rows are data, failures are named, limits hold, bytes repeat."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from headrace.errors import HeadraceError
from headrace.providers.typst_engine import (
    Format,
    PhotoMissingError,
    PhotoRefusedError,
    Renderer,
    RendererClosedError,
    RenderJob,
    TemplateError,
    TemplateMemoryError,
    TemplateMissingError,
    TemplateTimeoutError,
)
from headrace.providers.typst_engine.renderer import _clean

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PAGE = "#set page(width: 60pt, height: 30pt, margin: 2pt)\n"
HOSTILE = [
    *"#$*_`\\\"'{}[]()<>@~=/-+|\n\t",
    "#import",
    "#{panic()}",
    '#read("/kit.typ")',
    "\u202e",
    "漢",
]
WITH_ROW = '#import "kit.typ": *\n' + PAGE


@pytest.fixture
async def templates(tmp_path: Path) -> Callable[[str, str], None]:
    def add(name: str, source: str) -> None:
        (tmp_path / f"{name}.typ").write_text(source, encoding="utf-8")

    return add


@pytest.fixture
async def renderer(tmp_path: Path) -> AsyncIterator[Renderer]:
    async with Renderer([tmp_path], workers=2, timeout_s=10) as opened:
        yield opened


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def failure(renderer: Renderer, job: RenderJob) -> HeadraceError:
    with pytest.raises(HeadraceError) as caught:
        await renderer.render(job)
    return caught.value


async def test_a_product_card_has_its_exact_size(renderer: Renderer) -> None:
    done = await renderer.render(RenderJob("product", {"title": "Mug", "price": "9"}))
    assert (done.width_px, done.height_px, done.media_type) == (1200, 630, "image/png")
    assert Image.open(io.BytesIO(done.body)).size == (1200, 630)
    twice = await renderer.render(RenderJob("product", {"title": "Mug"}, scale=2))
    assert (twice.width_px, twice.height_px) == (2400, 1260)


@pytest.mark.parametrize(
    ("kind", "start"),
    [
        (Format.PNG, b"\x89PNG"),
        (Format.JPEG, b"\xff\xd8"),
        (Format.WEBP, b"RIFF"),
        (Format.PDF, b"%PDF"),
    ],
)
async def test_every_format_repeats_byte_for_byte_in_other_processes(
    renderer: Renderer, kind: Format, start: bytes
) -> None:
    job = RenderJob(
        "product",
        {"title": "Ünï 日本 مرحبا 🎧", "photo": "photos/mug.jpg"},
        kind,
        photo_folders=(EXAMPLES,),
    )
    first = await renderer.render(job)
    async with Renderer(workers=1) as other:
        second = await other.render(job)
    assert first.body.startswith(start)
    assert digest(first.body) == digest(second.body)


async def test_both_workers_draw_the_same(renderer: Renderer) -> None:
    jobs = [RenderJob("quote", {"quote": "Same"}) for _ in range(8)]
    done = await asyncio.gather(*(renderer.render(job) for job in jobs))
    assert len({digest(one.body) for one in done}) == 1


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from(HOSTILE) | st.characters(codec="utf-8"), min_size=1, max_size=60)
    .map("".join)
    .filter(lambda text: bool(_clean(text)))
)
def test_a_row_is_never_read_as_source(text: str) -> None:
    """The template compares what it got with what was sent, letter for letter."""
    job = RenderJob("echo", {"text": text, "expected": [str(ord(c)) for c in str(_clean(text))]})
    done = _Loop.run(job)
    assert done is None, done


class _Loop:
    """One renderer for all examples of a property test."""

    runner: asyncio.Runner | None = None
    renderer: Renderer | None = None

    @classmethod
    def run(cls, job: RenderJob) -> str | None:
        assert cls.runner is not None
        assert cls.renderer is not None
        try:
            cls.runner.run(cls.renderer.render(job))
        except HeadraceError as error:
            return str(error)
        return None


@pytest.fixture(autouse=True, scope="module")
def _echo(tmp_path_factory: pytest.TempPathFactory) -> object:
    folder = tmp_path_factory.mktemp("echo")
    (folder / "echo.typ").write_text(
        WITH_ROW
        + "#set page(height: auto)\n"
        + "#let codes = row.text.codepoints().map(c => str(str.to-unicode(c)))\n"
        + "#assert.eq(codes, row.expected)\n#row.text"
    )
    with asyncio.Runner() as runner:
        _Loop.runner = runner

        async def opened() -> Renderer:
            return Renderer([folder], workers=1)

        _Loop.renderer = runner.run(opened())
        yield
        runner.run(_Loop.renderer.close())


async def test_an_unknown_template_is_guessed(renderer: Renderer) -> None:
    error = await failure(renderer, RenderJob("prodct", {}))
    assert isinstance(error, TemplateMissingError)
    assert "'product'" in error.remedy


@pytest.mark.parametrize("name", ["../product", "/etc/passwd", "", "kit/../product", "a.b"])
async def test_a_template_name_is_no_path(renderer: Renderer, name: str) -> None:
    assert isinstance(await failure(renderer, RenderJob(name, {})), TemplateMissingError)


async def test_an_unknown_parameter_is_guessed(renderer: Renderer) -> None:
    error = await failure(renderer, RenderJob("product", {"title": "x", "titel": "y"}))
    assert "'titel'" in str(error)
    assert "'title'" in error.remedy


async def test_a_required_parameter_must_be_filled(renderer: Renderer) -> None:
    error = await failure(renderer, RenderJob("product", {"title": "  "}))
    assert "needs 'title'" in str(error)


async def test_a_bad_color_is_named(renderer: Renderer) -> None:
    error = await failure(renderer, RenderJob("product", {"title": "x", "accent": "bluish"}))
    assert "'bluish' is not a color" in str(error)


async def test_a_column_that_the_template_misspells_is_guessed(
    renderer: Renderer, templates: Callable[[str, str], None]
) -> None:
    templates("mine", WITH_ROW + "\n#row.titel\n")
    error = await failure(renderer, RenderJob("mine", {"title": "x"}))
    assert "row has no column 'titel'" in error.message
    assert "Did you mean 'title'?" in error.remedy


async def test_a_mistake_is_shown_with_line_column_and_caret(
    renderer: Renderer, templates: Callable[[str, str], None]
) -> None:
    templates("mine", PAGE + '#let f(x) = x + 1\n#f("a")\n')
    error = await failure(renderer, RenderJob("mine", {}))
    assert isinstance(error, TemplateError)
    assert error.place == "mine.typ:2:12"
    assert "cannot add string and integer" in error.message
    assert "#let f(x) = x + 1" in error.message
    assert "^" in error.message
    assert "headrace-render" not in str(error)


async def test_packages_are_never_downloaded(
    renderer: Renderer, templates: Callable[[str, str], None]
) -> None:
    templates("plain", '#import "@preview/cetz:0.2.0": *\n')
    templates("sly", PAGE + '#let name = "@pre" + "view/cetz:0.2.0"\n#import (name): *\n')
    for name in ("plain", "sly"):
        error = await failure(renderer, RenderJob(name, {}))
        assert "packages are switched off" in error.message
        assert "shared/" in error.remedy


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../../etc/passwd", "/../etc/passwd"])
async def test_a_template_reads_nothing_outside_its_own_files(
    renderer: Renderer, templates: Callable[[str, str], None], path: str
) -> None:
    templates("mine", PAGE + f'#read("{path}")\n')
    assert isinstance(await failure(renderer, RenderJob("mine", {})), TemplateError)


async def test_an_endless_template_is_killed_and_others_go_on(
    tmp_path: Path, templates: Callable[[str, str], None]
) -> None:
    templates("loop", PAGE + "#let i = 0\n#while true { i = calc.rem(i + 1, 7) }\n")
    templates(
        "deep",
        PAGE + "#for i in range(999999) { for j in range(9999) { let x = calc.sin(i + j) } }\n",
    )
    templates("fine", PAGE + "fine")
    async with Renderer([tmp_path], workers=2, timeout_s=1.5) as renderer:
        bad = asyncio.gather(*(failure(renderer, RenderJob(n, {})) for n in ("deep",)))
        good = await asyncio.gather(*(renderer.render(RenderJob("fine", {})) for _ in range(20)))
        (error,) = await bad
        assert isinstance(error, TemplateTimeoutError)
        assert "'deep'" in error.message
        assert len({digest(one.body) for one in good}) == 1
        looped = await failure(renderer, RenderJob("loop", {}))
        assert isinstance(looped, TemplateError)  # Typst itself may stop a plain loop
        assert (await renderer.render(RenderJob("fine", {}))).body == good[0].body


async def test_a_hungry_template_is_ended_and_others_go_on(
    tmp_path: Path, templates: Callable[[str, str], None]
) -> None:
    templates(
        "hungry", PAGE + "#let l = range(1000)\n#for _ in range(40) { l = l + l }\n#l.len()\n"
    )
    templates("fine", PAGE + "fine")
    limit = 300 * 1024 * 1024
    async with Renderer([tmp_path], workers=2, memory_limit_bytes=limit) as renderer:
        error = await failure(renderer, RenderJob("hungry", {}))
        assert isinstance(error, TemplateMemoryError)
        assert "'hungry'" in error.message
        assert "300 MB" in error.message
        assert (await renderer.render(RenderJob("fine", {}))).body


async def test_workers_are_replaced_after_their_share(
    tmp_path: Path, templates: Callable[[str, str], None]
) -> None:
    templates("fine", PAGE + "fine")
    async with Renderer([tmp_path], workers=1, renders_max=3) as renderer:
        seen = set()
        for _ in range(7):
            seen.update(renderer.worker_pids)
            await renderer.render(RenderJob("fine", {}))
        assert len(seen) >= 2


async def test_a_cancelled_render_frees_its_place(
    tmp_path: Path, templates: Callable[[str, str], None]
) -> None:
    templates("deep", PAGE + "#range(99999).map(i => range(9999).map(j => i + j).sum()).sum()\n")
    templates("fine", PAGE + "fine")
    async with Renderer([tmp_path], workers=1) as renderer:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(renderer.render(RenderJob("deep", {})), 0.5)
        assert (await renderer.render(RenderJob("fine", {}))).body


async def test_a_named_photo_must_be_there_unless_the_recipe_says_otherwise(
    renderer: Renderer,
) -> None:
    row = {"title": "Mug", "photo": "photos/nothing.jpg"}
    error = await failure(renderer, RenderJob("product", row, photo_folders=(EXAMPLES,)))
    assert isinstance(error, PhotoMissingError)
    assert "photos/nothing.jpg" in error.message
    kind = await renderer.render(
        RenderJob("product", row, photo_folders=(EXAMPLES,), photo_fallback=True)
    )
    empty = await renderer.render(RenderJob("product", {"title": "Mug", "photo": ""}))
    assert digest(kind.body) == digest(empty.body)


async def test_a_photo_outside_the_folders_is_refused(renderer: Renderer) -> None:
    job = RenderJob(
        "product", {"title": "x", "photo": "../pyproject.toml"}, photo_folders=(EXAMPLES,)
    )
    assert isinstance(await failure(renderer, job), PhotoRefusedError)


async def test_a_photo_may_be_given_as_bytes(renderer: Renderer) -> None:
    body = (EXAMPLES / "photos" / "mug.jpg").read_bytes()
    by_path = RenderJob(
        "square", {"title": "x", "photo": "photos/mug.jpg"}, photo_folders=(EXAMPLES,)
    )
    by_bytes = RenderJob("square", {"title": "x", "photo": body})
    first, second = await asyncio.gather(renderer.render(by_path), renderer.render(by_bytes))
    assert digest(first.body) == digest(second.body)


async def test_the_version_follows_the_template_and_what_it_shares(
    tmp_path: Path, renderer: Renderer, templates: Callable[[str, str], None]
) -> None:
    templates("mine", PAGE + "one")
    first = renderer.template_version("mine")
    assert renderer.template_version("mine") == first
    assert len(first) == 64
    templates("mine", PAGE + "other")
    second = renderer.template_version("mine")
    (tmp_path / "kit.typ").write_text("// mine\n")
    third = renderer.template_version("mine")
    assert len({first, second, third}) == 3


async def test_an_edited_template_is_drawn_anew(
    renderer: Renderer, templates: Callable[[str, str], None]
) -> None:
    templates("mine", PAGE + "one")
    first = await renderer.render(RenderJob("mine", {}))
    templates("mine", PAGE + "quite another")
    assert (await renderer.render(RenderJob("mine", {}))).body != first.body


async def test_a_closed_renderer_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    renderer = Renderer([tmp_path], workers=1)
    await renderer.warm()
    root = renderer._root
    await renderer.close()
    assert not root.exists()
    assert isinstance(await failure(renderer, RenderJob("product", {})), RendererClosedError)


async def test_closing_ends_renders_that_wait_or_run(
    tmp_path: Path, templates: Callable[[str, str], None]
) -> None:
    templates("deep", PAGE + "#range(99999).map(i => range(9999).map(j => i + j).sum()).sum()\n")
    renderer = Renderer([tmp_path], workers=1)
    await renderer.warm()
    under_way = [asyncio.create_task(renderer.render(RenderJob("deep", {}))) for _ in range(3)]
    await asyncio.sleep(0)
    await renderer.close()
    ends = await asyncio.gather(*under_way, return_exceptions=True)
    assert [type(end) for end in ends] == [RendererClosedError] * 3
    assert renderer.worker_pids == []
