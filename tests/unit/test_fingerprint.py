"""Fingerprints: the fast path writes what RFC 8785 says, and every part of a request counts."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import InputError
from headrace.fingerprint import canonical_json, fingerprint
from headrace.request import Request

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=20,
)


@given(TREES)
def test_fast_path_is_rfc_8785(value: Any) -> None:
    """For any JSON, the bytes are those of the rfc8785 library."""
    assert canonical_json(value) == rfc8785.dumps(value)


@given(st.text(st.characters(max_codepoint=0x2FF), max_size=40))
def test_every_escape_is_rfc_8785(text: str) -> None:
    """Control characters and quotes are escaped as the standard says."""
    assert canonical_json({"a": text}) == rfc8785.dumps({"a": text})


@given(st.dictionaries(WORDS, LEAVES, max_size=6))
def test_order_of_keys_does_not_count(table: dict[str, Any]) -> None:
    """The same table written in another order has the same fingerprint."""
    turned = dict(reversed(table.items()))
    assert fingerprint(table) == fingerprint(turned)


def test_whole_floats_are_integers() -> None:
    """In JSON 1.0 is 1, so both have one fingerprint."""
    assert fingerprint({"a": 1.0}) == fingerprint({"a": 1})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**53, "\ud800", {1, 2}, b"x"])
def test_what_json_cannot_hold_is_an_input_error(value: Any) -> None:
    """NaN, infinity, large integers, lone surrogates and foreign types name the remedy."""
    for tree in (value, {"a": [value]}):
        with pytest.raises(InputError) as caught:
            canonical_json(tree)
        assert caught.value.remedy


REQUEST = Request("p", "m", "1", {"prompt": "x", "style": {"tone": {"warm": True}}}, ("aa",))


@pytest.mark.parametrize(
    "change",
    [
        {"provider": "q"},
        {"model": "n"},
        {"version": "2"},
        {"params": {"prompt": "x", "style": {"tone": {"warm": False}}}},
        {"params": {"prompt": "x"}},
        {"sources": ("bb",)},
        {"sources": ("aa", "aa")},
        {"sources": ()},
    ],
)
def test_every_part_of_a_request_counts(change: dict[str, Any]) -> None:
    """A change of any part, nested keys included, is another fingerprint."""
    changed = dataclasses.replace(REQUEST, **change)
    assert changed.fingerprint != REQUEST.fingerprint
    assert len(REQUEST.fingerprint) == 32


def test_fingerprint_is_pinned() -> None:
    """The fingerprint of a given request never changes: caches outlive releases."""
    want = (
        b'{"model":"m","params":{"prompt":"x","style":{"tone":{"warm":true}}},'
        b'"provider":"p","sources":["aa"],"version":"1"}'
    )
    assert REQUEST.fingerprint == hashlib.sha256(want).digest()
