"""Secrets at rest: sealed with AES-256-GCM under a master key, for one owner and one purpose."""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from dataclasses import dataclass, field

from headrace.errors import ConfigError
from headrace.fingerprint import canonical_json

KEY_BYTES = 32
NONCE_BYTES = 12
_ID_CHARS = 16


@dataclass(frozen=True, slots=True)
class Master:
    """A master key; ``id`` names it and tells nothing of it."""

    id: str
    key: bytes = field(repr=False)

    def to_text(self) -> str:
        """Return the key as it is kept in a file or a variable."""
        return base64.urlsafe_b64encode(self.key).decode("ascii")


def new_master() -> Master:
    """Return a fresh master key of 256 random bits."""
    return _master(secrets.token_bytes(KEY_BYTES))


def read_master(text: str, place: str) -> Master:
    """Return the master key that a text is; raises ``ConfigError``, which never shows it."""
    try:
        key = base64.b64decode(text.strip().replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            "this is not a master key",
            place=place,
            remedy="It is 32 random bytes in base64: openssl rand -base64 32",
        )
    return _master(key)


def seal(master: Master, secret: str, about: list[str | None]) -> bytes:
    """Return ``secret`` sealed: a nonce and what only ``master`` opens, for ``about`` alone."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(master.key).encrypt(nonce, secret.encode(), canonical_json(about))


def unseal(master: Master, body: bytes, about: list[str | None]) -> str:
    """Return what was sealed; raises ``ConfigError`` where it was not, by ``master``, for this."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce, sealed = body[:NONCE_BYTES], body[NONCE_BYTES:]
    try:
        return AESGCM(master.key).decrypt(nonce, sealed, canonical_json(about)).decode()
    except (InvalidTag, ValueError):
        raise ConfigError(
            "a sealed key cannot be opened: its row was changed, or is another's",
            remedy="Set the key again: headrace keys provider-set",
        ) from None


def _master(key: bytes) -> Master:
    # A hash of 256 random bits tells nothing; the prefix keeps it apart from any other use.
    name = hashlib.sha256(b"headrace master key\0" + key).hexdigest()[:_ID_CHARS]
    return Master(name, key)
