"""Where a provider's addresses lead: what is its own, what is followed, what is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from yarl import URL

from headrace.outcome import OutcomeKind, failed

URL_CHARS_MAX = 8192

_PLAIN = re.compile(r"[!#$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+")


class Addresses:
    """The addresses of one provider.

    Credentials may go to ``base_url`` and to ``hosts``: exact names, or endings that begin
    with a dot. ``official`` is the address that the API is documented at: absolute
    addresses in answers that lie below it, or on ``hosts``, are followed below
    ``base_url`` when that was set to another place. ``downloads`` are hosts that results
    may come from although they are private.
    """

    def __init__(
        self,
        base_url: URL,
        *,
        official: URL | None = None,
        hosts: Iterable[str] = (),
        downloads: Iterable[str] = (),
    ) -> None:
        self.base_url = base_url
        self._official = official or base_url
        self._hosts = tuple(hosts)
        self._downloads = frozenset(downloads)

    @property
    def is_elsewhere(self) -> bool:
        """Tell whether ``base_url`` is not the documented place: a proxy, a simulator."""
        return self.base_url.origin() != self._official.origin()

    def followed(self, address: Any) -> URL:
        """Return where an absolute or relative address in an answer is to be looked for.

        Raises ``CallFailed`` (no_output) for what is no address, and for a host that is not
        the provider's: a key goes to no other.
        """
        url = self.read(address)
        if self.is_elsewhere and self._is_official(url):
            path = url.raw_path.removeprefix(self._official.raw_path.rstrip("/"))
            joined = self.base_url.raw_path.rstrip("/") + path
            url = URL.build(
                scheme=self.base_url.scheme,
                authority=self.base_url.raw_authority,
                path=joined,
                query_string=url.raw_query_string,
                encoded=True,
            )
        if not self.is_trusted(url):
            raise failed(
                OutcomeKind.NO_OUTPUT,
                f"an answer of {self.base_url.authority} leads to {str(url.host)[:100]}, "
                "which is not its own",
                remedy="The key is not sent there. Check base_url.",
            )
        return url

    def is_trusted(self, url: URL) -> bool:
        """Tell whether the key may go to ``url``."""
        if url.origin() == self.base_url.origin():
            return True
        return url.scheme == "https" and not self.is_elsewhere and self._is_official(url)

    def _is_official(self, url: URL) -> bool:
        host = url.host or ""
        if url.origin() == self._official.origin():
            return True
        return any(
            host.endswith(one) if one.startswith(".") else url.authority == one or host == one
            for one in self._hosts
        )

    def download(self, address: Any) -> URL:
        """Return where a result is to be fetched from; raises ``CallFailed`` (no_output)."""
        url = self.read(address)
        if self.is_elsewhere and url.origin() == self._official.origin():
            return self.followed(str(url))
        return url

    def is_named(self, url: URL) -> bool:
        """Tell whether the owner named the host as one that results may come from."""
        return url.host in self._downloads or url.authority in self._downloads

    def read(self, address: Any, base: URL | None = None) -> URL:
        """Return an address in an answer, relative to ``base``; raises ``CallFailed``."""
        if isinstance(address, str) and 0 < len(address) <= URL_CHARS_MAX:
            try:
                # A signed address has to be sent as it was written, letter by letter.
                found = URL(address, encoded=_PLAIN.fullmatch(address) is not None)
                url = found if found.absolute else (base or self.base_url).join(found)
                whole = (
                    url.host and url.port and not url.user and bool(found.scheme) == found.absolute
                )
                if url.scheme in ("http", "https") and whole:
                    return url
            except ValueError:
                pass
        raise failed(
            OutcomeKind.NO_OUTPUT,
            f"the answer of {self.base_url.authority} names no usable address",
        )
