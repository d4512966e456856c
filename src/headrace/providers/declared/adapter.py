"""The ``http`` provider: an API that its user describes in a table, instead of an adapter."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from yarl import URL

from headrace.clock import Clock
from headrace.errors import InputError
from headrace.fingerprint import canonical_json
from headrace.limits import Said
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.provider import Call, CrashClass, Reply
from headrace.providers.declared.settings import Declared, Ending, Path, Taking, read_declared
from headrace.providers.remote.adapter import ID_CHARS_MAX, RemoteProvider
from headrace.providers.remote.base64_field import Base64Field
from headrace.providers.remote.following import Follower, JobFailed
from headrace.providers.remote.http_calls import PIECE_BYTES, read_error, read_object, read_whole
from headrace.providers.remote.letters import Parcel
from headrace.providers.remote.media import FILMS
from headrace.providers.remote.receiving import fetched, receiving, take_body
from headrace.request import Request
from headrace.signals import read_announced
from headrace.waits import clamped, read_number, read_reset

COST_MICROUSD_MAX = 10**12


class HttpProvider(RemoteProvider):
    """Calls an API as ``[providers.<name>]`` describes it.

    Templates are filled from the params of the request, its ``prompt`` and ``model``; what
    stands in a path is escaped, so that no row can change where a call goes. A job is
    written down by its id and followed.
    """

    needs_prompt = False

    def __init__(self, declared: Declared, *, name: str, clock: Clock) -> None:
        headers = dict(declared.headers)
        if declared.remote.api_key:
            headers[declared.auth] = declared.auth_prefix + declared.remote.api_key
        super().__init__(declared.remote, name=name, clock=clock, headers=headers)
        self._declared = declared
        self.films_only = declared.taking.wanted == FILMS
        asking = declared.asking
        self._follower = Follower(clock, per_minute=asking.per_minute if asking else 300.0)
        self._sends_key = self.crash_class is CrashClass.KEYED

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> HttpProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_declared(name, table), name=name, clock=clock)

    def lane(self, request: Request) -> str:
        """Return the lane: a model of its own, or the account's."""
        return self.name if self._declared.lane == "account" else super().lane(request)

    async def call(self, call: Call) -> Reply:
        """Make the call, and follow the job where it is one; raises ``CallFailed``."""
        sending, asking = self._declared.sending, self._declared.asking
        values = {**sending.defaults, **call.request.params, "model": call.request.model}
        url = self._address(values)
        headers = {sending.key_header: call.key} if self._sends_key else None

        async def take(response: aiohttp.ClientResponse) -> Reply | tuple[str, str | None]:
            await self._check(response, call.deadline_s)
            if asking is None:
                return await self._take(response, call)
            return self._accepted(response, await read_whole(response))

        if sending.method == "GET":
            # Asking costs as much as posting where the answer is a result.
            ended = await self.http.get(url, call.deadline_s, take, headers, paid=True)
        else:
            body, content_type = self._body(call.request, values)
            more = {**(headers or {}), **content_type}
            ended = await self.http.post(url, body, call.deadline_s, take, more)
        if isinstance(ended, Reply):
            return self.priced(ended, call.request.model)
        job_id, job_url = ended
        await call.accepted(job_id, job_url)
        return await self.resume(call, job_id, job_url)

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Follow a job until its result is here; raises ``CallFailed``."""
        asking = self._declared.asking
        if asking is None:
            return await super().resume(call, provider_request_id, url)
        address = self._job_address(provider_request_id, url)

        async def look() -> tuple[URL | None, dict[str, Any]] | None:
            return await self.http.get(address, min(call.deadline_s, 60.0), self._looked)

        try:
            result_url, told = await self._follower.follow(
                look, call.deadline_s, provider_request_id
            )
            if result_url is None:
                taken = await self._taken(told, call, provider_request_id)
                return self.priced(taken, call.request.model)

            async def ask() -> Reply:
                return await self.http.get(
                    result_url, call.deadline_s, lambda response: self._final(response, call)
                )

            # The job is done and paid: a passing fault here is no reason to buy it again.
            reply = await self._follower.follow(
                ask, call.deadline_s, provider_request_id, first_s=0.0
            )
            return self.priced(reply, call.request.model)
        except CallFailed as failure:
            outcome = replace(failure.outcome, provider_request_id=provider_request_id)
            raise CallFailed(outcome) from failure

    # -- what is sent -----------------------------------------------------------------------

    def _address(self, values: dict[str, Any]) -> URL:
        sending = self._declared.sending
        escaped = {name: _escaped(name, value) for name, value in values.items()}
        path = sending.path.fill(escaped)
        base = str(self.remote.base_url)
        url = URL(f"{base}/{path.lstrip('/')}" if path else base, encoded=True)
        query = sending.query.fill(values) if sending.query is not None else {}
        return url.update_query({name: _text(value) for name, value in query.items()})

    def _body(
        self, request: Request, values: dict[str, Any]
    ) -> tuple[bytes | Parcel, dict[str, str]]:
        sending = self._declared.sending
        if sending.body is None:
            fields: dict[str, Any] = {**sending.defaults, **request.params}
        else:
            fields = sending.body.fill(values)
        if sending.form == "json":
            return json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace"), {}
        texts = {name: _text(value) for name, value in fields.items()}
        if sending.form == "form":
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            return urlencode(texts).encode("ascii"), kind
        form = Parcel()
        for name, text in texts.items():
            form.field(name, text)
        return form, {}

    # -- what comes back --------------------------------------------------------------------

    async def _check(self, response: aiohttp.ClientResponse, deadline_s: float) -> None:
        if not response.ok:
            said = await read_error(response, deadline_s)
            raise self.failed(response, said)

    def failed(self, response: aiohttp.ClientResponse, body: bytes, **more: Any) -> CallFailed:
        """Return how an answer ended: by the table's own rules first, then by the general ones."""
        failure = super().failed(response, body, **more)
        told = read_object(body) or {}
        wait_s = self._wait_s(told)
        kind = self._ruled(response.status, told)
        outcome = failure.outcome
        if kind is None and wait_s is None:
            return failure
        waits_s = wait_s if wait_s is not None else outcome.wait_s
        return CallFailed(replace(outcome, kind=kind or outcome.kind, wait_s=waits_s))

    def _ruled(self, status: int, told: dict[str, Any]) -> OutcomeKind | None:
        for ending in self._declared.endings:
            if _fits(ending, status, told):
                return ending.kind
        return None

    def _wait_s(self, told: dict[str, Any]) -> float | None:
        where = self._declared.taking.wait
        found = read_reset(_dig(told, where), self._clock.now()) if where else None
        return clamped(found[0]) if found is not None else None

    def _accepted(self, response: aiohttp.ClientResponse, body: bytes) -> tuple[str, str | None]:
        told = self._object(response, body)
        job_id = _dig(told, self._declared.taking.id)
        asking = self._declared.asking
        url = _dig(told, asking.url) if asking is not None and asking.url else None
        if isinstance(job_id, int) and not isinstance(job_id, bool):
            job_id = str(job_id)
        if not isinstance(job_id, str) or not 0 < len(job_id) <= ID_CHARS_MAX:
            raise self.failed(response, body)
        if asking is not None and asking.url and not isinstance(url, str):
            raise self.failed(response, body)
        return job_id, url

    def _job_address(self, job_id: str, url: str | None) -> URL:
        asking = self._declared.asking
        assert asking is not None
        if url is not None:
            return self.http.addresses.followed(url)
        assert asking.path is not None
        path = asking.path.fill({"id": _escaped("id", job_id)})
        return URL(f"{self.remote.base_url}/{path.lstrip('/')}", encoded=True)

    async def _looked(
        self, response: aiohttp.ClientResponse
    ) -> tuple[URL | None, dict[str, Any]] | None:
        """Return what a look found when the job is done, ``None`` while it is not."""
        asking = self._declared.asking
        assert asking is not None
        await self._check(response, 30.0)
        body = await read_whole(response)
        told = read_object(body)
        if told is None:
            raise failed(OutcomeKind.TRANSIENT, "the job's state is not a JSON object")
        if self._ruled(response.status, told) is not None:
            raise JobFailed(self.failed(response, body).outcome)
        if str(_dig(told, asking.status)) not in asking.done:
            return None
        url = None
        if asking.result_url:
            url = self.http.addresses.followed(_dig(told, asking.result_url))
        return url, told

    async def _final(self, response: aiohttp.ClientResponse, call: Call) -> Reply:
        await self._check(response, call.deadline_s)
        return await self._take(response, call)

    def _object(self, response: aiohttp.ClientResponse, body: bytes) -> dict[str, Any]:
        """Return an answer's JSON object; an ending that a rule sees in it is raised."""
        told = read_object(body)
        if told is None or self._ruled(response.status, told) is not None:
            raise self.failed(response, body)
        return told

    async def _take(self, response: aiohttp.ClientResponse, call: Call) -> Reply:
        taking = self._declared.taking
        if taking.form == "body":
            return await self._take_body(response, call)
        if taking.form == "base64":
            return await self._take_base64(response, call)
        body = await read_whole(response)
        told = self._object(response, body)
        if _dig(told, taking.result) is None:
            raise self.failed(response, body)
        reply = await self._taken(told, call, None)
        return replace(reply, said=Said(limits=read_announced(response.headers)))

    async def _take_body(self, response: aiohttp.ClientResponse, call: Call) -> Reply:
        if response.content_type == "application/json":
            # An API that answers with the bytes themselves speaks JSON to say what is wrong.
            raise self.failed(response, await read_whole(response))
        reply = await take_body(response, call, self._declared.taking.wanted)
        return replace(reply, said=Said(limits=read_announced(response.headers)))

    async def _take_base64(self, response: aiohttp.ClientResponse, call: Call) -> Reply:
        taking = self._declared.taking
        field = Base64Field(taking.result[-1])
        async with receiving(call, taking.wanted) as receiver:
            try:
                while piece := await response.content.read(PIECE_BYTES):
                    decoded = field.feed(piece)
                    if decoded:
                        await receiver.add(decoded)
            except ValueError as error:
                raise failed(OutcomeKind.NO_OUTPUT, f"no result in it: {error}") from None
            rest = bytes(field.rest)
            if not field.complete:
                raise self.failed(response, rest)
            told = self._object(response, rest)
            body, artifact = await receiver.finish()
        reply = Reply(receiver.media_type, body=body, artifact=artifact)
        said = Said(limits=read_announced(response.headers))
        return replace(_told(reply, told, taking, None), said=said)

    async def _taken(self, told: dict[str, Any], call: Call, job_id: str | None) -> Reply:
        """Return the result that lies in an answer already read."""
        taking = self._declared.taking
        found = _dig(told, taking.result)
        if taking.form == "url":
            reply = await fetched(self.http, found, call, taking.wanted, pause=self._follower.pause)
        elif taking.form == "base64":
            data = f"data:;base64,{found}" if isinstance(found, str) else None
            reply = await fetched(self.http, data, call, taking.wanted, pause=self._follower.pause)
        elif taking.form == "text":
            reply = Reply("text/plain", body=_written(found))
        else:
            reply = Reply("application/json", body=_canonical(found))
        return _told(reply, told, taking, job_id)


def _dig(value: Any, path: Path) -> Any:
    """Return what lies under ``path`` (names, and numbers into lists), or ``None``."""
    for part in path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and len(part) < 7:
            value = value[int(part)] if int(part) < len(value) else None
        else:
            return None
    return value


def _fits(ending: Ending, status: int, told: dict[str, Any]) -> bool:
    if ending.statuses and status not in ending.statuses:
        return False
    if not ending.at:
        return True
    found = _dig(told, ending.at)
    if found is None or isinstance(found, dict | list):
        return False
    said = str(found).lower() if isinstance(found, bool) else str(found)
    if ending.exactly is not None and said != ending.exactly:
        return False
    return ending.has is None or ending.has.lower() in said.lower()


def _escaped(name: str, value: Any) -> str:
    """Return a value as one piece of a path; the model, which is the recipe's, may have slashes."""
    text = _text(value)
    pieces = text.split("/") if name == "model" else [text]
    if any(piece in (".", "..") for piece in pieces):
        raise failed(OutcomeKind.INVALID, f"{name} = {text!r} cannot stand in an address")
    return "/".join(quote(piece, safe="", errors="replace") for piece in pieces)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _written(found: Any) -> bytes:
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        found = "".join(found)
    if not isinstance(found, str) or not found.strip():
        raise failed(OutcomeKind.NO_OUTPUT, "the answer holds no text")
    return found.encode("utf-8", "replace")


def _canonical(value: Any) -> bytes:
    try:
        return canonical_json(value)
    except (InputError, RecursionError) as error:
        raise failed(OutcomeKind.NO_OUTPUT, f"the JSON result cannot be kept: {error}") from None


def _told(reply: Reply, told: dict[str, Any], taking: Taking, job_id: str | None) -> Reply:
    """Return ``reply`` with what else the answer tells: id, true cost, usage."""
    facts = {}
    usage = _dig(told, taking.usage) if taking.usage else None
    if isinstance(usage, dict):
        counts = {name: count for name, count in usage.items() if type(count) is int}
        facts = {"usage": dict(list(counts.items())[:20])}
    named = job_id or (_dig(told, taking.id) if taking.id else None)
    cost = read_number(_dig(told, taking.cost)) if taking.cost else None
    microusd = None if cost is None else round(cost * taking.cost_usd_each * 1e6)
    return replace(
        reply,
        facts=facts,
        cost_microusd=microusd if microusd is not None and microusd <= COST_MICROUSD_MAX else None,
        provider_request_id=str(named)[:ID_CHARS_MAX] if isinstance(named, str | int) else None,
    )
