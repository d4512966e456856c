"""One call to a provider: send, receive, keep the body, and judge how it ended."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from headrace.artifact import INLINE_BYTES_MAX, Artifact
from headrace.bytes_budget import process_budget
from headrace.clock import Clock
from headrace.errors import StorageError
from headrace.going_in import Sources
from headrace.outbox import Room
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.preview import Previews
from headrace.provider import Call, CrashClass, Reply, Spool
from headrace.request import Request
from headrace.telemetry import crash_point, log


class Keeping(Protocol):
    """Where bodies are kept: the blob room, as far as a purchase needs it."""

    async def put(self, body: bytes | Path, media_type: str, room: Room | None = None) -> Artifact:
        """Keep a body durably under its hash; with a ``room``, on this machine for now."""
        ...

    def spool(
        self, media_type: str, *, room: Room | None = None
    ) -> AbstractAsyncContextManager[Spool]:
        """Open a file for a body that arrives in pieces."""
        ...

    def path(self, sha256: bytes) -> Path | None:
        """Return the local file that holds a body, if there is one."""
        ...


class Seller(Protocol):
    """Whom something is bought from: a provider, or the desk of its batches."""

    @property
    def name(self) -> str:
        """Return the provider's name."""
        ...

    @property
    def crash_class(self) -> CrashClass:
        """Return what may be done about a call whose answer is never seen."""
        ...

    async def call(self, call: Call) -> Reply:
        """Make the call; raises ``CallFailed``."""
        ...

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Follow a call that was accepted earlier; raises ``CallFailed``."""
        ...


@dataclass(slots=True)
class Bought:
    """How a call ended: an outcome, and on success the artifact and the provider's facts.

    ``was_spooled``: the artifact was written down as one that waits for the object store.
    """

    outcome: Outcome
    latency_s: float
    artifact: Artifact | None = None
    facts: dict[str, Any] | None = None
    was_spooled: bool = False


class Purchaser:
    """Makes calls and keeps what they give; shared by all items of a process."""

    def __init__(
        self,
        blobs: Keeping,
        clock: Clock,
        source: Callable[[str], Awaitable[bytes]],
        timeout_s: float,
    ) -> None:
        self._blobs = blobs
        self._clock = clock
        self._source = source
        self._timeout_s = timeout_s

    def call(
        self,
        request: Request,
        key: str,
        folders: tuple[Path, ...],
        accepted: Callable[[str, str | None], Awaitable[None]],
        room: Room | None = None,
        say: Callable[[str], None] | None = None,
        previews: Previews | None = None,
    ) -> Call:
        """Return the call for ``request`` under the client key ``key``.

        What it spools goes to ``room``, where the store is not on this machine; ``say`` hears
        its text as it comes, ``previews`` its picture.
        """

        def file(sha256_hex: str) -> Path | None:
            return self._blobs.path(bytes.fromhex(sha256_hex))

        hold = process_budget().hold()
        sources = Sources(request, folders, hold, self._source, file, self._timeout_s / 2)

        async def taken_in(provider_request_id: str, url: str | None) -> None:
            sources.sent()
            await accepted(provider_request_id, url)

        return Call(
            request=request,
            key=key,
            marker=key,
            deadline_s=self._timeout_s,
            folders=folders,
            spool=partial(self._blobs.spool, room=room),
            accepted=taken_in,
            source=sources.read,
            file=file,
            over=sources.sent,
            say=say,
            previews=previews,
        )

    async def buy(
        self,
        provider: Seller,
        call: Call,
        resume: tuple[str, str | None] | None,
        room: Room | None = None,
    ) -> Bought:
        """Make or resume a call and keep its body; every ending becomes an outcome."""
        started_s = self._clock.monotonic_s()
        crash_point("before-send")
        try:
            # In the same task: one of its own for each call costs more than the rest of this.
            async with asyncio.timeout(self._timeout_s):
                if resume is None:
                    reply = await provider.call(call)
                else:
                    reply = await provider.resume(call, *resume)
            latency_s = self._clock.monotonic_s() - started_s
            crash_point("after-send")
            artifact = await self._keep(reply, room)
        except CallFailed as failure:
            return Bought(failure.outcome, self._clock.monotonic_s() - started_s)
        except TimeoutError:
            outcome = _unseen(provider, f"no answer within {self._timeout_s:g} s")
            return Bought(outcome, self._clock.monotonic_s() - started_s)
        except Exception as error:  # broad: an adapter's fault must end one attempt, not the worker
            log(provider=provider.name).exception("adapter_fault")
            outcome = _unseen(provider, f"the adapter failed: {type(error).__name__}: {error}")
            return Bought(outcome, self._clock.monotonic_s() - started_s)
        finally:
            call.over()
        outcome = Outcome(
            OutcomeKind.SUCCESS,
            cost_microusd=reply.cost_microusd,
            estimate_microusd=reply.estimate_microusd,
            provider_request_id=reply.provider_request_id,
            said=reply.said,
        )
        return Bought(outcome, latency_s, artifact, reply.facts)

    async def _keep(self, reply: Reply, room: Room | None) -> Artifact:
        if reply.artifact is not None:
            return reply.artifact
        if reply.body is None:
            raise CallFailed(Outcome(OutcomeKind.NO_OUTPUT, "the provider gave no body"))
        if len(reply.body) <= INLINE_BYTES_MAX:
            digest = hashlib.sha256(reply.body).digest()
            return Artifact(digest, reply.media_type, len(reply.body), reply.body)
        artifact = await self._insist(reply.body, reply.media_type, room)
        crash_point("blob-after-put")
        return artifact

    async def _insist(self, body: bytes, media_type: str, room: Room | None) -> Artifact:
        """Keep a paid body even if the store is full or down for a while: wait, never rebuy."""
        wait_s = 0.5
        while True:
            try:
                return await self._blobs.put(body, media_type, room)
            except StorageError as error:
                if not error.retryable:
                    raise CallFailed(Outcome(OutcomeKind.LOST_RESULT, str(error))) from error
                log().warning("blob_waits", why=error.message, wait_s=wait_s)
                await self._clock.sleep(wait_s)
                wait_s = min(30.0, wait_s * 2)


def _unseen(provider: Seller, reason: str) -> Outcome:
    """Return the outcome of a call whose answer was not seen: unknown unless free to repeat."""
    if provider.crash_class is CrashClass.PURE:
        return Outcome(OutcomeKind.TRANSIENT, reason)
    return Outcome(OutcomeKind.UNKNOWN, reason)
