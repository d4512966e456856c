"""What fal's queue is told and what its answers are read as: whatever it says, nothing breaks."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ConfigError
from headrace.provider import CrashClass
from headrace.providers.fal import messages
from headrace.providers.fal.settings import read_fal

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
KEYS = st.sampled_from(
    [*messages.PLACES, "url", "seed", "width", "has_nsfw_concepts", "status", "metrics", "error"]
)
REPLIES = st.dictionaries(KEYS, ANY_JSON | st.dictionaries(KEYS, ANY_JSON), max_size=6)


@given(st.binary() | ANY_JSON.map(lambda one: json.dumps(one).encode()))
def test_any_answer_can_be_read(body: bytes) -> None:
    """Bytes of any kind give a job or none, and a standing."""
    accepted = messages.read_accepted(body)
    assert accepted is None or messages.is_id(accepted.id)
    messages.read_standing(body)


@given(REPLIES, st.none() | st.sampled_from(["images", "a.b.0", "video.url"]), st.integers(0, 99))
def test_any_reply_has_one_result_or_none(reply: Any, place: str | None, index: int) -> None:
    """Replies of any form give an address, a text or nothing; facts are plain."""
    found = messages.read_result(reply, place, index)
    if found is not None:
        assert (found.address is None) != (found.text is None)
        assert all(type(one) in (int, dict) for one in found.facts.values())
        json.dumps(found.facts)


@given(st.text(), ANY_JSON)
def test_any_param_is_judged(name: str, value: Any) -> None:
    """A param of any name and value is wrong or not, and then can be sent."""
    for one in (name, *messages.NUMBERS, "output", "output_index", "num_images"):
        if not messages.wrong_param(one, value):
            messages.input_of({one: value})
            messages.wanted_of({one: value})


@given(st.text())
def test_any_model_and_header_is_judged(text: str) -> None:
    """Names of models and headers of any form."""
    if not messages.wrong_model(text):
        assert messages.requests_path(text).endswith("/requests")
        assert ".." not in text
    units = messages.read_units(text)
    assert units is None or messages.cost_of(units, Decimal(1)) is not None


def test_jobs_are_asked_for_without_the_sub_path() -> None:
    """What follows owner and app is left out; workflows have a name before them."""
    assert messages.requests_path("fal-ai/flux/dev") == "fal-ai/flux/requests"
    assert messages.requests_path("fal-ai/flux") == "fal-ai/flux/requests"
    assert messages.requests_path("workflows/me/mine/x") == "workflows/me/mine/requests"
    for wrong in ("flux", "a/../b", "a//b", "/a/b", "a/b?x", "a/b c", "", "a/b/", "ä/b"):
        assert messages.wrong_model(wrong), wrong


PICTURE = {"url": "https://x/1.png", "width": 8, "height": 4, "content_type": "image/png"}


@pytest.mark.parametrize(
    ("reply", "place", "index", "address"),
    [
        ({"images": [PICTURE]}, None, 0, "https://x/1.png"),
        ({"image": PICTURE}, None, 0, "https://x/1.png"),
        ({"video": {"url": "https://x/f.mp4"}}, None, 0, "https://x/f.mp4"),
        ({"audio": {"url": "https://x/s.mp3"}}, None, 0, "https://x/s.mp3"),
        ({"audio_url": "https://x/s.mp3"}, None, 0, "https://x/s.mp3"),
        ({"images": [PICTURE, {"url": "https://x/2.png"}]}, None, 1, "https://x/2.png"),
        ({"images": ["https://x/3.png"]}, None, 0, "https://x/3.png"),
        ({"a": {"b": [{"url": "https://x/4"}]}}, "a.b", 0, "https://x/4"),
        ({"a": {"b": [{"url": "https://x/4"}]}}, "a.b.0.url", 0, "https://x/4"),
        ({"images": [PICTURE], "mask": PICTURE | {"url": "https://x/m"}}, "mask", 0, "https://x/m"),
        ({"images": []}, None, 0, None),
        ({"images": [PICTURE]}, None, 1, None),
        ({"image": "a text"}, None, 0, None),
        ({"output": "a text"}, None, 0, None),
        ({"images": "https"}, None, 0, None),
        ({"images": [{"url": 7}]}, None, 0, None),
    ],
)
def test_results_are_found_where_models_put_them(
    reply: dict[str, Any], place: str | None, index: int, address: str | None
) -> None:
    """Lists, objects and bare addresses, and any place that is named."""
    found = messages.read_result(reply, place, index)
    assert (found.address if found else None) == address


def test_a_text_is_a_result_only_where_it_was_named() -> None:
    """A reply's words are not taken for a result by chance."""
    found = messages.read_result({"output": "A mill."}, "output")
    assert found is not None
    assert found.text == "A mill."


@pytest.mark.parametrize(
    ("flags", "index", "refused"),
    [
        ([True], 0, True),
        ([False], 0, False),
        ([False, True], 1, True),
        ([True], 3, True),
        (True, 0, True),
        ([], 0, False),
        (None, 0, False),
        ("yes", 0, False),
        ([1], 0, False),
    ],
)
def test_the_flag_of_the_chosen_picture_counts(flags: Any, index: int, refused: bool) -> None:
    """A picture that the safety checker blacked out is a refusal."""
    reply = {"images": [PICTURE] * 4, "has_nsfw_concepts": flags}
    found = messages.read_result(reply, None, index)
    assert found is not None
    assert found.refused is refused


def test_cells_become_numbers() -> None:
    """A CSV's text goes out as what fal's models want; ``duration`` is a text with some."""
    told = {"seed": "7", "strength": " 0.5", "enable_safety_checker": "False", "duration": "5"}
    sent = messages.input_of({**told, "output": "video", "output_index": "1", "prompt": "7"})
    assert sent == {
        "seed": 7,
        "strength": 0.5,
        "enable_safety_checker": False,
        "duration": "5",
        "prompt": "7",
    }
    wrong = {"seed": "7.5", "num_images": 2, "strength": "nan", "sync_mode": True, "output": "../x"}
    for name, value in {**wrong, "output_index": -1, "width": True, "fps": "1" * 400}.items():
        assert messages.wrong_param(name, value), name


def test_units_and_prices_make_a_cost_rounded_up() -> None:
    """Units are decimals and never lose a part; without a price nothing is known."""
    price = Decimal("25000.5")
    assert messages.cost_of(messages.read_units("1.5"), price) == 37501
    assert messages.cost_of(messages.read_units("0"), price) == 0
    assert messages.cost_of(messages.read_units("1"), None) is None
    for text in (None, "", "x", "-1", "1e9", "NaN", "1,5", "9" * 40):
        assert messages.read_units(text) is None


def settings(**table: Any) -> Any:
    return read_fal("fal", table, {"FAL_KEY": "id:secret"})


def test_the_table_is_read_with_the_key_as_fal_wants_it() -> None:
    """Class C, a start for queues, the key as ``Key …``, more headers beside it."""
    found = settings(headers={"X-Fal-Queue-Priority": "low"}, unit_prices={"a/b": 0.025})
    assert found.headers() == {"X-Fal-Queue-Priority": "low", "Authorization": "Key id:secret"}
    assert found.remote.crash_class is CrashClass.POLLED
    assert (found.remote.quota.concurrency, found.remote.quota.rate_start) == (40, 10.0)
    assert found.unit_prices["a/b"] == 25000
    assert "secret" not in repr(found)
    assert settings(preset="paid").remote.quota.concurrency == 8


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Key other"},
        {"HOST": "x"},
        {"content-length": "1"},
        {"Transfer-Encoding": "chunked"},
        {"proxy-authorization": "x"},
        {"Cookie": "x"},
        {"a b": "x"},
        {"X-A": "1\r\nAuthorization: Key other"},
        {"X-A": 7},
        {"": "x"},
        {f"x-{number}": "1" for number in range(21)},
        ["X-A"],
    ],
)
def test_headers_cannot_take_over_the_key_or_the_connection(headers: Any) -> None:
    """What would change who we are, or where a message ends, is refused without its value."""
    with pytest.raises(ConfigError) as caught:
        settings(headers=headers)
    assert "other" not in str(caught.value)
    assert "headers" in str(caught.value.place)


@pytest.mark.parametrize("prices", [{"a/b": "1"}, {"a/b": -1}, {"a/b": True}, [1], 0.5])
def test_unit_prices_are_checked(prices: Any) -> None:
    """A price is a number of USD, zero or more."""
    with pytest.raises(ConfigError):
        settings(unit_prices=prices)
