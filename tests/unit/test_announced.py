"""Limits in the headers of answers: every family of names, and nothing that is not one."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from headrace.announced import read_announced
from headrace.limits import DAY_S, Dimension, Limit

REQUESTS, TOKENS, IMAGES = Dimension.REQUESTS, Dimension.TOKENS, Dimension.IMAGES
OPENAI = {
    "x-ratelimit-limit-input-images": "50000",
    "x-ratelimit-limit-requests": "500",
    "x-ratelimit-limit-tokens": "30000",
    "x-ratelimit-remaining-input-images": "49999",
    "x-ratelimit-remaining-requests": "499",
    "x-ratelimit-remaining-tokens": "554",
    "x-ratelimit-reset-input-images": "1ms",
    "x-ratelimit-reset-requests": "120ms",
    "x-ratelimit-reset-tokens": "58.891s",
}
DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


def anthropic(name: str, limit: int, left: int, second: int) -> dict[str, str]:
    """Three headers of one of Anthropic's limits."""
    stem = f"anthropic-ratelimit-{name}"
    reset = f"2026-11-21T12:00:{second:02}Z"
    return {f"{stem}-limit": str(limit), f"{stem}-remaining": str(left), f"{stem}-reset": reset}


CASES: dict[str, tuple[dict[str, str], list[Limit]]] = {
    "none": ({"content-type": "x", "x-limit": "5", "ratelimiter": "1"}, []),
    "openai": (
        OPENAI,
        [
            Limit(IMAGES, 50000.0, 60.0, 49999.0, 0.001),
            Limit(REQUESTS, 500.0, 60.0, 499.0, 0.12),
            Limit(TOKENS, 30000.0, 60.0, 554.0, 58.891),
        ],
    ),
    "renamed by a proxy": (
        {"llm_provider-" + name: value for name, value in OPENAI.items() if "tokens" in name},
        [Limit(TOKENS, 30000.0, 60.0, 554.0, 58.891)],
    ),
    "the proxy's own win": (
        {
            "llm_provider-x-ratelimit-limit-requests": "500",
            "x-ratelimit-limit-requests": "2",
            "x-ratelimit-remaining-requests": "0",
            "llm_provider-x-ratelimit-remaining-requests": "499",
        },
        [Limit(REQUESTS, 2.0, 60.0, 0.0)],
    ),
    "anthropic": (
        anthropic("requests", 4000, 3999, 1)
        | anthropic("tokens", 480000, 470000, 2)
        | anthropic("input-tokens", 400000, 390000, 3)
        | anthropic("output-tokens", 80000, 80000, 0)
        | {"date": DATE},
        [
            Limit(REQUESTS, 4000.0, 60.0, 3999.0, 1.0),
            Limit(TOKENS, 480000.0, 60.0, 470000.0, 2.0),
        ],
    ),
    "anthropic, in parts": (
        anthropic("input-tokens", 400000, 390000, 3)
        | anthropic("output-tokens", 80000, 80000, 0)
        | {"date": DATE},
        [Limit(TOKENS, 480000.0, 60.0, 470000.0, 3.0)],
    ),
    "anthropic, a part is empty": (
        anthropic("tokens", 480000, 80000, 2)
        | anthropic("input-tokens", 400000, 0, 30)
        | {"date": DATE},
        [Limit(TOKENS, 480000.0, 60.0, 0.0, 30.0)],
    ),
    "a date without the server's": (
        anthropic("requests", 50, 49, 9),
        [Limit(REQUESTS, 50.0, 60.0, 49.0)],
    ),
    "a reset in the past": (
        anthropic("requests", 50, 50, 0) | {"date": "Sat, 21 Nov 2026 12:00:09 GMT"},
        [Limit(REQUESTS, 50.0, 60.0, 50.0, 0.0)],
    ),
    "replicate": (
        {"ratelimit-remaining": "2999", "ratelimit-reset": "1"},
        [Limit(REQUESTS, None, None, 2999.0, 1.0)],
    ),
    "without a window": (
        {"x-ratelimit-limit": "24", "x-ratelimit-remaining": "3"},
        [Limit(REQUESTS, 24.0, None, 3.0)],
    ),
    "windows in names": (
        {
            "x-ratelimit-limit-requests-day": "14400",
            "x-ratelimit-limit-tokens-minute": "60000",
            "x-ratelimit-limit-hour": "100",
        },
        [
            Limit(REQUESTS, 14400.0, DAY_S),
            Limit(TOKENS, 60000.0, 60.0),
            Limit(REQUESTS, 100.0, 3600.0),
        ],
    ),
    "organisation and project": (
        {"x-ratelimit-limit-tokens": "30000", "x-ratelimit-limit-project-tokens": "10000"},
        [Limit(TOKENS, 10000.0, 60.0)],
    ),
    "at a time": (
        {"x-ratelimit-limit-concurrent-requests": "8"},
        [Limit(Dimension.CONCURRENCY, 8.0)],
    ),
    "ietf": (
        {"ratelimit": '"default";r=0;t=30', "ratelimit-policy": '"default";q=100;w=60'},
        [Limit(REQUESTS, 100.0, 60.0, 0.0, 30.0)],
    ),
    "ietf, two policies": (
        {
            "RateLimit-Policy": '"burst";q=10;w=1, "day";q=1000;w=86400;qu="tokens"',
            "RateLimit": '"burst";r=9;t=1, "day";r=7;t=50;qu="tokens"',
        },
        [Limit(REQUESTS, 10.0, 1.0, 9.0, 1.0), Limit(TOKENS, 1000.0, DAY_S, 7.0, 50.0)],
    ),
    "ietf, first drafts": (
        {
            "ratelimit-limit": "100, 100;w=60",
            "ratelimit-policy": "100;w=60",
            "ratelimit-remaining": "5",
        },
        [Limit(REQUESTS, 100.0, 60.0, 5.0)],
    ),
    "bytes are no calls": ({"ratelimit-policy": '"b";q=9;w=1;qu="content-bytes"'}, []),
    "nonsense": (
        {
            "x-ratelimit-limit-requests": "many",
            "x-ratelimit-remaining-requests": "NaN",
            "x-ratelimit-reset-requests": "tomorrow",
            "x-ratelimit-limit-tokens": "9223372036854775807",
            "x-ratelimit-limit-images": "-1",
            "x-ratelimit-limit-limit": "4",
            "ratelimit": ";;;=",
        },
        [],
    ),
    "less than nothing": (
        {"x-ratelimit-limit": "0", "x-ratelimit-remaining": "-3"},
        [Limit(REQUESTS, None, None, 0.0)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_headers_announce_limits(name: str) -> None:
    """Amount, window, what is left, and when it is full again, one limit of a kind."""
    headers, limits = CASES[name]
    assert list(read_announced(headers)) == limits
    assert list(read_announced(CIMultiDict({k.title(): v for k, v in headers.items()}))) == limits


def test_a_crowd_of_headers_is_cut() -> None:
    """A hostile server cannot make us keep a thousand buckets."""
    headers = {f"x-ratelimit-limit-tokens-{n}": str(n + 1) for n in range(1000)}
    assert read_announced(headers) == (Limit(TOKENS, 1.0, 60.0),)
