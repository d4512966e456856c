"""Where artifacts came from, as it is kept: what was known comes back, and nothing else is told."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.provenance import Origin, packed, unpacked

TOLD = {
    "provider": "a", "model": "m", "request_sha256": "ab" * 32, "made_at": "2026-01-01T00:00:00Z",
    "recipe": "r", "recipe_sha256": "cd" * 32, "headrace": "0.1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({}, {}),
        ({"seed": 0}, {"seed": 0}),
        ({"seed": ""}, {}),
        ({"seed": None, "edited": ()}, {}),
        ({"edited": ("resize", "mark")}, {"edited": ["resize", "mark"]}),
        ({"source_type": "x", "c2pa": "signed"}, {"source_type": "x", "c2pa": "signed"}),
    ],
)
def test_what_is_known_is_kept_and_comes_back(more: dict[str, Any], kept: dict[str, Any]) -> None:
    """A seed of 0 is a seed; what is empty is not told; record and address give it back whole."""
    origin = Origin(**TOLD, **more)
    assert origin.to_json() == TOLD | kept
    again = Origin.from_json(origin.to_json())
    assert again is not None
    assert again.to_json() == origin.to_json()
    assert unpacked(packed(origin)) == again
