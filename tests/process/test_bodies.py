"""Large results through a process whose memory is limited: bodies go to disk, not into memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from bench.bodies import MODELS, simulated

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="no limit of private memory"),
]
ITEMS, IMAGE_BYTES, LIMIT_MIB = 24, 4_000_000, 256
GROWTH_MIB_MAX = 40
"""Less than the twelve bodies that are in flight together."""


@pytest.mark.parametrize("kind", MODELS)
def test_twelve_large_images_in_flight_stay_out_of_memory(kind: str) -> None:
    """As base64 and by address: all are delivered, and the process hardly grows."""
    with (
        tempfile.TemporaryDirectory(prefix="headrace-bodies-") as name,
        simulated(IMAGE_BYTES, Path(name)) as url,
    ):
        # The server's user has to get through when the tests run as root.
        Path(name).chmod(0o711)
        words = ["--measure", kind, url, str(ITEMS), str(LIMIT_MIB), name]
        done = subprocess.run(
            [sys.executable, "-m", "bench.bodies", *words],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=300,
        )
    seen = json.loads(done.stdout.splitlines()[-1])
    assert seen["succeeded"] == ITEMS
    assert seen["mb"] > 90
    assert seen["peak_mib"] - seen["base_mib"] < GROWTH_MIB_MAX, seen
