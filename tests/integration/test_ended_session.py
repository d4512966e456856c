"""A session that the server ends, however the driver comes to say so, is a lost one."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.gates.postgres import LOST
from headrace.store.database import Database
from headrace.store.lanes import LaneSession

FIELDS = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0"
LAST_WORDS = b"E" + (len(FIELDS) + 4).to_bytes(4, "big") + FIELDS


async def test_a_question_between_the_servers_last_words_and_the_end_is_a_lost_session(
    database: Database,
) -> None:
    """The driver calls that an inner error of its own; to us it is a connection that is gone."""
    session = await LaneSession.open(database, lambda _: None, lambda: None)
    hear(session)
    assert not session.is_lost
    with pytest.raises(LOST):
        async with session.transaction():
            await session.hold("a", "")
    with pytest.raises(LOST):
        await session.gone([1])
    session.terminate()


def hear(session: LaneSession) -> None:
    """Have the driver hear the last words, and not yet the end of the connection."""
    connection: Any = session._connection
    connection._protocol.data_received(LAST_WORDS)
