"""Idempotency keys: a call that comes again is answered as before, also after a restart."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi import Request

from headrace.clock import Clock
from headrace.errors import HeadraceError, InputError
from headrace.file_batches import KeyReusedError
from headrace.fingerprint import fingerprint
from headrace.held import decode_json, encode_json
from headrace.identity import new_uuid
from headrace.store import answer_keys
from headrace.store.answer_keys import AnswerKey
from headrace.store.database import Database

KEY_CHARS_MAX = 255
KEPT = timedelta(hours=24)
PURCHASES_MAX = 10
"""Results that one call may ask for."""

Told = dict[str, Any]
Work = Callable[[UUID | None, bytes | None], Awaitable[Told]]


def purchase_key(key_id: UUID, number: int) -> str:
    """Return the idempotency key under which a call buys one of its results."""
    return f"on demand {key_id.hex} {number}"


def key_of(request: Request) -> str | None:
    """Return the idempotency key of a call, if it has one; raises ``InputError``."""
    key = request.headers.get("idempotency-key")
    if key is not None and not 0 < len(key) <= KEY_CHARS_MAX:
        raise InputError(f"an Idempotency-Key has 1 to {KEY_CHARS_MAX} characters")
    return key


class AnswerKeys:
    """Answers calls once for each key of a tenant."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def answered(self, tenant_id: str, key: str | None, asked: Any, work: Work) -> Told:
        """Return what was answered under ``key``, or what ``work`` answers now.

        ``asked`` is what must be the same, as JSON. ``work`` is given the id and the digest
        under which it may buy (``purchase_key``): a call that was cut off finds there what it
        had begun. What it returns is JSON; a failure before anything was begun leaves no key
        behind. Raises ``KeyReusedError``, ``InputError``, and what ``work`` raises.
        """
        if key is None:
            return await work(None, None)
        try:
            digest = fingerprint(asked)
        except RecursionError:
            raise InputError("the body is nested too deeply") from None
        known = await self._claim(tenant_id, key, digest)
        if known.told is not None:
            return dict(decode_json(known.told))
        try:
            told = await work(known.id, known.request_digest)
        except HeadraceError:
            keys = [purchase_key(known.id, number) for number in range(PURCHASES_MAX)]
            async with self._database.acquire() as connection:
                await answer_keys.forget(connection, known, keys)
            raise
        async with self._database.acquire() as connection:
            held = await answer_keys.keep(connection, known.id, encode_json(told).decode())
        return dict(decode_json(held))

    async def _claim(self, tenant_id: str, key: str, digest: bytes) -> AnswerKey:
        now = self._clock.now()
        new = AnswerKey(new_uuid(now), tenant_id, key, digest, now, now + KEPT)
        async with self._database.transaction() as connection:
            known = await answer_keys.claim(connection, new)
        if known.request_digest != digest:
            raise KeyReusedError(
                f"the idempotency key {key!r} was used for another request",
                remedy="Use a new key for a new request.",
            )
        return known
