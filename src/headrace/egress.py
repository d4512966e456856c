"""Which addresses a stranger's link may lead to: those of the open internet and no others.

An answer of a provider, or a row of somebody's file, names an address. Fetched without
a look it could reach the machine itself, its neighbours or a cloud's metadata. So every
name is resolved, **all** of its addresses are checked, and the connection goes to a
checked one: nothing is resolved a second time.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from socket import AF_UNSPEC, AddressFamily

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from headrace.errors import InputError

URL_CHARS_MAX = 2048
PORTS = (443, 8443)
"""Where a stranger's endpoint may listen: other ports are other protocols, or somebody's own."""

_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))+")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_INSIDE = ("localhost", "local", "internal", "intranet", "lan", "home.arpa", "onion", "test")

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


def read_endpoint(text: str, allowed: frozenset[str] = frozenset()) -> URL:
    """Return where a tenant's messages go; raises ``InputError`` for what may not be one.

    It is https to a public name or address at one of ``PORTS``, with no user in it. What
    the operator names in ``allowed``, a host or ``host:port``, may be private and plain http.
    """
    url = _parsed(text)
    host, port = (url.raw_host or "").lower(), url.port or 0
    if is_allowed(host, port, allowed):
        return url
    if url.scheme != "https":
        raise InputError("the url is not https", place="url")
    if port not in PORTS:
        ports = " or ".join(str(one) for one in PORTS)
        raise InputError(f"port {port} is not allowed", place="url", remedy=f"Use {ports}.")
    if not _may_be_public(host):
        raise InputError(
            f"{host[:80]} is not on the open internet",
            place="url",
            remedy="An operator may name private hosts in [webhooks] allowed_hosts.",
        )
    return url


def _parsed(text: str) -> URL:
    # A name in other letters has an ASCII form: what is written is what is asked for.
    plain = text.isascii() and text.isprintable() and not re.search(r"[\s\\]", text)
    if not plain or not 0 < len(text) <= URL_CHARS_MAX:
        raise InputError("the url is not a plain address in ASCII", place="url")
    try:
        url = URL(text)
        whole = url.scheme in ("https", "http") and url.raw_host and url.port
    except ValueError:
        whole = None
    if not whole:
        raise InputError("the url is not an address of https", place="url")
    if "@" in url.raw_authority:
        raise InputError("the url holds a user or a password", place="url")
    return url.with_fragment(None)


def is_allowed(host: str, port: int, allowed: frozenset[str]) -> bool:
    """Tell whether the operator has named a host, by itself or with its port."""
    return host in allowed or f"{host}:{port}" in allowed or f"[{host}]:{port}" in allowed


def _may_be_public(host: str) -> bool:
    if is_address(host):
        return is_open(host)
    # A dot at the end, or a number there, is read as an address by some resolvers.
    last = host.rpartition(".")[2]
    inside = any(host == one or host.endswith(f".{one}") for one in _INSIDE)
    return _NAME.fullmatch(host) is not None and not inside and not _NUMBER.fullmatch(last)


class OpenResolver(AbstractResolver):
    """Resolves names, and refuses those that lead anywhere but to the open internet.

    What the operator has named in ``allowed``, a host or ``host:port``, may lead anywhere.
    """

    def __init__(
        self, resolver: AbstractResolver | None = None, allowed: frozenset[str] = frozenset()
    ) -> None:
        self._resolver = resolver or ThreadedResolver()
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: AddressFamily | int = AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``; raises ``ClosedAddressError`` if one is closed."""
        found = await self._resolver.resolve(host, port, family)  # type: ignore[arg-type]
        if is_allowed(host, port, self._allowed):
            return found
        if not all(is_open(one["host"]) for one in found):
            raise ClosedAddressError(f"{host} leads to a private address")
        return found

    async def close(self) -> None:
        """Close the resolver inside."""
        await self._resolver.close()
