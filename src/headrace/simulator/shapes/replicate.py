"""Replicate's shape: predictions that are created, polled, cancelled and listed.

Their files are served here too, under ``/files/``.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from headrace.clock import Clock
from headrace.limits import Dimension, Load
from headrace.simulator.desk import Desk, is_let_in, json_answer, key_of, marker_of, read_json
from headrace.simulator.hints import Headers
from headrace.simulator.jobs import Job, Jobs, moment
from headrace.simulator.lane import Ask, Turned
from headrace.simulator.limiters import TokenBucket
from headrace.simulator.rules import Refused
from headrace.simulator.shapes.errors import Errors, bad_gateway, status_of
from headrace.simulator.terms import spoken
from headrace.simulator.wire import Answer, Request

PAGE = 100
WAIT_MAX_S = 60
OUTPUTS_MAX = 10
_PROBLEM = "application/problem+json"
_CREATE = re.compile(r"/v1/(?:(?:models|deployments)/([^/]+/[^/]+)/)?predictions")
_ONE = re.compile(r"/v1/predictions/([a-z0-9]+)(/cancel)?")
_FILE = re.compile(r"/files/([a-z0-9]+)/out-(\d)\.(?:png|mp4)")
_UPLOAD, _ACCOUNT = "/v1/files", "/v1/account"
UPLOAD_S = 86_400.0
"""How long an uploaded file stays."""
_PREFER = re.compile(r"wait(?:=([1-9]|[1-5][0-9]|60))?")


class ReplicateShape:
    """Answers ``/v1/predictions``, ``/v1/models/…/predictions``, ``/v1/files`` and ``/files/``."""

    name = "replicate"

    def __init__(self, desk: Desk) -> None:
        self._desk, self._settings = desk, desk.settings
        self._voice = ReplicateErrors(desk)
        self.jobs = Jobs(desk, "sim")
        polls = self._settings.polls_per_min
        self._polls = None if polls is None else TokenBucket(polls / 60.0, polls)

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of this API."""
        is_named = request.path in (_UPLOAD, _ACCOUNT)
        return is_named or any(one.fullmatch(request.path) for one in (_CREATE, _ONE, _FILE))

    async def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; ``None`` for a reset."""
        file = _FILE.fullmatch(request.path)
        if file is not None:
            return self._file(file[1], int(file[2]))
        if not is_let_in(request, self._settings.api_key):
            detail = "You did not pass a valid authentication token"
            return problem(401, detail, title="Unauthenticated")
        create = _CREATE.fullmatch(request.path)
        if create is not None and request.method == "POST":
            return await self._create(request, create[1])
        refusal = self._poll_refusal()
        if refusal is not None:
            return refusal
        if create is not None and create[1] is None and request.method == "GET":
            return self._list(request)
        if (request.method, request.path) == ("POST", _UPLOAD):
            return self._upload(request)
        return self._one(request)

    def _one(self, request: Request) -> Answer:
        if (request.method, request.path) == ("GET", _ACCOUNT):
            return json_answer(200, {"type": "user", "username": "simulated"}, self._headers())
        one = _ONE.fullmatch(request.path)
        job = None if one is None else self.jobs.all.get(one[1])
        if one is None or job is None:
            return problem(404, "The requested resource could not be found.", title="Not Found")
        is_cancel = one[2] is not None
        if is_cancel != (request.method == "POST"):
            return problem(405, f'Method "{request.method}" not allowed.')
        if is_cancel:
            self.jobs.cancel(job)
        return json_answer(200, self._told(job), self._headers())

    async def _create(self, request: Request, model: str | None) -> Answer | None:
        body = read_json(request)
        if body is None or not isinstance(body.get("input"), dict):
            return problem(422, "- input is required", title="Input validation failed")
        version = body.get("version")
        name = model or (version if isinstance(version, str) else "")
        if not name:
            return problem(422, "- version is required", title="Input validation failed")
        given: dict[str, Any] = body["input"]
        key, is_keyed = key_of(request)
        load = Load(images=_outputs(given))
        ask = Ask(self.name, name[:200], load, key, is_keyed=is_keyed)
        host = request.headers.get("host", "127.0.0.1")
        found = await self.jobs.create(
            ask, given, host, marker_of(request, body | given), self._voice
        )
        if not isinstance(found, Job):
            return found
        return await self._created(request, found)

    async def _created(self, request: Request, job: Job) -> Answer:
        """Answer at once, or when the job has ended, or when the wait asked for is over."""
        status, headers = 201, self._headers()
        prefer = _PREFER.fullmatch(request.headers.get("prefer", ""))
        if prefer is not None:
            wait_s = int(prefer[1] or WAIT_MAX_S)
            if not await _ended_within(job, wait_s, self._desk.clock):
                status = 202
            headers = (*headers, ("preference-applied", request.headers["prefer"]))
        return json_answer(status, self._told(job), headers)

    def _list(self, request: Request) -> Answer:
        """Return a page, the newest first; ``cursor`` is how many were on pages before."""
        asked = request.asked()
        found = [job for job in reversed(self.jobs.all.values()) if _is_asked_for(job, asked)]
        cursor = asked.get("cursor", "0")
        at = int(cursor) if cursor.isascii() and cursor.isdigit() else 0
        following = None
        if at + PAGE < len(found):
            words = urlencode(asked | {"cursor": str(at + PAGE)})
            host = request.headers.get("host", "127.0.0.1")
            following = f"http://{host}/v1/predictions?{words}"
        page = [self._told(job) for job in found[at : at + PAGE]]
        body = {"previous": None, "next": following, "results": page}
        return json_answer(200, body, self._headers())

    def _upload(self, request: Request) -> Answer:
        """Take a file in, and forget it: nothing here looks at inputs."""
        digest = hashlib.sha256(request.body).hexdigest()
        host = request.headers.get("host", "127.0.0.1")
        now = self._desk.clock.now()
        told = {
            "id": digest[:32],
            "content_type": "application/octet-stream",
            "size": len(request.body),
            "checksums": {"sha256": digest},
            "metadata": {},
            "created_at": moment(now),
            "expires_at": moment(now + timedelta(seconds=UPLOAD_S)),
            "urls": {"get": f"http://{host}{_UPLOAD}/{digest[:32]}"},
        }
        return json_answer(201, told, self._headers())

    def _file(self, name: str, number: int) -> Answer:
        job = self.jobs.all.get(name)
        if job is None or job.ending != "succeeded" or not self.jobs.is_kept(job):
            return Answer(404, b"Not Found", media_type="text/plain")
        number += job.ticket.number * OUTPUTS_MAX
        return self._desk.file(number, is_film=self.jobs.is_film(job))

    def _told(self, job: Job) -> dict[str, Any]:
        """Return a prediction as the API shows it."""
        base = f"http://{job.host}/v1/predictions/{job.id}"
        is_kept = self.jobs.is_kept(job)
        output = None
        if job.ending == "succeeded" and is_kept:
            count = job.ticket.ask.load.images
            ending = "mp4" if self.jobs.is_film(job) else "png"
            files = f"http://{job.host}/files/{job.id}/out"
            output = [f"{files}-{at}.{ending}" for at in range(count)]
        started = self.jobs.started(job) if self.jobs.is_started(job) else None
        told: dict[str, Any] = {
            "id": job.id,
            "model": job.model,
            "version": "hidden",
            "input": job.input if is_kept else {},
            "logs": "",
            "output": output,
            "data_removed": not is_kept,
            "error": self._error(job),
            "status": job.ending or ("starting" if started is None else "processing"),
            "created_at": moment(job.created),
            "source": "api",
            "urls": {
                "web": f"http://{job.host}/p/{job.id}",
                "get": base,
                "cancel": f"{base}/cancel",
            },
        }
        if started is not None:
            told["started_at"] = moment(started)
        if job.completed is not None:
            told["completed_at"] = moment(job.completed)
            work_s = max(0.0, (job.completed - (started or job.completed)).total_seconds())
            total_s = (job.completed - job.created).total_seconds()
            told["metrics"] = {"predict_time": work_s, "total_time": total_s}
        return told

    def _error(self, job: Job) -> str | None:
        if job.ending not in ("failed", "aborted"):
            return None
        if job.ticket.fault is None:
            return "The input or output was flagged as sensitive. Please try again. (E005)"
        return "Director: unexpected error handling prediction (E1000)"

    def _headers(self) -> Headers:
        """Return what is left of the requests limit, as every success tells it."""
        terms = self._settings.headers
        found = self._desk.lane.standings(self._desk.lane.now_s()).get(Dimension.REQUESTS)
        if terms.kind == "none" or found is None:
            return ()
        left = found.remaining
        if terms.kind == "misleading":
            left = (found.amount if terms.stuck else left) * terms.factor
        return (
            ("ratelimit-remaining", str(int(left + 1e-9))),
            ("ratelimit-reset", str(max(1, int(found.reset_s + 0.999)))),
        )

    def _poll_refusal(self) -> Answer | None:
        if self._polls is None:
            return None
        now_s = self._desk.lane.now_s()
        wait_s = self._polls.wait_s(1, now_s)
        if wait_s > 0:
            return self._voice.throttled(wait_s, "")
        self._polls.take(1, now_s)
        return None


class ReplicateErrors(Errors):
    """Words what is no success as Replicate does."""

    true_forms = ("body", "text")

    def spent(self) -> Answer:
        """Return the answer to a call for which no money is left."""
        detail = "You have insufficient credit to run this model."
        return problem(402, detail, title="Insufficient credit")

    def limited(self, turned: Turned, refused: Refused) -> Answer:
        """Return the answer to a call that a limit refused."""
        limit = turned.standing
        assert limit is not None
        states = self._settings.states_limits
        if refused.dimension is Dimension.CONCURRENCY:
            many = f"You may run {limit.amount:g}" if states else "Too many run"
            return self.throttled(refused.wait_s, f" {many} at a time.")
        amount = f"is {spoken(limit.amount)} per minute" if states else "is reached"
        said = f" Your rate limit for creating predictions {amount}."
        return self.throttled(refused.wait_s, said)

    def broken(self, kind: str) -> Answer:
        """Return the answer to a call that failed in the provider, or before it in a proxy."""
        if kind == "502":
            return bad_gateway()
        return problem(status_of(kind), "Internal server error", title="Internal Server Error")

    def throttled(self, wait_s: float, said: str) -> Answer:
        """Return a 429 that tells the wait in the form that the settings ask for."""
        told = self.hint(wait_s)
        detail = f"Request was throttled.{said}"
        if told.text_s is not None:
            detail += f" Your rate limit resets in ~{max(1, -int(-told.text_s // 1))}s."
        body: dict[str, Any] = {"detail": detail, "status": 429}
        if told.body_s is not None:
            body["retry_after"] = told.body_s
        if told.retry_info:
            kind = "type.googleapis.com/google.rpc.RetryInfo"
            body["details"] = [{"@type": kind, "retryDelay": f"{wait_s:.3f}s"}]
        return json_answer(429, body, told.headers)


def problem(status: int, detail: str, title: str = "Error") -> Answer:
    """Return an error as Replicate words it (RFC 9457)."""
    body = {"title": title, "detail": detail, "status": status}
    return json_answer(status, body, media_type=_PROBLEM)


def _outputs(given: dict[str, Any]) -> int:
    count = given.get("num_outputs", 1)
    is_count = isinstance(count, int) and not isinstance(count, bool)
    return min(max(count, 1), OUTPUTS_MAX) if is_count else 1


def _is_asked_for(job: Job, asked: dict[str, str]) -> bool:
    """Tell whether a job was created in the span that a list asks for."""
    after, before = asked.get("created_after"), asked.get("created_before")
    with suppress(ValueError, TypeError):
        if after is not None and job.created < datetime.fromisoformat(after):
            return False
        if before is not None and job.created >= datetime.fromisoformat(before):
            return False
    return True


async def _ended_within(job: Job, wait_s: float, clock: Clock) -> bool:
    """Wait for a job's end, at most so long; tell whether it ended."""
    ended = asyncio.ensure_future(job.ended.wait())
    over = asyncio.ensure_future(clock.sleep(wait_s))
    try:
        await asyncio.wait({ended, over}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        over.cancel()
    return job.ended.is_set()
