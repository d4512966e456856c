"""Films from end to end: bought, streamed, a poster frame beside them, delivered and shown."""

from __future__ import annotations

import asyncio
import csv
import io
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headrace.artifact import EXTENSIONS, Artifact
from headrace.config import Config
from headrace.contact_sheet import FilmTile, contact_sheet
from headrace.engine import open_engine
from headrace.errors import ConfigError, RecipeError
from headrace.export import Export
from headrace.film_body import FILM, FilmBody
from headrace.lifecycle import ItemState
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.provider import Provider, Reply
from headrace.providers.local import films
from headrace.providers.local.films import FilmsProvider
from headrace.providers.remote.media import ANY
from headrace.providers.shelf import Shelf
from headrace.recipe import find_recipe, parse_recipe
from headrace.reports import delivery_of
from headrace.request import Request
from headrace.simulator.scenario import build_settings
from headrace.simulator.server import Simulator
from headrace.stages import build_stages
from headrace.testing import CallDesk, ManualClock
from headrace.testing.conformance import ProviderConformance

av = pytest.importorskip("av")
PROMPTS = ["a mill", "a wheel", "a river"]


def film_of(
    codec: str = "libx264",
    container: str = "mp4",
    size: tuple[int, int] = (64, 48),
    frames: int = 10,
) -> bytes:
    """A short film: a second, ten frames, each lighter than the one before."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as film:
        stream = film.add_stream(codec, rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            shade = number * 25
            image = Image.new("RGB", size, (shade, shade, shade))
            film.mux(stream.encode(av.VideoFrame.from_image(image)))
        film.mux(stream.encode())
    return out.getvalue()


def sound() -> bytes:
    """A film without a picture."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as film:
        stream = film.add_stream("aac", rate=44100)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 44100
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        film.mux(stream.encode(frame))
        film.mux(stream.encode())
    return out.getvalue()


def order(film: bytes, **params: Any) -> tuple[CallDesk, Request]:
    desk = CallDesk()
    kept = desk.keep(film, "video/mp4")
    return desk, Request("films", "poster", "1", params, (kept.sha256.hex(),))


async def poster(film: bytes, provider: FilmsProvider | None = None, **params: Any) -> Reply:
    desk, request = order(film, **params)
    return await (provider or FilmsProvider()).call(desk.call(request))


async def fails(film: bytes, provider: FilmsProvider | None = None, **params: Any) -> Outcome:
    with pytest.raises(CallFailed) as caught:
        await poster(film, provider, **params)
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    assert caught.value.outcome.remedy
    return caught.value.outcome


def shade(reply: Reply) -> int:
    assert reply.body is not None
    return round(sum(Image.open(io.BytesIO(reply.body)).convert("RGB").getpixel((5, 5))) / 3)


# -- one frame -----------------------------------------------------------------------------------


async def test_the_frame_at_a_moment_is_taken() -> None:
    """At its beginning, in the middle, and the last one where the film is shorter."""
    film = film_of()
    first = await poster(film, format="png")
    assert (first.media_type, first.cost_microusd) == ("image/png", 0)
    assert first.facts == {"width": 64, "height": 48, "duration_s": 1.0}
    assert abs(shade(first)) < 8
    assert abs(shade(await poster(film, at_s=0.5)) - 125) < 8
    assert abs(shade(await poster(film, at_s=3600)) - 225) < 8


@pytest.mark.parametrize(
    ("codec", "container"), [("libvpx-vp9", "webm"), ("libx264", "mov"), ("mpeg4", "mp4")]
)
async def test_the_films_that_providers_make_are_read(codec: str, container: str) -> None:
    """WebM, QuickTime and MP4, known by their bytes."""
    found = await poster(film_of(codec, container), at_s=0.5, format="webp")
    assert found.media_type == "image/webp"
    assert abs(shade(found) - 125) < 12


async def test_a_poster_can_be_smaller_and_never_larger() -> None:
    """``width`` is the most; the shape stays."""
    small, large = await poster(film_of(), width=32), await poster(film_of(), width=4000)
    assert (small.facts["width"], small.facts["height"]) == (32, 24)
    assert (large.facts["width"], large.facts["height"]) == (64, 48)


async def test_a_film_that_lies_as_a_file_is_not_read_into_memory(tmp_path: Path) -> None:
    """Where the store has a file, the process gets it open; its bytes are not asked for."""
    path = tmp_path / "film"
    path.write_bytes(FILM.read_bytes())
    desk, request = order(b"not these bytes")
    call = desk.call(request)
    object.__setattr__(call, "file", lambda digest: path)
    reply = await FilmsProvider().call(call)
    assert (reply.facts["width"], reply.facts["duration_s"]) == (320, 3.0)


HOSTILE = {
    "picture": b"\x89PNG\r\n\x1a\n" + bytes(99),
    "nothing": b"",
    "text": b"#EXTM3U\nfile:///etc/passwd\n",
    "head only": FILM.read_bytes()[:400],
    "noise": FILM.read_bytes()[:32] + bytes(range(256)) * 200,
    "webm noise": b"\x1aE\xdf\xa3" + bytes(range(256)) * 200,
    "playlist in disguise": b"\x00\x00\x00\x20ftypisom#EXTM3U\nfile:///etc/passwd\n",
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_no_film_is_invalid(name: str) -> None:
    """Other kinds, cut-off and broken films end with an outcome, and with no file's content."""
    outcome = await fails(HOSTILE[name])
    assert "root:" not in outcome.reason


async def test_sound_without_a_picture_is_invalid() -> None:
    """It is a film by its bytes, and has no frame."""
    assert "only sound" in (await fails(sound())).reason


async def test_frames_too_large_for_memory_are_refused() -> None:
    """A film of few bytes may claim a frame of any size: it is not decoded."""
    outcome = await fails(film_of("mjpeg", size=(8200, 6200), frames=1))
    assert "8200 x 6200" in outcome.reason


async def test_memory_and_time_are_limited() -> None:
    """A process that needs too much ends, and the item with it; the engine goes on."""
    big = film_of("mjpeg", size=(3000, 3000), frames=1)
    assert (await poster(big)).facts["width"] == 3000
    await fails(big, FilmsProvider(memory_bytes=40 * 1024 * 1024))
    outcome = await fails(big, FilmsProvider(timeout_s=0.01))
    assert "longer than" in outcome.reason


async def test_a_cancelled_call_ends_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is left when the worker stops."""
    started: list[asyncio.subprocess.Process] = []
    real = asyncio.create_subprocess_exec

    async def noted(*words: Any, **more: Any) -> asyncio.subprocess.Process:
        sleeper = [sys.executable, "-c", "import signal; signal.pause()"]
        started.append(await real(*sleeper, stdout=subprocess.PIPE))
        return started[0]

    monkeypatch.setattr(films.asyncio, "create_subprocess_exec", noted)
    task = asyncio.create_task(poster(film_of()))
    while not started:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].returncode == -9


def test_without_pyav_the_recipe_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told when the recipe is read, before anything is bought."""

    def missing(name: str) -> str:
        raise films.PackageNotFoundError(name)

    monkeypatch.setattr(films, "installed", missing)
    with pytest.raises(ConfigError, match="PyAV") as caught:
        FilmsProvider().version("poster")
    assert "headrace[video]" in caught.value.remedy
    shelf = Shelf({"simulated": {"body": "video"}}, (), ManualClock())
    with pytest.raises(RecipeError, match="PyAV"):
        build_stages(recipe(), shelf)


class TestConformance(ProviderConformance):
    """The promises of every provider, class pure."""

    unknown_model = "another"
    kept = CallDesk()
    film = kept.keep(FILM.read_bytes(), "video/mp4").sha256.hex()

    async def make_provider(self) -> Provider:
        return FilmsProvider()

    def make_desk(self) -> CallDesk:
        desk = CallDesk()
        desk.keep(FILM.read_bytes(), "video/mp4")
        return desk

    def make_request(self, provider: Provider, number: int) -> Request:
        params = {"at_s": number / 10}
        return Request("films", "poster", provider.version("poster"), params, (self.film,))

    async def make_failing(self, provider: Provider) -> Request | None:
        return Request("films", "poster", "1", {}, ())


# -- recipes, delivery, the sheet ----------------------------------------------------------------


def recipe(model: str = "simulated:any", *more: dict[str, Any]) -> Any:
    stages = [
        {
            "name": "film",
            "kind": "generate",
            "model": model,
            "prompt": "{{ prompt }}",
            # With fal a place in the reply, with the simulated Replicate what is to be made.
            "params": {"output": "video"},
        },
        {"name": "poster", "kind": "poster", "at_s": 1.5, "width": 160},
        *more,
        {"name": "save", "kind": "write", "file": "{{ prompt }}"},
    ]
    return parse_recipe({"name": "films", "stages": stages}, "test")


@pytest.mark.parametrize(
    "settings", [{"at_s": -1}, {"format": "gif"}, {"width": 0}, {"when": 1}, {"at_s": "soon"}]
)
def test_wrong_settings_of_a_poster_are_told(settings: dict[str, Any]) -> None:
    """With the stage and what is allowed."""
    film = {"name": "film", "kind": "generate", "model": "simulated:any", "prompt": "x"}
    told = {"name": "poster", "kind": "poster", **settings}
    shelf = Shelf({"simulated": {}}, (), ManualClock())
    with pytest.raises(RecipeError, match=r"poster|at_s|format|width|when"):
        build_stages(parse_recipe({"name": "x", "stages": [film, told]}, "test"), shelf)
    with pytest.raises(RecipeError, match="earlier stage"):
        build_stages(parse_recipe({"name": "x", "stages": [told]}, "test"), shelf)


def test_the_recipe_that_comes_along_can_be_built() -> None:
    """A film by fal, its poster, and a name."""
    found = find_recipe("video", ())
    stages = build_stages(found, Shelf({"fal": {"api_key": "k"}}, (), ManualClock()))
    assert [stage.kind for stage in stages] == ["generate", "poster", "write"]
    assert found.required == ["prompt"] or found.required == ("prompt",)


def artifact(media_type: str, mark: int = 0) -> Artifact:
    return Artifact(bytes([mark]) * 32, media_type, 1)


def test_a_film_is_delivered_with_its_poster() -> None:
    """The last artifact is what was ordered, unless it is a picture after a film."""
    film, picture = artifact("video/mp4"), artifact("image/jpeg", 1)
    other, text = artifact("video/webm", 2), artifact("text/plain", 3)
    assert delivery_of([]) is None
    for made, main, beside in (
        ([film], film, None),
        ([film, picture], film, picture),
        ([picture, film], film, None),
        ([picture, film, picture], film, picture),
        ([film, other, picture], other, picture),
        ([film, text], text, None),
        ([picture], picture, None),
    ):
        found = delivery_of(made)
        assert found is not None
        assert (found.main, found.poster) == (main, beside)


def test_every_kind_of_result_has_an_extension() -> None:
    """What providers may give is never a .bin."""
    assert not {one for one in ANY if one not in EXTENSIONS}


def test_the_sheet_shows_films_with_a_sign(tmp_path: Path) -> None:
    """A light sign on a dark disc over the poster; a film without one has a tile, too."""
    light = tmp_path / "p.png"
    Image.new("RGB", (252, 132), "#ffffff").save(light)
    tiles = [("film", FilmTile(light)), ("bare", FilmTile()), ("lost", FilmTile(tmp_path / "x"))]
    path = contact_sheet([*tiles, ("picture", light)], tmp_path / "sheet.png", columns=4)
    with Image.open(path) as sheet:
        pixels = sheet.convert("RGB")
    first, bare, lost, plain = (
        [pixels.getpixel((40 + at * 272 + x, 118 + 66)) for x in range(90, 165)] for at in range(4)
    )
    assert set(plain) == {(255, 255, 255)}
    assert min(map(sum, first)) < 400
    assert max(map(sum, bare)) > 700
    assert bare == lost


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    tree = {"latency": {"median_s": 0.01}, "output": {"film_bytes": 300_000}}
    found = Simulator(build_settings(tree))
    await found.start(0)
    yield found
    await found.close()


async def delivered(config: Config, made: Any, out: Path) -> tuple[list[Any], list[dict[str, str]]]:
    """Run a batch of films; returns its items and the rows of its results."""
    async with open_engine(config) as engine:
        rows = [{"prompt": prompt} for prompt in PROMPTS]
        batch = await engine.submit(rows, made, columns=["prompt"])
        await batch.done()
        export = Export(batch, out, engine.blobs)
        export.prepare()
        await export.catch_up()
        await export.finish(await batch.summary(), sheet=True)
        items = [item async for item in batch.items()]
    with (out / "results.csv").open(encoding="utf-8-sig") as file:
        return items, list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("model", "path"),
    [("fal:fal-ai/any/text-to-video", "/fal"), ("replicate:anybody/films", "/v1")],
)
async def test_films_are_delivered_with_posters(
    database_url: str, tmp_path: Path, simulator: Simulator, model: str, path: str
) -> None:
    """Streamed to disk, out/*.mp4 and the poster under the same name, both in the results."""
    kind = model.partition(":")[0]
    table = {"base_url": f"{simulator.url}{path}", "preset": "self-hosted"}
    config = Config(home=str(tmp_path), database_url=database_url, providers={kind: table})
    out = tmp_path / "out"
    made = recipe(model)
    items, rows = await delivered(config, made, out)
    assert {item.state for item in items} == {ItemState.SUCCEEDED}
    for prompt, row in zip(PROMPTS, rows, strict=True):
        assert (row["headrace_file"], row["headrace_poster"]) == (f"{prompt}.mp4", f"{prompt}.jpg")
        assert row["headrace_media_type"] == "video/mp4"
        # The file is the artifact and, behind it, what says that a model made it.
        assert 300_000 <= int(row["headrace_bytes"]) < (out / f"{prompt}.mp4").stat().st_size
        with av.open(str(out / f"{prompt}.mp4")) as film:
            assert film.duration == 3_000_000
        with Image.open(out / f"{prompt}.jpg") as picture:
            assert picture.size == (160, 90)
    assert (out / "contact-sheet.png").exists()
    assert len({row["headrace_sha256"] for row in rows}) == 3
    truth = simulator.truth
    assert (truth.delivered, truth.total) == (3, 3)


async def test_stages_after_a_poster_see_the_picture(database_url: str, tmp_path: Path) -> None:
    """A resize works on the frame; the film is delivered as it was."""
    config = Config(
        home=str(tmp_path),
        database_url=database_url,
        providers={"simulated": {"body": "video", "body_bytes": 50_000}},
    )
    smaller = {"name": "small", "kind": "resize", "width": 80, "format": "png"}
    out = tmp_path / "out"
    items, rows = await delivered(config, recipe("simulated:any", smaller), out)
    assert {item.state for item in items} == {ItemState.SUCCEEDED}
    assert rows[0]["headrace_poster"] == "a mill.png"
    with Image.open(out / "a mill.png") as picture:
        assert picture.size == (80, 45)
    digest = items[0].outputs["film"].sha256
    assert rows[0]["headrace_sha256"] == digest.hex()
    film = (out / "a mill.mp4").read_bytes()
    # The file says in addition what made it; the artifact itself is what was bought.
    assert items[0].outputs["film"].size_bytes == FilmBody(50_000).size_bytes < len(film)
    assert b"trainedAlgorithmicMedia" in film
