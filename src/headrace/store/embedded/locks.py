"""File locks that the kernel takes back when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def open_private(path: Path, flags: int) -> int:
    """Open a file of ours, made with mode 0600 and the owner of its folder; never a link.

    Raises OSError when the file cannot be opened or made.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        # What root makes in another user's home must stay usable for that user.
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


class FileLock:
    """A lock on a file, belonging to an open file and so to all processes that inherit it."""

    def __init__(self, path: Path) -> None:
        self._descriptor = open_private(path, os.O_RDWR)

    def fileno(self) -> int:
        """Return the descriptor, to hand it to a child."""
        return self._descriptor

    def try_exclusive(self) -> bool:
        """Take the lock alone; False when anybody else holds it in any way."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Take or keep the lock together with others; False when somebody holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def release(self) -> None:
        """Give the lock back, also for a child that inherited it, and close the file."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.hand_over()

    def hand_over(self) -> None:
        """Close the file here; a child that inherited it keeps the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
