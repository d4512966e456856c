"""A plain queue: a job is taken in, waits for its place, and is polled for; never too many."""

from __future__ import annotations

import re
from typing import Any

from headrace.limits import Load
from headrace.simulator.bodies import text
from headrace.simulator.desk import Desk, is_let_in, json_answer, key_of, marker_of, read_json
from headrace.simulator.jobs import Job, Jobs, moment
from headrace.simulator.lane import Ask, Turned
from headrace.simulator.rules import Refused
from headrace.simulator.shapes.errors import Errors, status_of
from headrace.simulator.wire import Answer, Request

_JOBS = "/queue/jobs"
_ONE = re.compile(r"/queue/jobs/([a-z0-9]+)(/status|/result|/cancel)?")


class QueueShape:
    """Answers ``/queue/jobs``: POST takes a job in, GET lists them (``?marker=``)."""

    name = "queue"

    def __init__(self, desk: Desk) -> None:
        self._desk, self._settings = desk, desk.settings
        self._voice = QueueErrors(desk)
        self.jobs = Jobs(desk, "q")

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of this API."""
        return request.path == _JOBS or _ONE.fullmatch(request.path) is not None

    async def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; ``None`` for a reset."""
        if not is_let_in(request, self._settings.api_key):
            return json_answer(401, {"detail": "Invalid key."})
        if request.path == _JOBS:
            return await self._create(request) if request.method == "POST" else self._list(request)
        found = _ONE.fullmatch(request.path)
        job = None if found is None else self.jobs.all.get(found[1])
        if found is None or job is None:
            return json_answer(404, {"detail": "There is no such job."})
        if found[2] == "/cancel":
            self.jobs.cancel(job)
        return self._result(job) if found[2] == "/result" else json_answer(200, self._told(job))

    async def _create(self, request: Request) -> Answer | None:
        body = read_json(request)
        if body is None:
            return json_answer(422, {"detail": "The body is not a JSON object."})
        key, is_keyed = key_of(request)
        model = body.get("model", "any")
        name = model[:200] if isinstance(model, str) else "any"
        ask = Ask(self.name, name, Load(images=1), key, job=True, is_keyed=is_keyed)
        host = request.headers.get("host", "127.0.0.1")
        marker = marker_of(request, body)
        found = await self.jobs.create(ask, body, host, marker, self._voice)
        return json_answer(200, self._told(found)) if isinstance(found, Job) else found

    def _list(self, request: Request) -> Answer:
        marker = request.asked().get("marker")
        found = [job for job in self.jobs.all.values() if marker in (None, job.marker)]
        return json_answer(200, {"jobs": [self._told(job) for job in found]})

    def _result(self, job: Job) -> Answer:
        if not job.ending:
            return json_answer(409, {"detail": "The job has not ended.", "id": job.id})
        if job.ending != "succeeded":
            is_refused = job.ending == "failed" and job.ticket.fault is None
            kind = "content_policy_violation" if is_refused else "internal_error"
            return json_answer(422 if is_refused else 500, {"detail": [{"type": kind}]})
        if not self.jobs.is_kept(job):
            return json_answer(410, {"detail": "The result is gone."})
        if job.input.get("output") == "text":
            tokens = self._settings.output.text_tokens
            said = text(str(job.input.get("prompt", "")), tokens)
            return json_answer(200, {"id": job.id, "text": said})
        return self._desk.file(job.ticket.number, is_film=self.jobs.is_film(job))

    def _told(self, job: Job) -> dict[str, Any]:
        base = f"http://{job.host}{_JOBS}/{job.id}"
        is_started = self.jobs.is_started(job)
        return {
            "id": job.id,
            "status": job.ending.upper() or ("IN_PROGRESS" if is_started else "IN_QUEUE"),
            "marker": job.marker,
            "created_at": moment(job.created),
            "status_url": f"{base}/status",
            "result_url": f"{base}/result",
            "cancel_url": f"{base}/cancel",
        }


class QueueErrors(Errors):
    """Words what is no success, plainly."""

    true_forms = ("seconds",)

    def spent(self) -> Answer:
        """Return the answer to a call for which no money is left."""
        return json_answer(402, {"detail": "spent"})

    def full(self, turned: Turned) -> Answer:
        """Return the answer to a call that has no place: it says why."""
        return json_answer(503, {"detail": turned.verdict})

    def limited(self, turned: Turned, refused: Refused) -> Answer:
        """Return the answer to a call that a limit refused."""
        return self.plainly(refused.wait_s, {"detail": "Rate limit exceeded"}, "detail")

    def broken(self, kind: str) -> Answer:
        """Return the answer to a call that failed in the provider."""
        return json_answer(status_of(kind), {"detail": "internal error"})
