"""Images out of Google's JSON, piece by piece: wherever it is cut, the bytes are the same."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.providers.google.inline_sieve import TEXTS_MAX, InlineSieve

ROOM = 1 << 20


def sifted(raw: bytes, step: int, taken_max: int = 8) -> tuple[dict[int, bytes], InlineSieve]:
    sieve, texts = InlineSieve(taken_max, ROOM), dict[int, bytes]()
    for at in range(0, len(raw), step):
        for number, piece in sieve.feed(raw[at : at + step]):
            texts[number] = texts.get(number, b"") + piece
    return texts, sieve


@given(
    st.lists(st.binary(min_size=1, max_size=200), max_size=4),
    st.integers(1, 70),
    st.sampled_from(["plain", "slashes", "html"]),
)
def test_any_cut_gives_the_same_bytes(images: list[bytes], step: int, escaped: str) -> None:
    """Bytes, numbers and the JSON around them do not depend on where pieces end."""
    texts = [base64.b64encode(image).decode() for image in images]
    parts = [{"inlineData": {"data": text}, "thoughtSignature": "QUJD" * 9} for text in texts]
    raw = json.dumps({"said": '"data": "no"', "parts": parts, "usage": {"n": 2}})
    for letter, code in {"=": "\\u003d", "+": "\\u002B", "/": "\\u002f"}.items():
        raw = raw.replace(letter, code) if escaped == "html" else raw
    raw = raw.replace("/", "\\/") if escaped == "slashes" else raw
    found, sieve = sifted(raw.encode(), step)
    assert found == dict(enumerate(images))
    assert not sieve.inside
    left = [{"inlineData": {"data": str(n)}, "thoughtSignature": ""} for n in range(len(images))]
    assert json.loads(sieve.rest) == {"said": '"data": "no"', "parts": left, "usage": {"n": 2}}


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_texts_beyond_the_cap_are_passed_over(step: int) -> None:
    """A text answer takes no data at all, and its JSON is whole."""
    found, sieve = sifted(b'{"data": "QUJD", "b": {"data": "????"}}', step, taken_max=0)
    assert found == {}
    assert json.loads(sieve.rest) == {"data": "0", "b": {"data": "1"}}


def test_a_text_that_breaks_off_is_seen() -> None:
    """Without its closing quote an image may lack its end."""
    _, sieve = sifted(b'{"data": "AAAABBBB', 5)
    assert sieve.inside


@given(st.binary(max_size=300), st.integers(1, 40))
def test_any_bytes_end_as_bytes_or_as_a_value_error(raw: bytes, step: int) -> None:
    """Whatever a server says, nothing else is raised."""
    for body in (raw, b'{"data": "' + raw, b'"thoughtSignature":"' + raw + b'"data":"'):
        try:
            sifted(body, step)
        except ValueError:
            continue


@pytest.mark.parametrize("raw", [b" " * (ROOM + 1), b'"data":"",' * (TEXTS_MAX + 1)])
def test_what_stands_beside_the_images_is_bounded(raw: bytes) -> None:
    """Neither a long rest nor very many texts are kept."""
    with pytest.raises(ValueError, match="too m"):
        sifted(raw, 65536)
