"""Work that is asked for now and fetched later: it begins, goes on and ends by itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.simulator.desk import UNSEEN, Desk, Voice
from headrace.simulator.lane import Ask, Ticket, Turned
from headrace.simulator.settings import MEDIA
from headrace.simulator.wire import Answer

_ENDINGS = {"failed": "failed", "aborted": "aborted"}


@dataclass(slots=True, eq=False)
class Job:
    """One job. ``ending`` is empty until it ended: succeeded, failed, aborted or canceled.

    ``input`` is what the client sent, ``host`` where it sent it, for absolute URLs.
    """

    id: str
    ticket: Ticket
    input: dict[str, Any]
    host: str
    marker: str
    created: datetime
    ending: str = ""
    completed: datetime | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def model(self) -> str:
        """Return the model that was asked for."""
        return self.ticket.ask.model


class Jobs:
    """All jobs of a shape, the oldest first; each is a task that sleeps until its end."""

    def __init__(self, desk: Desk, prefix: str) -> None:
        self._desk, self._prefix = desk, prefix
        self.all: dict[str, Job] = {}
        self._by_key: dict[str, Job] = {}
        self._tasks: dict[Job, asyncio.Task[None]] = {}

    async def create(
        self, ask: Ask, body: dict[str, Any], host: str, marker: str, voice: Voice
    ) -> Job | Answer | None:
        """Start a job; returns the answer of one that is not started, ``None`` for a reset.

        In class A a key seen before gives the job that it started.
        """
        is_known = ask.is_keyed and self._desk.settings.crash_class == "A"
        if is_known and ask.key in self._by_key:
            job = self._by_key[ask.key]
            self._desk.lane.replay(ask, 200, self._desk.lane.now_s())
            return job
        entered = self._desk.lane.enter(ask)
        if isinstance(entered, Turned):
            return await self._desk.turn_away(entered, voice)
        fault = None if entered.fault is None else entered.fault.kind
        if fault in (None, *UNSEEN, "failed", "aborted"):
            job = self._start(entered, body, host, marker)
            if is_known:
                self._by_key[ask.key] = job
            return None if fault in UNSEEN else job
        await self._desk.clock.sleep(entered.end_s - entered.at_s)
        answer = None if fault in (None, "hang") else voice.broken(fault)
        status = 0 if answer is None else answer.status
        self._desk.lane.leave(entered, status, paid=False, delivered=False)
        return answer

    def cancel(self, job: Job) -> None:
        """Stop a job that has not ended; it is paid when its work had begun."""
        task = self._tasks.pop(job, None)
        if task is not None:
            task.cancel()
            self._end(job, "canceled", paid=self.is_started(job))

    def is_started(self, job: Job) -> bool:
        """Tell whether the job's work has begun (it may wait for its place before)."""
        return self._desk.lane.now_s() >= job.ticket.start_s

    def started(self, job: Job) -> datetime:
        """Return when the job's work began."""
        return job.created + timedelta(seconds=job.ticket.start_s - job.ticket.at_s)

    def is_kept(self, job: Job) -> bool:
        """Tell whether the job's results can still be fetched."""
        if job.completed is None:
            return True
        age_s = (self._desk.clock.now() - job.completed).total_seconds()
        return age_s <= self._desk.settings.output.ttl_s

    def is_film(self, job: Job) -> bool:
        """Tell whether the job makes a film: its input says so, or the settings do."""
        told = job.input.get("output")
        wanted = told if told in MEDIA else self._desk.settings.output.media
        return wanted == "video"

    def close(self) -> None:
        """Stop all jobs without a word."""
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _start(self, ticket: Ticket, body: dict[str, Any], host: str, marker: str) -> Job:
        name = f"{self._prefix}{ticket.number:020d}"
        job = Job(name, ticket, body, host, marker, self._desk.clock.now())
        self.all[name] = job
        self._tasks[job] = asyncio.get_running_loop().create_task(self._work(job))
        return job

    async def _work(self, job: Job) -> None:
        ticket = job.ticket
        await self._desk.clock.sleep(ticket.end_s - ticket.at_s)
        self._tasks.pop(job, None)
        is_refused = self._desk.settings.refuses(str(job.input.get("prompt", "")))
        kind = "" if ticket.fault is None else ticket.fault.kind
        ending = "failed" if is_refused else _ENDINGS.get(kind, "succeeded")
        self._end(job, ending, paid=ending == "succeeded")

    def _end(self, job: Job, ending: str, *, paid: bool) -> None:
        job.ending, job.completed = ending, self._desk.clock.now()
        fault = job.ticket.fault
        delivered = ending == "succeeded" and fault is None
        status = 0 if fault is not None and fault.kind in UNSEEN else 200
        self._desk.lane.leave(job.ticket, status, paid=paid, delivered=delivered)
        job.ended.set()


def moment(at: datetime) -> str:
    """Return a time as RFC 3339 with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
