"""Which addresses a stranger's link may lead to: those of the open internet and no others.

An answer of a provider, or a row of somebody's file, names an address. Fetched without
a look it could reach the machine itself, its neighbours or a cloud's metadata. So every
name is resolved, **all** of its addresses are checked, and the connection goes to a
checked one: nothing is resolved a second time.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from socket import AF_UNSPEC, AddressFamily

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# The IANA registries of special-purpose addresses, and what clouds use beside them.
_CLOSED = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/96",
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_6TO4 = ipaddress.ip_network("2002::/16")


class ClosedAddressError(OSError):
    """A name leads to an address that a stranger's link may not reach."""


def is_open(address: str) -> bool:
    """Tell whether an IP address, as text, is on the open internet.

    An IPv4 address inside of an IPv6 one (mapped, 6to4, NAT64) is judged as what it is.
    What is no address at all is not open.
    """
    try:
        found: _Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(_outside(one) for one in _meant(found))


def _outside(address: _Address) -> bool:
    return not any(address.version == network.version and address in network for network in _CLOSED)


def _meant(address: _Address) -> Iterable[_Address]:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return [address.ipv4_mapped]
        if address in _NAT64:
            return [ipaddress.IPv4Address(address.packed[12:])]
        if address in _6TO4:
            return [ipaddress.IPv4Address(address.packed[2:6])]
    return [address]


def is_address(host: str) -> bool:
    """Tell whether a host is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


class OpenResolver(AbstractResolver):
    """Resolves names, and refuses those that lead anywhere but to the open internet."""

    def __init__(self, resolver: AbstractResolver | None = None) -> None:
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily | int = AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``; raises ``ClosedAddressError`` if one is closed."""
        found = await self._resolver.resolve(host, port, family)  # type: ignore[arg-type]
        if not all(is_open(one["host"]) for one in found):
            raise ClosedAddressError(f"{host} leads to a private address")
        return found

    async def close(self) -> None:
        """Close the resolver inside."""
        await self._resolver.close()
