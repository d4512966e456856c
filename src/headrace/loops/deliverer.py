"""The deliverer: packs what webhooks want to know into messages, and sends them until taken."""

from __future__ import annotations

import asyncio
from random import Random

import asyncpg

from headrace.clock import Clock
from headrace.identity import show_id
from headrace.loops.loop import Loop
from headrace.store import webhook_deliveries, webhooks
from headrace.store.database import Database
from headrace.store.webhook_deliveries import Claimed
from headrace.telemetry import log
from headrace.webhook import DELIVERY_PREFIX
from headrace.webhook_post import WebhookPost
from headrace.webhook_signature import standard_headers

IDLE_S = 1.0
LEASE_S = 120.0
"""Well above the longest try, so that clocks that differ a little do no harm."""
SENDING_MAX = 48
FAILING_MAX = 16
"""Endpoints that fail share fewer places: hanging ones must not take those of the others."""
PER_ENDPOINT = 2
STOP_S = 2.0
"""So long what is being sent may end when the process does; then it is made again elsewhere."""


class Deliverer(Loop):
    """Sends messages side by side; of all processes one at a time has a message in hand."""

    name = "deliverer"

    def __init__(
        self, database: Database, clock: Clock, post: WebhookPost, random: Random | None = None
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._post = post
        self._random = random or Random()
        self._sending: dict[asyncio.Task[None], tuple[Claimed, bool]] = {}

    async def tick(self) -> float:
        """Pack, claim what is due, and let it be sent; come back when there is room for more."""
        now = self._clock.now()
        async with self._database.transaction() as connection:
            packed = await webhooks.pack(connection, now)
        await self._claim(failing=False, room=SENDING_MAX - len(self._sending))
        failing = sum(is_failing for _, is_failing in self._sending.values())
        room = min(SENDING_MAX - len(self._sending), FAILING_MAX - failing)
        await self._claim(failing=True, room=room)
        return 0.0 if packed >= webhooks.GROUPS_MAX else IDLE_S

    async def _claim(self, *, failing: bool, room: int) -> None:
        if room <= 0 or self._stopping:
            return
        async with self._database.transaction() as connection:
            found = await webhook_deliveries.claim(
                connection, self._clock.now(), LEASE_S,
                1 if failing else PER_ENDPOINT, room, failing=failing,
            )  # fmt: skip
        for one in found:
            task = asyncio.create_task(self._send(one), name="webhook")
            self._sending[task] = (one, failing)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.pop(task, None)
        self.wake()

    async def _send(self, claimed: Claimed) -> None:
        body = claimed.body.encode()
        secrets = [claimed.secret] + ([claimed.old_secret] if claimed.old_secret else [])
        name = show_id(DELIVERY_PREFIX, claimed.id)
        headers = standard_headers(name, body, secrets, self._clock.now())
        tried = await self._post.send(claimed.url, body, headers)
        try:
            async with self._database.transaction() as connection:
                await webhook_deliveries.end_try(
                    connection, claimed, tried, self._clock.now(), self._random
                )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            # Its lease ends by itself, and it is sent again under the same id.
            log(loop=self.name).warning("try_not_noted", message=name, why=str(error))

    async def sent(self) -> None:
        """Return when nothing is being sent any more."""
        while self._sending:
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def stop(self) -> None:
        """End: what is being sent has a moment, then others may make those tries."""
        await super().stop()
        cut = dict(self._sending)
        if cut:
            _, left = await asyncio.wait(cut, timeout=STOP_S)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            held = [cut[task][0] for task in left]
            try:
                async with self._database.transaction() as connection:
                    await webhook_deliveries.give_back(connection, held)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log(loop=self.name).warning("not_given_back", why=str(error))
        await self._post.close()
