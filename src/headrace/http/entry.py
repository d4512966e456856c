"""Who calls: a key becomes a tenant and a scope; looked up once in a while, not each time."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request

from headrace.access import KEY_CHARS_MAX, ApiKey, Scope, digest_of
from headrace.clock import Clock
from headrace.errors import HeadraceError
from headrace.store import keys
from headrace.store.database import Database

KNOWN_S = 5.0
"""So long a key that was good is not looked up again; a revoked one ends within that."""
KNOWN_MAX = 10_000


class UnknownKeyError(HeadraceError):
    """There is no key, or none that is good."""

    code = "invalid_api_key"


class ForbiddenError(HeadraceError):
    """The key is good, but not for this."""

    code = "forbidden"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: everything is looked up and bought in the name of ``tenant_id``."""

    tenant_id: str
    key: ApiKey


class Entry:
    """Lets callers in by their key."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[bytes, tuple[float, ApiKey]] = {}

    async def let_in(self, request: Request, scope: Scope) -> Caller:
        """Return who calls; raises ``UnknownKeyError`` and ``ForbiddenError``."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not 0 < len(secret) <= KEY_CHARS_MAX:
            raise UnknownKeyError(
                "there is no API key", remedy="Send it as 'Authorization: Bearer hr_…'."
            )
        key = await self._find(secret)
        if key is None or not key.is_good(self._clock.now()):
            raise UnknownKeyError(
                "the API key is not good", remedy="'headrace keys list' shows those that are."
            )
        if not key.allows(scope):
            raise ForbiddenError(
                f"the key {key.shown}… is for {key.scope}, this needs {scope}",
                remedy="Use another key: 'headrace keys create' makes one.",
            )
        return Caller(key.tenant_id, key)

    async def _find(self, secret: str) -> ApiKey | None:
        digest, now_s = digest_of(secret), self._clock.monotonic_s()
        known = self._known.get(digest)
        if known is not None and now_s - known[0] < KNOWN_S:
            return known[1]
        async with self._database.acquire() as connection:
            found = await keys.find(connection, secret)
        self._known.pop(digest, None)
        if found is not None:
            # Keys that there never were are not remembered: a stranger could fill it.
            self._known[digest] = (now_s, found)
            if len(self._known) > KNOWN_MAX:
                self._known.pop(next(iter(self._known)))
        return found
