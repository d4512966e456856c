"""Every adapter to an API over HTTP, so that one test can try them all; a new one is an entry."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from headrace.outcome import OutcomeKind
from headrace.provider import Provider
from headrace.providers.shelf import Shelf
from headrace.request import Request
from tests.integration.playing import HurriedClock
from tests.integration.speaking import Answer, Heard, http, says

KEY = "sk-very-secret-0123456789"

Delivered = Callable[[bytes], bytes]
"""How a server of the kind answers with these bytes as its image."""


def as_b64_json(body: bytes) -> bytes:
    """The image as OpenAI delivers it."""
    return http({"created": 1, "data": [{"b64_json": base64.b64encode(body).decode()}]})


def as_data_url(body: bytes) -> bytes:
    """The image inside of an address."""
    return http({"data": [{"url": f"data:image/png;base64,{base64.b64encode(body).decode()}"}]})


def as_result(body: bytes) -> bytes:
    """The image as a tool's result in a response of OpenAI."""
    call = {"type": "image_generation_call", "result": base64.b64encode(body).decode()}
    return http({"status": "completed", "output": [call]})


def as_part(body: bytes) -> bytes:
    """The image as Gemini delivers it."""
    data = {"mimeType": "image/png", "data": base64.b64encode(body).decode()}
    content = {"role": "model", "parts": [{"inlineData": data}]}
    return http({"candidates": [{"content": content, "finishReason": "STOP"}]})


def as_output(body: bytes) -> bytes:
    """The image of a prediction of Replicate's that is over."""
    url = f"data:image/png;base64,{base64.b64encode(body).decode()}"
    return http({"id": "job1", "status": "succeeded", "output": url})


def as_sample(body: bytes) -> bytes:
    """The image of a task of Black Forest Labs that is ready."""
    url = f"data:image/png;base64,{base64.b64encode(body).decode()}"
    return http({"id": "job1", "status": "Ready", "result": {"sample": url}})


def as_images(body: bytes) -> bytes:
    """The image as fal's models deliver it."""
    url = f"data:image/png;base64,{base64.b64encode(body).decode()}"
    return http({"images": [{"url": url, "content_type": "image/png"}], "seed": 7})


def as_body(body: bytes) -> bytes:
    """The image itself."""
    return http(body, headers={"Content-Type": "image/png"})


def file_in(body: Callable[[str], dict[str, Any]]) -> Answer:
    """Answer with what ``body`` makes of the address of a file on the same server."""

    async def answer(heard: Heard, writer: asyncio.StreamWriter) -> None:
        writer.write(http(body(f"http://{heard.headers['host']}/files/1.png")))

    return answer


@dataclass(frozen=True)
class Subject:
    """An adapter, its request, and how it is answered.

    ``delivered`` is ``None`` where the result is text. ``first`` are the good answers that
    come before the one under test: a job that was taken in, say. ``rows`` are names that the
    recorded errors of its provider are kept under; those of a job's end are told in a
    success (``job_ends``), those of its beginning are not. ``also`` are ends that a bad
    answer may have here although it may not elsewhere: a job that nobody can follow is
    lost, as is a file that was paid for and cannot be fetched; one that is looked at in vain
    is unknown.
    """

    kind: str
    delivered: Delivered | None = None
    model: str = "m"
    params: dict[str, Any] = field(default_factory=lambda: {"prompt": "A card"})
    table: dict[str, Any] = field(default_factory=dict)
    first: tuple[Answer, ...] = ()
    rows: tuple[str, ...] = ()
    also: frozenset[OutcomeKind] = frozenset()
    job_ends: bool | None = None

    def provider(self, base_url: str) -> Provider:
        """The adapter as a config table makes it, at ``base_url``."""
        key = {} if "access_token_env" in self.table else {"api_key": KEY}
        table = {"kind": self.kind, "base_url": base_url, **key, **self.table}
        return Shelf({"mine": table}, (), HurriedClock())["mine"]

    def has(self, row: dict[str, Any]) -> bool:
        """Tell whether a recorded error is one that this call can meet."""
        told_inside = row["status"] == 200
        return row["provider"] in self.rows and self.job_ends in (None, told_inside)

    def request(self, provider: Provider) -> Request:
        """What is asked of it."""
        return Request("mine", self.model, provider.version(self.model), self.params)


def _params(**more: Any) -> dict[str, Any]:
    return {"prompt": "A card", **more}


TOKEN_VARIABLE = "HEADRACE_TEST_TOKEN"
_LOST = frozenset({OutcomeKind.LOST_RESULT})
_LOOKED = frozenset({OutcomeKind.LOST_RESULT, OutcomeKind.UNKNOWN, OutcomeKind.TRANSIENT})
# A job of fal's without an id may be running, and a result at no known place may not be
# bought again: the recipe has to say where it is.
_FAL_CREATED = frozenset({OutcomeKind.UNKNOWN})
_FAL_RESULT = _LOOKED | {OutcomeKind.INVALID}
_CREATED = says({"id": "job1", "status": "starting", "urls": {}}, 201)
_TAKEN_IN = says({"id": "job1", "cost": 4.0})
_PATH = "/owner/app/requests/job1"
_QUEUED = says(
    {
        "request_id": "job1",
        "status": "IN_QUEUE",
        "status_url": f"{_PATH}/status",
        "response_url": _PATH,
        "cancel_url": f"{_PATH}/cancel",
    }
)
_DONE = says({"status": "COMPLETED"})

SUBJECTS: dict[str, Subject] = {
    "openai chat": Subject("openai", rows=("openai",)),
    "openai responses": Subject("openai", params=_params(api="responses"), rows=("openai",)),
    "openai images": Subject("openai", as_b64_json, "gpt-image-2", rows=("openai",)),
    "openai image tool": Subject(
        "openai", as_result, params=_params(api="responses", tools=[{"type": "image_generation"}])
    ),
    "openai-compatible chat": Subject(
        "openai-compatible",
        table={"profile": "vllm"},
        rows=("openai-compatible", "generic"),
    ),
    "openai-compatible images": Subject(
        "openai-compatible",
        as_data_url,
        params=_params(api="images"),
        table={"profile": "together"},
        rows=("openai-compatible",),
    ),
    "openai-compatible file": Subject(
        "openai-compatible",
        as_body,
        params=_params(api="images"),
        table={"profile": "together"},
        first=(file_in(lambda url: {"data": [{"url": url}]}),),
        also=_LOST,
    ),
    "http": Subject(
        "http",
        as_body,
        table={"request": {"path": "v1/images", "body": {"text": "{{ prompt }}"}}},
        rows=("generic",),
    ),
    "imejis": Subject("imejis", as_body, rows=("imejis",)),
    "gemini text": Subject("gemini", model="gemini-3-pro"),
    "gemini images": Subject("gemini", as_part, "gemini-2.5-flash-image", rows=("gemini",)),
    "vertex images": Subject(
        "vertex",
        as_part,
        "gemini-2.5-flash-image",
        table={"access_token_env": TOKEN_VARIABLE, "project": "p-1"},
        rows=("vertex",),
    ),
    "vertex text": Subject("vertex", table={"access_token_env": TOKEN_VARIABLE, "project": "p-1"}),
    "anthropic": Subject("anthropic", params=_params(max_tokens=100), rows=("anthropic",)),
    "replicate create": Subject(
        "replicate", model="owner/name", rows=("replicate",), also=_LOST, job_ends=False
    ),
    "replicate look": Subject(
        "replicate",
        as_output,
        "owner/name",
        first=(_CREATED,),
        rows=("replicate",),
        also=_LOOKED,
        job_ends=True,
    ),
    "replicate file": Subject(
        "replicate",
        as_body,
        "owner/name",
        first=(file_in(lambda url: {"id": "job1", "status": "succeeded", "output": url}),),
        also=_LOST,
    ),
    "stability": Subject("stability", as_body, "core", rows=("stability",)),
    "fal create": Subject(
        "fal", model="owner/app", rows=("fal",), also=_FAL_CREATED, job_ends=False
    ),
    "fal result": Subject("fal", as_images, "owner/app", first=(_QUEUED, _DONE), also=_FAL_RESULT),
    "bfl create": Subject("bfl", rows=("bfl",), also=_LOST, job_ends=False),
    "bfl look": Subject(
        "bfl", as_sample, first=(_TAKEN_IN,), rows=("bfl",), also=_LOOKED, job_ends=True
    ),
    "bfl file": Subject(
        "bfl",
        as_body,
        first=(
            _TAKEN_IN,
            file_in(lambda url: {"id": "job1", "status": "Ready", "result": {"sample": url}}),
        ),
        also=_LOST,
    ),
}
