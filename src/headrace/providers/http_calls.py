"""The HTTP of all remote providers: one pool of connections, calls bounded in time and bytes.

Nothing is sent twice, no redirect is followed, no proxy is taken from the environment,
no cookie is kept. An error never carries headers, so no key can be in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from yarl import URL

from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.version import VERSION

CONNECTIONS_MAX = 1024
CONNECT_S = 10.0
# Many servers close an idle connection after five seconds. A call that is sent into
# such a close is of unknown outcome, so we close first; a busy lane never gets idle.
KEEPALIVE_S = 4.0
PIECE_BYTES = 64 * 1024
JSON_BYTES_MAX = 16 * 1024 * 1024
ERROR_BYTES_MAX = 64 * 1024
ERROR_BODY_S = 5.0

_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=CONNECT_S)
_T = TypeVar("_T")


class _Letter(aiohttp.BytesPayload):
    """A JSON body that remembers whether any of it was handed to a live connection."""

    def __init__(self, body: bytes) -> None:
        super().__init__(body, content_type="application/json")
        self.sent = False

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write the whole body; headers go out with its first piece, not before."""
        transport = writer.transport
        self.sent = transport is not None and not transport.is_closing()
        await writer.write(self._value)


class HttpCalls:
    """The connections of one provider; calls go to ``base_url`` and nowhere else.

    ``headers`` (credentials among them) are sent with each call.
    """

    def __init__(self, base_url: URL, headers: Mapping[str, str]) -> None:
        self.host = base_url.authority
        self._base_url = base_url
        self._headers = {"User-Agent": f"headrace/{VERSION}", **headers}
        self._session: aiohttp.ClientSession | None = None

    def url(self, path: str) -> URL:
        """Return the address of ``path`` (without a leading slash) below ``base_url``."""
        return self._base_url / path

    def open(self) -> None:
        """Open the pool; connections are made when calls need them."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=CONNECTIONS_MAX, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=60
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                headers=self._headers,
                timeout=_TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=PIECE_BYTES,
                trust_env=False,
            )

    async def close(self) -> None:
        """Close all connections; a later call opens new ones."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def post(
        self,
        url: URL,
        body: bytes,
        deadline_s: float,
        take: Callable[[aiohttp.ClientResponse], Awaitable[_T]],
        headers: Mapping[str, str] | None = None,
    ) -> _T:
        """Send ``body`` (JSON) once and return what ``take`` makes of the response.

        Raises ``CallFailed``: timeout when nothing was sent, unknown when no status came
        back, lost_result when a success broke off before its body was complete.
        """
        self.open()
        assert self._session is not None
        letter = _Letter(body)
        response: aiohttp.ClientResponse | None = None
        try:
            # A little before the caller gives up: only here is known how far the call got.
            async with asyncio.timeout(deadline_s - min(1.0, deadline_s * 0.02)):
                response = await self._session.post(
                    url, data=letter, headers=headers, allow_redirects=False
                )
                return await take(response)
        except (aiohttp.ClientError, OSError) as error:
            # From None: aiohttp's errors hold the request's headers, and so the key.
            raise self._broken(error, letter.sent, response, deadline_s) from None
        finally:
            if response is not None:
                response.close()

    def _broken(
        self,
        error: Exception,
        sent: bool,
        response: aiohttp.ClientResponse | None,
        deadline_s: float,
    ) -> CallFailed:
        what = _what_broke(error, deadline_s)
        if response is not None:
            return failed(
                OutcomeKind.LOST_RESULT if response.ok else OutcomeKind.UNKNOWN,
                f"the answer of {self.host} broke off: {what} (HTTP {response.status})",
            )
        if sent:
            return failed(OutcomeKind.UNKNOWN, f"no answer from {self.host}: {what}")
        return failed(
            OutcomeKind.TIMEOUT,
            f"{self.host} cannot be reached: {what}",
            remedy="Nothing was sent. Check base_url and the network.",
        )


def _what_broke(error: Exception, deadline_s: float) -> str:
    """Return a few words on a broken call; never the error's own text, which may quote headers."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {CONNECT_S:g} s"
    if isinstance(error, TimeoutError):
        return f"not complete within {deadline_s:g} s"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return "its certificate or TLS is not accepted"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:100]
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed"
    return type(error).__name__


async def read_whole(response: aiohttp.ClientResponse, bytes_max: int = JSON_BYTES_MAX) -> bytes:
    """Return a success's body; raises ``CallFailed`` (lost_result) above ``bytes_max``."""
    content = response.content
    body = await content.readany()
    if content.at_eof() and len(body) <= bytes_max:
        return body
    pieces, size = [body], len(body)
    while piece := await content.readany():
        size += len(piece)
        if size > bytes_max:
            break
        pieces.append(piece)
    if size > bytes_max:
        raise failed(
            OutcomeKind.LOST_RESULT,
            f"the answer has more than {bytes_max:,} bytes",
            remedy="Ask for less in one call.",
        )
    return b"".join(pieces)


async def read_error(response: aiohttp.ClientResponse, deadline_s: float) -> bytes:
    """Return the beginning of a failure's body: what there is of it, however it ends."""
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(min(ERROR_BODY_S, deadline_s / 2)):
            while size < ERROR_BYTES_MAX and (piece := await response.content.readany()):
                pieces.append(piece)
                size += len(piece)
    except (aiohttp.ClientError, OSError):
        pass  # the status has come: it says enough
    return b"".join(pieces)[:ERROR_BYTES_MAX]
