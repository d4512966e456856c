"""An image out of JSON, piece by piece: wherever the pieces are cut, the bytes are the same."""

from __future__ import annotations

import base64
import binascii
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.providers.remote.base64_field import Base64Field


def taken(raw: bytes, step: int) -> tuple[bytes, Base64Field]:
    field = Base64Field()
    return b"".join(field.feed(raw[at : at + step]) for at in range(0, len(raw), step)), field


@given(st.binary(min_size=1, max_size=400), st.integers(1, 70), st.booleans(), st.booleans())
def test_any_cut_gives_the_same_bytes(image: bytes, step: int, escaped: bool, padded: bool) -> None:
    """Decoded bytes and the JSON around them do not depend on where pieces end."""
    text = base64.b64encode(image).decode()
    text = text if padded else text.rstrip("=")
    raw = json.dumps({"created": 1, "data": [{"b64_json": text, "x": 'a"b'}], "usage": {"n": 2}})
    if escaped:
        raw = raw.replace("/", "\\/")
    body, field = taken(raw.encode(), step)
    assert body == image
    assert field.complete
    left = json.loads(field.rest)
    assert left == {"created": 1, "data": [{"b64_json": "", "x": 'a"b'}], "usage": {"n": 2}}


@pytest.mark.parametrize("step", range(1, 14))
def test_an_escape_may_be_cut_in_two(step: int) -> None:
    """A text of nothing but escaped slashes comes through any cut."""
    body, _ = taken(b'{"b64_json":"' + b"\\/" * 400 + b'"}', step)
    assert body == b"\xff" * 300


@pytest.mark.parametrize("step", [*range(1, 9), 1000])
@pytest.mark.parametrize("pads", range(5))
@pytest.mark.parametrize("image", [b"abc", b"abcd", b"abcde"])
def test_too_little_or_too_much_padding_loses_no_image(image: bytes, pads: int, step: int) -> None:
    """A picture that was paid is not given up for its last characters, wherever they are cut."""
    text = base64.b64encode(image).rstrip(b"=") + b"=" * pads
    body, field = taken(b'{"b64_json": "' + text + b'"}', step)
    assert body == image
    assert field.complete


@given(st.text("AZaz09+/=", max_size=24), st.integers(1, 30))
def test_what_is_accepted_is_what_the_standard_library_gives(text: str, step: int) -> None:
    """The fast decoder takes nothing that the slow one, made strict, would not."""
    plain = text.rstrip("=")
    padded = plain + "=" * (-len(plain) % 4)
    try:
        expected = base64.b64decode(padded, validate=True) if len(text) - len(plain) <= 4 else None
    except binascii.Error:
        expected = None
    if expected is None or "=" in plain:
        with pytest.raises(binascii.Error):
            taken(f'{{"b64_json": "{text}"}}'.encode(), step)
    else:
        assert taken(f'{{"b64_json": "{text}"}}'.encode(), step)[0] == expected


def test_endless_padding_is_an_error_and_not_kept() -> None:
    """Who sends nothing but the end of a text fills no memory."""
    field = Base64Field()
    field.feed(b'{"b64_json": "AAAA====')
    with pytest.raises(binascii.Error):
        field.feed(b"=")


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_name_inside_a_text_is_not_the_field(step: int) -> None:
    """A prompt that quotes the field's name is passed over."""
    raw = {"prompt": '"b64_json": "AAAA"', "data": [{"b64_json": base64.b64encode(b"x").decode()}]}
    body, field = taken(json.dumps(raw).encode(), step)
    assert body == b"x"
    assert json.loads(field.rest)["prompt"] == raw["prompt"]


def test_a_text_that_breaks_off_is_not_complete() -> None:
    """Without its closing quote the image may lack its end."""
    _, field = taken(b'{"b64_json": "AAAABBBB', 5)
    assert (field.found, field.complete) == (True, False)


@pytest.mark.parametrize("value", [b'"b64_json": null', b'"url": "x"', b""])
def test_no_text_is_not_found(value: bytes) -> None:
    """Null, another field and nothing are no image."""
    body, field = taken(b'{"data": [{' + value + b"}]}", 3)
    assert (body, field.found) == (b"", False)


@pytest.mark.parametrize("text", [b"AA*A" * 9, b"AAAA\\nAAAA", b"AA==" * 9, b"data:image/png,AA"])
def test_what_is_not_base64_is_an_error(text: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(binascii.Error):
        taken(b'{"b64_json": "' + text + b'"}', 11)


def test_what_stands_around_the_image_is_bounded() -> None:
    """A body without an image does not fill the memory."""
    field = Base64Field(rest_bytes_max=1000)
    for _ in range(10):
        field.feed(b" " * 100)
    with pytest.raises(ValueError, match="too much"):
        field.feed(b" ")
