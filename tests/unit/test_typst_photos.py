"""Promises about photos named by rows."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from headrace.photo import find_photo, read_photo
from headrace.providers.typst_engine import PhotoMissingError, PhotoRefusedError
from headrace.providers.typst_engine.photo import PhotoShelf, prepare


def picture(size: tuple[int, int] = (40, 20), kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, "red").save(out, kind, **options)
    return out.getvalue()


def claims(width: int, height: int) -> bytes:
    """A PNG of a few bytes whose header claims a huge picture."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_a_photo_inside_the_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.png").write_bytes(picture())
    assert find_photo("a/b.png", [tmp_path]) == (tmp_path / "a" / "b.png").resolve()
    assert find_photo(str(tmp_path / "a" / "b.png"), [tmp_path]).name == "b.png"


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../secret.png"])
def test_a_path_may_not_leave_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.png").write_bytes(picture())
    (tmp_path / "in" / "a").mkdir(parents=True)
    with pytest.raises(PhotoRefusedError, match="outside"):
        find_photo(name, [tmp_path / "in"])


def test_a_link_may_not_leave_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "x.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(PhotoRefusedError, match="outside"):
        find_photo("x.png", [tmp_path / "in"])


def test_a_missing_photo_is_named(tmp_path: Path) -> None:
    with pytest.raises(PhotoMissingError, match=r"shoes/red\.png"):
        find_photo("shoes/red.png", [tmp_path])


@pytest.mark.parametrize("name", ["https://x.example/a.png", "data:image/png;base64,AA", "a\0b"])
def test_what_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PhotoRefusedError):
        find_photo(name, [tmp_path])


def test_without_an_allowed_folder_no_file_is_read() -> None:
    with pytest.raises(PhotoRefusedError, match="no photo folder"):
        find_photo("a.png", [])


def test_a_pipe_or_folder_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for name in ("pipe.png", "."):
        with pytest.raises(PhotoRefusedError):
            read_photo(tmp_path / name, name)


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    for width, height in ((60_000, 60_000), (10_000, 5_001), (2**31 - 1, 2)):
        with pytest.raises(PhotoRefusedError, match="megapixels"):
            prepare(claims(width, height), "bomb.png", 500)


def test_only_four_formats_are_read() -> None:
    for body in (
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"",
        picture(kind="TIFF"),
    ):
        with pytest.raises(PhotoRefusedError, match="not a PNG, JPEG, WebP or GIF"):
            prepare(body, "x", 500)


def test_a_cut_off_photo_is_an_error_that_names_it() -> None:
    whole = picture((900, 900), "JPEG")
    with pytest.raises(PhotoRefusedError, match=r"cut\.jpg"):
        prepare(whole[: len(whole) // 2], "cut.jpg", 100)


def test_large_photos_are_made_smaller_and_small_ones_pass_through() -> None:
    body, extension = prepare(picture((3000, 1500), "JPEG"), "x", 600)
    assert (Image.open(io.BytesIO(body)).size, extension) == ((600, 300), "jpg")
    small = picture()
    assert prepare(small, "x", 600) == (small, "png")


def test_a_photo_taken_sideways_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    body, _ = prepare(picture((40, 20), "JPEG", exif=exif), "x", 600)
    assert Image.open(io.BytesIO(body)).size == (20, 40)


@pytest.mark.parametrize("kind", ["WEBP", "GIF", "PNG", "JPEG"])
def test_every_allowed_format_becomes_png_or_jpeg(kind: str) -> None:
    body, _ = prepare(picture((800, 100), kind), "x", 200)
    assert Image.open(io.BytesIO(body)).format in ("PNG", "JPEG")


def test_transparency_survives() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (800, 800), (255, 0, 0, 0)).save(out, "PNG")
    body, extension = prepare(out.getvalue(), "x", 100)
    assert extension == "png"
    assert Image.open(io.BytesIO(body)).mode == "RGBA"


def test_a_worker_keeps_only_its_last_photos(tmp_path: Path) -> None:
    shelf = PhotoShelf(tmp_path / "shelf", kept=3)
    for number in range(10):
        shelf.from_bytes(picture((40 + number, 20)), "x", 600)
    assert len(list((tmp_path / "shelf").iterdir())) == 3


def test_a_changed_photo_is_read_again(tmp_path: Path) -> None:
    shelf = PhotoShelf(tmp_path / "shelf")
    photo = tmp_path / "a.png"
    photo.write_bytes(picture((40, 20)))
    first = shelf.from_path("a.png", [tmp_path], 600)
    assert shelf.from_path("a.png", [tmp_path], 600) == first
    photo.write_bytes(picture((50, 20)))
    assert shelf.from_path("a.png", [tmp_path], 600) != first
