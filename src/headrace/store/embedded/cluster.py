"""A data folder: how it is made, how its server is launched, what its files say."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import DatabaseError
from headrace.store.embedded.binaries import Binaries
from headrace.store.embedded.locks import FileLock, open_private
from headrace.store.embedded.place import SOCKET_NAME, Place, give, init_identity

ROLE = "headrace"
LOG_BYTES_MAX = 8 * 1024 * 1024
TAIL_LINES = 12
# Where libraries are, and how containers give a name to a uid that has none.
KEPT_VARIABLES = (
    "PATH",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "NSS_WRAPPER_PASSWD",
    "NSS_WRAPPER_GROUP",
)

# Written once into postgresql.conf, where an operator may change them.
TUNABLE = """
# headrace: a modest start; change what you like, headrace leaves this file alone.
shared_buffers = 128MB
max_wal_size = 2GB
wal_compression = on
max_connections = 100
jit = off
# Parallel workers want shared memory that small containers do not have.
max_parallel_workers_per_gather = 0
"""

# Given on the command line at every start, so that no file can undo them.
SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_timezone": "UTC",
    "timezone": "UTC",
    # Rows hold prompts of other people: the log says what failed, not with which values.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True)
class Postmaster:
    """What the server's own file says about it."""

    pid: int
    socket_folder: Path
    status: str


def read_postmaster(data: Path) -> Postmaster | None:
    """Return what ``postmaster.pid`` says, or None when it is missing or half written."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        return Postmaster(int(lines[0]), Path(lines[4]), lines[7].strip())
    except (FileNotFoundError, IndexError, ValueError):
        return None


def data_major(data: Path) -> int | None:
    """Return the major version that wrote a data folder, or None when there is none.

    Raises DatabaseError when the folder is not a data folder.
    """
    if not data.exists():
        return None
    try:
        return int((data / "PG_VERSION").read_text(encoding="utf-8").strip())
    except (FileNotFoundError, ValueError):
        raise DatabaseError(
            "the folder is not a PostgreSQL data folder (it has no PG_VERSION)",
            place=str(data),
            remedy="restore it from a backup, or move it away to begin with an empty database",
        ) from None


def initialise(place: Place, binaries: Binaries) -> None:
    """Make the data folder and the password of its role, or nothing at all.

    Raises DatabaseError with the last words of initdb when it fails.
    """
    for leftover in place.root.glob("data.new-*"):
        shutil.rmtree(leftover)
    staging = place.root / f"data.new-{os.getpid()}-{secrets.token_hex(4)}"
    secret = place.root / f"{staging.name}.secret"
    password = secrets.token_urlsafe(32)
    maker = init_identity() if place.run_as else None
    try:
        staging.mkdir(mode=0o700)
        _write(secret, password)
        if maker is not None:
            os.chown(staging, maker.uid, maker.gid)
            os.chown(secret, maker.uid, maker.gid)
        done = subprocess.run(
            _initdb_arguments(binaries, staging, secret),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd=staging,
            env=_environment(),
            umask=0o077,
            user=maker.uid if maker else None,
            group=maker.gid if maker else None,
            extra_groups=[] if maker else None,
        )
        if done.returncode != 0:
            raise _failed("the database could not be made", place, done.stdout + done.stderr)
        if place.run_as is not None:
            give(staging, place.run_as)
        _write(staging / "postgresql.conf", TUNABLE, os.O_APPEND)
        _replace(place.file("password"), password)
        staging.rename(place.data)
        _sync(place.root)
    finally:
        secret.unlink(missing_ok=True)
        shutil.rmtree(staging, ignore_errors=True)


def _initdb_arguments(binaries: Binaries, staging: Path, secret: Path) -> list[str | Path]:
    # One collation everywhere: an operating system's update must not reorder an index.
    builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return [
        binaries.initdb,
        f"--pgdata={staging}",
        f"--username={ROLE}",
        f"--pwfile={secret}",
        "--auth=scram-sha-256",
        "--data-checksums",
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
        *(builtin if binaries.major >= 17 else []),
    ]


def launch(
    place: Place, binaries: Binaries, sockets: Path, alive: FileLock
) -> subprocess.Popen[bytes]:
    """Start the server, which inherits the ``alive`` lock; it outlives this process.

    Raises OSError when the program cannot be started.
    """
    _forget_stale(place, sockets)
    quoted = str(sockets).replace('"', '""')
    settings = SETTINGS | {"unix_socket_directories": f'"{quoted}"'}
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    identity = place.run_as
    log = open_log(place)
    try:
        child = subprocess.Popen(
            [binaries.postgres, "-D", place.data, *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[alive.fileno()],
            cwd=place.data,
            env=_environment(),
            umask=0o077,
            start_new_session=True,  # Ctrl-C is for us: the server stops after its last owner
            user=identity.uid if identity else None,
            group=identity.gid if identity else None,
            extra_groups=[] if identity else None,
        )
    finally:
        os.close(log)
    remember(place, child.pid)
    return child


def stop(place: Place) -> bool:
    """Ask the server to stop fast; False when its process is not known. Call while it lives."""
    postmaster = read_postmaster(place.data)
    if postmaster is None or postmaster.pid != launched_pid(place):
        return False
    try:
        os.kill(postmaster.pid, signal.SIGINT)
    except ProcessLookupError:
        return False
    return True


def remember(place: Place, pid: int) -> None:
    """Write down which process our server is, unless it is known."""
    if launched_pid(place) != pid:
        _replace(place.file("server"), f"{pid}\n")


def launched_pid(place: Place) -> int | None:
    """Return the process id of the server that one of us launched last."""
    return _first_number(place.file("server"))


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="utf-8").split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _forget_stale(place: Place, sockets: Path) -> None:
    # The caller holds ``alive``, so no process of the server that we launched is left, and
    # its files would only mislead the next one: it may still be a zombie, and after a reboot
    # or in a new container its number may be somebody else's. A server started by hand has
    # another number, and is not ours to judge.
    launched = launched_pid(place)
    for path in (place.data / "postmaster.pid", sockets / f"{SOCKET_NAME}.lock"):
        if launched is not None and _first_number(path) == launched:
            path.unlink(missing_ok=True)


def open_log(place: Place) -> int:
    """Open the server's log for appending, keeping one older log of at most 8 MiB."""
    path = place.file("server.log")
    descriptor = open_private(path, os.O_RDWR | os.O_APPEND)
    if os.fstat(descriptor).st_size > LOG_BYTES_MAX:
        # Copied and cut, because a running server keeps its file open.
        older = open_private(place.file("server.log.1"), os.O_WRONLY | os.O_TRUNC)
        with path.open("rb") as source, os.fdopen(older, "wb") as target:
            source.seek(-LOG_BYTES_MAX, os.SEEK_END)
            shutil.copyfileobj(source, target)
        os.ftruncate(descriptor, 0)
    return descriptor


def bound_log(place: Place) -> None:
    """Keep the server's log from growing without end."""
    os.close(open_log(place))


def log_size(place: Place) -> int:
    """Return the size of the server's log, to read later what came after."""
    path = place.file("server.log")
    return path.stat().st_size if path.exists() else 0


def log_since(place: Place, offset: int) -> str:
    """Return what the server wrote since ``log_size`` was ``offset``, at most 64 KiB."""
    with place.file("server.log").open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(offset if offset <= size else 0, size - 65536))
        return file.read().decode("utf-8", errors="replace")


def start_failed(place: Place, log: str) -> DatabaseError:
    """Return the error that says why the server did not start."""
    return _failed("the database did not start", place, log)


def _failed(what: str, place: Place, words: str) -> DatabaseError:
    tail = "\n  ".join(words.strip().splitlines()[-TAIL_LINES:]) or "(it said nothing)"
    remedy = "or set HEADRACE_DATABASE_URL to a PostgreSQL server of your own"
    if "No space left on device" in words:
        remedy = "the disk is full: make room and start again; nothing is lost"
    elif "lock file" in words and "already exists" in words:
        remedy = "another PostgreSQL uses this data: stop it, " + remedy
    elif "could not look up effective user" in words:
        remedy = (
            f"PostgreSQL needs a name for uid {os.geteuid()}: run as a user of /etc/passwd, "
            "or add this one (in a container, in its image), " + remedy
        )
    else:
        remedy = f"its log is {place.file('server.log')}; mend what it names, " + remedy
    return DatabaseError(
        f"{what}. PostgreSQL said:\n  {tail}", place=str(place.root), remedy=remedy
    )


def _environment() -> dict[str, str]:
    # PG* variables of the caller's shell must not steer our server, nor is it told our secrets.
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C", "TZ": "UTC"}


def _write(path: Path, text: str, how: int = os.O_TRUNC) -> None:
    with os.fdopen(open_private(path, os.O_WRONLY | how), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    _write(part, text)
    part.rename(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
