"""Who calls: a key becomes a tenant and a scope; looked up once in a while, not each time."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from headrace.access import KEY_CHARS_MAX, ApiKey, Scope, digest_of
from headrace.clock import Clock
from headrace.errors import HeadraceError, NotFoundError
from headrace.plan import DEFAULT, Plan
from headrace.store import keys, plans
from headrace.store.database import Database
from headrace.store.plans import Standing

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
    plan: Plan

    @property
    def is_operator(self) -> bool:
        """Tell whether who calls runs this installation: admin, and of the first tenant."""
        return self.key.scope is Scope.ADMIN and self.tenant_id == DEFAULT

    def reach(self, tenant_id: str | None, what: str) -> str:
        """Return the tenant that is meant, by default the caller's; raises ``NotFoundError``.

        Another's is not there, but for the operator.
        """
        meant = self.tenant_id if tenant_id is None else tenant_id
        # What cannot be printed (a NUL, half a character) PostgreSQL cannot even look for.
        if meant != self.tenant_id and not (self.is_operator and meant.isprintable()):
            raise NotFoundError(f"there is no {what} {meant[:80]!r}")
        return meant

    def reach_all(self, tenant_id: str | None, what: str) -> str | None:
        """Return as ``reach`` does, but ``None``, all tenants, for an operator who names none."""
        if tenant_id is None and self.is_operator:
            return None
        return self.reach(tenant_id, what)


class Entry:
    """Lets callers in by their key."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._known: dict[bytes, tuple[float, ApiKey, Standing]] = {}

    async def let_in(self, request: HTTPConnection, scope: Scope) -> Caller:
        """Return who calls.

        Raises ``UnknownKeyError``, ``ForbiddenError`` and ``SuspendedError``.
        """
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = secret.strip()
        if scheme.lower() != "bearer" or not 0 < len(secret) <= KEY_CHARS_MAX:
            raise UnknownKeyError(
                "there is no API key", remedy="Send it as 'Authorization: Bearer hr_…'."
            )
        found = await self._find(secret)
        if found is None or not found[0].is_good(self._clock.now()):
            raise UnknownKeyError(
                "the API key is not good", remedy="'headrace keys list' shows those that are."
            )
        key, standing = found
        standing.check_active()
        if not key.allows(scope):
            raise ForbiddenError(
                f"the key {key.shown}… is for {key.scope}, this needs {scope}",
                remedy="Use another key: 'headrace keys create' makes one.",
            )
        return Caller(key.tenant_id, key, standing.plan)

    async def operator(self, request: HTTPConnection) -> Caller:
        """Return who calls, if that is the operator; raises as ``let_in`` does."""
        caller = await self.let_in(request, Scope.ADMIN)
        if not caller.is_operator:
            raise ForbiddenError(
                "this is for whoever runs the installation",
                remedy=f"Use an admin key of the tenant {DEFAULT!r}.",
            )
        return caller

    async def _find(self, secret: str) -> tuple[ApiKey, Standing] | None:
        digest, now_s = digest_of(secret), self._clock.monotonic_s()
        known = self._known.get(digest)
        if known is not None and now_s - known[0] < KNOWN_S:
            return known[1], known[2]
        self._known.pop(digest, None)
        now = self._clock.now()
        async with self._database.acquire() as connection:
            found = await keys.find(connection, secret)
            # Keys that there never were are not remembered: a stranger could fill it.
            if found is None:
                return None
            standing = await plans.standing(connection, found.tenant_id, now)
            if found.is_good(now):
                await keys.used(connection, found, now)
        self._known[digest] = (now_s, found, standing)
        if len(self._known) > KNOWN_MAX:
            self._known.pop(next(iter(self._known)))
        return found, standing
