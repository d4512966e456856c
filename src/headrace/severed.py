"""What broke a connection, in a few words: never the error's own, which may quote headers."""

from __future__ import annotations

import aiohttp


def words_of(error: Exception) -> str:
    """Return why a connection was not made or did not last; its kind where nothing is known."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return "its certificate or TLS is not accepted"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:100]
    return type(error).__name__
