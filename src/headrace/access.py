"""API keys: who may do what. Only a key's hash is kept; the key itself is shown once."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from headrace.identity import show_id

PREFIX = "hr_"
ID_PREFIX = "key_"
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
    """A key as it is kept: its first characters are shown so that people can tell keys apart.

    ``last_used_at`` is written once a minute at most; ``replaced_by`` is the key that this
    one was rotated to.
    """

    id: UUID
    tenant_id: str
    name: str
    shown: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    replaced_by: UUID | None = None

    def is_good(self, now: datetime) -> bool:
        """Tell whether the key opens anything at ``now``."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    @property
    def public_id(self) -> str:
        """Return the id by which people and programs name the key."""
        return show_id(ID_PREFIX, self.id)

    def state(self, now: datetime) -> str:
        """Return ``good``, ``replaced`` (good until its end), ``expired`` or ``revoked``."""
        if self.revoked_at is not None:
            return "revoked"
        if not self.is_good(now):
            return "expired"
        return "good" if self.replaced_by is None else "replaced"

    def to_json(self, now: datetime) -> dict[str, Any]:
        """Return the key as programs see it: never whole."""
        ends, used = self.expires_at, self.last_used_at
        return {
            "id": self.public_id,
            "tenant": self.tenant_id,
            "name": self.name,
            "shown": self.shown,
            "scope": self.scope.value,
            "state": self.state(now),
            "created_at": self.created_at.isoformat(),
            "expires_at": None if ends is None else ends.isoformat(),
            "last_used_at": None if used is None else used.isoformat(),
        }

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
