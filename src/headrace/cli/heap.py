"""The collector of cycles, set for commands that work for a long time."""

from __future__ import annotations

import gc

YOUNG_MAX = 10_000
"""So many new containers before the youngest are looked through. Python's own 700 are as many as a
few items under way have: each pass would go through objects that are all in use."""


def settle_heap() -> None:
    """Let the collector leave alone what is there by now: modules and settings, which all stay.

    For processes that are ours; a program that uses headrace as a library decides for itself.
    """
    gc.freeze()
    gc.set_threshold(YOUNG_MAX, 20, 20)
