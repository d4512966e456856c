"""Spans of time as people write them: 90m, 24h, 2d."""

from __future__ import annotations

import re

from headrace.errors import UsageError

_SPAN = re.compile(r"([0-9]{1,7}(?:\.[0-9]{1,3})?)\s*([smhd])")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def read_span(text: str, place: str) -> float:
    """Return the seconds of a span; raises ``UsageError`` that names ``place``."""
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise UsageError(
            f"{text[:40]!r} is no span of time", place=place, remedy="As in 90m, 24h or 2d."
        )
    return float(found[1]) * _SECONDS[found[2]]
