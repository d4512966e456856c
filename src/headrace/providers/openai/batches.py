"""OpenAI's batch API: a file of requests handed in, a file of answers fetched, at half price."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.provider import Call, Reply
from headrace.provider_batch import Bounds, LineEnd, Look, batch_cost
from headrace.providers.remote import usage as used
from headrace.providers.remote.batch_calls import BatchCalls, executed, id_of
from headrace.providers.remote.batching import Batching, at_half
from headrace.providers.remote.heard import heard
from headrace.providers.remote.http_calls import read_object
from headrace.providers.remote.letters import Parcel
from headrace.request import Request

if TYPE_CHECKING:
    from headrace.providers.openai.adapter import OpenAIProvider

LINES_MAX = 50_000
IMAGE_LINES_MAX = 1_000
"""Of pictures, whose answers have megabytes each."""
BYTES_MAX = 190_000_000
"""Of a file; OpenAI takes 200 MB."""
UPLOAD_S = 1800.0
SKEW = timedelta(minutes=10)
"""So far their clock may be behind ours."""
MARKER = "headrace"

_ENDED = ("completed", "failed", "expired", "cancelled")
_UNEXECUTED = ("batch_expired", "batch_cancelled")


class _Response(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _Line(msgspec.Struct):
    custom_id: str
    response: _Response | None = None
    error: Any = None


_read_line = msgspec.json.Decoder(_Line).decode
_encode = msgspec.json.Encoder().encode


class OpenAIBatches:
    """The batch API of one OpenAI-shaped account.

    A group is an endpoint and a model: one file takes requests to one of them. Requests with
    pictures that go in are not taken.
    """

    def __init__(self, owner: OpenAIProvider, settings: Batching) -> None:
        self._owner, self._calls = owner, BatchCalls(owner)
        self._tokens_max = settings.tokens_max
        self.worth_s = settings.worth_s

    def bounds(self, group: str) -> Bounds:
        """Return what one batch takes."""
        lines_max = IMAGE_LINES_MAX if group.startswith("images/") else LINES_MAX
        return Bounds(lines_max, BYTES_MAX, self._tokens_max)

    def group(self, request: Request) -> str | None:
        """Return the endpoint and the model; ``None`` for pictures that go in."""
        if request.sources:
            return None
        path = {"chat": "chat/completions", "responses": "responses"}
        return f"{path.get(self._owner.api_of(request), 'images/generations')} {request.model}"

    def body(self, request: Request) -> bytes:
        """Return the request as a call would send it; raises ``CallFailed`` (invalid)."""
        return self._owner.written(request)[1]

    def line(self, group: str, key: str, body: bytes) -> bytes:
        """Return the line of a file."""
        told = {"custom_id": key, "method": "POST", "url": _endpoint(group)}
        return _encode({**told, "body": msgspec.Raw(body)})

    async def upload(self, group: str, path: Path) -> str | None:
        """Hand in the file of lines; returns its id."""
        form = Parcel()
        form.field("purpose", "batch")
        form.path("file", path, "application/jsonl")
        told = await self._calls.post("files", form, UPLOAD_S, paid=False)
        return id_of(told)

    async def create(self, group: str, uploaded: str | None, path: Path, marker: str) -> Look:
        """Make the batch; its metadata say which of ours it is."""
        asked = {
            "input_file_id": uploaded,
            "endpoint": _endpoint(group),
            "completion_window": "24h",
            "metadata": {MARKER: marker},
        }
        return _look(await self._calls.post("batches", _encode(asked)))

    async def find(
        self, marker: str, since: datetime, keys: Sequence[str], known: Sequence[str]
    ) -> Look | None:
        """Return the batch whose metadata hold ``marker``: the list has the latest first."""
        async for rows in self._calls.pages("batches", "after"):
            for row in rows:
                metadata = row.get("metadata")
                if isinstance(metadata, dict) and metadata.get(MARKER) == marker:
                    return _look(row)
            if _is_before(rows[-1], since - SKEW):
                return None
        return None

    async def look(self, batch_id: str) -> Look:
        """Return how a batch is."""
        return _look(await self._calls.get(f"batches/{batch_id}"))

    async def cancel(self, batch_id: str) -> None:
        """Ask for a batch to be cancelled; one that has ended already is left."""
        await self._calls.cancel(f"batches/{batch_id}/cancel")

    def results(self, look: Look) -> AsyncIterator[LineEnd]:
        """Yield the ends of lines, out of the file of answers and that of errors."""
        return self._calls.ends((f"files/{name}/content" for name in look.results), _end)

    async def reply(self, call: Call, status: int, body: bytes) -> Reply:
        """Return the result in an answer, as a call's would be read, at half its price."""
        return await at_half(self._owner.take(heard(status, body), call))

    def billed(self, group: str, body: bytes) -> int | None:
        """Return what an answer's usage makes at list prices, halved."""
        path, _, model = group.partition(" ")
        told = read_object(body) or {}
        if "error" in told and "usage" not in told:
            return 0
        read = used.openai_image if path.startswith("images/") else used.openai_text
        estimate = self._owner.costs.of(model, read(told.get("usage")))
        return None if estimate is None else batch_cost(estimate)


def _endpoint(group: str) -> str:
    return f"/v1/{group.partition(' ')[0]}"


def _is_before(row: dict[str, Any], since: datetime) -> bool:
    created = row.get("created_at")
    return isinstance(created, int | float) and created < since.timestamp()


def _look(told: dict[str, Any]) -> Look:
    status = told.get("status")
    errors = told.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else None
    first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
    names = (told.get("output_file_id"), told.get("error_file_id"))
    return Look(
        id=id_of(told),
        is_ended=status in _ENDED,
        results=tuple(name for name in names if isinstance(name, str) and name),
        executed=0 if status == "failed" else executed(told, "completed", "failed"),
        again=status == "failed" and first.get("code") == "token_limit_exceeded",
        reason=str(first.get("message") or status or "")[:300],
    )


def _end(line: bytes) -> LineEnd:
    """Return what a line of a result file says; raises ``msgspec.DecodeError`` for no such line."""
    told = _read_line(line)
    if told.response is not None:
        code = told.error.get("code") if isinstance(told.error, dict) else None
        if code not in _UNEXECUTED:
            return LineEnd(told.custom_id, told.response.status_code, bytes(told.response.body))
    code, said = "", ""
    if isinstance(told.error, dict):
        code, said = str(told.error.get("code", "")), str(told.error.get("message", ""))
    return LineEnd(told.custom_id, 0, b"", is_executed=False, reason=(said or code)[:300])
