"""Signed links: an address that opens one artifact to whoever has it, for a while."""

from __future__ import annotations

import base64
import hashlib
import hmac

LASTS_S_MAX = 7 * 24 * 3600
"""The longest that a link may last."""

_DIGITS_MAX = 12


def lasts_s(asked: int) -> int:
    """Return how long a link lasts that is asked for so many seconds."""
    return max(1, min(asked, LASTS_S_MAX))


def signature_of(secret: bytes, path: str, expires: int) -> str:
    """Return the signature of a GET of ``path`` until ``expires`` (seconds since 1970)."""
    told = f"GET\n{path}\n{expires}".encode()
    digest = hmac.new(secret, told, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def signed(secret: bytes, path: str, expires: int) -> str:
    """Return ``path`` with what opens it until ``expires``."""
    return f"{path}?expires={expires}&signature={signature_of(secret, path, expires)}"


def seconds_left(secret: bytes, path: str, expires: str, signature: str, now_s: float) -> int:
    """Return how long a link is still good for, 0 for one that is not (or was never ours)."""
    if not (expires.isascii() and expires.isdecimal() and len(expires) <= _DIGITS_MAX):
        return 0
    # Compared in constant time, and before the time is looked at: no answer tells more.
    good = hmac.compare_digest(
        signature_of(secret, path, int(expires)).encode(), signature.encode("utf-8", "replace")
    )
    left_s = int(int(expires) - now_s)
    return left_s if good and 0 < left_s <= LASTS_S_MAX else 0
