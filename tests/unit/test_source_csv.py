"""CSV input: good rows come through exactly, bad ones are told apart with place and remedy."""

from __future__ import annotations

import codecs
import csv
import io
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.errors import InputError
from headrace.source import BadRow, Limits, Row
from headrace.sources import open_source
from headrace.sources.csvrecord import RecordReader


def rows_of(folder: Path, data: bytes | str, **options: object) -> list[Row | BadRow]:
    path = folder / "input.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with open_source(path, **options) as source:  # type: ignore[arg-type]
        return list(source)


def good(rows: list[Row | BadRow]) -> list[dict[str, str]]:
    return [row.values for row in rows if isinstance(row, Row)]


def bad(rows: list[Row | BadRow]) -> list[BadRow]:
    return [row for row in rows if isinstance(row, BadRow)]


def refused(folder: Path, data: bytes | str, **options: object) -> InputError:
    with pytest.raises(InputError) as caught:
        rows_of(folder, data, **options)
    assert caught.value.remedy, "an error says what to do"
    assert caught.value.place, "an error says where"
    return caught.value


TEXTS = [
    ("lf", "a,b\n1,2\n"),
    ("crlf", "a,b\r\n1,2\r\n"),
    ("cr", "a,b\r1,2\r"),
    ("no end", "a,b\n1,2"),
    ("padded header", " a ,\tb \n1,2\n"),
    ("blank lines", "\n\na,b\n\n1,2\n\n  \n\n"),
    ("quoted", '"a","b"\n"1","2"\n'),
    ("semicolon", "a;b\n1;2\n"),
    ("tab", "a\tb\n1\t2\n"),
    ("pipe", "a|b\n1|2\n"),
    ("excel's separator line", "sep=;\na;b\n1;2\n"),
]


@pytest.mark.parametrize("text", [t for _, t in TEXTS], ids=[n for n, _ in TEXTS])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_dialect_reads_the_same(tmp_path: Path, text: str, encoding: str) -> None:
    """Line ends, delimiters, marks and wide encodings make no difference to the rows."""
    assert good(rows_of(tmp_path, text.encode(encoding))) == [{"a": "1", "b": "2"}]


def test_rows_are_numbered_with_bad_ones(tmp_path: Path) -> None:
    """Row numbers count every row, bad ones too; lines count the lines of the file."""
    rows = rows_of(tmp_path, 'a,b\n1,"x\ny"\n\n2\n3,4\n')
    assert [(row.number, row.line) for row in rows] == [(1, 3), (2, 5), (3, 6)]
    assert [type(row) for row in rows] == [Row, BadRow, Row]


def test_ragged_rows_are_bad_and_say_which_cell(tmp_path: Path) -> None:
    """Too few cells name the first missing column, too many the delimiter to quote."""
    rows = rows_of(tmp_path, "a,b,c\n1,2\n1,2,3,4\n1,2,3\n")
    short, long = bad(rows)
    assert (short.column, short.line) == ("c", 2)
    assert "2 cells" in short.reason
    assert "','" in long.remedy
    assert good(rows) == [{"a": "1", "b": "2", "c": "3"}]
    assert good(rows_of(tmp_path, "a,b,c\n1,2\n", fill_short=True)) == [
        {"a": "1", "b": "2", "c": ""}
    ]


def test_one_stray_quote_costs_one_row(tmp_path: Path) -> None:
    """A quote that never closes is reported where it opens, and the rows after it go on."""
    rows = rows_of(tmp_path, 'a,b\n1,"open\n2,x\n3,y\n4,"bad" z\n5,5" pipe\n')
    assert [(row.line, row.column) for row in bad(rows)] == [(2, "b"), (5, "b")]
    assert "closes on line 5" in bad(rows)[0].reason
    assert [row["a"] for row in good(rows)] == ["2", "3", "5"]
    assert good(rows)[-1]["b"] == '5" pipe'
    last = rows_of(tmp_path, 'a,b\n1,2\n3,"open\n4,5\n')
    assert [row.line for row in bad(last)] == [3]
    assert "never closes" in bad(last)[0].reason
    assert [row["a"] for row in good(last)] == ["1", "4"]


def test_quotes_without_end_give_the_file_up(tmp_path: Path) -> None:
    """A file whose every row swallows the rest is refused after a number of rows, not read on."""
    limits = Limits(field_chars_max=500, row_chars_max=5000, broken_quotes_max=5)
    error = refused(tmp_path, "a,b\n" + '5","\n' * 4000, limits=limits)
    assert "without an end" in error.message


def test_large_cells_are_bad_rows(tmp_path: Path) -> None:
    """A cell over the cap is a bad row that names its column; one below it is read whole."""
    rows = rows_of(tmp_path, f"a,b\n1,{'x' * 900_000}\n2,{'y' * 1_100_000}\n3,4\n")
    assert [len(row["b"]) for row in good(rows)] == [900_000, 1]
    assert [(row.line, row.column) for row in bad(rows)] == [(3, "b")]
    assert "1,048,576" in bad(rows)[0].reason
    assert len(bad(rows)[0].excerpt) < 300


def test_large_cells_need_no_process_wide_setting(tmp_path: Path) -> None:
    """Reading leaves the csv module's limit alone, whatever other code set it to."""
    before = csv.field_size_limit()
    text = f'a,b\n1,"{"x" * 300_000}\n{"y" * 300_000}"\n'
    assert len(good(rows_of(tmp_path, text))[0]["b"]) == 600_001
    assert csv.field_size_limit() == before
    previous = csv.field_size_limit(1 << 30)
    try:
        rows = rows_of(tmp_path, f'a,b\n1,"{"x" * 2_000_000}"\n2,3\n')
    finally:
        csv.field_size_limit(previous)
    assert [row.column for row in bad(rows)] == ["b"]
    assert good(rows) == [{"a": "2", "b": "3"}]


def test_a_line_without_end_is_not_held(tmp_path: Path) -> None:
    """A 60 MB line becomes one bad row within a few megabytes of memory."""
    path = tmp_path / "input.csv"
    with path.open("wb") as file:
        file.write(b"a,b\n1,")
        for _ in range(60):
            file.write(b"z" * 1_000_000)
        file.write(b"\n3,4\n")
    limits = Limits(row_chars_max=1_000_000)
    tracemalloc.start()
    with open_source(path, limits=limits) as source:
        rows = list(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12_000_000
    assert [row.line for row in bad(rows)] == [2]
    assert "longer than 1,000,000" in bad(rows)[0].reason
    assert good(rows) == [{"a": "3", "b": "4"}]


def test_nul_bytes_are_bad_rows(tmp_path: Path) -> None:
    """A NUL is refused in its row only: neither the database nor a template takes it."""
    rows = rows_of(tmp_path, b"a,b\n1,2\0\n3,4\n")
    assert "NUL" in bad(rows)[0].reason
    assert bad(rows)[0].excerpt == "1,2\\x00"
    assert good(rows) == [{"a": "3", "b": "4"}]


def test_many_flaws_stay_fast_and_are_forgotten(tmp_path: Path) -> None:
    """A file of nothing but NULs is reported row by row, in a straight line of time."""
    rows = rows_of(tmp_path, b"a,b\n" + b"\0,1\n" * 50_000)
    assert len(bad(rows)) == 50_000


def test_unicode_separators_are_ordinary_text(tmp_path: Path) -> None:
    """U+2028, U+0085, vertical tab and form feed do not end a line."""
    text = "x\u2028y\u0085z\x0bw\x0cv"
    assert good(rows_of(tmp_path, f"a,b\n1,{text}\n")) == [{"a": "1", "b": text}]


HEADERS = [
    ("a,b,a\n1,2,3\n", "columns 1 and 3 are both named 'a'"),
    ("a,b, a \n1,2,3\n", "columns 1 and 3 are both named 'a'"),
    ("a,,b\n1,2,3\n", "column 2 has no name, after 'a'"),
    (",a\n1,2\n", "column 1 has no name"),
    ("", "the file is empty"),
    ("\n\n  \n", "the file is empty"),
    ("\ufeff", "the file is empty"),
    ("a,b\n", "a header and no rows"),
    ("a,b\n\n\n", "a header and no rows"),
    ('a,"b\n1,2\n', "the header cannot be read"),
]


@pytest.mark.parametrize(("text", "message"), HEADERS)
def test_unusable_headers_are_refused(tmp_path: Path, text: str, message: str) -> None:
    """A header that cannot name columns stops the file before any row."""
    assert message in refused(tmp_path, text).message


def test_wrong_encoding_says_where_and_which(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 are named with offset and line, and a guess that then works."""
    data = "a,b\n1,2\n3,Küche\n".encode("cp1252")
    error = refused(tmp_path, data)
    assert "0xfc at offset 11" in error.message
    assert error.place.endswith("line 3")
    assert "--encoding cp1252" in error.remedy
    assert good(rows_of(tmp_path, data, encoding="cp1252"))[1] == {"a": "3", "b": "Küche"}


def test_wrong_encoding_deep_in_the_file(tmp_path: Path) -> None:
    """Offset and line are right far behind the first block, too."""
    lines = b"a,b\n" + b"1,22222222222222\n" * 40_000
    error = refused(tmp_path, lines + b"x,\xff\n")
    assert f"offset {len(lines) + 2:,}" in error.message
    assert error.place.endswith("line 40002")


def test_cut_off_character_at_the_end(tmp_path: Path) -> None:
    """A file that ends within a character is refused, not quietly shortened."""
    assert "not utf-8" in refused(tmp_path, "a,b\n1,é".encode()[:-1]).message


def test_utf16_without_mark_is_named(tmp_path: Path) -> None:
    """UTF-16 that does not say so is recognised, and reads when it is told."""
    data = "a,b\n1,hello\n".encode("utf-16-le")
    assert "--encoding utf-16-le" in refused(tmp_path, data).remedy
    assert good(rows_of(tmp_path, data, encoding="utf-16-le")) == [{"a": "1", "b": "hello"}]


def test_caps_on_rows_bytes_and_columns(tmp_path: Path) -> None:
    """Caps that are set stop the reading with an error that names them."""
    text = "a,b\n" + "1,2\n" * 100
    assert "50 rows" in refused(tmp_path, text, limits=Limits(rows_max=50)).message
    assert "200 bytes" in refused(tmp_path, text, limits=Limits(bytes_max=200)).message
    assert "2 columns" in refused(tmp_path, text, limits=Limits(columns_max=1)).message
    assert len(rows_of(tmp_path, text, limits=Limits(rows_max=100))) == 100


def test_strict_readers_can_raise_at_the_first_bad_row(tmp_path: Path) -> None:
    """A bad row turns into an error that carries place and remedy."""
    error = bad(rows_of(tmp_path, "a,b\n1\n"))[0].as_error("cards.csv")
    assert error.place == "cards.csv, row 1 (line 2), column 'b'"
    assert error.remedy


CELLS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=8),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_the_csv_module_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    end: str,
    delimiter: str,
    encoding: str,
) -> None:
    """Whatever text is in the cells, a quoted CSV is read back cell by cell."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    folder = tmp_path_factory.mktemp("csv")
    data = text.getvalue().encode(encoding)
    found = rows_of(folder, data, delimiter=delimiter)
    assert [tuple(row.values.values()) for row in found] == rows


@settings(max_examples=300, deadline=None)
@given(text=st.text('ab,"\n', max_size=30))
def test_the_slow_reader_agrees_with_the_fast_one(text: str) -> None:
    """Record by record, our own reader and the strict csv module find the same cells."""
    lines = io.StringIO(text, newline="").readlines()
    record = RecordReader(",", 1000, 1000).read(lines)
    try:
        expected = next(csv.reader(lines, strict=True), [])
    except csv.Error:
        assert record.trouble is not None
    else:
        assert record.trouble is None
        assert (record.cells if text[:1] not in ("", "\n") else []) == expected


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_an_unplanned_way(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    """Any bytes at all give rows, bad rows, or an ``InputError``; nothing else."""
    folder = tmp_path_factory.mktemp("any")
    for encoding in (None, "utf-16", "latin-1"):
        with suppress(InputError):
            assert rows_of(folder, b"a,b\n" + data, encoding=encoding)


def test_block_borders_do_not_matter(tmp_path: Path) -> None:
    """Line ends and characters that fall across the borders of blocks are put together."""
    for shift in range(4):
        cell = "é" * 50
        text = "a,b\r\n" + "x" * shift + "," + cell + "\r\n" + f"1,{cell}\r\n" * 9000
        rows = rows_of(tmp_path, text)
        assert len(good(rows)) == 9001
        assert {row["b"] for row in good(rows)} == {cell}
    assert codecs.BOM_UTF8 not in text.encode()
