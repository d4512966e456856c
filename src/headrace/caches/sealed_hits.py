"""Finished results as they rest in a store that others may read, change or lose.

Each is sealed with AES-256-GCM under its tenant's secret, for its fingerprint and this format.
What was not sealed so, however it came there, is not opened: it is as if it were not there.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from headrace.artifact import Artifact
from headrace.cache import CacheHit
from headrace.held import decode_json, encode_json
from headrace.provenance import Origin

FORMAT = b"headrace cached result 1\0"
NONCE_BYTES = 12
PREFIX = b"headrace:result:"


class _Rest(msgspec.Struct, array_like=True):
    sha256: bytes
    media_type: str
    size_bytes: int
    body: bytes | None
    facts: bytes
    created_at: datetime
    expires_at: datetime


class Sealing:
    """Names and seals the results of one tenant under one ``secret`` of 32 bytes."""

    def __init__(self, secret: bytes) -> None:
        self._names = hmac.digest(secret, b"names", hashlib.sha256)
        self._cipher = AESGCM(hmac.digest(secret, b"results", hashlib.sha256))
        self._decoder = msgspec.msgpack.Decoder(_Rest)

    def name(self, fingerprint: bytes) -> bytes:
        """Return the name under which a result rests; it tells neither tenant nor request."""
        return PREFIX + hmac.digest(self._names, fingerprint, hashlib.sha256).hex().encode()

    def seal(self, hit: CacheHit) -> bytes:
        """Return a result that has an end, sealed."""
        assert hit.expires_at is not None
        made, facts = hit.artifact, encode_json(hit.facts)
        rest = _Rest(
            made.sha256, made.media_type, made.size_bytes, made.body,
            facts, hit.created_at, hit.expires_at,
        )  # fmt: skip
        nonce = secrets.token_bytes(NONCE_BYTES)
        body = msgspec.msgpack.encode(rest)
        return nonce + self._cipher.encrypt(nonce, body, FORMAT + hit.fingerprint)

    def open(self, fingerprint: bytes, sealed: Any) -> CacheHit | None:
        """Return the result that was sealed for ``fingerprint``, or ``None`` for anything else."""
        if not isinstance(sealed, bytes):
            return None
        nonce, body = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]
        try:
            rest = self._decoder.decode(self._cipher.decrypt(nonce, body, FORMAT + fingerprint))
            facts: dict[str, Any] = decode_json(rest.facts)
        except (InvalidTag, ValueError, msgspec.MsgspecError):
            return None
        origin = Origin.from_json(facts.get("origin"))
        made = Artifact(rest.sha256, rest.media_type, rest.size_bytes, rest.body, origin)
        return CacheHit(made, facts, rest.created_at, fingerprint, rest.expires_at)
