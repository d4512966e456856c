"""A pgbouncer in front of a test's database, pooling transactions."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

BINARY = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
SETTINGS = """
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
query_wait_timeout = 20
logfile = {folder}/pgbouncer.log
"""


class Pooler:
    """Stands between clients and the server of ``url``; ``size`` sessions for all."""

    def __init__(self, folder: Path, url: str, size: int) -> None:
        if BINARY is None:
            pytest.skip("pgbouncer is not installed")
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            own = free.getsockname()[1]
        self._port = own
        # It runs as whoever owns the server's socket: root it refuses to be.
        owner = Path(query["host"][0]).stat().st_uid
        self._user = owner if os.geteuid() == 0 else None
        self._folder = folder
        folder.mkdir(mode=0o777)
        folder.chmod(0o777)
        (folder / "pgbouncer.ini").write_text(
            SETTINGS.format(
                host=query["host"][0],
                port=query.get("port", ["5432"])[0],
                user=parts.username,
                password=unquote(parts.password or ""),
                own=own,
                size=size,
                folder=folder,
            )
        )
        self.url = f"postgresql://{parts.username}@127.0.0.1:{own}{parts.path}"
        self.start()

    def start(self) -> None:
        """Start it; returns when it listens."""
        assert BINARY is not None
        user = self._user
        self._process = subprocess.Popen(
            [BINARY, "-q", str(self._folder / "pgbouncer.ini")],
            user=user, group=user, extra_groups=None if user is None else [], cwd="/",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError((self._folder / "pgbouncer.log").read_text())

    def stop(self) -> None:
        """Kill it; its clients are cut off."""
        self._process.kill()
        self._process.wait(timeout=240)
