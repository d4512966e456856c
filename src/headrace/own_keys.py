"""Providers as each tenant buys with them: with its own key where it has one, in a lane of its own.

A quota belongs to an account, and a key to an account: whoever brings one shares no lane with
others. A tenant without keys has the providers of the installation, as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, cast
from uuid import UUID

from headrace.clock import Clock
from headrace.errors import ConfigError
from headrace.master_key import MasterKeys
from headrace.provider import Provider
from headrace.request import Request
from headrace.store import provider_keys
from headrace.store.database import Database
from headrace.store.provider_keys import SealedKey

KNOWN_S = 5.0
"""So long it is not looked again which keys a tenant has."""
TENANTS_KNOWN_MAX = 10_000


class BuildsProviders(Protocol):
    """The shelf that the installation's providers stand on: one can be made with another key."""

    def with_key(self, name: str, api_key: str) -> Provider:
        """Return a further provider; raises ``ConfigError`` where ``name`` takes no key."""
        ...

    async def open(self, provider: Provider) -> None:
        """Open one of the installation's own."""
        ...


class Keyed:
    """A provider that buys with a tenant's key; everything but its lane is the provider's own."""

    def __init__(self, provider: Provider, tenant_id: str | None) -> None:
        self._provider = provider
        self._tenant_id = tenant_id
        self._is_open = False

    batches = None
    """Provider batches are handed in with the installation's keys, whoever holds them."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def lane(self, request: Request) -> str:
        """Return the lane, with the tenant's name where the account is the tenant's."""
        lane = self._provider.lane(request)
        return lane if self._tenant_id is None else f"{lane}@{self._tenant_id}"

    async def open(self) -> None:
        """Open the provider, once."""
        if not self._is_open:
            self._is_open = True
            await self._provider.open()

    async def close(self) -> None:
        """Close the provider."""
        if self._is_open:
            self._is_open = False
            await self._provider.close()


class _Shelf(Mapping[str, Provider]):
    """The installation's providers, with a tenant's own before them, each built when named."""

    def __init__(
        self,
        shared: Mapping[str, Provider],
        own: Mapping[str, SealedKey],
        keyed: Callable[[SealedKey], Keyed],
    ) -> None:
        self._shared = shared
        self._own = own
        self._keyed = keyed

    def __getitem__(self, name: str) -> Provider:
        sealed = self._own.get(name)
        return self._shared[name] if sealed is None else cast(Provider, self._keyed(sealed))

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._shared), **dict.fromkeys(self._own)})

    def __len__(self) -> int:
        return len(list(iter(self)))


class OwnKeys:
    """Who buys with which keys, in one process; what it opened is closed with the engine.

    A provider whose key was replaced stays open until then: calls may be under way in it.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        masters: MasterKeys,
        shared: Mapping[str, Provider],
        shelf: BuildsProviders,
    ) -> None:
        self.masters = masters
        self._database = database
        self._clock = clock
        self._shared = shared
        self._shelf = shelf
        self._known: dict[str, tuple[float, list[SealedKey]]] = {}
        self._built: dict[UUID, Keyed] = {}

    async def of(self, tenant_id: str) -> Mapping[str, Provider]:
        """Return the providers that a tenant buys from.

        To name one whose key cannot be opened raises ``ConfigError``: no other may pay instead.
        """
        sealed = await self._in_force(tenant_id)
        if not sealed:
            return self._shared
        return _Shelf(self._shared, {one.key.provider: one for one in sealed}, self._keyed)

    async def versions(self, tenant_id: str) -> tuple[UUID, ...]:
        """Return what changes when a tenant buys with other keys."""
        return tuple(one.key.id for one in await self._in_force(tenant_id))

    async def open(self, provider: Provider) -> None:
        """Open a provider that ``of`` gave, unless it is open already."""
        if isinstance(provider, Keyed):
            await provider.open()
        else:
            await self._shelf.open(provider)

    async def close(self) -> None:
        """Close what was opened with keys of tenants."""
        for keyed in self._built.values():
            await keyed.close()

    def check(self, provider: str, secret: str) -> None:
        """Raise ``ConfigError`` where a provider is not configured, or takes no such key."""
        self._shelf.with_key(provider, secret)

    async def _in_force(self, tenant_id: str) -> list[SealedKey]:
        now_s = self._clock.monotonic_s()
        known = self._known.get(tenant_id)
        if known is not None and now_s - known[0] < KNOWN_S:
            return known[1]
        async with self._database.acquire() as connection:
            sealed = await provider_keys.in_force(connection, tenant_id)
        self._known.pop(tenant_id, None)
        self._known[tenant_id] = (now_s, sealed)
        if len(self._known) > TENANTS_KNOWN_MAX:
            self._known.pop(next(iter(self._known)))
        return sealed

    def _keyed(self, sealed: SealedKey) -> Keyed:
        key = sealed.key
        if key.id not in self._built:
            try:
                built = self._shelf.with_key(key.provider, sealed.open(self.masters))
            except ConfigError as error:
                owner = "everybody" if key.tenant_id is None else f"tenant {key.tenant_id}"
                error.place = f"key of {owner} for {key.provider!r}"
                raise
            self._built[key.id] = Keyed(built, key.tenant_id)
        return self._built[key.id]
