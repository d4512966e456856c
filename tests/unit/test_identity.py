"""Batch ids: ordered by time, and the same after being shown and read."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import NotFoundError
from headrace.identity import new_uuid, read_batch_id, show_batch_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.uuids())
def test_shown_ids_are_read_back(batch_id: UUID) -> None:
    """Any id survives being shown and read, with or without prefix, in any case."""
    shown = show_batch_id(batch_id)
    assert len(shown) == 28
    assert read_batch_id(shown) == batch_id
    assert read_batch_id(shown.removeprefix("b_").lower()) == batch_id
    assert read_batch_id(f" {shown}\n") == batch_id


@given(st.text(max_size=30))
def test_any_other_text_is_not_found(text: str) -> None:
    """Reading never fails in another way than ``NotFoundError``, and never invents an id."""
    with suppress(NotFoundError):
        batch_id = read_batch_id(text)
        assert read_batch_id(show_batch_id(batch_id)) == batch_id


def test_look_alikes_are_forgiven() -> None:
    """O is read as 0, and I and L as 1, as Crockford's base 32 says."""
    shown = show_batch_id(UUID(int=1 << 60 | 1))
    typed = shown.removeprefix("b_").replace("0", "O").replace("1", "l")
    assert read_batch_id(typed) == UUID(int=1 << 60 | 1)


@given(st.integers(0, 10**11).map(lambda second: datetime.fromtimestamp(second, UTC)))
def test_ids_are_version_7(now: datetime) -> None:
    """An id is a valid UUID of version 7 that holds its time in milliseconds."""
    made = new_uuid(now)
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == int(now.timestamp() * 1000)


def test_later_ids_sort_later() -> None:
    """Ids of later milliseconds sort later, shown or not."""
    made = [new_uuid(NOW + timedelta(milliseconds=n)) for n in range(100)]
    assert made == sorted(made)
    assert [show_batch_id(one) for one in made] == sorted(show_batch_id(one) for one in made)


def test_ids_do_not_repeat() -> None:
    """Ids of one millisecond differ."""
    assert len({new_uuid(NOW) for _ in range(10_000)}) == 10_000


@pytest.mark.parametrize("text", ["", "b_", "b_" + "Z" * 26, "b_8" + "0" * 25, "b_" + "U" * 26])
def test_out_of_range_is_not_found(text: str) -> None:
    """Text that is too large, too short, or has digits that are none is not an id."""
    with pytest.raises(NotFoundError):
        read_batch_id(text)
