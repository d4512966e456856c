"""API keys: who may do what. Only a key's hash is kept; the key itself is shown once."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

PREFIX = "hr_"
SECRET_BYTES = 32
SHOWN_CHARS = 10
KEY_CHARS_MAX = 128


class Scope(StrEnum):
    """What a key allows: ``ADMIN`` everything, ``SUBMIT`` buying, ``READ`` looking."""

    ADMIN = "admin"
    SUBMIT = "submit"
    READ = "read"


_INCLUDES = {
    Scope.ADMIN: frozenset(Scope),
    Scope.SUBMIT: frozenset({Scope.SUBMIT, Scope.READ}),
    Scope.READ: frozenset({Scope.READ}),
}


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: its first characters are shown so that people can tell keys apart."""

    id: UUID
    tenant_id: str
    name: str
    shown: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Tell whether the key opens anything at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def allows(self, scope: Scope) -> bool:
        """Tell whether the key is good for ``scope``."""
        return scope in _INCLUDES[self.scope]


def new_secret() -> str:
    """Return a fresh key of 256 random bits, with a prefix that scanners know it by."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def digest_of(secret: str) -> bytes:
    """Return the hash that a key is kept and found by.

    One round of SHA-256: a key of 256 random bits cannot be guessed from it.
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def shown_of(secret: str) -> str:
    """Return as much of a key as may be shown."""
    return secret[:SHOWN_CHARS]
