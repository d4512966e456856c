"""Times that people write on the command line: ends of keys and of grants."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from headrace.cli.keys import moment
from headrace.errors import UsageError

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("12h", datetime(2026, 3, 2, tzinfo=UTC)),
        ("2027-01-31", datetime(2027, 1, 31, tzinfo=UTC)),
        ("2027-01-31T12:00:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_moment_is_a_span_from_now_or_a_time(text: str, meant: datetime) -> None:
    """Spans count from now; a date is its midnight, and a time without a zone is UTC."""
    assert moment(text, NOW) == meant


@pytest.mark.parametrize(
    "text", ["soon", "", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_moment_is_told(text: str) -> None:
    """Also a time that no calendar has once it is in UTC."""
    with pytest.raises(UsageError, match="is not a time"):
        moment(text, NOW)
