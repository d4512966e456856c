"""Origins in files: read back by somebody else's reader, and not a pixel is touched."""

from __future__ import annotations

import io
import struct
import zlib
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headrace.artifact import Artifact
from headrace.container import BytesWindow, LeftError
from headrace.imprinting import Imprinting, planned
from headrace.provenance import Origin, SourceType
from headrace.reports.folder import OutputFolder

ORIGIN = Origin(
    provider="mine",
    model='paint "1" <x> & ü',
    request_sha256="ab" * 32,
    made_at="2026-01-01T00:00:00+00:00",
    recipe="photo",
    recipe_sha256="cd" * 32,
    headrace="0.1",
    seed=7,
    source_type=SourceType.TRAINED.value,
    edited=("resize",),
)
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"
_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
FILM = Path(__file__).resolve().parents[2] / "src" / "headrace" / "film.mp4"
THEIRS = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="uuid:1" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    b'dc:format="theirs"/></rdf:RDF></x:xmpmeta>'
)


def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (37, 21), **more: Any) -> bytes:
    body = io.BytesIO()
    pixels = bytes((x * 7) % 256 for x in range(size[0] * size[1] * len(mode)))
    Image.frombytes(mode, size, pixels).save(body, kind, **more)
    return body.getvalue()


FORMATS = {
    "png": picture("PNG"),
    "png-alpha": picture("PNG", "RGBA"),
    "jpeg": picture("JPEG"),
    "jpeg-exif": picture("JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00"),
    "webp": picture("WEBP"),
    "webp-lossless": picture("WEBP", lossless=True),
    "webp-alpha": picture("WEBP", "RGBA", lossless=True),
    "webp-alpha-lossy": picture("WEBP", "RGBA"),
    "mp4": FILM.read_bytes(),
}


def marked(body: bytes, origin: Origin = ORIGIN) -> bytes:
    patch = planned(body, origin)
    made = b"".join(patch.pieces(BytesWindow(body)))
    assert len(made) == patch.size
    return made


def boxed(body: bytes) -> bytes:
    """The XMP of a film, found by walking its boxes."""
    at, found = 0, b""
    while at < len(body):
        size, kind = struct.unpack(">I4s", body[at : at + 8])
        if kind == b"uuid" and body[at + 8 : at + 12] == b"\xbe\x7a\xcf\xcb":
            found = body[at + 24 : at + size]
        at += size or len(body)
    return found


def read_back(body: bytes) -> dict[str, str]:
    """All properties of a file's packet, as Pillow finds it and the XML parser reads it."""
    if body[4:8] == b"ftyp":
        xmp = boxed(body)
    else:
        info: dict[Any, Any] = Image.open(io.BytesIO(body)).info
        xmp = info.get("xmp") or info.get("XML:com.adobe.xmp") or b""
        xmp = xmp.encode() if isinstance(xmp, str) else xmp
    root = ElementTree.fromstring(xmp.decode().lstrip("\ufeff"))
    found: dict[str, str] = {}
    for one in root.iter(f"{_RDF}Description"):
        for name, value in one.attrib.items():
            assert name not in found or name == f"{_RDF}about", "a property stands once"
            found[name] = value
    return found


def pixels(body: bytes) -> Any:
    if body[4:8] == b"ftyp":
        import av

        with av.open(io.BytesIO(body)) as film:
            return [frame.to_image().tobytes() for frame in film.decode(video=0)]
    image = Image.open(io.BytesIO(body))
    image.load()
    return image.mode, image.size, image.tobytes()


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_says_what_made_it_and_shows_the_same(name: str) -> None:
    """Another reader finds the source type, model and seed; every pixel is as before."""
    body = FORMATS[name]
    made = marked(body)
    told = read_back(made)
    assert told[f"{_IPTC}DigitalSourceType"] == TRAINED
    assert told[f"{_IPTC}AISystemUsed"] == 'mine/paint "1" <x> & ü'
    assert told["{urn:headrace:provenance:1}seed"] == "7"
    assert told["{urn:headrace:provenance:1}request"] == "ab" * 32
    assert pixels(made) == pixels(body)
    assert marked(body) == made, "the same bytes every time"
    with pytest.raises(LeftError, match="already"):
        planned(made, ORIGIN)


def with_theirs(name: str) -> bytes:
    """A file with somebody else's packet in it."""
    kind = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}.get(name)
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", THEIRS.decode(), zip=True)
        return picture("PNG", pnginfo=info)
    if kind is not None:
        return picture(kind, xmp=THEIRS)
    uuid = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
    box = struct.pack(">I4s", 24 + len(THEIRS), b"uuid") + uuid + THEIRS
    return FORMATS["mp4"] + box


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "mp4"])
def test_what_somebody_else_told_stays(name: str) -> None:
    """A packet that is there is added to, under its own subject; none is written twice."""
    body = with_theirs(name)
    made = marked(body)
    told = read_back(made)
    assert told["{http://purl.org/dc/elements/1.1/}format"] == "theirs"
    assert told[f"{_RDF}about"] == "uuid:1"
    assert told[f"{_IPTC}DigitalSourceType"] == TRAINED
    assert pixels(made) == pixels(body)


@pytest.mark.parametrize("name", ["png", "jpeg", "webp", "mp4"])
def test_a_packet_that_cannot_be_read_is_left(name: str) -> None:
    """Bombs and garbage in a packet are not parsed, not thrown away, and said."""
    body = with_theirs(name)
    for bad in (b"<!DOCTYPE x" + b" " * 200, b"\xff\xfe" * 50):
        if name == "png":
            chunk = b"iTXtXML:com.adobe.xmp\x00\x00\x00\x00\x00" + bad
            raw = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
            hurt = FORMATS["png"][:33] + raw + FORMATS["png"][33:]
        else:
            hurt = body.replace(THEIRS, bad.ljust(len(THEIRS)))
        with pytest.raises(LeftError, match="XMP"):
            planned(hurt, ORIGIN)


def test_a_signed_file_is_left() -> None:
    """C2PA tells the origin itself, and a changed file would no longer be what was signed."""
    png = FORMATS["png"]
    chunk = b"caBX" + b"jumb"
    signed = png[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    jpeg = FORMATS["jpeg"]
    for body in (signed + png[33:], jpeg[:2] + b"\xff\xeb\x00\x08JP\x00\x01xx" + jpeg[2:]):
        with pytest.raises(LeftError, match="C2PA"):
            planned(body, ORIGIN)


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_whatever_a_file_is_it_is_marked_or_left(data: st.DataObject) -> None:
    """Cut off, flipped or made up: never another error, and pixels that were there stay."""
    name = data.draw(st.sampled_from([one for one in FORMATS if one != "mp4"]))
    body = bytearray(FORMATS[name])
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    hurt = bytes(body[: data.draw(st.integers(0, len(body)))])
    if data.draw(st.booleans()):
        hurt = bytes(body)
    try:
        made = marked(hurt)
    except LeftError:
        return
    try:
        before = pixels(hurt)
    except Exception:
        return
    assert pixels(made) == before


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"\0\0\0\x18ftypisom", b"\x89PNG\r\n\x1a\n"]))
def test_garbage_is_left(body: bytes, head: bytes) -> None:
    """Whatever bytes come, the answer is a reason."""
    with pytest.raises(LeftError):
        planned(head + body, ORIGIN)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_name_can_be_told(model: str, recipe: str) -> None:
    """Names out of recipes are text in the packet, never markup."""
    from dataclasses import replace

    origin = replace(ORIGIN, model=model, recipe=recipe)
    read_back(marked(FORMATS["png"], origin))


@pytest.mark.parametrize("inline", [True, False])
async def test_the_out_folder_gets_the_marked_file_and_the_blob_stays(
    tmp_path: Path, inline: bool
) -> None:
    """What is kept stays pure; publishing again changes nothing; no model, no mark."""
    import hashlib

    body = FORMATS["png"]
    kept = tmp_path / "blob"
    kept.write_bytes(body)
    digest = hashlib.sha256(body).digest()
    artifact = Artifact(digest, "image/png", len(body), body if inline else None, ORIGIN)
    folder, marking = OutputFolder(tmp_path / "out"), Imprinting()
    folder.prepare()

    class Bodies:
        def path(self, sha256: bytes) -> Path | None:
            return None if inline else kept

        async def pieces(self, sha256: bytes) -> Any:
            yield body

    source = body if inline else kept
    inodes = set()
    for _ in range(2):
        told = await marking.mark(artifact, source)
        name = await folder.publish(artifact, "one", Bodies(), told)
        inodes.add((tmp_path / "out" / name).stat().st_ino)
    assert len(inodes) == 1
    assert (tmp_path / "out" / name).read_bytes() == marked(body)
    assert kept.read_bytes() == body
    assert marking.to_json() == {"marked": 2, "left": {}}
    plain = Artifact(digest, "image/png", len(body), body)
    assert await marking.mark(plain, body) is None
    text = Artifact(digest, "text/plain", 3, b"abc", ORIGIN)
    assert await marking.mark(text, b"abc") is None
    odd = Artifact(digest, "image/gif", 3, b"GIF", ORIGIN)
    assert await marking.mark(odd, b"GIF") is None
    assert marking.left == {"its format has no place for it": 1}


@given(kind=st.sampled_from(sorted(FORMATS)), data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_part_of_a_marked_file_is_that_part(kind: str, data: st.DataObject) -> None:
    """Any range of the marked file, cut out of the patch, is the range of its bytes."""
    body = FORMATS[kind]
    patch, whole = planned(body, ORIGIN), marked(body)
    begin = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(begin, len(whole)))
    part = patch.cut(begin, end)
    assert b"".join(part.pieces(BytesWindow(body))) == whole[begin:end]
    kinds = [type(one) for one in part.parts]
    assert (bytes, bytes) not in pairwise(kinds)
