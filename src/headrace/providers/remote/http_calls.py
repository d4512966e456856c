"""The HTTP of all remote providers: one pool of connections, calls bounded in time and bytes.

Nothing is sent twice, no proxy is taken from the environment, no cookie is kept.
Credentials go to the provider's own hosts and nowhere else; an error never carries
headers, so no key can be in it. Results are fetched from the open internet only.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import aiohttp
from yarl import URL

from headrace import severed
from headrace.bytes_budget import BytesBudget, Hold, process_budget
from headrace.egress import ClosedAddressError, OpenResolver, is_address, is_open
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.providers.remote.addresses import Addresses
from headrace.providers.remote.letters import FileLetter, Letter, Parcel
from headrace.version import VERSION

CONNECTIONS_MAX = 1024
CONNECT_S = 10.0
# Many servers close an idle connection after five seconds. A call that is sent into
# such a close is of unknown outcome, so we close first; a busy lane never gets idle.
KEEPALIVE_S = 4.0
PIECE_BYTES = 64 * 1024
UNCOUNTED_BYTES = 64 * 1024
STEP_BYTES = 1024 * 1024
"""A body above the first is counted against the budget, in steps of the second."""
JSON_BYTES_MAX = 16 * 1024 * 1024
ERROR_BYTES_MAX = 64 * 1024
ERROR_BODY_S = 5.0
HOPS_MAX = 3

_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=CONNECT_S)
_REDIRECTS = (301, 302, 303, 307, 308)
_T = TypeVar("_T")

Take = Callable[[aiohttp.ClientResponse], Awaitable[_T]]


class Answer(aiohttp.ClientResponse):
    """A response that knows what of its body is held in memory until the call is over."""

    hold: Hold | None = None


class HttpCalls:
    """The connections of one provider; ``headers``, the key among them, go to its hosts only.

    Bodies that are read whole wait for room in ``budget``, the process's by default.
    """

    def __init__(
        self,
        addresses: Addresses,
        headers: Mapping[str, str],
        budget: BytesBudget | None = None,
    ) -> None:
        self.addresses = addresses
        self._budget = budget
        self.host = addresses.base_url.authority
        self._headers = dict(headers)
        self._session: aiohttp.ClientSession | None = None
        self._outside: aiohttp.ClientSession | None = None

    def url(self, path: str) -> URL:
        """Return the address of ``path`` (without a leading slash) below ``base_url``."""
        return self.addresses.base_url / path

    def open(self) -> None:
        """Open the pool; connections are made when calls need them."""
        if self._session is None:
            self._session = _session(
                aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=60
                )
            )

    async def close(self) -> None:
        """Close all connections; a later call opens new ones."""
        for session in (self._session, self._outside):
            if session is not None:
                await session.close()
        self._session = self._outside = None

    async def post(
        self,
        url: URL,
        body: bytes | Parcel | FileLetter,
        deadline_s: float,
        take: Take[_T],
        headers: Mapping[str, str] | None = None,
        *,
        paid: bool = True,
    ) -> _T:
        """Send ``body`` (JSON, or a form) once and return what ``take`` makes of the response.

        Raises ``CallFailed``: timeout when nothing was sent; then, for a ``paid`` call, unknown
        when no status came back and lost_result when a success broke off before its body
        was complete; transient for others.
        """
        letter = Letter(body) if isinstance(body, bytes) else body
        return await self._send("POST", url, letter, deadline_s, take, headers, paid=paid)

    async def get(
        self,
        url: URL,
        deadline_s: float,
        take: Take[_T],
        headers: Mapping[str, str] | None = None,
        *,
        paid: bool = False,
    ) -> _T:
        """Ask for ``url``; raises ``CallFailed`` as ``post`` does, one that is paid as unknown."""
        return await self._send("GET", url, None, deadline_s, take, headers, paid=paid)

    async def put(self, url: URL, deadline_s: float, take: Take[_T]) -> _T:
        """Send a PUT without a body, which costs nothing; raises ``CallFailed``."""
        return await self._send("PUT", url, None, deadline_s, take, None, paid=False)

    async def _send(
        self,
        method: str,
        url: URL,
        letter: Letter | Parcel | FileLetter | None,
        deadline_s: float,
        take: Take[_T],
        headers: Mapping[str, str] | None,
        *,
        paid: bool,
    ) -> _T:
        self.open()
        assert self._session is not None
        own = self._headers if self.addresses.is_trusted(url) else {}
        response: aiohttp.ClientResponse | None = None
        try:
            # A little before the caller gives up: only here is known how far the call got.
            async with asyncio.timeout(deadline_s - min(1.0, deadline_s * 0.02)):
                response = await self._session.request(
                    method,
                    url,
                    data=letter,
                    headers={**own, **headers} if headers else own,
                    allow_redirects=False,
                )
                self._count(response)
                return await take(response)
        except (aiohttp.ClientError, OSError) as error:
            sent = letter.sent if letter is not None else _was_sent(error)
            # From None: aiohttp's errors hold the request's headers, and so the key.
            raise self._broken(error, sent, response, deadline_s, paid) from None
        finally:
            _over(response)

    async def fetch(self, address: Any, deadline_s: float, take: Take[_T]) -> _T:
        """Fetch a result that was paid for, and return what ``take`` makes of the response.

        No key goes along, but to ``base_url`` itself. At most three redirects are
        followed; private addresses are refused. ``take`` sees any final status. Raises
        ``CallFailed``: transient when the connection failed, lost_result for an address
        that may not be fetched.
        """
        url, response = self.addresses.download(address), None
        try:
            async with asyncio.timeout(deadline_s):
                for _ in range(HOPS_MAX + 1):
                    response = await self._fetched(url)
                    target = response.headers.get("Location")
                    if response.status not in _REDIRECTS or target is None:
                        self._count(response)
                        return await take(response)
                    response.close()
                    url = self.addresses.read(target, url)
            raise failed(OutcomeKind.LOST_RESULT, f"{url.host} redirects again and again")
        except ClosedAddressError:
            raise self._closed(url) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if isinstance(getattr(error, "os_error", None), ClosedAddressError):
                raise self._closed(url) from None
            raise failed(
                OutcomeKind.TRANSIENT,
                f"the result cannot be fetched from {url.host}: {_what_broke(error, deadline_s)}",
            ) from None
        finally:
            _over(response)

    async def _fetched(self, url: URL) -> aiohttp.ClientResponse:
        inside = url.origin() == self.addresses.base_url.origin()
        if inside or self.addresses.is_named(url):
            self.open()
            assert self._session is not None
            headers = self._headers if inside else None
            return await self._session.get(url, headers=headers, allow_redirects=False)
        if url.scheme != "https" or (is_address(url.host or "") and not is_open(url.host or "")):
            raise ClosedAddressError(str(url.host))
        if self._outside is None:
            self._outside = _session(
                aiohttp.TCPConnector(
                    limit=CONNECTIONS_MAX, ttl_dns_cache=60, resolver=OpenResolver()
                )
            )
        return await self._outside.get(url, allow_redirects=False)

    def _count(self, response: aiohttp.ClientResponse) -> None:
        if isinstance(response, Answer):
            response.hold = (self._budget or process_budget()).hold()

    def _closed(self, url: URL) -> CallFailed:
        return failed(
            OutcomeKind.LOST_RESULT,
            f"the result lies at {str(url.host)[:100]}, which may not be fetched from",
            remedy="Only https and public addresses are. If it is yours, add it to download_hosts.",
        )

    def _broken(
        self,
        error: Exception,
        sent: bool,
        response: aiohttp.ClientResponse | None,
        deadline_s: float,
        paid: bool,
    ) -> CallFailed:
        what = _what_broke(error, deadline_s)
        if response is not None:
            lost = OutcomeKind.LOST_RESULT if response.ok else OutcomeKind.UNKNOWN
            return failed(
                lost if paid else OutcomeKind.TRANSIENT,
                f"the answer of {self.host} broke off: {what} (HTTP {response.status})",
            )
        if sent:
            kind = OutcomeKind.UNKNOWN if paid else OutcomeKind.TRANSIENT
            return failed(kind, f"no answer from {self.host}: {what}")
        return failed(
            OutcomeKind.TIMEOUT,
            f"{self.host} cannot be reached: {what}",
            remedy="Nothing was sent. Check base_url and the network.",
        )


def _was_sent(error: Exception) -> bool:
    """Tell whether a request without a body may have left: it has not without a connection."""
    return not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _over(response: aiohttp.ClientResponse | None) -> None:
    """Let a call's connection go, and what its body held of the budget."""
    if response is not None:
        response.close()
        if isinstance(response, Answer) and response.hold is not None:
            response.hold.release()


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        headers={"User-Agent": f"headrace/{VERSION}"},
        timeout=_TIMEOUT,
        cookie_jar=aiohttp.DummyCookieJar(),
        read_bufsize=PIECE_BYTES,
        response_class=Answer,
        trust_env=False,
    )


def _what_broke(error: Exception, deadline_s: float) -> str:
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no connection within {CONNECT_S:g} s"
    if isinstance(error, TimeoutError):
        return f"not complete within {deadline_s:g} s"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed"
    return severed.words_of(error)


async def read_whole(response: aiohttp.ClientResponse, bytes_max: int = JSON_BYTES_MAX) -> bytes:
    """Return a success's body, once there is room for it in the budget of bytes.

    Raises ``CallFailed`` (lost_result) above ``bytes_max``.
    """
    content = response.content
    body = await content.readany()
    if content.at_eof() and len(body) <= bytes_max:
        return body
    hold = response.hold if isinstance(response, Answer) else None
    pieces, size, counted = [body], len(body), UNCOUNTED_BYTES
    while size <= bytes_max:
        if size > counted and hold is not None:
            # Twice: the pieces, and the whole that is made of them.
            await hold.grow(2 * STEP_BYTES)
            counted += STEP_BYTES
            continue
        piece = await content.readany()
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        pieces.append(piece)
    raise failed(
        OutcomeKind.LOST_RESULT,
        f"the answer has more than {bytes_max:,} bytes",
        remedy="Ask for less in one call.",
    )


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


def read_object(body: bytes) -> dict[str, Any] | None:
    """Return a JSON object, ``None`` for anything else that a server may say."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
