"""What the API is made of, apart from it: ranges, signed links, cursors, names, ZIP files."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import obstore
import pytest
from hypothesis import given
from hypothesis import strategies as st
from obstore.store import S3Store

from headrace import zip_stream
from headrace.blob import Blobs, blob_key, open_blobs
from headrace.byte_range import UnsatisfiableError, byte_range
from headrace.errors import InputError, UsageError
from headrace.http.artifacts import disposition
from headrace.http.bodies import only
from headrace.http.page_cursor import read_cursor, show_cursor
from headrace.signed_links import LASTS_S_MAX, lasts_s, seconds_left, signed
from headrace.zip_stream import ZipStream

SECRET = b"s" * 32
AT = datetime(2026, 3, 1, 12, 30, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None), ("", None), ("bytes=0-0", (0, 1)), ("bytes=0-", (0, 10)),
        ("bytes=3-5", (3, 6)), ("bytes=8-99", (8, 10)), ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)), ("BYTES=1-2", (1, 3)), ("bytes=5-3", None), ("bytes=-", None),
        ("bytes=0-1,3-4", None), ("lines=0-1", None), ("bytes=a-b", None), ("bytes=٣-٤", None),
        ("bytes=0x1-2", None),
    ],
)  # fmt: skip
def test_a_range_is_read_as_the_standard_has_it(
    header: str | None, span: tuple[int, int] | None
) -> None:
    """One range is given, with its end cut to the body's; all else is answered with the whole."""
    assert byte_range(header, 10) == span


@pytest.mark.parametrize(("header", "size"), [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0)])
def test_a_range_without_a_byte_is_told(header: str, size: int) -> None:
    """What begins behind the end cannot be given."""
    with pytest.raises(UnsatisfiableError):
        byte_range(header, size)


def test_a_link_opens_one_path_for_its_time() -> None:
    """Another path, another time, another secret or a byte changed: not good."""
    link = signed(SECRET, "/a/1", 1000)
    told = dict(part.split("=") for part in link.partition("?")[2].split("&"))
    good = (told["expires"], told["signature"])
    assert seconds_left(SECRET, "/a/1", *good, 900.0) == 100
    assert seconds_left(SECRET, "/a/1", *good, 1000.0) == 0
    assert seconds_left(SECRET, "/a/2", *good, 900.0) == 0
    assert seconds_left(b"t" * 32, "/a/1", *good, 900.0) == 0
    for expires, signature in (
        ("1001", good[1]), ("+1000", good[1]), ("１０００", good[1]), ("", ""), ("9" * 40, good[1]),
        (good[0], ""), (good[0], good[1] + "="), (good[0], "é"), (good[0], good[1].swapcase()),
    ):  # fmt: skip
        assert seconds_left(SECRET, "/a/1", expires, signature, 900.0) == 0


async def test_a_store_that_can_sign_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An S3 store gives an address that lasts, of what it has; a folder has none to give."""
    there = {blob_key(b"h" * 32)}

    async def head_async(store: Any, key: str) -> None:
        if key not in there:
            raise FileNotFoundError(key)

    monkeypatch.setattr(obstore, "head_async", head_async)
    store = S3Store("shop", region="eu-west-1", access_key_id="id", secret_access_key="key")
    remote = Blobs(store, None, tmp_path)
    url = await remote.signed_url(b"h" * 32, 60)
    assert url is not None
    assert blob_key(b"h" * 32) in url
    assert "X-Amz-Expires=60" in url
    assert await remote.signed_url(b"g" * 32, 60) is None
    local = await open_blobs(str(tmp_path / "blobs"))
    assert await local.signed_url(b"h" * 32, 60) is None
    await remote.close()
    await local.close()


def test_how_long_a_link_lasts_is_bounded() -> None:
    """However long is asked for, and however it was signed, a link lasts a week at most."""
    assert [lasts_s(asked) for asked in (-5, 0, 60, 10**12)] == [1, 1, 60, LASTS_S_MAX]
    far = signed(SECRET, "/a", 2_000_000).rpartition("=")[2]
    assert seconds_left(SECRET, "/a", "2000000", far, 0.0) == 0


@given(st.text(max_size=60))
def test_no_text_is_a_cursor_but_a_cursor(text: str) -> None:
    """A cursor comes back as it went; anything else is an error, not a crash."""
    known = (AT, UUID(int=5))
    assert read_cursor(show_cursor(*known)) == known
    try:
        read_cursor(text)
    except UsageError:
        pass
    else:
        raise AssertionError(text)


@given(st.text(max_size=300))
def test_no_name_leaves_its_header(name: str) -> None:
    """A file's name is one quoted text of ASCII, whatever it was."""
    told = disposition("attachment", name)
    quoted = told.partition('filename="')[2].partition('"; filename*=')[0]
    told.encode("ascii")
    assert told.isprintable()
    assert not set(quoted) & set('"\\/')


@given(st.lists(st.binary(max_size=2000), max_size=6), st.booleans())
def test_a_zip_is_what_went_in(bodies: list[bytes], known: bool) -> None:
    """Python's own reader finds every entry whole, with its sum, under its name."""
    stream = ZipStream(AT)
    pieces = []
    for at, body in enumerate(bodies):
        pieces.append(stream.begin(f"ä {at}.bin", len(body) if known else None))
        pieces += [stream.data(body[:7]), stream.data(body[7:]), stream.end()]
    pieces += stream.finish()
    stream.close()
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as found:
        assert found.testzip() is None
        assert found.namelist() == [f"ä {at}.bin" for at in range(len(bodies))]
        for info, body in zip(found.infolist(), bodies, strict=True):
            assert found.read(info) == body
            assert (info.CRC, info.compress_type) == (zlib.crc32(body), zipfile.ZIP_STORED)
            assert info.date_time == (2026, 3, 1, 12, 30, 40)


def test_a_zip_is_written_in_flat_memory() -> None:
    """What stands in a ZIP is not held in memory: 20,000 entries take no more than 200 would."""
    tracemalloc.start()
    stream = ZipStream(AT)
    for at in range(20_000):
        stream.begin(f"a name that is not very short, number {at}", 1)
        stream.data(b"x")
        stream.end()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    stream.close()
    assert held < 600_000


def test_a_zip_of_very_many_or_very_large_ones_is_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond 65,535 entries, or where offsets are large, the wide form is read all the same."""
    stream = ZipStream(AT)
    pieces = []
    for at in range(70_000):
        pieces += [stream.begin(f"{at}", 1), stream.data(b"x"), stream.end()]
    pieces += stream.finish()
    with zipfile.ZipFile(io.BytesIO(b"".join(pieces))) as found:
        assert len(found.namelist()) == 70_000
        assert found.read("69999") == b"x"
    monkeypatch.setattr(zip_stream, "BIG", 1000)
    stream = ZipStream(AT)
    assert stream.begin("large", 1000)[-20:-16] == b"\1\0\x10\0"
    assert len(stream.end()) == 24


# -- bodies ------------------------------------------------------------------------------------


def test_an_unknown_key_of_megabytes_is_compared_with_nothing() -> None:
    """It is told in a short answer, at once and in flat memory; a slip of the pen is corrected."""
    tracemalloc.start()
    with pytest.raises(InputError) as caught:
        only({"recipe" * 200_000: 1}, {"recipe": str})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8_000_000
    assert len(str(caught.value)) < 200
    with pytest.raises(InputError, match="Did you mean 'recipe'"):
        only({"recip": 1}, {"recipe": str})
