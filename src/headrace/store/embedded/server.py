"""The embedded server in use: attach or start, watch, and stop after the last owner."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path
from urllib.parse import quote

from headrace.clock import Clock, SystemClock
from headrace.errors import DatabaseError
from headrace.store.embedded import cluster
from headrace.store.embedded.binaries import find_binaries, reachable_binaries
from headrace.store.embedded.locks import FileLock
from headrace.store.embedded.place import (
    OWN_HOME,
    SOCKET_NAME,
    SYSTEM_PLACE,
    Place,
    find_place,
    socket_folder,
)

logger = logging.getLogger(__name__)

# Backends of a killed server hold its shared memory until they notice: at most seconds.
REFUSED_S_MAX = 20.0
# Replaying the log after a crash is honest work and may take long; so may a last checkpoint.
BUSY_S_MAX = 600.0
STOP_S_MAX = 60.0
WATCH_EVERY_S = 1.0
POLL_S_MIN = 0.01
POLL_S_MAX = 0.25
# PostgreSQL's words for "the one before me is not quite gone".
NOT_YET = "pre-existing shared memory block"

# A server outlives the owner that launched it, while others use it. Its handle is kept
# here, so that Python can reap it and does not warn of an unfinished child.
_children: list[subprocess.Popen[bytes]] = []


class _State(Enum):
    ABSENT = "no process of the server is left"
    READY = "it accepts connections"
    BUSY = "it starts, replays its log, or stops"
    LEAVING = "it was killed and its last processes are leaving"


class EmbeddedServer:
    """One owner's share in the server of a home; ``open_embedded`` makes it."""

    def __init__(self, place: Place, system_place: Path, clock: Clock) -> None:
        self._place = place
        self._system_place = system_place
        self._clock = clock
        self._share: FileLock | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The URL to connect to, password included; the same for the server's whole life."""
        return self._url

    @property
    def note(self) -> str:
        """What the user should know about where the data lies; mostly empty."""
        return self._place.note

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self._place.data

    async def open(self) -> None:
        """Take a share and see to it that the server runs.

        Raises DatabaseError when it cannot be made or started.
        """
        share = FileLock(self._place.file("owners"))
        try:
            async with self._starting():
                await self._until(share.try_shared, REFUSED_S_MAX, "the list of its owners")
                try:
                    await self._ensure_running()
                    self._url = self._make_url()
                except BaseException:  # broad: nor may a server without owners
                    if share.try_exclusive():
                        cluster.stop(self._place)
                    raise
        except BaseException:  # broad: a share must not outlive a failed or cancelled open
            share.release()
            raise
        self._share = share

    async def close(self) -> None:
        """Return the share; the last owner stops the server. Closing twice does nothing.

        Raises DatabaseError when another process keeps the start lock too long.
        """
        share, self._share = self._share, None
        if share is None:
            return
        try:
            async with self._starting():
                # Only the last owner can hold the list of owners alone.
                if share.try_exclusive() and self._state() is not _State.ABSENT:
                    await self._stop()
        finally:
            share.release()

    async def heal(self) -> bool:
        """Restart the server if it is gone; return whether it was.

        Raises DatabaseError when it cannot be started again.
        """
        if self._share is None or not self._is_gone():
            return False
        async with self._starting():
            if self._state() is _State.ABSENT:
                await self._ensure_running()
                return True
        return False

    async def watch(self) -> None:
        """Restart a dead server and bound its log, until cancelled."""
        pause_s = WATCH_EVERY_S
        while True:
            await self._clock.sleep(pause_s)
            pause_s = WATCH_EVERY_S
            try:
                cluster.bound_log(self._place)
                if await self.heal():
                    logger.warning("the embedded database had died and was started again")
            except (DatabaseError, OSError) as error:
                # This is the top of the attempt: a full disk may have room a minute later.
                logger.error("the embedded database is down: %s", error)  # noqa: TRY400
                pause_s = 10 * WATCH_EVERY_S

    def _make_url(self) -> str:
        postmaster = cluster.read_postmaster(self._place.data)
        if postmaster is None:
            raise DatabaseError(
                "the database died as soon as it had started",
                place=str(self._place.root),
                remedy=f"look into {self._place.file('server.log')}",
            )
        # Its launcher may have been killed before it could write this down.
        cluster.remember(self._place, postmaster.pid)
        password = self._place.file("password").read_text(encoding="utf-8")
        folder = quote(str(postmaster.socket_folder), safe="")
        return f"postgresql://{cluster.ROLE}:{quote(password)}@/postgres?host={folder}&port=5432"

    @asynccontextmanager
    async def _starting(self) -> AsyncIterator[None]:
        lock = FileLock(self._place.file("lock"))
        try:
            await self._until(lock.try_exclusive, BUSY_S_MAX, "another process to start it")
            yield
        finally:
            lock.release()

    async def _until(self, ready: Callable[[], bool], limit_s: float, what: str) -> None:
        deadline_s = self._clock.monotonic_s() + limit_s
        pause_s = POLL_S_MIN
        while not ready():
            if self._clock.monotonic_s() >= deadline_s:
                raise DatabaseError(
                    f"the database was not free after {limit_s:.0f} s of waiting for {what}",
                    place=str(self._place.root),
                    remedy=f"end the headrace process that hangs, or {OWN_HOME}",
                )
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_S_MAX)

    async def _ensure_running(self) -> None:
        """Launch the server if it is gone and wait until it accepts connections.

        The caller holds the start lock. Raises DatabaseError with the server's last words.
        """
        began_s = self._clock.monotonic_s()
        log_offset: int | None = None
        pause_s = POLL_S_MIN
        while (state := self._state()) is not _State.READY:
            waited_s = self._clock.monotonic_s() - began_s
            if state is _State.ABSENT:
                if log_offset is not None:
                    self._judge(cluster.log_since(self._place, log_offset), waited_s)
                log_offset = cluster.log_size(self._place)
                await asyncio.to_thread(self._launch)
            elif waited_s > (BUSY_S_MAX if state is _State.BUSY else REFUSED_S_MAX):
                raise DatabaseError(
                    f"after {waited_s:.0f} s the database is not ready: {state.value}",
                    place=str(self._place.root),
                    remedy=f"look into {self._place.file('server.log')}",
                )
            await self._clock.sleep(pause_s)
            pause_s = min(1.5 * pause_s, POLL_S_MAX)

    def _judge(self, log: str, waited_s: float) -> None:
        """Let a failed start be tried again while its predecessor may still be leaving."""
        if waited_s > REFUSED_S_MAX or NOT_YET not in log:
            raise cluster.start_failed(self._place, log)

    def _launch(self) -> None:
        """Make the data folder if there is none, and launch the server."""
        place = self._place
        major = cluster.data_major(place.data)
        binaries = find_binaries(major, place.data)
        if place.run_as is not None:
            binaries = reachable_binaries(binaries, place.run_as, self._system_place)
        if major is None:
            cluster.initialise(place, binaries)
        sockets = socket_folder(place)
        alive = FileLock(place.file("alive"))
        try:
            if alive.try_exclusive():
                _children.append(cluster.launch(place, binaries, sockets, alive))
        finally:
            alive.hand_over()

    def _state(self) -> _State:
        if self._is_gone():
            return _State.ABSENT
        postmaster = cluster.read_postmaster(self._place.data)
        if postmaster is None or postmaster.status != "ready":
            return _State.BUSY
        return _State.READY if _listens(postmaster.socket_folder) else _State.LEAVING

    def _is_gone(self) -> bool:
        """Whether no process of the server is left: then nobody holds ``alive``."""
        for child in _children:
            child.poll()
        alive = FileLock(self._place.file("alive"))
        try:
            return alive.try_exclusive()
        finally:
            alive.release()

    async def _stop(self) -> None:
        """Stop the server fast. It finishes by itself if that takes longer than we wait."""
        if not cluster.stop(self._place):
            return  # only its last sessions are left, and they are leaving
        deadline_s = self._clock.monotonic_s() + STOP_S_MAX
        while not self._is_gone() and self._clock.monotonic_s() < deadline_s:
            await self._clock.sleep(POLL_S_MIN)


def _listens(folder: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(1.0)
        try:
            door.connect(str(folder / SOCKET_NAME))
        except OSError:
            return False
    return True


async def open_embedded(
    home: Path, *, clock: Clock | None = None, system_place: Path = SYSTEM_PLACE
) -> EmbeddedServer:
    """Return a share in the server of ``home``, making and starting it when needed.

    ``system_place`` is where root keeps what other users must reach and ``home`` hides.

    Raises DatabaseError, which says what to do: another user's home, another version's data,
    a full disk, no binaries.
    """
    try:
        place = find_place(home, system_place)
        if place.note:
            logger.info("%s", place.note)
        server = EmbeddedServer(place, system_place, clock or SystemClock())
        await server.open()
    except OSError as error:
        raise _explained(error, home) from error
    return server


def _explained(error: OSError, home: Path) -> DatabaseError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        remedy = "the disk is full: make room and start again; nothing is lost"
    elif error.errno in (errno.EACCES, errno.EPERM):
        remedy = f"the folder belongs to another user: run headrace as that user, or {OWN_HOME}"
    else:
        remedy = f"{OWN_HOME}, or set HEADRACE_DATABASE_URL to a PostgreSQL server of your own"
    return DatabaseError(f"the database cannot be opened: {error}", place=str(home), remedy=remedy)
