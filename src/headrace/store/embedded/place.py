"""Where the server's files lie and as whom it runs; permissions of others stay untouched."""

from __future__ import annotations

import grp
import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import DatabaseError

SYSTEM_PLACE = Path("/var/lib/headrace")
# Socket paths hold 104 bytes on macOS and 108 on Linux, the closing zero included.
SOCKET_PATH_BYTES_MAX = 103
SOCKET_NAME = ".s.PGSQL.5432"
# As root, PostgreSQL gets a uid that nobody else has: out of 60578..61183, which systemd's
# table of uids leaves free and which also exists in a container of 65,536 ids.
FREE_UID_FIRST = 60600
FREE_UID_COUNT = 500
OWN_HOME = "set HEADRACE_HOME to a folder of your own"


@dataclass(frozen=True)
class Identity:
    """A user and group, by number."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Place:
    """The folder of one server. ``run_as`` is None where the server runs as ourselves."""

    root: Path
    run_as: Identity | None
    note: str = ""

    @property
    def data(self) -> Path:
        """What initdb makes."""
        return self.root / "data"

    def file(self, name: str) -> Path:
        """Return the path of one of our own files beside the data."""
        return self.root / name


def find_place(home: Path, system_place: Path) -> Place:
    """Return the place for a home, making its folder when it is new.

    Raises DatabaseError when the home is another user's, OSError when it cannot be made.
    """
    home = home.absolute()
    as_root = os.geteuid() == 0
    if not home.exists():
        home.parent.mkdir(parents=True, exist_ok=True)
        # Root's home lets the server's uid pass through, and nobody look in.
        home.mkdir(mode=0o711 if as_root else 0o700, exist_ok=True)
    root, note = _root(home, system_place) if as_root else (_recorded(home), "")
    root = root or home / "postgres"
    if not root.is_dir():
        root.mkdir(mode=0o711 if as_root else 0o700, parents=True, exist_ok=True)
        if as_root:
            root.chmod(0o711)  # ours, made just now: the umask may have closed it
    owner = root.stat().st_uid
    if not as_root:
        if owner != os.geteuid():
            raise DatabaseError(
                f"the database belongs to uid {owner}, this process runs as uid {os.geteuid()}",
                place=str(root),
                remedy=f"run headrace as that user, or {OWN_HOME}",
            )
        return Place(root, None, note)
    return Place(root, _server_identity(root), note)


def _recorded(home: Path) -> Path | None:
    try:
        text = (home / "postgres.location").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    if not Path(text).is_absolute():
        raise DatabaseError(
            f"{text!r} is not the full path of a folder",
            place=str(home / "postgres.location"),
            remedy="restore the file from a backup, or remove it to begin with an empty database",
        )
    return Path(text)


def _root(home: Path, system_place: Path) -> tuple[Path, str]:
    inside = home / "postgres"
    elsewhere = _recorded(home)
    if elsewhere is None:
        stranger = Identity(FREE_UID_FIRST, FREE_UID_FIRST)
        if inside.exists() or reachable(home, stranger):
            return inside, ""
        make_system_folder(system_place)
        elsewhere = system_place / _digest(home)
        # Temporary and renamed: a half-written location would lose the database.
        part = home / f"postgres.location.{os.getpid()}"
        part.write_text(f"{elsewhere}\n", encoding="utf-8")
        part.rename(home / "postgres.location")
    return elsewhere, (
        f"PostgreSQL does not run as root, and other users cannot enter {home}: "
        f"the database lies in {elsewhere}"
    )


def make_system_folder(folder: Path) -> None:
    """Make root's folder for what other users must reach; one that exists is left as it is.

    Raises DatabaseError when that is not possible.
    """
    if folder.is_dir():
        return
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        folder.chmod(0o755)
    except OSError as error:
        raise DatabaseError(
            f"PostgreSQL does not run as root and needs a folder that others can enter: {error}",
            place=str(folder),
            remedy="run headrace as a plain user, set HEADRACE_HOME to a folder that all users "
            "can enter, or set HEADRACE_DATABASE_URL to a PostgreSQL server of your own",
        ) from error


def reachable(folder: Path, identity: Identity) -> bool:
    """Whether ``identity`` may pass through a folder and everything above it."""
    folder = folder.resolve()
    return all(_may_enter(part, identity) for part in (folder, *folder.parents))


def _may_enter(folder: Path, identity: Identity) -> bool:
    info = folder.stat()
    if info.st_uid == identity.uid:
        return bool(info.st_mode & stat.S_IXUSR)
    if info.st_gid == identity.gid:
        return bool(info.st_mode & stat.S_IXGRP)
    return bool(info.st_mode & stat.S_IXOTH)


def _server_identity(root: Path) -> Identity:
    for folder in (root / "data", root):
        info = folder.stat() if folder.is_dir() else None
        if info is not None and info.st_uid != 0:
            return Identity(info.st_uid, info.st_gid)
    start = int(_digest(root), 16)
    for step in range(FREE_UID_COUNT):
        uid = FREE_UID_FIRST + (start + step) % FREE_UID_COUNT
        if not _is_taken(uid):
            return _identity_that_works(Identity(uid, uid))
    return _identity_that_works(init_identity())


def init_identity() -> Identity:
    """Return the user that makes a data folder for root: initdb wants one with a name.

    Raises DatabaseError when there is no ``nobody``.
    """
    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise DatabaseError(
            "PostgreSQL does not run as root, and this machine has no user 'nobody'",
            remedy="run headrace as a plain user, or set HEADRACE_DATABASE_URL",
        ) from None
    return Identity(entry.pw_uid, entry.pw_gid)


def _is_taken(uid: int) -> bool:
    for look in (pwd.getpwuid, grp.getgrgid):
        try:
            look(uid)
        except KeyError:
            continue
        return True
    return False


def _identity_that_works(wanted: Identity) -> Identity:
    program = shutil.which("true") or "/bin/true"
    nobody = init_identity()
    for identity in (wanted, nobody):
        try:
            subprocess.run(
                [program], user=identity.uid, group=identity.gid, extra_groups=[], check=True
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return identity
    raise DatabaseError(
        f"PostgreSQL does not run as root, and this root may become neither uid {wanted.uid} "
        f"nor uid {nobody.uid}",
        remedy="run headrace as a plain user (in a container: --user), or set "
        "HEADRACE_DATABASE_URL to a PostgreSQL server of your own",
    )


def give(folder: Path, identity: Identity) -> None:
    """Hand a tree that we made to ``identity``; links are not followed."""
    for _, folders, names, descriptor in os.fwalk(folder, follow_symlinks=False):
        os.fchown(descriptor, identity.uid, identity.gid)
        for name in (*folders, *names):
            os.chown(name, identity.uid, identity.gid, dir_fd=descriptor, follow_symlinks=False)


def socket_folder(place: Place) -> Path:
    """Return a folder for the socket that only the server's user can enter, making it if new.

    Raises DatabaseError when a folder of that name is not private to that user.
    """
    owner = place.run_as or Identity(os.geteuid(), os.getegid())
    beside = place.root / "run"
    if _fits(beside):
        return _private(beside, owner)
    # Not the user's runtime folder: it vanishes when the user logs out, and work goes on.
    # /tmp first, because every process of the home must find the same one.
    name = f"headrace-{owner.uid}-{_digest(place.root)}"
    for base in (Path("/tmp"), Path(tempfile.gettempdir())):
        if base.is_dir() and reachable(base, owner) and _fits(base / name):
            return _private(base / name, owner)
    raise DatabaseError(
        "no folder for the database's socket: its path must stay under "
        f"{SOCKET_PATH_BYTES_MAX} bytes",
        place=str(beside),
        remedy="set HEADRACE_HOME to a shorter path",
    )


def _fits(folder: Path) -> bool:
    # A comma would read as a list of hosts in the URL.
    path = os.fsencode(folder / SOCKET_NAME)
    return len(path) <= SOCKET_PATH_BYTES_MAX and b"," not in path


def _private(folder: Path, owner: Identity) -> Path:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        pass
    else:
        if os.geteuid() == 0:
            os.chown(folder, owner.uid, owner.gid, follow_symlinks=False)
    info = folder.lstat()
    private = stat.S_ISDIR(info.st_mode) and stat.S_IMODE(info.st_mode) & 0o077 == 0
    if not private or info.st_uid != owner.uid:
        raise DatabaseError(
            f"the folder for the database's socket is not private to uid {owner.uid} "
            f"(owner {info.st_uid}, mode {stat.filemode(info.st_mode)})",
            place=str(folder),
            remedy="remove it, or set HEADRACE_HOME to a shorter path",
        )
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:12]
