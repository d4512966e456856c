"""Every adapter to an API over HTTP, so that one test can try them all; a new one is an entry."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from headrace.clock import SystemClock
from headrace.provider import Provider
from headrace.providers.shelf import Shelf
from headrace.request import Request
from tests.integration.speaking import Answer, http

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


def as_inline(body: bytes) -> bytes:
    """The image as a part of Google's."""
    data = {"mimeType": "image/png", "data": base64.b64encode(body).decode()}
    return http({"candidates": [{"content": {"parts": [{"inlineData": data}]}}]})


def as_body(body: bytes) -> bytes:
    """The image itself."""
    return http(body, headers={"Content-Type": "image/png"})


@dataclass(frozen=True)
class Subject:
    """An adapter, its request, and how it is answered.

    ``delivered`` is ``None`` where the result is text. ``first`` are the good answers that
    come before the one under test: a job that was taken in, say. ``rows`` are names that the
    recorded errors of its provider are kept under. ``keyed``: its table has a key.
    """

    kind: str
    delivered: Delivered | None = None
    model: str = "m"
    params: dict[str, Any] = field(default_factory=lambda: {"prompt": "A card"})
    table: dict[str, Any] = field(default_factory=dict)
    first: tuple[Answer, ...] = ()
    rows: tuple[str, ...] = ()
    keyed: bool = True

    def provider(self, base_url: str) -> Provider:
        """The adapter as a config table makes it, at ``base_url``."""
        key = {"api_key": KEY} if self.keyed else {}
        table = {"kind": self.kind, "base_url": base_url, **key, **self.table}
        return Shelf({"mine": table}, (), SystemClock())["mine"]

    def request(self, provider: Provider) -> Request:
        """What is asked of it."""
        return Request("mine", self.model, provider.version(self.model), self.params)


def _params(**more: Any) -> dict[str, Any]:
    return {"prompt": "A card", **more}


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
    "gemini text": Subject("gemini"),
    "gemini images": Subject("gemini", as_inline, "m-image", rows=("gemini",)),
    "vertex text": Subject("vertex", table={"project": "p"}, keyed=False),
    "vertex images": Subject(
        "vertex", as_inline, "m-image", table={"project": "p"}, rows=("vertex",), keyed=False
    ),
    "anthropic": Subject("anthropic", rows=("anthropic",)),
    "http": Subject(
        "http",
        as_body,
        table={"request": {"path": "v1/images", "body": {"text": "{{ prompt }}"}}},
        rows=("generic",),
    ),
    "imejis": Subject("imejis", as_body, rows=("imejis",)),
}
