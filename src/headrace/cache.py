"""The cache contract: finished results by fingerprint, never a failed one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from headrace.artifact import Artifact


class CacheMode(StrEnum):
    """``REUSE`` takes what is there, ``REFRESH`` buys anew and replaces, ``OFF`` does neither."""

    REUSE = "reuse"
    REFRESH = "refresh"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class CacheHit:
    """A finished result: its artifact, the facts kept with it, when it was made, for what.

    ``expires_at``: from when on it is not seen any more, where that is known.
    """

    artifact: Artifact
    facts: dict[str, Any]
    created_at: datetime
    fingerprint: bytes = b""
    expires_at: datetime | None = None


class Cache(Protocol):
    """Finished results of one tenant by fingerprint."""

    async def get_many(
        self, tenant_id: str, fingerprints: list[bytes], newer_than: datetime | None = None
    ) -> dict[bytes, CacheHit]:
        """Return the live entries among ``fingerprints``, made after ``newer_than`` if given."""
        ...

    async def note(self, tenant_id: str, hit: CacheHit) -> None:
        """Keep the facts of ``hit`` with its entry, if that is still the same result."""
        ...
