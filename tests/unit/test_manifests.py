"""Signed manifests: read back by the library's own reader, and never at the key's expense."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from PIL import Image

from headrace.cli import tracing_back
from headrace.cli.options import Common
from headrace.container import BytesWindow, LeftError
from headrace.containers import packet_in
from headrace.errors import ConfigError, InputError
from headrace.manifest import Manifest, UnsignedError
from headrace.manifests import manifests_of
from headrace.manifests.reading import manifest_in
from headrace.provenance import SourceType
from headrace.provenance_settings import ProvenanceSettings
from headrace.xmp import packet, told
from tests.signers import NOW, Chain, chain
from tests.unit.test_containers import FILM, FORMATS, ORIGIN, TRAINED, marked

pytest.importorskip("c2pa")
TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp", "mp4": "video/mp4"}


@pytest.fixture(scope="module")
def one() -> Chain:
    return chain()


def signed(one: Chain, folder: Path, body: bytes, media_type: str = "image/png") -> bytes:
    manifests = manifests_of(ProvenanceSettings(**one.put(folder)))
    assert manifests is not None
    manifests.open(NOW)
    target = io.BytesIO()
    manifests.sign(media_type, io.BytesIO(body), target, ORIGIN, NOW)
    return target.getvalue()


@pytest.mark.parametrize("kind", list(TYPES))
def test_a_manifest_says_what_made_a_file(tmp_path: Path, one: Chain, kind: str) -> None:
    """A reader finds it sound: created by a model, then worked on; the origin is there, too."""
    body = signed(one, tmp_path, marked(FORMATS[kind]), TYPES[kind])
    found = manifest_in(TYPES[kind], io.BytesIO(body), one.anchor.decode())
    assert found is not None
    assert (found.state, found.failures) == ("trusted", ())
    assert (found.signed_by, found.issuer) == ("Signer", "Mill")
    assert found.generator.startswith("headrace ")
    created, edited = found.actions
    assert created == {
        "action": "c2pa.created",
        "source_type": TRAINED,
        "by": f"{ORIGIN.provider}:{ORIGIN.model}",
        "when": created["when"],
    }
    assert created["when"].startswith("2026-01-01T00:00:00")
    assert (edited["action"], edited["description"]) == ("c2pa.edited", "resize")
    packet = packet_in(BytesWindow(body))
    assert packet is not None
    assert told(packet)["source_type"] == TRAINED
    if kind != "mp4":
        before, after = (Image.open(io.BytesIO(one)) for one in (FORMATS[kind], body))
        assert before.tobytes() == after.tobytes()
    stranger = manifest_in(TYPES[kind], io.BytesIO(body), chain().anchor.decode())
    assert stranger is not None
    assert stranger.state != "trusted"


def test_a_changed_file_is_not_what_was_signed(tmp_path: Path, one: Chain) -> None:
    """One other byte in the picture, and the manifest is invalid."""
    body = bytearray(signed(one, tmp_path, FORMATS["jpeg"], "image/jpeg"))
    body[-10] ^= 1
    found = manifest_in("image/jpeg", io.BytesIO(bytes(body)))
    assert found is not None
    assert found.state == "invalid"
    assert "assertion.dataHash.mismatch" in found.failures


@pytest.mark.parametrize("kind", ["p384", "p521", "ed25519", "rsa2048"])
def test_keys_of_all_kinds_sign(tmp_path: Path, kind: str) -> None:
    """The algorithm follows from the key."""
    found = manifest_in("image/png", io.BytesIO(signed(chain(kind), tmp_path, FORMATS["png"])))
    assert found is not None
    assert found.state == "valid"


def _bad(one: Chain, folder: Path) -> dict[str, tuple[ProvenanceSettings, str]]:
    good = one.put(folder)

    def other(name: str, **changed: bytes) -> ProvenanceSettings:
        (folder / name).mkdir()
        return ProvenanceSettings(**replace(one, **changed).put(folder / name))

    def of(made: Chain, name: str) -> ProvenanceSettings:
        return other(name, certificates=made.certificates, key=made.key)

    return {
        "one alone": (ProvenanceSettings(good["c2pa_certificate"]), "go together"),
        "no file": (ProvenanceSettings("nowhere.pem", good["c2pa_key"]), "cannot be read"),
        "no certificates": (other("a", certificates=b"hello"), "holds no certificates"),
        "another's key": (other("b", key=chain().key), "not that of the first"),
        "no key": (other("c", key=b"-----BEGIN NOTHING-----"), "no private key"),
        "nul bytes": (other("d", key=b"\x00" + one.key), "no PEM file"),
        "expired": (of(chain(now=NOW - timedelta(days=60)), "e"), "is good from"),
        "not yet": (of(chain(now=NOW + timedelta(days=60)), "f"), "is good from"),
        "a curve that C2PA lacks": (of(chain("k256"), "g"), "no signature by such a key"),
        "too short": (of(chain("rsa1024"), "h"), "no signature by such a key"),
        "not for signing": (of(chain(extended=False), "i"), "cannot be signed"),
    }


def _opened(settings: ProvenanceSettings) -> None:
    manifests = manifests_of(settings)
    assert manifests is not None
    manifests.open(NOW)


def test_a_bad_certificate_is_told_before_any_work(tmp_path: Path, one: Chain) -> None:
    """Whatever is wrong is an error at the start with its place, and never shows the key."""
    secret = one.key.decode().splitlines()[1]
    for name, (settings, said) in _bad(one, tmp_path).items():
        with pytest.raises(ConfigError, match=said) as caught:
            _opened(settings)
        error = caught.value
        assert error.place, name
        assert error.remedy, name
        assert secret not in f"{error} {error.message} {error.remedy}", name
    assert manifests_of(ProvenanceSettings()) is None


def test_what_cannot_be_signed_is_an_error_of_one_file(tmp_path: Path, one: Chain) -> None:
    """Broken bytes, and a certificate whose time is over, leave a file unsigned."""
    manifests = manifests_of(ProvenanceSettings(**one.put(tmp_path)))
    assert manifests is not None
    with pytest.raises(UnsignedError, match="expired"):
        manifests.sign("image/png", io.BytesIO(FORMATS["png"]), io.BytesIO(), ORIGIN, NOW)
    manifests.open(NOW)
    for body in (b"", FORMATS["png"][:40], b"\x89PNG\r\n\x1a\nxx", FILM.read_bytes()):
        with pytest.raises(UnsignedError):
            manifests.sign("image/png", io.BytesIO(body), io.BytesIO(), ORIGIN, NOW)
    late = NOW + timedelta(days=40)
    with pytest.raises(UnsignedError, match="expired"):
        manifests.sign("image/png", io.BytesIO(FORMATS["png"]), io.BytesIO(), ORIGIN, late)


def test_nothing_is_fetched_for_a_file() -> None:
    """A file that says its manifest lies elsewhere has none: no stranger's address is asked."""
    asked: list[str] = []

    class Listening(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = HTTPServer(("127.0.0.1", 0), Listening)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    address = f"http://127.0.0.1:{server.server_port}/m"
    text = packet(ORIGIN).replace(
        b"<rdf:Description ",
        b'<rdf:Description xmlns:dcterms="http://purl.org/dc/terms/" '
        b'dcterms:provenance="' + address.encode() + b'" ',
    )
    body = io.BytesIO()
    Image.new("RGB", (40, 40)).save(body, "JPEG", xmp=text)
    try:
        with pytest.raises(UnsignedError):
            manifest_in("image/jpeg", body)
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
    assert asked == []


# -- reading back --------------------------------------------------------------------------------


def test_a_file_is_read_back_on_the_command_line(
    tmp_path: Path, one: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    """What XMP and manifest say, for people and as JSON; exit 3 where there is nothing."""
    file, anchor = tmp_path / "a.png", tmp_path / "anchor.pem"
    file.write_bytes(signed(one, tmp_path, marked(FORMATS["png"])))
    anchor.write_bytes(one.anchor)
    assert tracing_back.provenance(file, trust=anchor) == 0
    said = capsys.readouterr().out
    for word in (TRAINED, "C2PA: trusted, signed by Signer", "c2pa.created", "seed: 7"):
        assert word in said
    assert tracing_back.provenance(file, common=Common(json=True)) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["c2pa"]["state"], shown["xmp"]["seed"], shown["notes"]) == ("valid", "7", [])
    file.write_bytes(FORMATS["png"])
    assert tracing_back.provenance(file) == 3
    assert "it tells no origin" in capsys.readouterr().out
    for name in (tmp_path / "none.png", tmp_path, one.put(tmp_path)["c2pa_key"]):
        with pytest.raises(InputError, match="cannot be read"):
            tracing_back.provenance(Path(name))


def test_a_strangers_words_do_not_move_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Escapes in a manifest or a packet are shown as marks."""
    shown = Manifest("valid", "", "\x1b[2J", "\x07x", ({"by": "\x1b]0;t"},), ("\r",))
    tracing_back._tell({"model": "a\x1b[31m\nb"}, shown, ["\x1b"])
    said = capsys.readouterr().out
    assert not any(c in said for c in "\x1b\x07\r")
    assert "a\ufffd[31m\ufffdb" in said


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_what_was_written_is_read_back(kind: str) -> None:
    """The packet of a marked file tells the origin that went in; a plain file has none."""
    found = packet_in(BytesWindow(marked(FORMATS[kind])))
    assert found is not None
    back = told(found)
    assert (back["model"], back["seed"]) == (f"{ORIGIN.provider}/{ORIGIN.model}", "7")
    assert (back["source_type"], back["edited"]) == (SourceType.TRAINED.url, "resize")
    assert packet_in(BytesWindow(FORMATS[kind])) is None


def test_packets_that_are_traps_are_not_read() -> None:
    """Entities, broken XML, other encodings and huge packets are refused."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + packet(ORIGIN).replace(b"photo", b"&a;")
    for body in (bomb, b"", b"<a", b"\xff\xfe<", b"<a>" * 100_000, b"x" * 2_000_000):
        with pytest.raises(LeftError):
            told(body)
