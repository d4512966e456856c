"""What is asked of a provider: a plain, canonical value that can be hashed and sent again."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from headrace.fingerprint import fingerprint


@dataclass(frozen=True)
class Request:
    """One call that a stage wants made.

    ``provider`` and ``model`` name who makes it, ``version`` pins the model or template
    (a change of it is another request), ``params`` is JSON: the prompt, template inputs,
    sizes, seed. ``sources`` are the SHA-256 digests (hex) of artifacts that go in.
    """

    provider: str
    model: str
    version: str
    params: dict[str, Any]
    sources: tuple[str, ...] = field(default=())

    def canonical(self) -> dict[str, Any]:
        """Return the JSON object that is hashed: everything that shapes the result."""
        return {
            "provider": self.provider,
            "model": self.model,
            "version": self.version,
            "params": self.params,
            "sources": list(self.sources),
        }

    @cached_property
    def fingerprint(self) -> bytes:
        """Return the 32-byte cache key of this request (RFC 8785, SHA-256)."""
        return fingerprint(self.canonical())
