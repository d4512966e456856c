"""The master key of an installation: in a variable, or in a file that only its owner may read."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Mapping
from pathlib import Path

from headrace.durable import disk_error, make_folder, sync_file, sync_folder
from headrace.errors import ConfigError
from headrace.sealing import Master, new_master, read_master

VARIABLE = "HEADRACE_MASTER_KEY"
FILE = "master.key"
ALL_THE_SAME = (
    f"All machines of one database need the same, in {VARIABLE}; behind a new one the old may "
    "stand, with a comma between them."
)
_OTHERS = 0o077


class MasterKeys:
    """The master keys of one home, the one in force first; those behind it only open.

    ``HEADRACE_MASTER_KEY`` holds one or several with commas between them, and counts before
    the file, which is made at first use.
    """

    def __init__(self, home: Path, environment: Mapping[str, str] | None = None) -> None:
        self._path = home / FILE
        self._env = os.environ if environment is None else environment

    @property
    def is_variable(self) -> bool:
        """Tell whether the keys come from the variable."""
        return bool(self._env.get(VARIABLE, "").strip())

    def current(self) -> Master:
        """Return the key to seal with; raises ``ConfigError`` and ``StorageError``."""
        known = self._read()
        return known[0] if known else self._first()

    def known(self) -> list[str]:
        """Return the ids of the keys that are here; raises ``ConfigError``."""
        return [master.id for master in self._read()]

    def find(self, master_id: str) -> Master:
        """Return the key that something was sealed with; raises ``ConfigError``."""
        for master in self._read():
            if master.id == master_id:
                return master
        raise ConfigError(
            f"the master key {master_id} is not here",
            place=VARIABLE if self.is_variable else str(self._path),
            remedy=ALL_THE_SAME,
        )

    def put_before(self) -> Master:
        """Put a fresh key before those in the file, and return it; durable when it returns."""
        made = new_master()
        self._write([made, *self._read()])
        return made

    def drop_unused(self, used: Collection[str]) -> int:
        """Leave in the file the key in force and those ``used`` still; return how many went."""
        known = self._read()
        kept = known[:1] + [master for master in known[1:] if master.id in used]
        if len(kept) < len(known):
            self._write(kept)
        return len(known) - len(kept)

    def _read(self) -> list[Master]:
        told = self._env.get(VARIABLE, "").strip()
        if told:
            return [read_master(text, VARIABLE) for text in told.split(",") if text.strip()]
        try:
            with self._path.open(encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read()
        except FileNotFoundError:
            return []
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError("the file cannot be read", place=str(self._path)) from error
        if os.name != "nt" and mode & _OTHERS:
            raise ConfigError(
                "others than its owner may read the master key",
                place=str(self._path),
                remedy=f"chmod 600 {self._path}; then make another: headrace keys rotate-master",
            )
        return [read_master(line, str(self._path)) for line in text.splitlines() if line.strip()]

    def _first(self) -> Master:
        """Make the file; of several processes that come at once, all take what one made."""
        beside = self._beside([new_master()])
        try:
            # Unlike a rename, a link takes nobody's place.
            os.link(beside, self._path)
            sync_folder(self._path.parent)
        except FileExistsError:
            pass
        except OSError as error:
            raise disk_error(error) from error
        finally:
            beside.unlink(missing_ok=True)
        return self._read()[0]

    def _write(self, masters: list[Master]) -> None:
        beside = self._beside(masters)
        try:
            beside.replace(self._path)
            sync_folder(self._path.parent)
        except OSError as error:
            raise disk_error(error) from error
        finally:
            beside.unlink(missing_ok=True)

    def _beside(self, masters: list[Master]) -> Path:
        """Write keys into a file of their own, which nobody else may read at any moment."""
        path = self._path.with_name(f".{FILE}.{secrets.token_hex(6)}.part")
        text = "".join(master.to_text() + "\n" for master in masters)
        try:
            make_folder(path.parent)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(text.encode("ascii"))
                sync_file(file)
        except OSError as error:
            raise disk_error(error) from error
        return path
