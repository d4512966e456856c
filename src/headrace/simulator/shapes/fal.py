"""The shape of fal's queue: jobs are taken in and wait their turn, their files are fetched.

As with fal, what follows a job leaves out the model's sub-path, a job that is under way
answers 202, and a failed one is ``COMPLETED`` with an error; why stands at its result.
"""

from __future__ import annotations

import re
from typing import Any

from headrace.limits import Load
from headrace.simulator.desk import Desk, is_let_in, json_answer, key_of, marker_of, read_json
from headrace.simulator.hints import Headers
from headrace.simulator.jobs import Job, Jobs
from headrace.simulator.lane import Ask, Turned
from headrace.simulator.rules import Refused
from headrace.simulator.shapes.errors import Errors, bad_gateway, status_of
from headrace.simulator.wire import Answer, Request

FILM_S = 3
_WORD = r"[A-Za-z0-9][\w.-]*"
_CREATE = re.compile(rf"/fal/({_WORD}/{_WORD}(?:/{_WORD})*)", re.ASCII)
_ONE = re.compile(rf"/fal/({_WORD}/{_WORD})/requests/([a-z0-9]+)(/status|/cancel)?", re.ASCII)
_FILE = re.compile(r"/fal-files/([a-z0-9]+)\.(?:png|mp4)")
_METHODS = {None: "GET", "/status": "GET", "/cancel": "PUT"}


class FalShape:
    """Answers ``/fal/owner/app``, the jobs below it, and ``/fal-files/``."""

    name = "fal"

    def __init__(self, desk: Desk) -> None:
        self._desk, self._settings = desk, desk.settings
        self._voice = FalErrors(desk)
        self.jobs = Jobs(desk, "f")

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of this API."""
        return any(one.fullmatch(request.path) for one in (_CREATE, _FILE))

    async def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; ``None`` for a reset."""
        file = _FILE.fullmatch(request.path)
        if file is not None:
            return self._file(file[1])
        if not is_let_in(request, self._settings.api_key):
            return json_answer(401, {"detail": "No user found for Key ID and Secret"})
        found = _ONE.fullmatch(request.path)
        if found is None:
            create = _CREATE.fullmatch(request.path)
            if create is None or request.method != "POST":
                return json_answer(405, {"detail": "Method Not Allowed"})
            return await self._create(request, create[1])
        job = self.jobs.all.get(found[2])
        if job is None or _app(job.model) != found[1]:
            return json_answer(404, {"detail": "Request not found"})
        if request.method != _METHODS[found[3]]:
            return json_answer(405, {"detail": "Method Not Allowed"})
        if found[3] == "/cancel":
            return self._cancel(job)
        return self._status(job) if found[3] == "/status" else self._result(job)

    async def _create(self, request: Request, model: str) -> Answer | None:
        body = read_json(request)
        if body is None:
            return json_answer(422, _detail("value_error", "The body is not a JSON object."))
        key, is_keyed = key_of(request)
        ask = Ask(self.name, model[:200], Load(images=1), key, job=True, is_keyed=is_keyed)
        host = request.headers.get("host", "127.0.0.1")
        # A model that makes films says so in its name, as fal's do.
        given = {"output": "video"} | body if "video" in model else body
        found = await self.jobs.create(ask, given, host, marker_of(request, body), self._voice)
        if not isinstance(found, Job):
            return found
        told = {"request_id": found.id, **self._addresses(found)}
        return json_answer(200, told | {"status": "IN_QUEUE", "queue_position": 0})

    def _cancel(self, job: Job) -> Answer:
        if job.ending:
            return json_answer(400, {"status": "ALREADY_COMPLETED"})
        self.jobs.cancel(job)
        return json_answer(202, {"status": "CANCELLATION_REQUESTED"})

    def _status(self, job: Job) -> Answer:
        told: dict[str, Any] = {"request_id": job.id, **self._addresses(job)}
        if not job.ending:
            if self.jobs.is_started(job):
                return json_answer(202, told | {"status": "IN_PROGRESS", "logs": []})
            return json_answer(202, told | {"status": "IN_QUEUE", "queue_position": 1})
        told |= {"status": "COMPLETED", "logs": [], "error": None, "error_type": None}
        if job.completed is not None:
            took_s = (job.completed - self.jobs.started(job)).total_seconds()
            told["metrics"] = {"inference_time": max(0.0, took_s)}
        failure = self._failure(job)
        if failure is not None:
            told |= {"error": failure[1], "error_type": failure[2]}
        return json_answer(200, told)

    def _result(self, job: Job) -> Answer:
        if not job.ending:
            return json_answer(400, {"detail": "Request is still in progress"})
        failure = self._failure(job)
        headers: Headers = (("x-fal-request-id", job.id),)
        if failure is not None:
            status, words, kind = failure
            headers = (*headers, ("x-fal-error-type", kind))
            return json_answer(status, _detail(kind, words), headers)
        if not self.jobs.is_kept(job):
            return json_answer(404, {"detail": "Request not found"})
        is_film = self.jobs.is_film(job)
        units = FILM_S if is_film else 1
        headers = (*headers, ("x-fal-billable-units", str(units)))
        address = f"http://{job.host}/fal-files/{job.id}"
        if is_film:
            file = {"url": f"{address}.mp4", "content_type": "video/mp4"}
            return json_answer(200, {"video": file, "seed": job.ticket.number}, headers)
        side = self._desk.pictures.side_px
        file = {"url": f"{address}.png", "content_type": "image/png"}
        body = {
            "images": [file | {"width": side, "height": side}],
            "seed": job.ticket.number,
            "has_nsfw_concepts": [False],
            "prompt": str(job.input.get("prompt", ""))[:1000],
        }
        return json_answer(200, body, headers)

    def _file(self, name: str) -> Answer:
        job = self.jobs.all.get(name)
        if job is None or job.ending != "succeeded" or not self.jobs.is_kept(job):
            return Answer(404, b"Not Found", media_type="text/plain")
        return self._desk.file(job.ticket.number, is_film=self.jobs.is_film(job))

    def _addresses(self, job: Job) -> dict[str, str]:
        base = f"http://{job.host}/fal/{_app(job.model)}/requests/{job.id}"
        return {
            "response_url": base,
            "status_url": f"{base}/status",
            "cancel_url": f"{base}/cancel",
        }

    def _failure(self, job: Job) -> tuple[int, str, str] | None:
        """Return status, words and type of a job's failure, ``None`` when it has not failed."""
        if job.ending == "succeeded":
            return None
        if job.ending == "canceled":
            return 400, "Request was cancelled", "request_cancelled"
        if job.ending == "aborted":
            return 504, "The generation took too long", "generation_timeout"
        if job.ticket.fault is None:
            words = "The content could not be processed: it was flagged by a content checker."
            return 422, words, "content_policy_violation"
        return 500, "Internal server error", "internal_server_error"


class FalErrors(Errors):
    """Words what is no success as fal does."""

    true_forms = ("seconds",)

    def spent(self) -> Answer:
        """Return the answer to a call for which no money is left."""
        words = "User is locked. Reason: Exhausted balance. Top up your balance."
        return json_answer(403, {"detail": words})

    def full(self, turned: Turned) -> Answer:
        """Return the answer to a call that has no place."""
        return json_answer(503, {"detail": "Service unavailable"})

    def limited(self, turned: Turned, refused: Refused) -> Answer:
        """Return the answer to a call that a limit refused."""
        return self.plainly(refused.wait_s, {"detail": "Rate limit exceeded"}, "detail")

    def broken(self, kind: str) -> Answer:
        """Return the answer to a call that failed in the provider, or before it in a proxy."""
        if kind == "502":
            return bad_gateway()
        return json_answer(status_of(kind), {"detail": "Internal Server Error"})


def _app(model: str) -> str:
    """Return owner and app of a model: its jobs are asked for there."""
    return "/".join(model.split("/")[:2])


def _detail(kind: str, words: str) -> dict[str, Any]:
    where = {"loc": ["body", "prompt"], "msg": words, "type": kind}
    return {"detail": [where | {"url": f"https://docs.fal.ai/errors#{kind}", "input": ""}]}
