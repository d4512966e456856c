"""The ground truth: every call that came, what became of it, and sums of them."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from headrace.errors import StorageError


class Entry(NamedTuple):
    """One call. Times are seconds after the first request, ``arrived_s`` and ``ended_s``.

    ``verdict``: admitted, refused, outage, queue_full, spent, reset or replayed;
    ``dimension`` and ``limiter`` say which limit refused. ``status`` is what was
    answered, 0 for a reset. ``paid``: the work was done, whether or not the client saw
    it; ``delivered``: it did. ``in_flight`` counts the calls admitted when it came.
    """

    arrived_s: float
    shape: str
    model: str
    requests: int
    tokens: int
    images: int
    verdict: str
    dimension: str
    limiter: str
    ended_s: float
    status: int
    key: str
    paid: bool
    delivered: bool
    in_flight: int
    tokens_used: int | None


class Truth:
    """The log of calls and its sums; at most ``calls_max`` are kept, all are counted.

    With ``path``, each call is also a line of JSON in that file; raises
    ``StorageError`` when it cannot be written.
    """

    def __init__(self, calls_max: int, path: Path | None = None) -> None:
        self._calls_max = calls_max
        self._file: IO[bytes] | None = None
        if path is not None:
            try:
                self._file = path.open("ab")
            except OSError as error:
                raise StorageError(
                    f"the log cannot be written: {error.strerror}", place=str(path)
                ) from error
        self.empty(calls_max)

    def empty(self, calls_max: int) -> None:
        """Forget all calls; the file keeps them."""
        self._calls_max = calls_max
        self.calls: list[Entry] = []
        self.verdicts: Counter[str] = Counter()
        self.refused_by: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.total = self.delivered = self.in_flight_max = 0
        self.first_s = math.inf
        self.last_s = self.last_delivered_s = 0.0

    def note(self, entry: Entry, fault: str = "") -> None:
        """Write down a call that has ended."""
        self.total += 1
        self.verdicts[entry.verdict] += 1
        if entry.verdict == "refused":
            self.refused_by[entry.dimension or "no limit"] += 1
        if fault:
            self.faults[fault] += 1
        if entry.paid:
            self.paid[entry.key] += 1
        self.first_s = min(self.first_s, entry.arrived_s)
        self.last_s = max(self.last_s, entry.ended_s)
        self.in_flight_max = max(self.in_flight_max, entry.in_flight)
        if entry.delivered:
            self.delivered += 1
            self.last_delivered_s = max(self.last_delivered_s, entry.ended_s)
        if len(self.calls) < self._calls_max:
            self.calls.append(entry)
        if self._file is not None:
            self._file.write(msgspec.json.encode(entry._asdict()) + b"\n")

    def flush(self) -> None:
        """Let the file have what was written."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def summary(self) -> dict[str, Any]:
        """Return the sums, as JSON; ``makespan_s`` is from the first request to the last result."""
        is_empty = math.isinf(self.first_s)
        twice = {key: count for key, count in self.paid.items() if count > 1}
        refused = self.verdicts["refused"]
        return {
            "requests": self.total,
            "admitted": self.verdicts["admitted"],
            "refused": refused,
            "refused_share": refused / self.total if self.total else 0.0,
            "refused_by": dict(self.refused_by),
            "verdicts": dict(self.verdicts),
            "faults": dict(self.faults),
            "succeeded": self.delivered,
            "paid_calls": self.paid.total(),
            "paid_keys": len(self.paid),
            "paid_twice": len(twice),
            "paid_twice_keys": dict(list(twice.items())[:100]),
            "in_flight_max": self.in_flight_max,
            "first_arrival_s": None if is_empty else self.first_s,
            "last_reply_s": None if is_empty else self.last_s,
            "last_result_s": self.last_delivered_s if self.delivered else None,
            "makespan_s": self.last_delivered_s - self.first_s if self.delivered else None,
            "calls_kept": len(self.calls),
        }
