"""A budget for the bodies that are held in memory, going in or whole coming out, for all calls.

A call may hold 16 MB of JSON, and a thousand calls may run: together they wait for room. A
large body waits unread in its connection, where the system holds the server back.
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from pathlib import Path

SHARE = 4
"""A quarter of the memory is for bodies."""

LEAST_BYTES = 64 * 1024 * 1024


class BytesBudget:
    """Bytes in memory at once, ``bytes_max`` together; for one event loop.

    Each call grows its own ``Hold`` as its body arrives. Who came first may always go on,
    even above the budget: so calls that each hold a part never wait for each other, and the
    budget is passed by at most one body. What goes in for a call and what comes out are held
    apart, by one task: it counts as one.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.used_bytes = 0
        self._holders: dict[Hold, None] = {}
        self._waiting: deque[tuple[Hold, int, asyncio.Future[None]]] = deque()

    def hold(self) -> Hold:
        """Return a new hold, of nothing yet; it has to be released."""
        return Hold(self)

    async def take(self, hold: Hold, size_bytes: int) -> None:
        """Wait until ``hold`` may hold so many bytes more."""
        if not self._waiting and self._fits(hold, size_bytes):
            self._give(hold, size_bytes)
            return
        if self._is_first(hold):
            self._give(hold, size_bytes)
            return
        future = asyncio.get_running_loop().create_future()
        entry = (hold, size_bytes, future)
        self._waiting.append(entry)
        try:
            await future
        except asyncio.CancelledError:
            # If it was given in the same moment, the hold's release gives it back.
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._admit()
            raise

    def give_back(self, hold: Hold) -> None:
        """Let others have what ``hold`` held."""
        self.used_bytes -= hold.size_bytes
        self._holders.pop(hold, None)
        self._admit()

    def lessen(self, hold: Hold, size_bytes: int) -> None:
        """Let others have so many bytes of what ``hold`` held."""
        hold.size_bytes -= size_bytes
        self.used_bytes -= size_bytes
        self._admit()

    def _fits(self, hold: Hold, size_bytes: int) -> bool:
        return not self._holders or self.used_bytes + size_bytes <= self.bytes_max

    def _is_first(self, hold: Hold) -> bool:
        first = next(iter(self._holders), None)
        return first is not None and (first is hold or first.owner is hold.owner)

    def _give(self, hold: Hold, size_bytes: int) -> None:
        self._holders[hold] = None
        hold.size_bytes += size_bytes
        self.used_bytes += size_bytes

    def _admit(self) -> None:
        """Let those in line go on that may now: the first holder, then whoever fits, in order."""
        for entry in [entry for entry in self._waiting if self._is_first(entry[0])]:
            self._let(entry)
        while self._waiting and self._fits(self._waiting[0][0], self._waiting[0][1]):
            self._let(self._waiting[0])

    def _let(self, entry: tuple[Hold, int, asyncio.Future[None]]) -> None:
        self._waiting.remove(entry)
        hold, size_bytes, future = entry
        if not future.done():
            self._give(hold, size_bytes)
            future.set_result(None)


class Hold:
    """What one call holds of a budget, in bytes."""

    def __init__(self, budget: BytesBudget) -> None:
        self._budget = budget
        self.size_bytes = 0
        self.owner: object = self

    async def grow(self, size_bytes: int) -> None:
        """Wait until so many bytes more may be held."""
        self.owner = asyncio.current_task() or self
        await self._budget.take(self, size_bytes)

    def shrink(self, size_bytes: int) -> None:
        """Hold no more than so many bytes; nothing at all is a release."""
        if size_bytes <= 0:
            self.release()
        elif size_bytes < self.size_bytes:
            self._budget.lessen(self, self.size_bytes - size_bytes)

    def release(self) -> None:
        """Give everything back; again does nothing."""
        if self.size_bytes:
            self._budget.give_back(self)
            self.size_bytes = 0


@functools.cache
def process_budget() -> BytesBudget:
    """Return the budget of this process: a quarter of the memory that it may use."""
    return BytesBudget(max(LEAST_BYTES, memory_bytes() // SHARE))


def memory_bytes(root: Path = Path("/")) -> int:
    """Return how much memory this process may use: its cgroup's limit, or the machine's all."""
    import psutil

    found = [int(psutil.virtual_memory().total)]
    found += [limit for path in _limit_files(root) if (limit := _number(path)) is not None]
    return min(found)


def _limit_files(root: Path) -> list[Path]:
    """Return where limits may stand: of the process's groups and of all above them."""
    files = [root / "sys/fs/cgroup/memory/memory.limit_in_bytes"]
    group = Path("/")
    for line in _text(root / "proc/self/cgroup").splitlines():
        if line.startswith("0::/"):
            group = Path(line.removeprefix("0::").strip())
    base = root / "sys/fs/cgroup"
    for part in (group, *group.parents):
        files.append(base / part.relative_to("/") / "memory.max")
    return files


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    # Version 1 says a number beyond all memory where there is no limit; so be it.
    return int(text) if text.isdecimal() and int(text) > 0 else None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")[:4096]
    except OSError:
        return ""
