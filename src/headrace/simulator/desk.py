"""From a request to its answer: admission, the time it takes, faults, and calls seen before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import msgspec

from headrace.clock import Clock
from headrace.limits import Dimension
from headrace.simulator.bodies import Films, Pictures
from headrace.simulator.lane import Ask, Lane, Ticket, Turned
from headrace.simulator.terms import Standing
from headrace.simulator.wire import Answer, HangUpError, Request

LISTED_MAX = 100_000
EVENTS = "text/event-stream"
UNSEEN = ("reset_after", "reset_midway")
"""Faults of calls that are done and paid; of an answer in pieces the second shows a part."""
OTHER_BODY = {
    "error": {
        "message": "The idempotency key was used with another request.",
        "type": "invalid_request_error",
        "code": "idempotency_key_reused",
    }
}


class Voice(Protocol):
    """How a provider words what is no success."""

    def turned(self, turned: Turned) -> Answer:
        """Return the answer to a call that was turned away."""
        ...

    def broken(self, kind: str) -> Answer:
        """Return the answer to a call that failed in the provider; ``kind`` as in FAULTS."""
        ...


Build = Callable[[Ticket], Answer]
"""Makes the answer of a call whose work is done."""

Cut = Callable[[Answer], list[bytes]]
"""Cuts an answer into the pieces in which it is sent."""


@dataclass(slots=True)
class Listed:
    """A call that can be found by its marker; ``answer`` is there when it succeeded."""

    id: str
    marker: str
    created: int
    answer: Answer | None = None


class Kept(NamedTuple):
    """What a key was first sent with, as a digest, and the answer to that."""

    digest: bytes
    answer: asyncio.Future[Answer | None]


class Desk:
    """Answers calls at once (not jobs) for any shape; the shape words the answers."""

    def __init__(self, lane: Lane, clock: Clock) -> None:
        self.lane, self.clock, self.settings = lane, clock, lane.settings
        self.pictures = Pictures(self.settings.output.image_bytes, self.settings.seed)
        self.films = Films(self.settings.output.film_bytes)
        self.listed: dict[str, Listed] = {}
        self._kept: dict[str, Kept] = {}

    async def perform(
        self, ask: Ask, build: Build, voice: Voice, listed: Listed | None = None
    ) -> Answer | None:
        """Let the call in, wait for its end and return its answer; ``None`` for a reset.

        In class A a call with a key seen before gets the same answer, without being
        paid again, and is turned away where its body is another; in class B a call with a
        marker can be found from its beginning.
        """
        if ask.is_keyed and self.settings.crash_class == "A":
            return await self._once(ask, build, voice)
        if listed is not None and self.settings.crash_class == "B":
            return (await self._work(ask, self._listing(build, listed), voice))[0]
        return (await self._work(ask, build, voice))[0]

    async def perform_in_pieces(
        self, ask: Ask, build: Build, voice: Voice, cut: Cut, listed: Listed | None = None
    ) -> Answer | None:
        """Let the call in and answer in pieces over the time that it takes; ``None`` for a reset.

        In class A a call with a key seen before gets the same pieces, once all of them are made.
        """
        keeps = ask.is_keyed and self.settings.crash_class == "A"
        if keeps and ask.key in self._kept:
            answer = await self._once(ask, build, voice)
            return answer if answer is None or answer.status >= 400 else _in_pieces(answer, cut)
        entered = self.lane.enter(ask)
        if isinstance(entered, Turned):
            return await self.turn_away(entered, voice)
        fault = None if entered.fault is None else entered.fault.kind
        if fault not in (None, *UNSEEN):
            await self._sleep(entered.end_s - entered.at_s)
            broken = None if fault == "hang" else voice.broken(str(fault))
            status = 0 if broken is None else broken.status
            self.lane.leave(entered, status, paid=False, delivered=False)
            return broken
        kept = self._keep(ask) if keeps else None
        if listed is not None and self.settings.crash_class == "B":
            build = self._listing(build, listed)
        whole = build(entered)
        pieces = self._pieces(entered, whole, cut(whole), kept)
        return Answer(200, headers=whole.headers, media_type=EVENTS, pieces=pieces)

    async def _pieces(
        self,
        ticket: Ticket,
        whole: Answer,
        pieces: list[bytes],
        kept: asyncio.Future[Answer | None] | None,
    ) -> AsyncIterator[bytes]:
        fault = None if ticket.fault is None else ticket.fault.kind
        seen = {"reset_after": 0, "reset_midway": len(pieces) // 2}.get(str(fault), len(pieces))
        took_s = ticket.end_s - ticket.at_s
        for piece in pieces[:seen]:
            await self._sleep(took_s / len(pieces))
            yield piece
        if seen == 0:
            await self._sleep(took_s)
        if kept is not None:
            kept.set_result(whole)
        is_seen = seen == len(pieces)
        self.lane.leave(ticket, 200 if is_seen else 0, paid=True, delivered=is_seen)
        if not is_seen:
            raise HangUpError

    def file(self, number: int, *, is_film: bool) -> Answer:
        """Return the file that a job of that number made."""
        if is_film:
            return Answer(200, self.films.mp4(number), media_type="video/mp4")
        return Answer(200, self.pictures.png(number), media_type="image/png")

    def announced(self) -> dict[Dimension, Standing]:
        """Return where limits stand as headers tell it: truly, misleadingly or not at all."""
        terms = self.settings.headers
        if terms.kind == "none":
            return {}
        found = self.lane.standings(self.lane.now_s())
        if terms.kind != "misleading":
            return found
        return {
            dimension: replace(
                one,
                amount=one.amount * terms.factor,
                remaining=(one.amount if terms.stuck else one.remaining) * terms.factor,
                reset_s=0.0 if terms.stuck else one.reset_s,
            )
            for dimension, one in found.items()
        }

    async def turn_away(self, turned: Turned, voice: Voice) -> Answer | None:
        """Return the answer to a call that was turned away; ``None`` for a reset."""
        await self._sleep(self.settings.latency.refusal_s)
        answer = None if turned.verdict == "reset" else voice.turned(turned)
        self.lane.turn(turned, 0 if answer is None else answer.status)
        return answer

    async def _once(self, ask: Ask, build: Build, voice: Voice) -> Answer | None:
        at_s = self.lane.now_s()
        earlier = self._kept.get(ask.key)
        if earlier is not None and earlier.digest != ask.digest:
            self.lane.replay(ask, 422, at_s)
            return json_answer(422, OTHER_BODY)
        if earlier is not None:
            answer = await asyncio.shield(earlier.answer)
            self.lane.replay(ask, 0 if answer is None else answer.status, at_s)
            return answer
        future = self._keep(ask)
        sent, made = await self._work(ask, build, voice)
        if made is None:
            del self._kept[ask.key]
        future.set_result(made or sent)
        return sent

    def _keep(self, ask: Ask) -> asyncio.Future[Answer | None]:
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._kept[ask.key] = Kept(ask.digest, future)
        return future

    def _listing(self, build: Build, listed: Listed) -> Build:
        def built(ticket: Ticket) -> Answer:
            listed.answer = build(ticket)
            if len(self.listed) >= LISTED_MAX:
                del self.listed[next(iter(self.listed))]
            self.listed[listed.id] = listed
            return listed.answer

        return built

    async def _work(
        self, ask: Ask, build: Build, voice: Voice
    ) -> tuple[Answer | None, Answer | None]:
        """Return what is sent (``None`` for a reset), and what was made, even if never seen."""
        entered = self.lane.enter(ask)
        if isinstance(entered, Turned):
            return await self.turn_away(entered, voice), None
        await self._sleep(entered.end_s - entered.at_s)
        fault = None if entered.fault is None else entered.fault.kind
        if fault is None:
            answer = build(entered)
            is_good = answer.status < 400
            self.lane.leave(entered, answer.status, paid=is_good, delivered=is_good)
            return answer, answer if is_good else None
        if fault in (*UNSEEN, "hang"):
            made = build(entered) if fault in UNSEEN else None
            self.lane.leave(entered, 0, paid=made is not None, delivered=False)
            return None, made
        answer = voice.broken(fault)
        self.lane.leave(entered, answer.status, paid=False, delivered=False)
        return answer, None

    async def _sleep(self, duration_s: float) -> None:
        if duration_s > 0:
            await self.clock.sleep(duration_s)


def _in_pieces(answer: Answer, cut: Cut) -> Answer:
    """Return an answer that is there already in pieces, all at once."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in cut(answer):
            yield piece

    return Answer(200, headers=answer.headers, media_type=EVENTS, pieces=pieces())


def key_of(request: Request) -> tuple[str, bool]:
    """Return what tells this call from others, and whether the client sent it to be known by."""
    key = request.headers.get("idempotency-key", "")
    if key:
        return key, True
    named = request.headers.get("x-client-request-id", "")
    return named or "body:" + digest_of(request).hex(), False


def digest_of(request: Request) -> bytes:
    """Return what tells the body of a request from others."""
    return blake2b(request.body, digest_size=12).digest()


def is_let_in(request: Request, api_key: str) -> bool:
    """Tell whether the request carries the key that is asked for, if one is."""
    return not api_key or request.headers.get("authorization", "") in (
        f"Bearer {api_key}",
        f"Key {api_key}",
    )


def is_known_by(request: Request, api_key: str, header: str) -> bool:
    """Tell whether the key asked for stands in ``header`` or is a bearer's, if one is."""
    told = (request.headers.get(header), request.headers.get("authorization"))
    return not api_key or told[0] == api_key or told[1] == f"Bearer {api_key}"


def marker_of(request: Request, body: dict[str, Any]) -> str:
    """Return the marker that a client put on its call, or an empty text."""
    metadata = body.get("metadata")
    marker = metadata.get("marker") if isinstance(metadata, dict) else None
    found = marker or body.get("marker") or request.headers.get("x-client-request-id", "")
    return found if isinstance(found, str) else ""


def read_json(request: Request) -> dict[str, Any] | None:
    """Return a body that is a JSON object, else ``None``."""
    try:
        found = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def json_answer(
    status: int,
    body: Any,
    headers: tuple[tuple[str, str], ...] = (),
    media_type: str = "application/json",
) -> Answer:
    """Return an answer with a JSON body."""
    return Answer(status, msgspec.json.encode(body), headers, media_type)
