"""Black Forest Labs' shape: tasks that are submitted and looked at, their pictures for minutes.

Pictures are served here too, under ``/bfl/``.
"""

from __future__ import annotations

import re
from typing import Any

from headrace.limits import Dimension, Load
from headrace.simulator.desk import Desk, json_answer, key_of, marker_of, read_json
from headrace.simulator.jobs import Job, Jobs
from headrace.simulator.lane import Ask, Turned
from headrace.simulator.rules import Refused
from headrace.simulator.shapes.errors import Errors, status_of
from headrace.simulator.wire import Answer, Request

COST_CREDITS = 4.0
SAMPLE_S = 600.0
"""How long the address of a picture is good."""
_SUBMIT = re.compile(r"/v1/(flux[a-z0-9.-]{0,99})")
_LOOK, _CREDITS = "/v1/get_result", "/v1/credits"
_SAMPLE = re.compile(r"/bfl/([a-z0-9]+)/sample\.png")
_STATES = {"": "Pending", "succeeded": "Ready"}


class BflShape:
    """Answers ``/v1/flux…``, ``/v1/get_result``, ``/v1/credits`` and ``/bfl/``."""

    name = "bfl"

    def __init__(self, desk: Desk) -> None:
        self._desk, self._settings = desk, desk.settings
        self._voice = BflErrors(desk)
        self.jobs = Jobs(desk, "bfl")

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of this API."""
        is_named = request.path in (_LOOK, _CREDITS)
        return is_named or any(one.fullmatch(request.path) for one in (_SUBMIT, _SAMPLE))

    async def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; ``None`` for a reset."""
        sample = _SAMPLE.fullmatch(request.path)
        if sample is not None:
            return self._sample(sample[1])
        if self._settings.api_key and request.headers.get("x-key") != self._settings.api_key:
            return json_answer(403, {"detail": "Not authenticated"})
        submit = _SUBMIT.fullmatch(request.path)
        if (request.method == "POST") is (submit is None):
            return json_answer(405, {"detail": "Method Not Allowed"})
        if submit is not None:
            return await self._submit(request, submit[1])
        if request.path == _CREDITS:
            return json_answer(200, {"credits": 1000.0})
        return self._look(request)

    async def _submit(self, request: Request, model: str) -> Answer | None:
        body = read_json(request)
        if body is None or not isinstance(body.get("prompt", ""), str | None):
            wrong = {"loc": ["body", "prompt"], "msg": "Input should be a string", "type": "string"}
            return json_answer(422, {"detail": [wrong]})
        key, is_keyed = key_of(request)
        ask = Ask(self.name, model, Load(images=1), key, is_keyed=is_keyed)
        host = request.headers.get("host", "127.0.0.1")
        found = await self.jobs.create(ask, body, host, marker_of(request, body), self._voice)
        if not isinstance(found, Job):
            return found
        told = {
            "id": found.id,
            "polling_url": f"http://{found.host}{_LOOK}?id={found.id}",
            "cost": COST_CREDITS,
            "input_mp": 0.0,
            "output_mp": 1.05,
        }
        return json_answer(200, told)

    def _look(self, request: Request) -> Answer:
        name = request.asked().get("id")
        if name is None:
            wrong = {"loc": ["query", "id"], "msg": "Field required", "type": "missing"}
            return json_answer(422, {"detail": [wrong]})
        job = self.jobs.all.get(name)
        if job is None or not self.jobs.is_kept(job):
            return json_answer(200, _told(name, "Task not found"))
        return json_answer(200, self._state(job))

    def _state(self, job: Job) -> dict[str, Any]:
        if job.ending == "failed" and job.ticket.fault is None:
            details = {"Moderation Reasons": ["Safety Filter"]}
            return _told(job.id, "Content Moderated", details=details)
        if job.ending != "succeeded" or job.completed is None:
            return _told(job.id, _STATES.get(job.ending, "Error"))
        seed = job.input.get("seed")
        result = {
            "sample": f"http://{job.host}/bfl/{job.id}/sample.png",
            "prompt": job.input.get("prompt", ""),
            "seed": seed if isinstance(seed, int) else job.ticket.number,
            "start_time": self.jobs.started(job).timestamp(),
            "end_time": job.completed.timestamp(),
        }
        return _told(job.id, "Ready", result=result)

    def _sample(self, name: str) -> Answer:
        job = self.jobs.all.get(name)
        if job is None or job.ending != "succeeded" or job.completed is None:
            return Answer(404, b"Not Found", media_type="text/plain")
        age_s = (self._desk.clock.now() - job.completed).total_seconds()
        if age_s > min(SAMPLE_S, self._settings.output.ttl_s):
            page = b"<Error><Message>Request has expired</Message></Error>"
            return Answer(403, page, media_type="application/xml")
        pieces = self._desk.pictures.png(job.ticket.number)
        return Answer(200, pieces, media_type="image/png")


class BflErrors(Errors):
    """Words what is no success as Black Forest Labs does."""

    true_forms = ("body",)

    def spent(self) -> Answer:
        """Return the answer to a call for which no money is left."""
        return json_answer(402, {"detail": "Insufficient credits"})

    def limited(self, turned: Turned, refused: Refused) -> Answer:
        """Return the answer to a call that a limit refused."""
        is_width = refused.dimension is Dimension.CONCURRENCY
        message = "Too many concurrent requests" if is_width else "Too many requests"
        body = {"error": "rate_limit_exceeded", "message": message}
        return self.plainly(refused.wait_s, body, "message")

    def broken(self, kind: str) -> Answer:
        """Return the answer to a call that failed in the provider."""
        return json_answer(status_of(kind), {"detail": "Internal server error"})


def _told(
    name: str,
    status: str,
    *,
    result: dict[str, Any] | None = None,
    details: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Return a task as the API shows it."""
    return {
        "id": name,
        "status": status,
        "result": result,
        "progress": None,
        "details": details,
        "preview": None,
    }
