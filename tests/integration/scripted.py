"""A provider that does what a test says, call by call, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from headrace.limits import ONE_CALL, Load, Quota
from headrace.outcome import OutcomeKind, failed
from headrace.price import Price
from headrace.provider import Call, CrashClass, Reply
from headrace.request import Request

Script = Callable[[str, int], OutcomeKind | None]


class Scripted:
    """``script(prompt, nth call of that prompt)`` names the failure, or ``None`` to succeed."""

    def __init__(
        self,
        script: Script | None = None,
        crash_class: CrashClass = CrashClass.BLIND,
        name: str = "scripted",
        body_bytes: int = 0,
    ) -> None:
        self.name = name
        self.crash_class = crash_class
        self.quota = Quota(16)
        self.body_bytes = body_bytes
        self.prompts: list[str] = []
        self.keys: list[str] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.entered = asyncio.Event()
        self._script = script or (lambda prompt, nth: None)

    def load(self, request: Request) -> Load:
        """Return the load of a call: one, whatever it asks for."""
        return ONE_CALL

    def lane(self, request: Request) -> str:
        """One lane."""
        return self.name

    def version(self, model: str) -> str:
        """One version."""
        return "1"

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Accept everything."""

    def price(self, request: Request) -> Price:
        """One credit, four cents."""
        return Price(1_000_000, 40_000)

    async def open(self) -> None:
        """Need nothing."""

    async def close(self) -> None:
        """Hold nothing."""

    async def call(self, call: Call) -> Reply:
        """Wait for the gate, then do as the script says."""
        prompt = call.request.params["prompt"]
        self.prompts.append(prompt)
        self.keys.append(call.key)
        self.entered.set()
        await self.gate.wait()
        kind = self._script(prompt, self.prompts.count(prompt))
        if kind is not None:
            raise failed(kind, f"scripted {kind.value}", cost_microusd=0)
        body = f"made of {prompt}".encode().ljust(self.body_bytes)
        return Reply("text/plain", body=body, cost_microusd=40_000)

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Never offered."""
        raise NotImplementedError

    async def find(self, call: Call) -> str | None:
        """Find nothing."""
        return None

    async def cancel(self, provider_request_id: str, url: str | None) -> None:
        """Cancel nothing."""
