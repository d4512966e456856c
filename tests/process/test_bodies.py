"""Large results through a process whose memory is limited: bodies go to disk, not into memory."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from bench.bodies import EDITS, MODELS, measured, simulated

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="no limit of private memory"),
]
ITEMS, IMAGE_BYTES, LIMIT_MIB = 24, 4_000_000, 256
GROWTH_MIB_MAX = 40
"""Less than the twelve bodies that are in flight together."""


def seen_of(kind: str, image_bytes: int) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory(prefix="headrace-bodies-") as name,
        simulated(image_bytes, Path(name)) as url,
    ):
        # The server's user has to get through when the tests run as root.
        Path(name).chmod(0o711)
        words = ["--measure", kind, url, str(ITEMS), str(LIMIT_MIB), name]
        return measured(words)


@pytest.mark.parametrize("kind", EDITS)
def test_twelve_large_pictures_that_go_in_share_the_memory(kind: str) -> None:
    """Each is in memory four times while it is sent: all are made, no more at once than fit."""
    seen = seen_of(f"edit-{kind}", 100_000)
    assert seen["succeeded"] == ITEMS
    assert seen["peak_mib"] < LIMIT_MIB, seen


@pytest.mark.parametrize("kind", MODELS)
def test_twelve_large_images_in_flight_stay_out_of_memory(kind: str) -> None:
    """As base64 and by address: all are delivered, and the process hardly grows."""
    seen = seen_of(kind, IMAGE_BYTES)
    assert seen["succeeded"] == ITEMS
    assert seen["mb"] > 90
    assert seen["peak_mib"] - seen["base_mib"] < GROWTH_MIB_MAX, seen
