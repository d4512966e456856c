"""Anthropic's message batches: requests handed in together, answered within a day, half price."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.outcome import OutcomeKind, failed
from headrace.provider import Call, Reply
from headrace.provider_batch import Bounds, LineEnd, Look, batch_cost
from headrace.providers.anthropic import messages
from headrace.providers.anthropic.chats import in_anthropics_words
from headrace.providers.remote import usage as used
from headrace.providers.remote.batch_calls import BatchCalls, executed, id_of
from headrace.providers.remote.batching import Batching, at_half
from headrace.providers.remote.heard import heard
from headrace.providers.remote.http_calls import read_object
from headrace.providers.remote.letters import FileLetter
from headrace.request import Request

if TYPE_CHECKING:
    from headrace.providers.anthropic.adapter import AnthropicProvider

LINES_MAX = 100_000
BYTES_MAX = 240_000_000
"""Of the whole request; Anthropic takes 256 MB."""
CREATE_S = 1800.0
SKEW = timedelta(minutes=10)
PATH = "v1/messages/batches"
_HEAD, _TAIL = b'{"requests":[', b"]}"
_FAILURES = {
    "api_error": 500,
    "overloaded_error": 529,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "authentication_error": 401,
    "permission_error": 403,
    "billing_error": 402,
    "not_found_error": 404,
    "request_too_large": 413,
}


class _Line(msgspec.Struct):
    custom_id: str
    result: dict[str, Any]


_read_line = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder().encode


class AnthropicBatches:
    """The batch API of one Anthropic account; a group is a model.

    A batch carries no mark of ours: one whose ``create`` was not seen to end is known by its
    size and time, and, once it has ended, by its first line.
    """

    def __init__(self, owner: AnthropicProvider, settings: Batching) -> None:
        self._owner, self._calls = owner, BatchCalls(owner)
        self._bounds = Bounds(LINES_MAX, BYTES_MAX, settings.tokens_max)
        self.worth_s = settings.worth_s

    def bounds(self, group: str) -> Bounds:
        """Return what one batch takes."""
        return self._bounds

    def group(self, request: Request) -> str | None:
        """Return the model; ``None`` for pictures that go in."""
        return None if request.sources else request.model

    def body(self, request: Request) -> bytes:
        """Return the request as a call would send it; raises ``CallFailed`` (invalid)."""
        return messages.body_of(in_anthropics_words(request))

    def line(self, group: str, key: str, body: bytes) -> bytes:
        """Return one of the requests."""
        return _encode({"custom_id": key, "params": msgspec.Raw(body)})

    async def upload(self, group: str, path: Path) -> str | None:
        """Return ``None``: the requests stand in the call that makes the batch."""
        return None

    async def create(self, group: str, uploaded: str | None, path: Path, marker: str) -> Look:
        """Make the batch, out of the file of lines."""
        with tempfile.TemporaryDirectory(prefix="headrace-batch-") as folder:
            body = Path(folder) / "requests.json"
            await asyncio.to_thread(_write_array, path, body)
            told = await self._calls.post(PATH, FileLetter(body), CREATE_S)
        return _look(told)

    async def find(
        self, marker: str, since: datetime, keys: Sequence[str], known: Sequence[str]
    ) -> Look | None:
        """Return the batch that holds ``keys``: none of the ``known``, made since then.

        What has not ended cannot be looked into; one that may be ours is then waited for:
        raises ``CallFailed`` (transient).
        """
        async for rows in self._calls.pages(PATH, "after_id"):
            for row in rows:
                created = _created(row)
                if created is not None and created < since - SKEW:
                    return None
                if row.get("id") not in known and await self._is_ours(row, set(keys)):
                    return _look(row)
        return None

    async def _is_ours(self, row: dict[str, Any], keys: set[str]) -> bool:
        look = _look(row)
        if not look.is_ended:
            reason = f"the batch {look.id} may be ours, which its end will tell"
            raise failed(OutcomeKind.TRANSIENT, reason, wait_s=60.0)
        if not look.results:
            return False
        async for end in self.results(look):
            return end.key in keys
        return False

    async def look(self, batch_id: str) -> Look:
        """Return how a batch is."""
        return _look(await self._calls.get(f"{PATH}/{batch_id}"))

    async def cancel(self, batch_id: str) -> None:
        """Ask for a batch to be cancelled; one that has ended already is left."""
        await self._calls.cancel(f"{PATH}/{batch_id}/cancel")

    def results(self, look: Look) -> AsyncIterator[LineEnd]:
        """Yield the ends of lines."""
        return self._calls.ends((f"{PATH}/{name}/results" for name in look.results), _end)

    async def reply(self, call: Call, status: int, body: bytes) -> Reply:
        """Return the result in an answer, as a call's would be read, at half its price."""
        return await at_half(self._owner.take(heard(status, _at_standard(body)), call))

    def billed(self, group: str, body: bytes) -> int | None:
        """Return what an answer's usage makes at list prices, halved."""
        told = read_object(_at_standard(body)) or {}
        if "error" in told and "usage" not in told:
            return 0
        estimate = self._owner.costs.of(group, used.anthropic(told.get("usage")))
        return None if estimate is None else batch_cost(estimate)


def _write_array(lines: Path, into: Path) -> None:
    with lines.open("rb") as source, into.open("wb") as target:
        target.write(_HEAD)
        for number, line in enumerate(source):
            target.write((b"," if number else b"") + line.rstrip(b"\n"))
        target.write(_TAIL)


def _created(row: dict[str, Any]) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(row.get("created_at")))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None


def _look(told: dict[str, Any]) -> Look:
    name = id_of(told)
    return Look(
        id=name,
        is_ended=told.get("processing_status") == "ended",
        results=(name,) if told.get("results_url") else (),
        executed=executed(told, "succeeded", "errored"),
        reason=str(told.get("processing_status", ""))[:100],
    )


def _end(line: bytes) -> LineEnd:
    """Return what a line of the results says; raises ``msgspec.DecodeError`` for no such line."""
    told = _read_line(line)
    kind, result = told.result.get("type"), told.result
    if kind == "succeeded":
        return LineEnd(told.custom_id, 200, _encode(result.get("message")))
    if kind == "errored":
        error = result.get("error")
        inner = error.get("error") if isinstance(error, dict) else None
        named = inner if isinstance(inner, dict) else error if isinstance(error, dict) else {}
        status = _FAILURES.get(str(named.get("type")), 400)
        body = {"type": "error", "error": named}
        return LineEnd(told.custom_id, status, _encode(body))
    reason = f"the provider batch {kind or 'ended'}"
    return LineEnd(told.custom_id, 0, b"", is_executed=False, reason=reason[:100])


def _at_standard(body: bytes) -> bytes:
    """Return an answer as a call would have had it: list prices are those of calls."""
    told = read_object(body)
    usage = told.get("usage") if told else None
    if not isinstance(usage, dict) or usage.get("service_tier") != "batch":
        return body
    usage["service_tier"] = "standard"
    return _encode(told)
