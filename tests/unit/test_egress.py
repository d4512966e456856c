"""A stranger's link reaches the open internet only, in whatever dress its address comes."""

from __future__ import annotations

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from headrace.egress import ClosedAddressError, OpenResolver, is_address, is_open

CLOSED = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "localhost",
    "",
]
OPEN = ["1.1.1.1", "8.8.8.8", "172.32.0.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", CLOSED)
def test_private_and_special_addresses_are_closed(address: str) -> None:
    """No way of writing an address opens the machine, its neighbours or its metadata."""
    assert not is_open(address)


@pytest.mark.parametrize("address", OPEN)
def test_public_addresses_are_open(address: str) -> None:
    """What lies on the open internet may be fetched."""
    assert is_open(address)


def test_names_are_told_from_addresses() -> None:
    """Only a literal address skips the resolver, so only it is looked at by itself."""
    assert is_address("10.0.0.1")
    assert is_address("::1")
    assert not is_address("x.example")


class _Says(AbstractResolver):
    def __init__(self, *hosts: str) -> None:
        self._hosts = hosts

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=one, port=port, family=0, proto=0, flags=0)
            for one in self._hosts
        ]

    async def close(self) -> None:
        """Hold nothing."""


async def test_one_closed_address_closes_the_name() -> None:
    """A name with a public and a private address is refused as a whole."""
    found = await OpenResolver(_Says("1.1.1.1")).resolve("x.example", 443)
    assert [one["host"] for one in found] == ["1.1.1.1"]
    with pytest.raises(ClosedAddressError):
        await OpenResolver(_Says("1.1.1.1", "10.0.0.1")).resolve("x.example", 443)
