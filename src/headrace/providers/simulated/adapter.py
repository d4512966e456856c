"""The ``simulated`` provider: answers like a real one, with the faults it is told."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import Any

import msgspec

from headrace.clock import Clock, SystemClock
from headrace.errors import NotFoundError
from headrace.film_body import FilmBody
from headrace.limits import ONE_CALL, Dimension, Limit, Load, Quota
from headrace.made_up import made_up, schema_of
from headrace.nearest import did_you_mean
from headrace.outcome import CallFailed, Outcome, OutcomeKind, failed
from headrace.price import Price
from headrace.provider import Call, CrashClass, Reply
from headrace.providers.simulated.call_log import CallLog, Job
from headrace.providers.simulated.png_body import PngBody
from headrace.providers.simulated.settings import LogNormal, SimulatedSettings, read_settings
from headrace.request import Request

SPOOL_BYTES_MIN = 64 * 1024
"""Bodies above this go through the spool in pieces."""

_WORDS = b" And so the water turns the wheel."
_JSON = msgspec.json.Encoder()
_BY_CONTENT = frozenset({OutcomeKind.REFUSED, OutcomeKind.INVALID})
# What a provider bills although we get nothing: the call was made, its fruit is lost.
_PAID = frozenset({OutcomeKind.UNKNOWN, OutcomeKind.NO_OUTPUT, OutcomeKind.LOST_RESULT})
_WAITS = frozenset({OutcomeKind.RATE_LIMITED, OutcomeKind.OVERLOADED, OutcomeKind.QUOTA_EXHAUSTED})
_REASONS = {
    OutcomeKind.REFUSED: ("the simulated provider refused the content", "Change the prompt."),
    OutcomeKind.INVALID: ("the simulated provider rejected the request", "Change the params."),
    OutcomeKind.AUTH: ("the simulated provider rejected the key", "Lower failures.auth."),
}


class SimulatedProvider:
    """A provider on this machine, for demos, benchmarks and fault tests.

    ``calls_received`` counts calls of this object, ``purchases`` those that a provider
    would bill, ``in_flight_max`` the most that were under way at once.
    """

    def __init__(
        self,
        settings: SimulatedSettings | None = None,
        *,
        name: str = "simulated",
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings = settings or SimulatedSettings()
        self.name = name
        self.crash_class = settings.crash_class
        self.films_only = settings.body == "video"
        width = Limit(Dimension.CONCURRENCY, settings.concurrency)
        self.quota = Quota(settings.concurrency, (width,), pinned=True)
        self.calls_received = self.purchases = 0
        self.in_flight = self.in_flight_max = 0
        self.log = CallLog(settings.log_path)
        self._sent: dict[str, int] = {}
        self._clock: Clock = clock or SystemClock()
        self._price = Price(settings.price_microcredits, settings.cost_microusd)
        self._picture = _picture(settings)
        self._spools = _body_bytes(settings, self._picture) > SPOOL_BYTES_MIN
        self._version = _version(settings)
        # Nothing to remember, to wait for or to fail: the call is only its answer.
        self._instant = (
            settings.latency_s == 0.0
            and not settings.failures
            and settings.log_path is None
            and settings.crash_class in (CrashClass.PURE, CrashClass.BLIND)
        )

    @classmethod
    def from_config(cls, name: str, table: dict[str, Any], clock: Clock) -> SimulatedProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_settings(name, table), name=name, clock=clock)

    def load(self, request: Request) -> Load:
        """Return the load of a call: one, whatever it asks for."""
        return ONE_CALL

    def lane(self, request: Request) -> str:
        """Return the lane: each model has its own quota."""
        return f"{self.name}/{request.model}"

    def version(self, model: str) -> str:
        """Return a version that changes with the bodies; any model, unless ``models`` is set."""
        models = self.settings.models
        if models and model not in models:
            raise NotFoundError(
                f"the provider {self.name!r} has no model {model!r}",
                remedy=did_you_mean(model, models),
            )
        return self._version

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Accept any params of a known model."""
        self.version(model)

    def price(self, request: Request) -> Price:
        """Return the same price for every call."""
        return self._price

    async def open(self) -> None:
        """Start nothing: the log opens with its first line."""

    async def close(self) -> None:
        """Close the log."""
        self.log.close()

    async def call(self, call: Call) -> Reply:
        """Answer a call; raises ``CallFailed`` for the share of them that is to fail."""
        self.calls_received += 1
        for sources in call.request.placed().values():
            for sha256_hex in sources:
                await call.source(sha256_hex)
        if self._instant:
            self.purchases += 1
            return await self._reply(call, None)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            return await self._answer(call)
        finally:
            self.in_flight -= 1

    async def _answer(self, call: Call) -> Reply:
        fails = self._fails(call)
        if fails is OutcomeKind.TIMEOUT:
            # Never arrived, so it is not in the log.
            raise failed(fails, "no connection to the simulated provider")
        job, repeat = self._receive(call, fails)
        if job is None:
            assert fails is not None  # only a failing call leaves no job
            raise CallFailed(self._outcome(fails, call, None))
        if self.crash_class is CrashClass.POLLED:
            await call.accepted(job.id, f"simulated://{self.name}/{job.id}")
        await self._wait(job)
        if fails is not None and not repeat:
            raise CallFailed(self._outcome(fails, call, job.id))
        return await self._reply(call, job.id)

    def _receive(self, call: Call, fails: OutcomeKind | None) -> tuple[Job | None, bool]:
        """Take a call in and log it; return its job if it is billed, and if it was before."""
        with self.log.locked():
            if self.crash_class is CrashClass.KEYED:
                known = self.log.by_key(call.key)
                if known is not None:
                    self._log(call, "create", known.id, "repeat", paid=False)
                    return known, True
            if fails is not None and fails not in _PAID:
                self._log(call, "create", None, fails.value, paid=False)
                return None, False
            job = Job(
                "sim_" + secrets.token_hex(10),
                call.request.fingerprint.hex(),
                self._clock.now().timestamp() + self._latency_s(call),
            )
            outcome = fails.value if fails is not None else OutcomeKind.SUCCESS.value
            self._log(call, "create", job.id, outcome, paid=True, ready_at_s=job.ready_at_s)
            self.purchases += 1
            return job, False

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Answer a poll for a call accepted earlier, also by a process that is gone."""
        job = self.log.job(provider_request_id)
        outcome = OutcomeKind.SUCCESS if job is not None else OutcomeKind.LOST_RESULT
        if job is not None and job.cancelled:
            outcome = OutcomeKind.CANCELLED
        self._log(call, "poll", provider_request_id, outcome.value, paid=False)
        if job is None or outcome is not OutcomeKind.SUCCESS:
            why = "cancelled" if job is not None else "not known to the simulated provider"
            told = f"the call {provider_request_id!r} is {why}"
            raise failed(outcome, told, ended=job is None)
        await self._wait(job)
        return await self._reply(call, provider_request_id)

    async def find(self, call: Call) -> str | None:
        """Return the id of an earlier billed call with the same marker, or ``None``."""
        job = self.log.by_marker(call.marker)
        found = job.id if job is not None else None
        self._log(call, "find", found, "found" if found else "nothing", paid=False)
        return found

    async def cancel(self, provider_request_id: str, url: str | None) -> None:
        """Mark a call as cancelled: a later poll says so."""
        line = {"kind": "cancel", "id": provider_request_id, "pid": os.getpid(), "paid": False}
        self.log.append(line)

    # -- what an answer is made of -----------------------------------------------------------

    def _log(
        self,
        call: Call,
        kind: str,
        job_id: str | None,
        outcome: str,
        *,
        paid: bool,
        ready_at_s: float = 0.0,
    ) -> None:
        self.log.append(
            {
                "kind": kind,
                "key": call.key,
                "marker": call.marker,
                "fingerprint": call.request.fingerprint.hex(),
                "model": call.request.model,
                "prompt": call.request.params.get("prompt"),
                "pid": os.getpid(),
                "number": self.calls_received,
                "id": job_id,
                "outcome": outcome,
                "paid": paid,
                "ready_at_s": ready_at_s,
            }
        )

    def _share(self, what: bytes) -> float:
        """Return a share between 0 and 1 that ``what`` and the seed decide."""
        seed = self.settings.seed.to_bytes(8, "big", signed=False)
        digest = hashlib.blake2b(what, digest_size=8, key=seed).digest()
        return int.from_bytes(digest, "big") / 2**64

    def _fails(self, call: Call) -> OutcomeKind | None:
        if not self.settings.failures:
            return None
        by_content = self._share(b"content" + call.request.fingerprint)
        # Sent again under its key, a call meets another moment: what was spent or down passes.
        nth = self._sent[call.key] = self._sent.get(call.key, 0) + 1
        again = b"" if nth == 1 else b" %d" % nth
        by_key = self._share(b"key" + call.key.encode() + again)
        for kind, share in self.settings.failures.items():
            if kind in _BY_CONTENT:
                by_content -= share
            else:
                by_key -= share
            if by_content < 0 or by_key < 0:
                return kind
        return None

    def _outcome(self, kind: OutcomeKind, call: Call, job_id: str | None) -> Outcome:
        reason, remedy = _REASONS.get(kind, (f"simulated: {kind.value}", ""))
        wait_s = None
        if kind in _WAITS:
            named = self._share(b"wait" + call.key.encode()) < self.settings.retry_after_share
            wait_s = self.settings.retry_after_s if named else None
        # Whoever never saw the answer knows neither its id nor its cost.
        seen = job_id is not None and kind is not OutcomeKind.UNKNOWN
        polled = self.crash_class is CrashClass.POLLED
        return Outcome(
            kind,
            reason,
            remedy=remedy,
            wait_s=wait_s,
            provider_request_id=job_id if seen or polled else None,
            cost_microusd=self.settings.cost_microusd if seen else (None if job_id else 0),
        )

    def _latency_s(self, call: Call) -> float:
        latency_s = self.settings.latency_s
        if isinstance(latency_s, LogNormal):
            return latency_s.at(self._share(b"latency" + call.key.encode()))
        return latency_s

    async def _wait(self, job: Job) -> None:
        left_s = job.ready_at_s - self._clock.now().timestamp()
        if left_s > 0:
            await self._clock.sleep(left_s)

    async def _reply(self, call: Call, job_id: str | None) -> Reply:
        settings, digest = self.settings, call.request.fingerprint
        placed = call.request.placed()
        facts: dict[str, Any] = {"sources": placed} if placed else {}
        if self._picture is None:
            media_type, body = _text(settings, call.request, digest)
        else:
            facts |= {"width": self._picture.width_px, "height": self._picture.height_px}
            media_type, body = self._picture.media_type, b""
        more: dict[str, Any] = {
            "cost_microusd": settings.cost_microusd,
            "provider_request_id": job_id,
            "facts": facts,
        }
        if self._spools:
            pieces = self._picture.pieces(digest) if self._picture is not None else _cut(body)
            async with call.spool(media_type) as spool:
                for piece in pieces:
                    await spool.write(piece)
                artifact = await spool.commit()
            return Reply(media_type, artifact=artifact, **more)
        return Reply(
            media_type, body=self._picture.whole(digest) if self._picture else body, **more
        )


def _picture(settings: SimulatedSettings) -> PngBody | FilmBody | None:
    if settings.body == "video":
        return FilmBody(settings.body_bytes)
    if settings.body == "image":
        return PngBody(*settings.size_px, settings.body_bytes)
    return None


def _body_bytes(settings: SimulatedSettings, picture: PngBody | FilmBody | None) -> int:
    return picture.size_bytes if picture is not None else settings.body_bytes


def _version(settings: SimulatedSettings) -> str:
    shape = f"{settings.body} {settings.size_px} {settings.body_bytes}"
    return "2-" + hashlib.sha256(shape.encode()).hexdigest()[:12]


def _text(settings: SimulatedSettings, request: Request, digest: bytes) -> tuple[str, bytes]:
    prompt = str(request.params.get("prompt", ""))[:500]
    mark = digest[:6].hex()
    schema = schema_of(request.params.get("response_format"))
    if schema is not None:
        answer = made_up(schema, f"simulated-{mark}")
        return "application/json", _JSON.encode(answer).ljust(settings.body_bytes)
    if settings.body == "json":
        body = _JSON.encode({"answer": prompt, "request": mark})
        return "application/json", body.ljust(settings.body_bytes)
    body = f"Simulated answer {mark}: {prompt}".encode("utf-8", "replace")
    missing = settings.body_bytes - len(body)
    if missing > 0:
        body += (_WORDS * (missing // len(_WORDS) + 1))[:missing]
    return "text/plain", body


def _cut(body: bytes) -> list[bytes]:
    step = SPOOL_BYTES_MIN
    return [body[at : at + step] for at in range(0, len(body), step)]
