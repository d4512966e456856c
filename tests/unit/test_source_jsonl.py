"""JSONL input: objects come through with their nesting, every other line is told apart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headrace.errors import InputError
from headrace.source import BadRow, Limits, Row
from headrace.sources import open_source


def rows_of(folder: Path, data: str | bytes, **options: object) -> list[Row | BadRow]:
    path = folder / "input.jsonl"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    with open_source(path, **options) as source:  # type: ignore[arg-type]
        return list(source)


def test_nested_values_are_kept(tmp_path: Path) -> None:
    """Objects keep their numbers, lists and nesting; blank lines do not count."""
    first, second = {"a": 1, "b": [1.5, None, {"c": True}]}, {"a": "ü\u2028"}
    text = f"\ufeff{json.dumps(first)}\n\n{json.dumps(second, ensure_ascii=False)}\r\n \n"
    rows = rows_of(tmp_path, text)
    assert [(row.number, row.line, row.values) for row in rows] == [(1, 1, first), (2, 3, second)]


BAD_LINES = [
    ('{"a":', "not valid JSON", None),
    ("[1]", "the line is a list", None),
    ("3", "the line is a number", None),
    ("null", "the line is null", None),
    ('"x"', "the line is a text", None),
    ('{"a":1,"a":2}', "'a' stands twice", "a"),
    ('{"b":{"a":1,"a":2}}', "'a' stands twice", "a"),
    ('{"a":NaN}', "NaN", None),
    ('{"a":-Infinity}', "Infinity", None),
    ('{"a":1e999}', "too large", None),
    ('{"a":' + "9" * 5000 + "}", "too many digits", None),
    ('{"a":"\\ud800"}', "surrogate", "a"),
    ('{"b":["\\ud800"]}', "surrogate", "b"),
    ('{"\\udfff":1}', "surrogate", None),
    ('{"a":"\\u0000"}', "NUL", "a"),
    ('{"a":"\0"}', "NUL", None),
    ('{"a":' + "[" * 5000 + "]" * 5000 + "}", "nested", None),
    ('{"a":' + "[" * 70 + "]" * 70 + "}", "nested", None),
    ('{"a":"' + "x" * 1_100_000 + '"}', "too large", "a"),
    ('{"a":1} trailing', "not valid JSON", None),
]


@pytest.mark.parametrize(("line", "reason", "column"), BAD_LINES, ids=lambda v: str(v)[:20])
def test_unusable_lines_are_bad_rows(
    tmp_path: Path, line: str, reason: str, column: str | None
) -> None:
    """A line that is no usable object is a bad row with a reason, and the next row goes on."""
    first, bad, last = rows_of(tmp_path, f'{{"ok":1}}\n{line}\n{{"ok":2}}\n')
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert last.number == 3
    assert isinstance(bad, BadRow)
    assert reason in bad.reason
    assert (bad.number, bad.line, bad.column) == (2, 2, column)
    assert bad.remedy
    assert len(bad.excerpt) < 1000
    bad.as_error("f").message.encode()


def test_brackets_in_texts_are_no_depth(tmp_path: Path) -> None:
    """Only real nesting counts towards the cap, not brackets that are written in a text."""
    row = rows_of(tmp_path, json.dumps({"a": '\\"[' * 500}))[0]
    assert isinstance(row, Row)


def test_escaped_backslash_before_u_is_text(tmp_path: Path) -> None:
    """A text that spells an escape out is no NUL and no surrogate."""
    row = rows_of(tmp_path, json.dumps({"a": "\\u0000 \\ud800"}))[0]
    assert row.values == {"a": "\\u0000 \\ud800"}


def request(custom_id: str, **changes: object) -> str:
    line = {"custom_id": custom_id, "method": "POST", "url": "/v1/images", "body": {"n": 1}}
    return json.dumps(line | changes)


def test_openai_requests_are_recognised(tmp_path: Path) -> None:
    """Lines of an OpenAI batch file have its four columns, and each custom_id once."""
    lines = [request("1"), request("2"), request("1"), request("3", body=[]), '{"custom_id":"4"}']
    path = tmp_path / "batch.jsonl"
    path.write_text("\n".join(lines))
    with open_source(path) as source:
        assert (source.kind, source.columns) == ("openai", ["custom_id", "method", "url", "body"])
        rows = list(source)
    assert [type(row) for row in rows] == [Row, Row, BadRow, BadRow, BadRow]
    bad = [row for row in rows if isinstance(row, BadRow)]
    assert [row.column for row in bad] == ["custom_id", "body", "method"]
    assert "row 1" in bad[0].reason


def test_empty_input_is_refused(tmp_path: Path) -> None:
    """No line at all is an error that shows what a line looks like."""
    with pytest.raises(InputError, match="empty") as caught:
        rows_of(tmp_path, "\n\n")
    assert "{" in caught.value.remedy


def test_cap_on_rows(tmp_path: Path) -> None:
    """The cap on rows holds for JSONL as for CSV."""
    with pytest.raises(InputError, match="2 rows"):
        rows_of(tmp_path, '{"a":1}\n' * 3, limits=Limits(rows_max=2))
