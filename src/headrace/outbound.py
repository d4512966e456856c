"""Paid results on their way to the object store: written down, then sent until they are there.

An item is settled only when others can read its artifact. Until then the result lies in the
outbox and stands in ``spooled_result``, so that whoever goes on after a crash sends it, or
waits for the machine that has it, and buys nothing again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from headrace.artifact import Artifact
from headrace.blob import Blobs
from headrace.clock import Clock, sleep_unless_set
from headrace.errors import NotFoundError, StorageError
from headrace.held import HeldItem, OpenAttempt, decode_json, encode_json
from headrace.outbox import Room
from headrace.outcome import Outcome, OutcomeKind
from headrace.purchase import Bought
from headrace.store import spooled
from headrace.store.database import Database
from headrace.store.spooled import Spooled
from headrace.telemetry import log
from headrace.writer import Writer

SENT_AT_ONCE = 6
WAIT_S = 0.5
WAIT_S_MAX = 30.0
STOP_S = 5.0
"""How long an upload under way may still take when the process stops."""


@dataclass(frozen=True, slots=True)
class Found:
    """A result that was bought before: ``here`` or in the store, or else on the disk ``place``."""

    bought: Bought
    here: bool
    place: str
    is_lost: bool


class StoppedError(Exception):
    """The process stops; what was to be sent stays in the outbox."""


class Outbound:
    """The way out of all results of a process; does nothing where the store is a folder."""

    def __init__(
        self,
        database: Database,
        writer: Writer,
        blobs: Blobs,
        clock: Clock,
        stopping: asyncio.Event,
    ) -> None:
        self._database = database
        self._writer = writer
        self._blobs = blobs
        self._clock = clock
        self._stopping = stopping
        self._turns = asyncio.Semaphore(SENT_AT_ONCE)
        self._well = asyncio.Event()

    async def until_room(self) -> None:
        """Wait until a call may be made; raises ``StoppedError`` when the process stops before."""
        if self._blobs.outbox is not None and self.is_full:
            await self._unless_stopped(self._blobs.outbox.until_room(), 0.0)

    @property
    def is_full(self) -> bool:
        """Tell whether no call may be made, since there is no room for what it would give."""
        return self._blobs.outbox is not None and self._blobs.outbox.is_full

    def take(self) -> Room | None:
        """Return room for what a call will give, which there is; ``None``: none is needed."""
        return None if self._blobs.outbox is None else self._blobs.outbox.take()

    async def enter(self) -> Room | None:
        """Return room for what a call will give, once there is some; ``None``: none is needed.

        Raises ``StoppedError`` when the process stops before.
        """
        while True:
            await self.until_room()
            if not self.is_full:
                return self.take()

    async def send(
        self, item: HeldItem, attempt: OpenAttempt, bought: Bought, room: Room | None
    ) -> Bought:
        """Return how a call ended once others can read its artifact.

        Raises ``StoppedError`` when the process stops before: nothing is lost then.
        """
        artifact = bought.artifact
        if room is None or artifact is None or artifact.body is not None:
            return bought
        await self._writer.spooled.hand_in(_spooled(item, attempt, artifact, bought, self._here()))
        return await self.resend(bought)

    async def resend(self, bought: Bought) -> Bought:
        """Return how a call ended that was written down before, once others can read it."""
        assert bought.artifact is not None
        bought.was_spooled = True
        try:
            await self._insist(bought.artifact)
        except NotFoundError as error:
            outcome = Outcome(OutcomeKind.LOST_RESULT, error.message, error.remedy, ended=True)
            return Bought(outcome, bought.latency_s, was_spooled=True)
        return bought

    async def find(self, item: HeldItem, attempt: OpenAttempt) -> Found | None:
        """Return the result of an attempt that was never settled, if one was written down."""
        outbox = self._blobs.outbox
        if outbox is None:
            return None
        async with self._database.acquire() as connection:
            told = await spooled.find(connection, item.batch.id, item.idx, attempt.key_number)
        if told is None:
            return None
        found, since = told
        is_lost = since + timedelta(seconds=outbox.lost_after_s) < self._clock.now()
        here = await asyncio.to_thread(outbox.path(found.artifact.sha256).is_file)
        if not here:
            try:
                here = await self._blobs.exists(found.artifact.sha256)
            except StorageError as error:
                log().warning("blob_store_away", why=error.message)
                is_lost = False
        return Found(_bought(found), here, found.place, is_lost)

    def _here(self) -> str:
        return f"{socket.gethostname()}:{self._blobs.spool_folder.absolute()}"

    # -- sending ---------------------------------------------------------------------------

    async def _insist(self, artifact: Artifact) -> None:
        """Send until it is there. Who fails waits; who succeeds wakes all who wait."""
        wait_s = WAIT_S
        while True:
            well = self._well
            try:
                async with self._turns:
                    await self._unless_stopped(self._blobs.forward(artifact), STOP_S)
            except StorageError as error:
                log().warning("blob_waits", why=error.message, remedy=error.remedy, wait_s=wait_s)
                await self._unless_stopped(sleep_unless_set(self._clock, wait_s, well), 0.0)
                wait_s = min(WAIT_S_MAX, wait_s * 2)
                continue
            self._well.set()
            self._well = asyncio.Event()
            return

    async def _unless_stopped(self, work: Coroutine[Any, Any, Any], grace_s: float) -> Any:
        """Return what ``work`` gives; raises ``StoppedError`` where the process stops before."""
        working = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and grace_s:
                await asyncio.wait({working}, timeout=grace_s)
            if not working.done():
                raise StoppedError
            return working.result()
        finally:
            stop.cancel()
            if not working.done():
                working.cancel()
                await asyncio.wait({working})


def _spooled(
    item: HeldItem, attempt: OpenAttempt, artifact: Artifact, bought: Bought, place: str
) -> Spooled:
    outcome = bought.outcome
    reply = {
        "latency_s": bought.latency_s,
        "cost_microusd": outcome.cost_microusd,
        "estimate_microusd": outcome.estimate_microusd,
        "provider_request_id": outcome.provider_request_id,
        "facts": bought.facts,
    }
    told = encode_json(reply).decode()
    return Spooled(item.batch.id, item.idx, attempt.key_number, artifact, told, place)


def _bought(found: Spooled) -> Bought:
    told = decode_json(found.reply)
    outcome = Outcome(
        OutcomeKind.SUCCESS,
        cost_microusd=told["cost_microusd"],
        estimate_microusd=told["estimate_microusd"],
        provider_request_id=told["provider_request_id"],
    )
    return Bought(outcome, told["latency_s"], found.artifact, told["facts"])
