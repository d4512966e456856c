"""Words of providers that hold half a letter."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.outcome import CallFailed, OutcomeKind
from headrace.providers.openai.replies import read_chat
from headrace.providers.remote.words import decode_words, encode_words, mended

decode = msgspec.json.Decoder().decode
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
SAID = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=10,
)


def test_halves_are_put_together_or_replaced() -> None:
    """Two halves that meet are a letter; one alone is U+FFFD; all else stays."""
    assert mended("a\ud83d\ude00b") == "a😀b"
    assert mended("\ude00 ü \ud83d") == "\ufffd ü \ufffd"


@given(told=SAID)
def test_whatever_was_told_can_be_written_and_read(told: Any) -> None:
    """Nothing but the halves changes, wherever they stand; the bytes are UTF-8."""
    told = {"told": told}
    made = encode_words(told)
    assert json.loads(made) == json.loads(mended(json.dumps(told, ensure_ascii=False)))
    assert decode_words(json.dumps(told).encode(), decode) == json.loads(made)


def test_bytes_that_are_no_letter_are_mended() -> None:
    """A paid answer is not lost for a byte that is not UTF-8."""
    assert decode_words(b'{"a": "b\x80c", "\xff": 1}', decode) == {"a": "b\ufffdc", "\ufffd": 1}
    chat = read_chat(b'{"choices": [{"message": {"content": "caf\xe9"}}]}')
    assert chat is not None
    assert chat.content == "caf\ufffd"


def test_what_is_no_json_is_still_none() -> None:
    """Only letters are mended."""
    for body in (b'{"a": "\\ud83d"', b'{"a": "\xff"', b'{"a": NaN}', b"", b'["\\ud83d", NaN'):
        with pytest.raises(msgspec.DecodeError):
            decode_words(body, decode)


def test_what_is_nested_too_deeply_is_a_lost_result() -> None:
    """It was made, and cannot be read."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(CallFailed) as caught:
        encode_words(deep)
    assert caught.value.outcome.kind is OutcomeKind.LOST_RESULT
