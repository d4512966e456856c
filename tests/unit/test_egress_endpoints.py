"""Where tenants may have messages sent: public names over https, and what an operator has named."""

from __future__ import annotations

import pytest

from headrace.egress import read_endpoint
from headrace.errors import InputError

REFUSED = [
    # loopback, private, link-local, shared, metadata, and ranges for other uses
    "https://127.0.0.1/",
    "https://127.8.9.10/",
    "https://0.0.0.0/",
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://192.168.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://168.63.129.16/",
    "https://100.64.0.1/",
    "https://198.18.0.1/",
    "https://224.0.0.1/",
    "https://255.255.255.255/",
    # the same in IPv6, and IPv4 inside of it: mapped, compatible, 6to4, NAT64, Teredo
    "https://[::1]/",
    "https://[::]/",
    "https://[fe80::1]/",
    "https://[fd00:ec2::254]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/",
    "https://[::127.0.0.1]/",
    "https://[2002:7f00:1::]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b:1::1]/",
    "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "https://[ff02::1]/",
    # numbers that resolvers read as addresses
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0177.0.0.1/",
    "https://127.1/",
    "https://1.1/",
    "https://hooks.example.0x7f/",
    # dots at the end, other letters and digits, users, blanks, and what is no address
    "https://127.0.0.1./",
    "https://localhost./",
    "https://hooks.example.com./",
    "https://①②⑦.⓪.⓪.①/",
    "https://１２７.0.0.1/",
    "https://ｌocalhost/",
    "https://hooks。example/",
    "https://hooks.example.com@127.0.0.1/",
    "https://user:password@hooks.example.com/",
    "https://127.0.0.1%2f@hooks.example.com/",
    "https://127.0.0.1\\@hooks.example.com/",
    "https://hooks.example.com\\.evil/",
    "https://hooks.example.com/\r\nx: y",
    "https://hooks.example.com/\0",
    " https://hooks.example.com/",
    "https:///path",
    "https://",
    "//hooks.example.com/",
    "",
    "https://hooks.example.com/" + "x" * 2048,
    # names that mean something inside only
    "https://localhost/",
    "https://a.localhost/",
    "https://metadata.google.internal/",
    "https://printer.local/",
    "https://intranet/",
    # other protocols and ports
    "http://hooks.example.com/",
    "ftp://hooks.example.com/",
    "file:///etc/passwd",
    "gopher://hooks.example.com/",
    "https://hooks.example.com:22/",
    "https://hooks.example.com:80/",
    "https://hooks.example.com:6379/",
    "https://hooks.example.com:0/",
    "https://hooks.example.com:99999/",
]


@pytest.mark.parametrize("text", REFUSED)
def test_no_dress_gets_an_endpoint_inside(text: str) -> None:
    """However an address inside, another protocol or another port is written, it is refused."""
    with pytest.raises(InputError):
        read_endpoint(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://hooks.example.com/x?y=z",
        "https://hooks.example.com:8443/",
        "https://xn--bcher-kva.example/",
        "https://1.1.1.1/",
        "https://[2606:4700:4700::1111]/",
        "https://9gag.example.com/",
        "https://a_b.example.com/",
    ],
)
def test_public_endpoints_are_taken_as_they_are(text: str) -> None:
    """A name or an address of the open internet over https is what it says."""
    assert str(read_endpoint(text)) == text


def test_an_operator_may_name_what_is_inside() -> None:
    """A named host is good with any port, a named host:port with that port; nothing else is."""
    allowed = frozenset({"hooks.intranet", "127.0.0.1:9000", "[::1]:9000"})
    for good in (
        "http://hooks.intranet:8080/x",
        "https://hooks.intranet/",
        "http://127.0.0.1:9000/",
        "http://[::1]:9000/",
    ):
        assert str(read_endpoint(good, allowed)) == good
    for bad in (
        "http://127.0.0.1:9001/",
        "http://127.0.0.1/",
        "http://127.0.0.2:9000/",
        "http://hooks.intranet@127.0.0.1/",
        "http://x.hooks.intranet/",
        "ftp://hooks.intranet/",
    ):
        with pytest.raises(InputError):
            read_endpoint(bad, allowed)
