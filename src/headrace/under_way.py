"""The jobs that this process follows at providers: those of cancelled batches are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from headrace.outcome import CallFailed
from headrace.provider import Provider
from headrace.telemetry import log

STOP_S = 30.0
"""The most that one request to stop a job may take."""


@dataclass(slots=True, eq=False)
class JobUnderWay:
    """A call in flight; ``id`` is the provider's own, ``None`` until it has given one.

    ``asked``: somebody sees to it that the provider is asked to stop it.
    """

    batch_id: UUID
    provider: Provider
    id: str | None = None
    url: str | None = None
    asked: bool = False
    ended: bool = False


class JobsUnderWay:
    """The calls in flight of one process."""

    def __init__(self) -> None:
        self._jobs: dict[JobUnderWay, None] = {}

    @contextmanager
    def call(self, batch_id: UUID, provider: Provider) -> Iterator[JobUnderWay]:
        """Keep a call here while the block runs; who learns its id sets it."""
        job = JobUnderWay(batch_id, provider)
        self._jobs[job] = None
        try:
            yield job
        finally:
            job.ended = True
            del self._jobs[job]

    def to_stop(self) -> list[JobUnderWay]:
        """Return the jobs that could be stopped and that nobody was asked to stop yet."""
        return [job for job in self._jobs if job.id is not None and not job.asked]


async def ask_to_stop(provider: Provider, provider_request_id: str, url: str | None) -> bool:
    """Ask a provider to stop a job; whether it heard that. Never raises: the job is followed on."""
    try:
        async with asyncio.timeout(STOP_S):
            await provider.cancel(provider_request_id, url)
    except CallFailed as failure:
        log(provider=provider.name).warning("job_not_stopped", why=failure.outcome.reason)
    except TimeoutError:
        log(provider=provider.name).warning("job_not_stopped", why=f"no answer in {STOP_S:g} s")
    except Exception:  # broad: an adapter's fault must not end the loop that asks
        log(provider=provider.name).exception("adapter_fault")
    else:
        return True
    return False
