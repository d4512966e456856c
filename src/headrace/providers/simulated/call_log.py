"""The simulated provider's log of calls: it outlives our death, and is the provider's memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import ConfigError

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class Job:
    """What the provider remembers of a paid call."""

    id: str
    fingerprint: str
    ready_at_s: float
    cancelled: bool = False


class CallLog:
    """One JSON line per call received, each appended in one write before the answer.

    A worker that is killed therefore leaves a true record, and whoever opens the same
    file sees the same provider: paid calls by key, by marker and by id. Without a path
    the memory is that of this object alone.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.by_id: dict[str, Job] = {}
        self._by_key: dict[str, Job] = {}
        self._by_marker: dict[str, Job] = {}
        self._read_bytes = 0
        self._rest = b""
        self._handle: int | None = None

    def close(self) -> None:
        """Close the file; a later call opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def by_key(self, key: str) -> Job | None:
        """Return the paid call under a client key."""
        self._catch_up()
        return self._by_key.get(key)

    def by_marker(self, marker: str) -> Job | None:
        """Return the paid call that carries a marker."""
        self._catch_up()
        return self._by_marker.get(marker)

    def job(self, provider_request_id: str) -> Job | None:
        """Return the paid call with this id."""
        if provider_request_id not in self.by_id:
            self._catch_up()
        return self.by_id.get(provider_request_id)

    def append(self, line: dict[str, Any]) -> None:
        """Append one line; with a file, what others see is what was written."""
        if self.path is None:
            self._remember(line)
            return
        os.write(self._open(), _encode(line) + b"\n")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file against other processes, so that look and append are one step."""
        if self.path is None or sys.platform == "win32":
            yield
            return
        import fcntl

        handle = self._open()
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(handle, fcntl.LOCK_UN)

    def _open(self) -> int:
        if self._handle is None:
            assert self.path is not None  # callers ask only with a path
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
                self._handle = os.open(self.path, flags, 0o644)
            except OSError as error:
                raise ConfigError(
                    f"the call log cannot be written: {error.strerror}",
                    place=str(self.path),
                    remedy="Set log_path to a file in a folder that headrace may write to.",
                ) from error
        return self._handle

    def _catch_up(self) -> None:
        """Read what this and other processes have appended since the last look."""
        if self.path is None:
            return
        handle = self._open()
        os.lseek(handle, self._read_bytes, os.SEEK_SET)
        while piece := os.read(handle, 1 << 20):
            self._read_bytes += len(piece)
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                self._remember(_decode(line))

    def _remember(self, line: dict[str, Any]) -> None:
        if line.get("paid"):
            job = Job(line["id"], line["fingerprint"], line["ready_at_s"])
            self.by_id[job.id] = job
            self._by_key[line["key"]] = job
            self._by_marker[line["marker"]] = job
        elif line["kind"] == "cancel" and line["id"] in self.by_id:
            self.by_id[line["id"]].cancelled = True


def read_call_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a call log, for audits; a missing file is an empty log."""
    if not path.exists():
        return []
    return [_decode(line) for line in path.read_bytes().splitlines() if line]
