"""Sessions that end when the other side cannot be reached: what the system is asked for."""

from __future__ import annotations

import socket
import sys

import pytest

from headrace.store.reachable import IDLE_S, OURS_S_MAX, SERVER_S_MAX, watch, watched_by_server


@pytest.mark.skipif(sys.platform != "linux", reason="these are the names of Linux")
def test_a_session_over_the_network_is_watched() -> None:
    """A silent server is asked after seconds, and an answer is not waited for without end."""
    with socket.socket() as link:
        watch(link)
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == IDLE_S
        waits_ms = link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert waits_ms == OURS_S_MAX * 1000


def test_a_session_on_this_machine_is_left_alone() -> None:
    """A socket of this machine cannot be cut off, and knows no such options."""
    with socket.socket(socket.AF_UNIX) as link:
        watch(link)
    watch(None)


async def test_the_server_is_told_in_one_statement() -> None:
    """Each new session costs one round trip more, for all settings together."""
    told: list[tuple[str, ...]] = []

    class Connection:
        async def execute(self, sql: str, *words: str) -> None:
            told.append((sql, *words))

    await watched_by_server(Connection())
    [(sql, *words)] = told
    assert sql.count("set_config") == len(words) == 4
    assert words[-1] == str(SERVER_S_MAX * 1000)
