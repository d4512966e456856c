"""Opening an input: what is no table is refused by name, gzip and stdin are read as they come."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import sys
from pathlib import Path

import pytest

from headrace.errors import InputError, UsageError
from headrace.source import Limits, Row
from headrace.sources import open_source

BINARY = [
    (b"PK\x03\x04\x14\x00[Content_Types].xml xl/workbook.xml", "Excel", "save it as CSV"),
    (b"PK\x03\x04\x14\x00 photos/cat.txt", "ZIP", "Unpack"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1 old", "old Excel", "save it as CSV"),
    (b"%PDF-1.7 \x00", "PDF", "CSV"),
    (b"PAR1\x15\x04\x15", "", ""),
    (b"SQLite format 3\x00", "SQLite", "Export"),
    (b"\x89PNG\r\n\x1a\n", "PNG", "table"),
    (b"\x28\xb5\x2f\xfd\x04", "Zstandard", "unzstd"),
    (b"\xfd7zXZ\x00", "xz", "unxz"),
]


@pytest.mark.parametrize(("head", "what", "remedy"), BINARY, ids=[w for _, w, _ in BINARY])
def test_binary_files_are_called_by_their_name(
    tmp_path: Path, head: bytes, what: str, remedy: str
) -> None:
    """A spreadsheet, a PDF or an archive is named, with the way to make a table of it."""
    path = tmp_path / "products.csv"
    path.write_bytes(head + bytes(range(256)))
    with pytest.raises(InputError) as caught, open_source(path) as source:
        list(source)
    assert what in caught.value.message
    assert remedy in caught.value.remedy


def test_a_column_that_begins_like_a_magic_is_text(tmp_path: Path) -> None:
    """A header that happens to begin with letters of a binary format is read."""
    path = tmp_path / "products.csv"
    path.write_text("BZhang,b\n1,2\n")
    with open_source(path) as source:
        assert len(list(source)) == 1


def test_missing_files_name_the_neighbour(tmp_path: Path) -> None:
    """A misspelt name is answered with the file that was probably meant."""
    (tmp_path / "products.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match="no such file") as caught:
        open_source(tmp_path / "product.csv")
    assert "products.csv" in caught.value.remedy
    with pytest.raises(InputError) as caught:
        open_source(tmp_path / "nowhere" / "a.csv")
    assert "does not exist" in caught.value.remedy


def test_folders_name_the_tables_in_them(tmp_path: Path) -> None:
    """A folder is refused with the tables that are in it."""
    (tmp_path / "products.csv").write_text("a\n1\n")
    with pytest.raises(InputError, match="folder") as caught:
        open_source(tmp_path)
    assert "products.csv" in caught.value.remedy


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads every file")
def test_unreadable_files_say_so(tmp_path: Path) -> None:
    """A file without the right to read it is an input error, not a traceback."""
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be opened"):
        open_source(path)


def test_odd_paths_are_input_errors(tmp_path: Path) -> None:
    """A NUL in a path, or a path far too long, is refused like any other bad input."""
    for path in ("a\0b.csv", "x" * 5000):
        with pytest.raises(InputError):
            open_source(path)


@pytest.mark.parametrize("text", ['[{"a": 1}]', '[\n  {"a": 1}\n]', '{\n  "a": 1\n}'])
def test_json_documents_say_how_to_convert(tmp_path: Path, text: str) -> None:
    """A JSON document is not JSONL, and the message has the command that makes it so."""
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        open_source(path)
    assert "jq -c" in caught.value.remedy


def test_gzip_is_unpacked_on_the_way(tmp_path: Path) -> None:
    """Packed input reads like plain input, members one after another; the digest is the file's."""
    path = tmp_path / "a.csv.gz"
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 200_000) + gzip.compress(b"3,4\n")
    path.write_bytes(packed)
    with open_source(path) as source:
        rows = list(source)
        assert source.sha256 == hashlib.sha256(packed).hexdigest()
        assert source.bytes_read == len(packed)
        assert (source.rows_good, source.rows_bad) == (200_001, 0)
    assert rows[-1].values == {"a": "3", "b": "4"}


@pytest.mark.parametrize("cut", [12, 25, -9, -4, -1])
def test_cut_or_damaged_gzip_is_refused(tmp_path: Path, cut: int) -> None:
    """A packed file that lacks its end, or is damaged, never passes for a shorter one."""
    path = tmp_path / "a.csv.gz"
    packed = gzip.compress(b"a,b\n" + os.urandom(50).hex().encode() + b",2\n")
    path.write_bytes(packed[:cut])
    with pytest.raises(InputError, match="gzip"), open_source(path) as source:
        list(source)
    path.write_bytes(packed[:30] + b"\xff\xff\xff" + packed[33:])
    with pytest.raises(InputError), open_source(path) as source:
        list(source)


def test_gzip_bombs_are_stopped(tmp_path: Path) -> None:
    """A file that unpacks to hundreds of times its size is refused part of the way."""
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2222222222222222222\n" * 2_000_000))
    with pytest.raises(InputError, match="bomb"), open_source(path) as source:
        for _row in source:
            pass


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dash reads standard input, and tells JSONL from CSV by its first character."""
    for text, kind in ((b"a,b\n1,2\n", "csv"), (b'{"a": "1", "b": "2"}\n', "jsonl")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
        with open_source("-") as source:
            assert source.kind == kind
            assert [row.values for row in source] == [{"a": "1", "b": "2"}]


def test_wrong_options_say_what_is_known(tmp_path: Path) -> None:
    """Kinds, delimiters and encodings that do not exist are refused with those that do."""
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError) as caught:
        open_source(path, kind="cvs")
    assert "'csv'" in caught.value.remedy
    with pytest.raises(UsageError):
        open_source(path, delimiter=",,")
    for encoding in ("utf-99", "base64", "rot13"):
        with pytest.raises(InputError, match="unknown encoding"):
            open_source(path, encoding=encoding)


def test_a_million_rows_are_never_held(tmp_path: Path) -> None:
    """Memory does not grow with the file: rows come one by one, blocks are let go."""
    import tracemalloc

    path = tmp_path / "large.csv"
    path.write_bytes(b"a,b,c\n" + b"1,some text here,3\n" * 200_000)
    tracemalloc.start()
    with open_source(path, limits=Limits()) as source:
        count = sum(1 for row in source if isinstance(row, Row))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 200_000
    assert peak < 8_000_000
