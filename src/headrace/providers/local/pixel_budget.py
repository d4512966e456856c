"""A budget of pixels in memory at once, shared by the threads that work on pictures."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Lets threads decode pictures only while all that are decoded fit the budget.

    Small pictures so run side by side, and one of 50 megapixels (some 200 MB decoded,
    and a copy or two) runs by itself. A picture above the whole budget counts as the budget.
    """

    def __init__(self, pixels_max: int) -> None:
        self._pixels_max = pixels_max
        self._free = pixels_max
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Hold ``pixels`` of the budget, waiting until they are free; for threads only."""
        weight = min(pixels, self._pixels_max)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= weight)
            self._free -= weight
        try:
            yield
        finally:
            with self._changed:
                self._free += weight
                self._changed.notify_all()
