"""Files that are signed: once, as they are kept; and nothing that was paid for is lost over it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headrace.cli import doctor
from headrace.config import Config
from headrace.engine import Engine, open_engine
from headrace.errors import ConfigError
from headrace.imprinting import Imprinting
from headrace.lifecycle import ItemState
from headrace.manifests import c2pa_manifests
from headrace.manifests.reading import manifest_in
from headrace.outgoing import OutgoingFiles
from headrace.provenance import FOREIGN, SIGNED, UNSIGNED
from headrace.provenance_settings import ProvenanceSettings
from headrace.provider import Call, Reply
from headrace.recipe import parse_recipe
from headrace.watching import ItemResult
from tests.integration.scripted import Scripted
from tests.signers import NOW, chain
from tests.unit.test_containers import FORMATS

pytest.importorskip("c2pa")
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


class Painter(Scripted):
    """Gives the file that a test says, small or large."""

    body = b""
    media_type = "image/png"

    async def call(self, call: Call) -> Reply:
        self.prompts.append(call.request.params["prompt"])
        return Reply(self.media_type, body=self.body, cost_microusd=40_000)


def noise(side: int = 128) -> bytes:
    out = io.BytesIO()
    Image.effect_noise((side, side), 60).convert("RGB").save(out, "PNG")
    return out.getvalue()


@asynccontextmanager
async def studio(
    url: str, home: Path, body: bytes, settings: dict[str, str] | None = None
) -> AsyncIterator[tuple[Engine, Painter]]:
    home.mkdir(exist_ok=True)
    named = chain().put(home) if settings is None else settings
    config = Config(home=str(home), database_url=url, provenance=ProvenanceSettings(**named))
    painter = Painter(name="painter")
    painter.body = body
    async with open_engine(config, providers={"painter": painter}) as engine:
        yield engine, painter


async def made(engine: Engine, *prompts: str, resized: bool = False) -> list[ItemResult]:
    stages: list[dict[str, Any]] = [
        {"name": "photo", "kind": "generate", "model": "painter:m", "prompt": "{{ t }}"}
    ]
    if resized:
        stages.append({"name": "small", "kind": "resize", "width": 32})
    recipe = parse_recipe(
        {"name": "paint", "columns": {"required": ["t"]}, "stages": stages}, "test"
    )
    rows = [{"t": one} for one in prompts]
    batch = await engine.submit(rows, recipe, columns=["t"])
    await batch.done()
    return [item async for item in batch.items()]


async def test_what_is_kept_is_signed_once(database_url: str, tmp_path: Path) -> None:
    """Hash, cache, downloads and later stages are of the signed file; nothing is bought twice."""
    async with studio(database_url, tmp_path, noise()) as (engine, painter):
        (item,) = await made(engine, "mill", resized=True)
        assert item.state is ItemState.SUCCEEDED
        for artifact in item.outputs.values():
            assert artifact.origin is not None
            assert artifact.origin.c2pa == SIGNED
            body = await engine.reading.body(artifact.sha256)
            assert hashlib.sha256(body).digest() == artifact.sha256
            found = manifest_in("image/png", io.BytesIO(body))
            assert found is not None
            assert found.state == "valid"
            assert found.actions[0]["source_type"] == TRAINED
            assert found.actions[0]["by"] == "painter:m"
            out = await OutgoingFiles(engine.reading, engine.blobs).ready(artifact)
            assert (out.name, out.size_bytes) == (artifact.sha256.hex(), len(body))
            marking = Imprinting()
            assert await marking.mark(artifact, body) is None
            assert marking.to_json() == {"marked": 0, "left": {}, "signed": 1}
        assert [one["action"] for one in found.actions] == ["c2pa.created", "c2pa.edited"]
        (again,) = await made(engine, "mill", resized=True)
        assert (again.cached, again.outputs) == (True, item.outputs)
        assert painter.prompts == ["mill"]
        assert engine.signing.counts == {SIGNED: 2}
        # What came unsigned is nobody's, and leaves.
        raw = hashlib.sha256(painter.body).digest()
        async with engine.database.acquire() as connection:
            rows = await connection.fetch("SELECT sha256 FROM leaving_blob")
        assert raw in [row["sha256"] for row in rows]


@pytest.mark.parametrize("kind", ["cut off", "no file", "signed", "text"])
async def test_what_is_not_signed_is_delivered_all_the_same(
    database_url: str, tmp_path: Path, kind: str
) -> None:
    """A file that cannot be signed is kept as it came, and its record says so."""
    bodies = {"cut off": noise()[:9000], "no file": b"x" * 9000, "text": b"hello"}
    told = {"cut off": UNSIGNED, "no file": UNSIGNED, "signed": FOREIGN, "text": ""}[kind]
    if kind == "signed":
        bodies["signed"] = _signed_elsewhere(tmp_path)
    async with studio(database_url, tmp_path, bodies[kind]) as (engine, painter):
        painter.media_type = "text/plain" if kind == "text" else "image/png"
        (item,) = await made(engine, "mill")
        assert item.state is ItemState.SUCCEEDED
        assert item.artifact is not None
        assert item.artifact.sha256 == hashlib.sha256(painter.body).digest()
        assert item.artifact.origin is not None
        assert item.artifact.origin.c2pa == told
        (again,) = await made(engine, "mill")
        assert again.cached


def _signed_elsewhere(folder: Path) -> bytes:
    settings = chain().put(folder)
    manifests = c2pa_manifests.C2paManifests(settings["c2pa_certificate"], settings["c2pa_key"])
    manifests.open(NOW)
    target = io.BytesIO()
    manifests.sign("image/png", io.BytesIO(FORMATS["png"]), target, c2pa_manifests._NOBODY, NOW)
    return target.getvalue()


async def test_a_broken_library_loses_nothing(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a signer does, the artifact is delivered, unsigned and counted."""
    async with studio(database_url, tmp_path, noise()) as (engine, painter):

        def broken(*_: object) -> None:
            raise RuntimeError("panicked")

        monkeypatch.setattr(c2pa_manifests.C2paManifests, "sign", broken)
        items = await made(engine, "mill", "wheel")
        assert [item.state for item in items] == [ItemState.SUCCEEDED] * 2
        assert engine.signing.counts == {UNSIGNED: 2}
        assert painter.prompts == ["mill", "wheel"]


async def test_the_doctor_says_until_when_files_are_signed(
    database_url: str, tmp_path: Path
) -> None:
    """A certificate that ends soon is a warning, a bad one a failure, none is nothing."""
    for days, state in ((400, "ok"), (20, "warn"), (0, "fail"), (None, None)):
        named = {} if days is None else chain(days=days).put(tmp_path)
        config = Config(
            home=str(tmp_path), database_url=database_url, provenance=ProvenanceSettings(**named)
        )
        async with open_engine(config, work=False) as engine:
            found = await doctor._signing(engine)
        assert [one.state for one in found] == ([state] if state else [])
        assert all(one.remedy for one in found if state != "ok")


async def test_a_bad_certificate_stops_the_start(database_url: str, tmp_path: Path) -> None:
    """An engine that works does not begin with a certificate that is over; one that looks does."""
    named = chain(now=NOW - timedelta(days=90)).put(tmp_path)
    with pytest.raises(ConfigError, match="is good from"):
        async with studio(database_url, tmp_path, b"", named):
            raise AssertionError
    config = Config(
        home=str(tmp_path), database_url=database_url, provenance=ProvenanceSettings(**named)
    )
    async with open_engine(config, work=False) as engine:
        assert await engine.recent() == []
