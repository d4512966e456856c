"""An HTTP client that calls an app in this process: no socket, no server, the same routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass
class Answer:
    """What an app answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass
class Client:
    """Calls an app in the name of one key."""

    app: Any
    key: str

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Call and return the whole answer; a body that is not bytes is sent as JSON."""
        said: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            said.append(message)

        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        await self.app(self._scope(method, path, headers), _receiving(body), send)
        begun = next(one for one in said if one["type"] == "http.response.start")
        whole = b"".join(one.get("body", b"") for one in said)
        found = {name.decode().lower(): value.decode() for name, value in begun["headers"]}
        return Answer(begun["status"], found, whole)

    async def stream(self, path: str, send: Send) -> None:
        """Get something; ``send`` takes each message of the answer when it likes."""
        await self.app(self._scope("GET", path, {}), _receiving(b""), send)

    def _scope(self, method: str, path: str, headers: dict[str, str]) -> dict[str, Any]:
        at = urlsplit(path)
        told = {"authorization": f"Bearer {self.key}"} if self.key else {}
        told |= {name.replace("_", "-").lower(): value for name, value in headers.items()}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(at.path),
            "raw_path": at.path.encode(),
            "query_string": at.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in told.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }


def _receiving(body: bytes) -> Callable[[], Awaitable[dict[str, Any]]]:
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    return receive
