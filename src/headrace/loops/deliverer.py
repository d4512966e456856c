"""The deliverer: packs what webhooks want to know into messages, and sends them until taken."""

from __future__ import annotations

import asyncio
from random import Random

import asyncpg

from headrace.clock import Clock
from headrace.errors import ConfigError, HeadraceError
from headrace.identity import show_id
from headrace.loops.loop import Loop
from headrace.master_key import ALL_THE_SAME, MasterKeys
from headrace.store import webhook_deliveries, webhook_secrets, webhooks
from headrace.store.database import Database
from headrace.store.webhook_deliveries import Claimed, Tried
from headrace.telemetry import crash_point, log
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
UNSIGNED = "its secret cannot be opened here; nothing was sent"
STOP_S = 2.0
"""So long what is being sent may end when the process does; then it is made again elsewhere."""


class Deliverer(Loop):
    """Sends messages side by side; of all processes one at a time has a message in hand."""

    name = "deliverer"

    def __init__(
        self,
        database: Database,
        clock: Clock,
        post: WebhookPost,
        masters: MasterKeys,
        random: Random | None = None,
    ) -> None:
        super().__init__(clock)
        self._database = database
        self._post = post
        self._masters = masters
        self._told: dict[str, object] = {}
        self._random = random or Random()
        self._sending: dict[asyncio.Task[None], tuple[Claimed, bool]] = {}

    async def tick(self) -> float:
        """Pack, claim what is due, and let it be sent; come back when there is room for more."""
        now = self._clock.now()
        async with self._database.transaction() as connection:
            packed = await webhooks.pack(connection, now)
            crash_point("message-before-commit")
        known = await self._known_masters()
        await self._claim(known, failing=False, room=SENDING_MAX - len(self._sending))
        failing = sum(is_failing for _, is_failing in self._sending.values())
        room = min(SENDING_MAX - len(self._sending), FAILING_MAX - failing)
        await self._claim(known, failing=True, room=room)
        return 0.0 if packed >= webhooks.GROUPS_MAX else IDLE_S

    async def _known_masters(self) -> list[str]:
        """Return the master keys that are here, and seal what a release before kept plain.

        What this process cannot sign is told once for each master key that it lacks, and is left
        to others.
        """
        try:
            known = self._masters.known()
            # Asked after each message: without a transaction, which hardly any look needs.
            async with self._database.acquire() as connection:
                is_plain, unsigned, missing = await webhook_secrets.look(connection, known)
            if is_plain:
                await self._seal_plain()
                known = self._masters.known()
        except HeadraceError as error:
            self._tell("secrets_not_sealed", error.message, why=error.message)
            return []
        if unsigned:
            self._tell(
                "master_key_missing", missing, webhooks=unsigned, missing=missing, here=known,
                remedy=ALL_THE_SAME,
            )  # fmt: skip
        return known

    async def _seal_plain(self) -> None:
        async with self._database.transaction() as connection:
            sealed = await webhook_secrets.seal_plain(connection, self._masters)
        if sealed:
            log(loop=self.name).info("secrets_sealed", webhooks=sealed)

    def _tell(self, what: str, news: object, **facts: object) -> None:
        if self._told.get(what) != news:
            self._told[what] = news
            log(loop=self.name).warning(what, **facts)

    async def _claim(self, known: list[str], *, failing: bool, room: int) -> None:
        if room <= 0 or self._stopping:
            return
        async with self._database.transaction() as connection:
            found = await webhook_deliveries.claim(
                connection, self._clock.now(), LEASE_S,
                1 if failing else PER_ENDPOINT, room, known, failing=failing,
            )  # fmt: skip
        if found:
            crash_point("message-claimed")
        for one in found:
            task = asyncio.create_task(self._send(one), name="webhook")
            self._sending[task] = (one, failing)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.pop(task, None)
        self.wake()

    async def _send(self, claimed: Claimed) -> None:
        body = claimed.body.encode()
        name = show_id(DELIVERY_PREFIX, claimed.id)
        try:
            secrets = claimed.secrets(self._masters)
        except ConfigError as error:
            log(loop=self.name).warning("not_signed", message=name, why=error.message)
            tried = Tried(None, UNSIGNED, "", 0.0)
        else:
            headers = standard_headers(name, body, secrets, self._clock.now())
            tried = await self._post.send(claimed.url, body, headers)
            crash_point("message-after-send")
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
