"""Posts a message to a webhook: to the open internet, once, bounded in time and bytes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from headrace import severed
from headrace.clock import Clock
from headrace.egress import ClosedAddressError, OpenResolver, read_endpoint
from headrace.errors import InputError
from headrace.store.webhook_deliveries import Tried
from headrace.version import VERSION

CONNECTIONS_MAX = 64
THREADS = 16
SEND_S = 15.0
"""So long an endpoint may take, from the look-up of its name to the end of its answer."""
ANSWER_BYTES_MAX = 4096
EXCERPT_CHARS = 400


class _Names(AbstractResolver):
    """Looks names up in threads of its own: a slow name server delays other webhooks only."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="webhook-names")

    async def resolve(
        self, host: str, port: int = 0, family: int = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        def look_up() -> list[ResolveResult]:
            flags = socket.AI_ADDRCONFIG
            rows = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=flags)
            return [
                ResolveResult(
                    hostname=host,
                    host=str(at[0]),
                    port=int(at[1]),
                    family=kind,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST,
                )
                for kind, _, proto, _, at in rows
            ]

        return await asyncio.get_running_loop().run_in_executor(self._threads, look_up)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class WebhookPost:
    """The connections to the endpoints of all tenants; ``allowed`` are hosts an operator named.

    Every message looks its name up anew, and goes to the address that was checked.
    Redirects are not followed, no cookie is kept, nothing is unpacked, no proxy is used.
    """

    def __init__(
        self,
        clock: Clock,
        allowed: frozenset[str] = frozenset(),
        send_s: float = SEND_S,
        resolver: AbstractResolver | None = None,
    ) -> None:
        self._clock = clock
        self._allowed = allowed
        self._send_s = send_s
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None

    async def send(self, url: str, body: bytes, headers: Mapping[str, str]) -> Tried:
        """Post ``body`` and return how it went: whatever happens, it is an answer or a reason."""
        started_s = self._clock.monotonic_s()
        status: int | None = None
        excerpt = ""
        try:
            target = read_endpoint(url, self._allowed)
            async with asyncio.timeout(self._send_s):
                async with self._open().post(
                    target, data=body, headers=dict(headers), allow_redirects=False
                ) as answer:
                    status = answer.status
                    excerpt = await _beginning(answer)
            error = None if 200 <= status < 300 else _why(status)
        except (aiohttp.ClientError, OSError, ValueError, InputError) as failure:
            # The status is enough: that the rest of an answer broke off changes nothing.
            error = _what_broke(failure, self._send_s)
            if status is not None:
                error = None if 200 <= status < 300 else _why(status)
        return Tried(status, error, excerpt, self._clock.monotonic_s() - started_s)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = OpenResolver(self._resolver or _Names(), self._allowed)
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX, use_dns_cache=False, force_close=True, resolver=resolver
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers={"User-Agent": f"headrace/{VERSION}", "Content-Type": "application/json"},
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


async def _beginning(answer: aiohttp.ClientResponse) -> str:
    """Return the first characters of an answer; the rest of it is not read."""
    found = b""
    while len(found) < ANSWER_BYTES_MAX and (piece := await answer.content.read(1024)):
        found += piece
    text = found.decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text)[:EXCERPT_CHARS].strip()


def _why(status: int) -> str:
    if 300 <= status < 400:
        return f"HTTP {status}: redirects are not followed"
    return f"HTTP {status}"


def _what_broke(error: Exception, send_s: float) -> str:
    inner = getattr(error, "os_error", None)
    if isinstance(error, ClosedAddressError) or isinstance(inner, ClosedAddressError):
        return "its name leads to a private address"
    if isinstance(error, InputError):
        return error.message
    if isinstance(error, TimeoutError):
        return f"no answer within {send_s:g} s"
    return severed.words_of(error)
