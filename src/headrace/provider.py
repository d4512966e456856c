"""The provider contract: an adapter to one API or local engine, and what a call gives back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from headrace.artifact import Artifact
from headrace.limits import Load, Quota, Said
from headrace.preview import Previews
from headrace.price import Price
from headrace.request import Request


class CrashClass(StrEnum):
    """What may be done about a call that was sent and whose answer was never seen.

    ``PURE``: a local computation, free to repeat. ``KEYED`` (A): honours a client key,
    send again with the same key. ``LISTED`` (B): can be searched for our marker, look
    first. ``POLLED`` (C): gave an id, resume by polling. ``BLIND`` (D): nothing helps;
    the batch's policy decides.
    """

    PURE = "pure"
    KEYED = "A"
    LISTED = "B"
    POLLED = "C"
    BLIND = "D"


class Spool(Protocol):
    """A file that receives a body in pieces while its hash and length are taken."""

    async def write(self, chunk: bytes) -> None:
        """Append ``chunk``; raises ``StorageError`` past the size cap or when the disk is full."""
        ...

    async def commit(self) -> Artifact:
        """Make the bytes durable under their hash and return the artifact."""
        ...


@dataclass(frozen=True)
class Call:
    """One call to make, with what the provider may need from the engine.

    ``key`` is the client's idempotency key: the same for a call sent again after a
    crash. ``marker`` is text that the provider should be able to find it by. ``photos``
    are folders that local paths in the request may point into. ``spool(media_type)``
    opens a place for a large body. ``accepted(id, url)`` must be awaited the moment the
    provider's own id is known: it is durable when it returns. ``source(sha256_hex)``
    reads the bytes of one of ``request.sources``, to be done before anything is sent: it
    raises ``CallFailed`` where they cannot be had. A param that is ``{"source": n}``, or
    a list of such, stands for ``request.sources[n]`` (``request.placed()`` gives digests
    by param); what kind of file it is, the bytes tell. ``file(sha256_hex)`` is where such
    an artifact lies as a file on this machine, ``None`` where it does not: large ones need
    not be read into memory. What ``source`` gave counts against the process's memory until
    ``accepted``, or until whoever made the call says that it is ``over``. ``say`` is there
    where somebody listens: a provider that can asks for the text in pieces and says each as
    it comes; what it returns in the end is the same. So it is with ``previews`` and pictures.
    """

    request: Request
    key: str
    marker: str
    deadline_s: float
    folders: tuple[Path, ...]
    spool: Callable[[str], AbstractAsyncContextManager[Spool]]
    accepted: Callable[[str, str | None], Awaitable[None]]
    source: Callable[[str], Awaitable[bytes]]
    file: Callable[[str], Path | None] = lambda sha256_hex: None
    over: Callable[[], None] = lambda: None
    say: Callable[[str], None] | None = None
    previews: Previews | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What a successful call gave.

    Exactly one of ``body`` (small, in memory) and ``artifact`` (already spooled) is set.
    ``cost_microusd`` is the provider's true cost, ``None`` when it does not say;
    ``estimate_microusd`` is then what list prices make of what the call used, if known.
    ``facts`` is JSON kept with the attempt: usage, seed, model, width, height.
    ``said`` is what the answer tells about the lane's limits.
    """

    media_type: str
    body: bytes | None = None
    artifact: Artifact | None = None
    cost_microusd: int | None = None
    estimate_microusd: int | None = None
    provider_request_id: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    said: Said | None = None


class Provider(Protocol):
    """An adapter to one API or local engine."""

    name: str
    crash_class: CrashClass
    quota: Quota

    def load(self, request: Request) -> Load:
        """Return what the call takes of the lane's limits: the most it can."""
        ...

    def lane(self, request: Request) -> str:
        """Return the lane (provider, account, model group) whose quota the call draws on."""
        ...

    def version(self, model: str) -> str:
        """Return the pinned version of ``model``; raises ``NotFoundError`` when unknown."""
        ...

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Raise ``RecipeError`` when ``params`` (unfilled templates) cannot fit ``model``."""
        ...

    def price(self, request: Request) -> Price:
        """Return the most that the call can cost."""
        ...

    async def open(self) -> None:
        """Start what the adapter needs (pools, sessions); called once before the first call."""
        ...

    async def close(self) -> None:
        """Stop everything that ``open`` or a call started."""
        ...

    async def call(self, call: Call) -> Reply:
        """Make the call; raises ``CallFailed`` for every ending but success."""
        ...

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Follow a call that was accepted earlier; class C. Raises ``CallFailed``.

        A failure of the provider or the lane that is not the call's own end (``ended``) says
        nothing about the call: it is followed again. So it is in ``call``, once accepted.
        """
        ...

    async def find(self, call: Call) -> str | None:
        """Return the provider's id of an earlier call by marker, or ``None``; class B."""
        ...

    async def cancel(self, provider_request_id: str, url: str | None) -> None:
        """Ask the provider to stop a call; a no-op where there is no such thing.

        ``url`` is what ``accepted`` was told. The call is followed to its end all the same.
        Raises ``CallFailed`` where it was not heard; that the call is over is no failure.
        """
        ...
