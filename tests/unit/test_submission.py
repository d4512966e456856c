"""Rows become items: good ones as they are, bad ones with their place and remedy."""

from __future__ import annotations

import pytest

from headrace.errors import InputError, UsageError
from headrace.held import decode_json
from headrace.source import BadRow, Row
from headrace.submission import Terms, items_of


def test_good_rows_pass_unchanged() -> None:
    """Mappings and read rows become the same JSON, columns in their order."""
    items = list(items_of([{"b": "1", "a": 2}, Row(2, {"b": "x"}, 3)], (), False))
    assert [item.inputs for item in items] == ['{"b":"1","a":2}', '{"b":"x"}']
    assert all(item.error is None for item in items)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"a": ""}, "required column 'a' is empty"),
        ({}, "required column 'a' is empty"),
        ({"a": "x\0y"}, "NUL"),
        ({"a": "\ud800"}, "cannot be written as JSON"),
        ({"a": object()}, "cannot be written as JSON"),
        (BadRow(2, 5, "a", "the cell is too long", "Shorten it."), "row 2 (line 5), column 'a'"),
    ],
)
def test_a_bad_row_fails_alone_or_stops_when_strict(row: object, said: str) -> None:
    """A row that cannot be used is an item that failed, or, when strict, an error."""
    rows = [{"a": "good"}, row, {"a": "fine"}]
    items = list(items_of(rows, ("a",), False))  # type: ignore[arg-type]
    assert [item.error is None for item in items] == [True, False, True]
    error = decode_json(items[1].error or "")
    assert said in error["reason"]
    assert "row 2" in error["reason"]
    assert error["remedy"]
    with pytest.raises(InputError):
        list(items_of(rows, ("a",), True))  # type: ignore[arg-type]


def test_text_that_looks_like_an_escape_is_left_alone() -> None:
    r"""The six characters \u0000 in a cell are text, not a NUL."""
    (item,) = items_of([{"a": "say \\u0000"}], ("a",), False)
    assert item.error is None
    assert decode_json(item.inputs) == {"a": "say \\u0000"}


def test_unknown_words_say_did_you_mean() -> None:
    """A wrong cache mode names the nearest right one."""
    with pytest.raises(UsageError, match="reuse"):
        Terms(cache="resue").check()
