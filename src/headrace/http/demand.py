"""Calls on demand: they wait for their results within bounds, and what they paid for is kept."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import Request

from headrace.artifact import Artifact
from headrace.engine import Engine
from headrace.errors import HeadraceError, InputError
from headrace.generation import Asked, Generated, GenerationError
from headrace.http.answer_keys import AnswerKeys, key_of, purchase_key
from headrace.http.ended import Answered, EndedError
from headrace.http.entry import Caller
from headrace.http.telling import Telling
from headrace.identity import new_uuid
from headrace.live_text import Listener

DEADLINE = "x-headrace-deadline"
DEADLINE_S_MAX = 86_400.0
FULL_WAIT_S = 2

Ask = Callable[[], Awaitable[list[Asked]]]


class DeadlineError(HeadraceError):
    """The caller's deadline was over before the result was there; it is made all the same."""

    code = "deadline_exceeded"
    status = 504
    retryable = True


class FullError(HeadraceError):
    """As many calls of the tenant wait as may."""

    code = "too_many_waiting"
    status = 429
    retryable = True
    headers = {"Retry-After": str(FULL_WAIT_S)}  # noqa: RUF012 - the same for all


class Demand:
    """Answers calls on demand; ``waiting_max`` results of one tenant may be waited for at once.

    A purchase goes on when its caller has left: it is in the cache when somebody asks again,
    and keeps its place until it has ended.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._keys = AnswerKeys(engine.database, engine.clock)
        self._waiting: Counter[str] = Counter()
        self._buying: set[asyncio.Task[Generated]] = set()
        self._answering: set[asyncio.Task[Answered]] = set()

    def tell(
        self, request: Request, caller: Caller, asked: Any, ask: Ask, previews_max: int = 0
    ) -> Telling:
        """Begin to answer a call for one text, which may be told while it is bought.

        Or for one picture, with so many previews. What ``answer`` raises is raised by the telling.
        """
        now = self._engine.clock.now()
        telling = Telling(new_uuid(now).hex, now, Listener(previews_max))
        task = asyncio.create_task(
            self.answer(request, caller, asked, ask, telling), name="on-demand-answer"
        )
        telling.answering = task
        self._answering.add(task)

        def ended(task: asyncio.Task[Answered]) -> None:
            self._answering.discard(task)
            if not task.cancelled():
                task.exception()  # looked at: its caller may have left

        task.add_done_callback(ended)
        return telling

    async def answer(
        self,
        request: Request,
        caller: Caller,
        asked: Any,
        ask: Ask,
        telling: Telling | None = None,
    ) -> Answered:
        """Return the results of what ``ask`` returns, or those that the call had before.

        ``asked`` is the call as JSON: under an idempotency key it must not change. ``telling``
        is where its one text is heard. Raises ``EndedError``, ``DeadlineError``,
        ``FullError``, ``KeyReusedError``.
        """
        deadline_s, key = _deadline_s(request), key_of(request)
        made: list[Generated] | None = None

        async def work(key_id: UUID | None, digest: bytes | None) -> dict[str, Any]:
            nonlocal made
            asks = await ask()
            if key_id is not None:
                asks = [
                    replace(one, key=purchase_key(key_id, number), digest=digest)
                    for number, one in enumerate(asks)
                ]
            if telling is not None:
                asks = [replace(one, listener=telling.listener) for one in asks]
            made = await self._all(caller.tenant_id, asks, deadline_s)
            if telling is not None:
                return _to_json(telling.name, telling.at, made)
            now = self._engine.clock.now()
            return _to_json(new_uuid(now).hex, now, made)

        try:
            told = await self._keys.answered(
                caller.tenant_id, key, {"path": request.url.path, "asked": asked}, work
            )
        except GenerationError as error:
            raise EndedError(error) from error
        if made is None or not _is_of(told, made):
            made = [await self._again(one) for one in told["made"]]
        return Answered(told["name"], datetime.fromtimestamp(told["at"], UTC), made)

    async def _all(
        self, tenant_id: str, asks: list[Asked], deadline_s: float | None
    ) -> list[Generated]:
        """Return all results; one failure is raised when the others have ended, too."""
        generator = self._engine.generator
        found = [await generator.find(one) for one in asks]
        missing = found.count(None)
        if not missing:
            return [one for one in found if one is not None]
        if self._waiting[tenant_id] + missing > self._engine.config.limits.waiting_max:
            raise FullError(
                f"{self._waiting[tenant_id]} results of yours are waited for already",
                remedy="Wait for some, or send a batch: it has no such cap.",
            )
        tasks: dict[int, asyncio.Task[Generated]] = {
            place: self._begin(one) for place, one in enumerate(asks) if found[place] is None
        }
        _, late = await asyncio.wait(tasks.values(), timeout=deadline_s)
        if late:
            raise DeadlineError(
                f"the deadline of {deadline_s:g} s is over",
                remedy="It is made all the same: ask again, and take it from the cache.",
            )
        return [one or tasks[place].result() for place, one in enumerate(found)]

    def _begin(self, asked: Asked) -> asyncio.Task[Generated]:
        task = asyncio.create_task(self._engine.generator.buy(asked), name="on-demand")
        self._waiting[asked.tenant_id] += 1
        self._buying.add(task)

        def ended(task: asyncio.Task[Generated]) -> None:
            self._buying.discard(task)
            self._waiting[asked.tenant_id] -= 1
            if not self._waiting[asked.tenant_id]:
                del self._waiting[asked.tenant_id]
            if not task.cancelled():
                task.exception()  # looked at: its caller may have left

        task.add_done_callback(ended)
        return task

    async def _again(self, told: dict[str, Any]) -> Generated:
        artifact = Artifact.from_json(told["artifact"])
        body = await self._engine.reading.body(artifact.sha256)
        return Generated(artifact, body, told["cached"], told["facts"])


def _to_json(name: str, at: datetime, made: list[Generated]) -> dict[str, Any]:
    return {
        "name": name,
        "at": at.timestamp(),
        "made": [
            {"artifact": one.artifact.to_json(), "cached": one.cached, "facts": one.facts}
            for one in made
        ],
    }


def _is_of(told: dict[str, Any], made: list[Generated]) -> bool:
    """Tell whether an answer is of these results: another process may have been faster."""
    return [one["artifact"]["sha256"] for one in told["made"]] == [
        one.artifact.sha256.hex() for one in made
    ]


def _deadline_s(request: Request) -> float | None:
    told = request.headers.get(DEADLINE)
    if told is None:
        return None
    try:
        deadline_s = float(told)
    except ValueError:
        deadline_s = math.nan
    if not 0 < deadline_s <= DEADLINE_S_MAX:
        raise InputError(
            f"{DEADLINE} = {told[:80]!r} is no time to wait",
            remedy=f"Write seconds, up to {DEADLINE_S_MAX:.0f}.",
        )
    return deadline_s
