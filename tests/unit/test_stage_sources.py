"""Pictures that go into a model: by digest in the request, from inside the allowed folders only."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from PIL import Image

from headrace.artifact import Artifact
from headrace.bytes_budget import process_budget
from headrace.clock import SystemClock
from headrace.errors import NotFoundError, RecipeError, StorageError
from headrace.outcome import CallFailed, OutcomeKind
from headrace.purchase import Purchaser
from headrace.recipe import parse_recipe
from headrace.request import Request, at_place, places_of
from headrace.stage import Stage, StageInput
from headrace.stages import build_stages
from headrace.testing import CallDesk, SimulatedProvider

MADE = Artifact(bytes([1]) * 32, "image/png", 5)
BEFORE = Artifact(bytes([2]) * 32, "image/webp", 5)
TEXT = Artifact(bytes([3]) * 32, "text/plain", 5)


def picture(color: str = "red", size: tuple[int, int] = (8, 8)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, color).save(out, "PNG")
    return out.getvalue()


def build(**settings: Any) -> Stage:
    earlier = [
        {"kind": "generate", "name": name, "model": "simulated:m", "prompt": "x"}
        for name in ("first", "second", "words")
    ]
    table = {"kind": "generate", "name": "last", "model": "simulated:edit", "prompt": "{{ title }}"}
    recipe = parse_recipe({"stages": [*earlier, table | settings]}, "r.toml")
    return build_stages(recipe, {"simulated": SimulatedProvider()})[3]


def given(*folders: Path, **row: Any) -> StageInput:
    outputs = {"first": MADE, "second": BEFORE, "words": TEXT}
    return StageInput({"title": "tea"} | row, outputs, {}, BEFORE, 7, "spring", folders)


def fails(stage: Stage, row: StageInput) -> str:
    with pytest.raises(CallFailed) as caught:
        stage.request(row)
    assert caught.value.outcome.kind is OutcomeKind.INVALID
    assert caught.value.outcome.remedy
    return caught.value.outcome.reason


def test_the_artifact_before_goes_in_by_its_digest() -> None:
    """``image = "previous"`` is the one source, named by the param, and shapes the fingerprint."""
    request = build(image="previous").request(given())
    assert request.sources == (BEFORE.sha256.hex(),)
    assert request.params == {"prompt": "tea", "image": {"source": 0}}
    assert request.placed() == {"image": (BEFORE.sha256.hex(),)}
    assert request.fingerprint != build(image="stages.first").request(given()).fingerprint


def test_several_sources_have_names_and_places() -> None:
    """Each param names its places; a list stays a list; the same picture is one source."""
    sources = {"image": ["stages.first", "previous"], "mask": "stages.second"}
    request = build(sources=sources).request(given())
    assert request.sources == (MADE.sha256.hex(), BEFORE.sha256.hex())
    assert request.params["image"] == [{"source": 0}, {"source": 1}]
    assert request.params["mask"] == {"source": 1}
    assert request.placed()["image"] == request.sources


def test_a_photo_of_the_row_is_known_by_its_content(tmp_path: Path) -> None:
    """A file under two names is one request; another content is another."""
    (tmp_path / "a.png").write_bytes(picture())
    (tmp_path / "b.png").write_bytes(picture())
    (tmp_path / "c.png").write_bytes(picture("blue"))
    stage = build(image="{{ photo }}")
    a, b, c = (stage.request(given(tmp_path, photo=f"{name}.png")) for name in "abc")
    assert a.sources == (hashlib.sha256(picture()).hexdigest(),)
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert dict(a.files) == {a.sources[0]: "a.png"}


def test_an_empty_column_leaves_the_source_out() -> None:
    """A row without a reference is a request without a picture."""
    request = build(image="{{ photo }}").request(given(photo=""))
    assert (request.sources, request.params) == ((), {"prompt": "tea"})


def test_a_source_set_to_nothing_is_taken_out() -> None:
    """Another model's picture has another name: the recipe's own is set to nothing."""
    stage = build(sources={"input_image": "", "image": "previous"})
    assert list(stage.request(given()).placed()) == ["image"]


def test_a_stage_with_a_picture_needs_no_prompt() -> None:
    """An upscaler takes a picture and no words; without either there is nothing to ask."""
    stage = {"kind": "generate", "name": "first", "model": "simulated:m", "prompt": "x"}
    bare = {"kind": "generate", "model": "simulated:up", "image": "previous"}
    recipe = parse_recipe({"stages": [stage, bare]}, "r")
    provider = SimulatedProvider()
    upscale = build_stages(recipe, {"simulated": provider})[1]
    assert upscale.request(given()).params == {"image": {"source": 0}}
    del bare["image"]
    with pytest.raises(RecipeError, match="'prompt' is missing"):
        build_stages(parse_recipe({"stages": [stage, bare]}, "r"), {"simulated": provider})


def test_an_artifact_can_be_named_by_its_digest() -> None:
    """``sha256:…`` in a cell is an artifact that is kept; no file is looked for."""
    request = build(image="{{ photo }}").request(given(photo="sha256:" + "ab" * 32))
    assert request.sources == ("ab" * 32,)
    assert not request.files


def huge() -> bytes:
    """A PNG of a few bytes whose header claims 64 megapixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 8000, 8000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + bytes(4)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../secret.png", "outside"),
        ("/etc/passwd", "outside"),
        ("gone.png", "not there"),
        ("note.png", "not a PNG"),
        ("huge.png", "megapixels"),
        ("https://example.com/a.png", "address"),
        ("sha256:12", "not there"),
        ("", ""),
    ],
)
def test_files_are_read_inside_their_folder_only(tmp_path: Path, name: str, said: str) -> None:
    """What lies outside, is no picture or unpacks to too much ends its row with the reason."""
    folder = tmp_path / "in"
    folder.mkdir()
    (tmp_path / "secret.png").write_bytes(picture())
    (folder / "note.png").write_bytes(b"dear diary")
    (folder / "huge.png").write_bytes(huge())
    if said:
        assert said in fails(build(image="{{ photo }}"), given(folder, photo=name))


def test_text_is_no_picture() -> None:
    """A stage that wrote text cannot go in as a picture, nor one that made nothing."""
    assert "text/plain" in fails(build(image="stages.words"), given())
    bare = StageInput({"title": "tea"}, {}, {}, None, 7, "spring")
    assert "nothing" in fails(build(image="previous"), bare)


@pytest.mark.parametrize("cell", [{"source": 0}, [{"source": 5}], {"source": -1}])
def test_a_cell_cannot_be_a_source(cell: Any) -> None:
    """A row whose JSON is written like a source is invalid, so that no place is forged."""
    stage = build(image="previous", params={"mask": "{{ x }}"})
    assert "mask" in fails(stage, given(x=cell))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"image": "stages.nowhere"}, "does not exist"),
        ({"image": "stages.last"}, "is this stage itself"),
        ({"image": "previuos"}, "is no source"),
        ({"image": 5}, "is no source"),
        ({"image": "previous", "sources": {"image": "previous"}}, "twice"),
        ({"sources": {"prompt": "previous"}}, "is no source"),
        ({"image": "previous", "params": {"image": "x"}}, "params hold a source"),
        ({"params": {"mask": {"source": 0}}}, "params hold a source"),
        ({"sources": {"image": ["previous"] * 17}}, "16 sources"),
    ],
)
def test_a_wrong_source_is_an_error_of_the_recipe(settings: dict[str, Any], said: str) -> None:
    """What can be seen before there is a row is said before there is a row."""
    with pytest.raises(RecipeError, match=said):
        build(**settings)


def test_previous_needs_a_stage_before() -> None:
    """The first stage has nothing before it to take in."""
    stage = {"kind": "generate", "model": "simulated:m", "prompt": "x", "image": "previous"}
    with pytest.raises(RecipeError, match="earlier stage"):
        build_stages(parse_recipe({"stages": [stage]}, "r"), {"simulated": SimulatedProvider()})


@pytest.mark.parametrize("value", [None, "x", {}, {"source": True}, {"source": 0, "b": 1}, [], [1]])
def test_only_the_exact_form_is_a_place(value: Any) -> None:
    """A param is a source in exactly one form; everything else is sent as it is."""
    assert places_of(value) == []
    assert places_of([at_place(3), value]) == []


@pytest.mark.parametrize("place", [2, -1, 10**30])
def test_a_place_past_the_sources_is_invalid(place: int) -> None:
    """A param that names a picture which is not there ends its call, and no other's."""
    request = Request("p", "m", "1", {"mask": [at_place(0), at_place(place)]}, ("aa", "bb"))
    with pytest.raises(CallFailed, match="mask names a source") as caught:
        request.placed()
    assert caught.value.outcome.kind is OutcomeKind.INVALID


# -- reading them for a call ------------------------------------------------------------------


class Folder:
    """A purchaser over a folder of photos and a store that fails as it is told."""

    def __init__(self, folder: Path, fault: Exception | None = None) -> None:
        self.folder, self.fault = folder, fault

    async def read(self, request: Request) -> bytes:
        async def stored(sha256_hex: str) -> bytes:
            if self.fault is not None:
                raise self.fault
            return b"stored"

        async def accepted(provider_request_id: str, url: str | None) -> None: ...

        purchaser = Purchaser(Mock(path=Mock(return_value=None)), SystemClock(), stored, 5.0)
        call = purchaser.call(request, "key", (self.folder,), accepted)
        return await call.source(request.sources[0])


async def test_a_photo_that_was_replaced_is_not_sent(tmp_path: Path) -> None:
    """The bytes that go out are those of the fingerprint; otherwise the call ends unsent."""
    photo = tmp_path / "a.png"
    photo.write_bytes(picture())
    request = build(image="{{ photo }}").request(given(tmp_path, photo="a.png"))
    assert await Folder(tmp_path).read(request) == picture()
    photo.write_bytes(picture("blue"))
    with pytest.raises(CallFailed) as caught:
        await Folder(tmp_path).read(request)
    assert caught.value.outcome.kind is OutcomeKind.TRANSIENT
    photo.unlink()
    with pytest.raises(CallFailed) as caught:
        await Folder(tmp_path).read(request)
    assert caught.value.outcome.kind is OutcomeKind.INVALID


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (NotFoundError("there is no artifact"), OutcomeKind.INVALID),
        (StorageError("the store is down"), OutcomeKind.TRANSIENT),
    ],
)
async def test_a_source_that_cannot_be_had_ends_the_call_unpaid(
    tmp_path: Path, fault: Exception, kind: OutcomeKind
) -> None:
    """What is not there is the row's fault, what is down is tried again; neither costs."""
    request = build(image="previous").request(given())
    assert await Folder(tmp_path).read(request) == b"stored"
    with pytest.raises(CallFailed) as caught:
        await Folder(tmp_path, fault).read(request)
    assert caught.value.outcome.kind is kind
    assert caught.value.outcome.cost_microusd == 0


async def test_the_simulated_provider_reads_what_goes_in() -> None:
    """It reads every source before it answers, and its facts say which param had which."""
    desk, provider = CallDesk(), SimulatedProvider()
    kept = desk.keep(picture(), "image/png")
    places = {"prompt": "x", "image": at_place(0)}
    request = Request("simulated", "m", "1", places, (kept.sha256.hex(),))
    reply = await provider.call(desk.call(request))
    assert reply.facts["sources"] == {"image": (kept.sha256.hex(),)}
    missing = Request("simulated", "m", "1", places, ("00" * 32,))
    with pytest.raises(KeyError):
        await provider.call(desk.call(missing))
    assert provider.purchases == 1


async def test_sources_count_against_the_memory_until_the_job_is_taken_in(tmp_path: Path) -> None:
    """Four times their size, as long as they may be in memory; nothing when the call is over."""
    (tmp_path / "a.png").write_bytes(picture())
    request = build(image="{{ photo }}").request(given(tmp_path, photo="a.png"))
    known: list[str] = []

    async def accepted(provider_request_id: str, url: str | None) -> None:
        known.append(provider_request_id)

    used = process_budget().used_bytes
    purchaser = Purchaser(Mock(path=Mock(return_value=None)), SystemClock(), Mock(), 5.0)
    for end in ("accepted", "over"):
        call = purchaser.call(request, "key", (tmp_path,), accepted)
        body = await call.source(request.sources[0])
        assert process_budget().used_bytes - used == 4 * len(body)
        if end == "accepted":
            await call.accepted("job", None)
        else:
            call.over()
        assert process_budget().used_bytes == used
    assert known == ["job"]
