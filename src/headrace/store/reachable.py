"""Sessions that end when the other side cannot be reached: a network that is cut tells nobody.

Left to themselves, a side that waits for an answer finds out after a quarter of an hour, and one
that only listens after two hours: a worker would stand still after the network is back, and the
rows and locks that it held would be nobody's to take. So both sides are told to ask.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from headrace.store import statements

if TYPE_CHECKING:
    _Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]
else:
    _Connection = asyncpg.Connection

SERVER_S_MAX, OURS_S_MAX = 10, 20
"""A side ends a session when the other has acknowledged, or taken, nothing for so long. What the
server ends is free for others. Ours is longer: rows of a submission wait while a busy server does
not read them."""
IDLE_S, PROBE_S, PROBES = 4, 2, 3
"""Where nothing is sent: asked after ``IDLE_S``, then every ``PROBE_S``, so many times."""
# What the system calls them: Linux, macOS; where it knows one not at all, its own rule stays.
_OPTIONS = (
    ("TCP_KEEPIDLE", IDLE_S),
    ("TCP_KEEPALIVE", IDLE_S),
    ("TCP_KEEPINTVL", PROBE_S),
    ("TCP_KEEPCNT", PROBES),
    ("TCP_USER_TIMEOUT", OURS_S_MAX * 1000),
)

UNREACHED = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
"""How a server says, or a session ends, that is not there now and will be again."""


class Session(_Connection):
    """A connection that this side ends when the server cannot be reached any more."""

    def __init__(self, protocol: Any, transport: Any, *more: Any) -> None:
        """Take what the driver gives."""
        super().__init__(protocol, transport, *more)
        watch(transport.get_extra_info("socket"))


def watch(link: Any) -> None:
    """Let this system ask a silent server; a socket of this machine, or none, is left alone."""
    if link is None or link.family not in (socket.AF_INET, socket.AF_INET6):
        return
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS:
        if hasattr(socket, name):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


async def watched_by_server(connection: Any) -> None:
    """Let the server, too, end this session when we cannot be reached: what it holds is free."""
    await connection.execute(
        statements.load("sessions/reachable.sql"),
        *(str(number) for number in (IDLE_S, PROBE_S, PROBES, SERVER_S_MAX * 1000)),
    )
