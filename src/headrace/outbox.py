"""The outbox: finished bodies on the local disk that wait for their object store, within a bound.

A call takes ``Room`` before it is sent: where the outbox is full, calls wait unsent and
nothing is bought that could not be kept. All methods run on one event loop; files of other
processes in the same folder are strays, counted as of the last look.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path

from headrace.durable import DurableTree, make_folder
from headrace.errors import StorageError

FIRST_BYTES = 4 * 1024 * 1024
"""What is kept free for a body before the first has shown how large they are."""
SHARE = 8
GROW_S = 60.0
"""How long a body that arrives larger than expected waits for room; its sender waits with it."""


class Outbox:
    """Bodies by their hash in one folder; ``bytes_max`` together, arriving ones included.

    One that waits elsewhere is given up after ``lost_after_s``.
    """

    def __init__(self, folder: Path, bytes_max: int, lost_after_s: float = 86_400.0) -> None:
        self.folder = folder
        self.bytes_max = bytes_max
        self.lost_after_s = lost_after_s
        self._tree: DurableTree | None = None
        self._rooms: set[Room] = set()
        # Kept as sums: each call asks, and all that wait ask again at each change.
        self._promised_bytes = self._stray_bytes = 0
        self._own: Counter[bytes] = Counter()
        self._strays: dict[bytes, int] = {}
        self._likely_bytes = min(FIRST_BYTES, max(1, bytes_max // SHARE))
        self._has_seen = False
        self._growing = 0
        self._changed = asyncio.Event()

    @property
    def used_bytes(self) -> int:
        """Return the bytes that are kept, arriving, or promised to calls under way."""
        return self._promised_bytes + self._stray_bytes

    # -- room ------------------------------------------------------------------------------

    async def until_room(self) -> None:
        """Wait until there is room for what one more call will give; nothing is promised yet."""
        while self.is_full:
            await self._until_changed()

    async def enter(self) -> Room:
        """Return room for what one call will give; waits while there is no room."""
        await self.until_room()
        return self.take()

    def take(self) -> Room:
        """Return room for what one call will give; whoever takes it has looked for it."""
        return Room(self, self._likely_bytes)

    @property
    def is_full(self) -> bool:
        """Tell whether there is no room for what one more call will give."""
        return not self._has_room()

    def _has_room(self) -> bool:
        if not self._rooms and not self._strays:
            return True
        return not self._growing and self.used_bytes + self._likely_bytes <= self.bytes_max

    async def room_for(self, room: Room, more_bytes: int) -> None:
        """Wait until a room may grow; raises ``StorageError`` where that takes too long."""
        if room.size_bytes + more_bytes > self.bytes_max:
            raise StorageError(
                f"a body is larger than the whole spool of {self.bytes_max:,} bytes",
                place="storage.spool_bytes_max",
                remedy="Set it to several times the largest result.",
                retryable=False,
            )
        if self.used_bytes + more_bytes <= self.bytes_max:
            return
        self._growing += 1
        try:
            async with asyncio.timeout(GROW_S):
                while self.used_bytes + more_bytes > self.bytes_max:
                    await self._until_changed()
        except TimeoutError:
            raise StorageError(
                f"the spool of {self.bytes_max:,} bytes is full",
                place="storage.spool_bytes_max",
                remedy="Check that the object store can be reached, or give the spool more room.",
            ) from None
        finally:
            self._growing -= 1
            self.changed()

    async def _until_changed(self) -> None:
        await self._changed.wait()

    def changed(self) -> None:
        """Let those who wait for room look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def opened(self, room: Room) -> None:
        """Count a room."""
        self._rooms.add(room)
        self._promised_bytes += room.size_bytes

    def resized(self, room: Room, more_bytes: int) -> None:
        """Count a room as so many bytes more; one that is closed counts no more."""
        if room in self._rooms:
            self._promised_bytes += more_bytes

    def closed(self, room: Room, digests: list[bytes]) -> None:
        """Count a room no more; of its bodies, those that are still here are strays."""
        self.resized(room, -room.size_bytes)
        self._rooms.discard(room)
        for sha256 in digests:
            self._own[sha256] -= 1
            if self._own[sha256] <= 0:
                del self._own[sha256]
                with suppress(OSError):  # as a rule it is gone: it was sent
                    size_bytes = self.path(sha256).stat().st_size
                    self._stray_bytes += size_bytes - self._strays.get(sha256, 0)
                    self._strays[sha256] = size_bytes
        self.changed()

    def seen(self, sha256: bytes, size_bytes: int) -> None:
        """Note a body that a room holds, and how large bodies are."""
        self._own[sha256] += 1
        known = self._likely_bytes if self._has_seen else 0
        self._likely_bytes, self._has_seen = max(known, size_bytes, 1), True

    # -- files; these block, and run in threads ----------------------------------------------

    def path(self, sha256: bytes) -> Path:
        """Return where a body lies if it is here."""
        return self.folder / sha256.hex()

    def place_file(self, finished: Path, sha256: bytes) -> None:
        """Take over a finished, fsynced file; durable under its hash when this returns."""
        if self._tree is None:
            make_folder(self.folder)
            self._tree = DurableTree(self.folder)
        self._tree.place(finished, self.path(sha256))

    def files(self) -> dict[bytes, tuple[int, float]]:
        """Return the bodies that are here: their sizes, and when they came (seconds)."""
        found: dict[bytes, tuple[int, float]] = {}
        if not self.folder.is_dir():
            return found
        for path in self.folder.iterdir():
            try:
                sha256, stat = bytes.fromhex(path.name), path.stat()
            except (ValueError, FileNotFoundError):
                continue  # none of ours, or sent meanwhile
            if len(sha256) == 32:
                found[sha256] = stat.st_size, stat.st_mtime
        return found

    def remove_old(self, sha256: bytes, before_s: float) -> None:
        """Remove a body that came before then (seconds); where it came anew since, it stays."""
        path = self.path(sha256)
        with suppress(FileNotFoundError):
            if path.stat().st_mtime < before_s:
                path.unlink()

    # -- what others left --------------------------------------------------------------------

    async def strays(self) -> dict[bytes, tuple[int, float]]:
        """Look for bodies that no call of this process holds; they count from now on."""
        found = await asyncio.to_thread(self.files)
        left = {sha256: told for sha256, told in found.items() if sha256 not in self._own}
        self._strays = {sha256: size_bytes for sha256, (size_bytes, _) in left.items()}
        self._stray_bytes = sum(self._strays.values())
        self.changed()
        return left

    def gone(self, sha256: bytes) -> None:
        """Note that a body left the folder."""
        size_bytes = self._strays.pop(sha256, None)
        if size_bytes is not None:
            self._stray_bytes -= size_bytes
            self.changed()


class Room:
    """Room for what one call gives; released when it is sent, or with the call."""

    def __init__(self, outbox: Outbox, size_bytes: int) -> None:
        self._outbox = outbox
        self._reserved_bytes = size_bytes
        self._written_bytes = 0
        self._digests: list[bytes] = []
        outbox.opened(self)

    @property
    def size_bytes(self) -> int:
        """Return what the room counts as: what came, or what is likely to come."""
        return max(self._reserved_bytes, self._written_bytes)

    async def grow(self, size_bytes: int) -> None:
        """Wait for room for so many bytes more; raises ``StorageError``."""
        beyond = self._written_bytes + size_bytes - self.size_bytes
        if beyond > 0:
            await self._outbox.room_for(self, beyond)
        self._count(self._reserved_bytes, self._written_bytes + size_bytes)

    def give_back(self, size_bytes: int) -> None:
        """Need so many bytes less: a file was given up."""
        self._count(self._reserved_bytes, self._written_bytes - size_bytes)
        self._outbox.changed()

    def kept(self, sha256: bytes, size_bytes: int) -> None:
        """Note that a body is finished; nothing more is promised beside it."""
        self._digests.append(sha256)
        self._outbox.seen(sha256, size_bytes)
        self._count(0, self._written_bytes)
        self._outbox.changed()

    def release(self) -> None:
        """Let others have the room; again does nothing."""
        digests, self._digests = self._digests, []
        self._outbox.closed(self, digests)
        self._reserved_bytes = self._written_bytes = 0

    def _count(self, reserved_bytes: int, written_bytes: int) -> None:
        before = self.size_bytes
        self._reserved_bytes, self._written_bytes = reserved_bytes, written_bytes
        self._outbox.resized(self, self.size_bytes - before)
