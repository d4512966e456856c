"""OpenAI's files and batches: requests out of a file, worked off in order as time goes by."""

from __future__ import annotations

import email
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import msgspec

from headrace.simulator.desk import Desk, json_answer, read_json
from headrace.simulator.shapes.openai_errors import error
from headrace.simulator.truth import Entry
from headrace.simulator.wire import Answer, Request

LINES_MAX = 50_000
_FILES, _BATCHES = "/v1/files", "/v1/batches"

MakeLine = Callable[[str, dict[str, Any], int], tuple[int, bytes]]
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Batch:
    """One batch. Lines before ``done`` were executed; it is over at ``over_s``, by our clock."""

    id: str
    asked: dict[str, Any]
    lines: list[dict[str, Any]]
    created: int
    at_s: float
    over_s: float
    turns: list[str]
    status: str = "in_progress"
    done: int = 0
    answers: list[bytes] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)
    executed: int = 0
    output: str | None = None
    error: str | None = None
    fault: dict[str, str] | None = None


class OpenAIBatches:
    """Answers ``/v1/files`` and ``/v1/batches``; ``make`` answers one line."""

    def __init__(self, desk: Desk, make: MakeLine) -> None:
        self._desk = desk
        self._make = make
        self._settings = desk.settings.batches
        self._is_shared = "replicate" in desk.settings.shapes
        self._files: dict[str, bytes] = {}
        self._batches: dict[str, _Batch] = {}
        self._creates = 0
        self._number = 0
        self._random = Random(desk.settings.seed)

    def owns(self, request: Request) -> bool:
        """Tell whether a request is one of these; Replicate's uploads name no purpose."""
        path = request.path
        if path == _FILES and request.method == "POST" and self._is_shared:
            return b'name="purpose"' in request.body
        return path.startswith((f"{_FILES}/", f"{_BATCHES}/")) or path in (_FILES, _BATCHES)

    def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request; ``None`` for a reset."""
        path, method = request.path, request.method
        for batch in self._batches.values():
            self._go_on(batch)
        if path == _FILES and method == "POST":
            return self._upload(request)
        if path.startswith(f"{_FILES}/") and path.endswith("/content"):
            return self._content(path.split("/")[3])
        if path == _BATCHES:
            return self._create(request) if method == "POST" else self._list(request.asked())
        found = self._batches.get(path.split("/")[3]) if path.startswith(_BATCHES) else None
        if found is None:
            return error(404, f"No such object: {path[:200]}")
        if path.endswith("/cancel") and method == "POST":
            self._cancel(found)
        return json_answer(200, self._told(found))

    def _upload(self, request: Request) -> Answer:
        head = f"Content-Type: {request.headers.get('content-type', '')}\r\n\r\n"
        form = email.message_from_bytes(head.encode("latin-1", "replace") + request.body)
        for part in form.walk() if form.is_multipart() else ():
            if part.get_param("name", header="content-disposition") == "file":
                body = part.get_payload(decode=True)
                name = f"file-sim{len(self._files):06d}"
                self._files[name] = body if isinstance(body, bytes) else b""
                size = len(self._files[name])
                told = {"id": name, "object": "file", "bytes": size, "purpose": "batch"}
                return json_answer(200, told)
        return error(400, "Missing required parameter: 'file'.", param="file")

    def _content(self, name: str) -> Answer:
        body = self._files.get(name)
        if body is None:
            return error(404, f"No such File object: {name[:100]}")
        return Answer(200, body, media_type="application/octet-stream")

    def _create(self, request: Request) -> Answer | None:
        asked = read_json(request) or {}
        body = self._files.get(str(asked.get("input_file_id")))
        if body is None:
            return error(400, "Invalid 'input_file_id'.", param="input_file_id")
        try:
            lines = [msgspec.json.decode(line) for line in body.splitlines() if line.strip()]
        except msgspec.DecodeError:
            return error(400, "The file is not JSON Lines.")
        if not 0 < len(lines) <= LINES_MAX:
            return error(400, f"A batch has 1 to {LINES_MAX} lines.")
        self._creates += 1
        now_s = self._desk.clock.monotonic_s()
        name = f"batch_sim{len(self._batches):06d}"
        made = _Batch(
            id=name,
            asked=asked,
            lines=lines,
            created=int(self._desk.clock.now().timestamp()),
            at_s=now_s,
            over_s=now_s + self._settings.duration_s,
            turns=[self._lot() for _ in lines],
        )
        if self._creates <= self._settings.full_creates:
            made.status, made.done = "failed", 0
            made.fault = {
                "code": "token_limit_exceeded",
                "message": "Enqueued token limit reached.",
            }
        self._batches[name] = made
        if self._creates <= self._settings.reset_creates:
            return None
        return json_answer(200, self._told(made))

    def _lot(self) -> str:
        drawn, settings = self._random.random(), self._settings
        if drawn < settings.expires_share:
            return "expires"
        return "silent" if drawn < settings.expires_share + settings.silent_share else "executed"

    def _go_on(self, batch: _Batch) -> None:
        """Work off the lines whose time has come."""
        if batch.status != "in_progress":
            return
        now_s = self._desk.clock.monotonic_s()
        span_s = max(1e-9, batch.over_s - batch.at_s)
        until = int(len(batch.lines) * min(1.0, (now_s - batch.at_s) / span_s))
        for place in range(batch.done, until):
            self._execute(batch, batch.lines[place], batch.turns[place])
        batch.done = max(batch.done, until)
        if until >= len(batch.lines):
            late = "expires" in batch.turns
            self._end(batch, "expired" if late else "completed", "batch_expired")

    def _execute(self, batch: _Batch, line: dict[str, Any], turn: str) -> None:
        if turn == "expires":
            return
        self._number += 1
        key, path = str(line.get("custom_id")), str(line.get("url"))
        status, body = self._make(path, line.get("body") or {}, self._number)
        self._note(key, str((line.get("body") or {}).get("model", "")), status)
        batch.executed += 1
        line["executed"] = True
        if turn == "silent":
            return
        told = {
            "id": f"batch_req_{self._number}",
            "custom_id": key,
            "response": {
                "status_code": status,
                "request_id": f"req_{self._number}",
                "body": msgspec.Raw(body),
            },
            "error": None,
        }
        (batch.answers if status < 400 else batch.errors).append(_encode(told))

    def _note(self, key: str, model: str, status: int) -> None:
        now_s = self._desk.lane.now_s()
        self._desk.lane.truth.note(
            Entry(
                now_s,
                "openai-batch",
                model,
                1,
                0,
                0,
                "admitted",
                "",
                "",
                now_s,
                status,
                key,
                status < 400,
                status < 400,
                1,
                None,
            )
        )

    def _cancel(self, batch: _Batch) -> None:
        if batch.status == "in_progress":
            self._end(batch, "cancelled", "batch_cancelled")

    def _end(self, batch: _Batch, status: str, code: str) -> None:
        batch.status = status
        if status == "expired":
            for line in batch.lines:
                if not line.get("executed"):
                    told = {
                        "id": f"batch_req_{line.get('custom_id')}",
                        "custom_id": line.get("custom_id"),
                        "response": None,
                        "error": {"code": code, "message": "This request could not be executed."},
                    }
                    batch.errors.append(_encode(told))
        for lines, which in ((batch.answers, "output"), (batch.errors, "error")):
            if lines:
                name = f"file-sim{len(self._files):06d}"
                self._files[name] = b"\n".join(lines) + b"\n"
                setattr(batch, which, name)

    def _list(self, asked: dict[str, str]) -> Answer:
        names = list(reversed(self._batches))
        after = asked.get("after")
        if after in names:
            names = names[names.index(after) + 1 :]
        most = int(asked.get("limit", "20")) if asked.get("limit", "20").isdecimal() else 20
        data = []
        for name in names[:most]:
            data.append(self._told(self._batches[name]))
        return json_answer(200, {"object": "list", "data": data, "has_more": len(names) > most})

    def _told(self, batch: _Batch) -> dict[str, Any]:
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.asked.get("endpoint"),
            "errors": None if batch.fault is None else {"object": "list", "data": [batch.fault]},
            "input_file_id": batch.asked.get("input_file_id"),
            "completion_window": batch.asked.get("completion_window"),
            "status": batch.status,
            "output_file_id": batch.output,
            "error_file_id": batch.error,
            "created_at": batch.created,
            "request_counts": {
                "total": len(batch.lines),
                "completed": batch.executed,
                "failed": 0,
            },
            "metadata": batch.asked.get("metadata"),
        }
