"""Whether a webhook is from whom it says: checks of signatures that come, signatures that go.

Standard Webhooks (Replicate, OpenAI): HMAC-SHA256 over ``id.timestamp.body``, base64, under
a secret that begins with ``whsec_``. Black Forest Labs: HMAC-SHA256 over the body, in hex.
fal signs with ED25519, which Python's library does not have: it is not checked here.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime

from headrace.errors import ConfigError

AGE_S_MAX = 300.0
"""How far a webhook's time may be from ours: a recorded one is not worth more than that."""
SIGNATURES_MAX = 16
"""A sender that changes its secret signs with both for a while; never with hundreds."""
_HEADER_CHARS_MAX = 4096
_PREFIX = "whsec_"
_SECRET_BYTES = 32


def is_standard_webhook(
    headers: Mapping[str, str], body: bytes, secret: str, now: datetime
) -> bool:
    """Tell whether a webhook is signed under ``secret``, and within ``AGE_S_MAX`` of ``now``.

    ``headers`` are ``webhook-id``, ``webhook-timestamp`` (seconds since 1970) and
    ``webhook-signature``, in any case of letters; ``body`` are the very bytes that came.
    Whatever came, the answer is only yes or no. Raises ``ConfigError`` for a secret that
    is none.
    """
    key = _standard_key(secret)
    known = {name.lower(): value for name, value in headers.items()}
    name, sent = known.get("webhook-id", ""), known.get("webhook-timestamp", "")
    signatures = known.get("webhook-signature", "")[:_HEADER_CHARS_MAX]
    if not name or len(name) > _HEADER_CHARS_MAX or not _is_recent(sent, now):
        return False
    signed = name.encode("utf-8", "replace") + b"." + sent.encode("ascii") + b"." + body
    expected = hmac.new(key, signed, hashlib.sha256).digest()
    is_right = False
    for one in signatures.split(" ")[:SIGNATURES_MAX]:
        version, comma, told = one.partition(",")
        if version == "v1" and comma:
            is_right |= hmac.compare_digest(expected, _unpacked(told))
    return is_right


def new_standard_secret() -> str:
    """Return a fresh secret of 256 random bits to sign Standard Webhooks with."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")


def standard_headers(name: str, body: bytes, used: Iterable[str], now: datetime) -> dict[str, str]:
    """Return the headers that sign ``body`` as the Standard Webhook called ``name``.

    There is a signature for each of the secrets ``used``: two while one replaces the other.
    """
    sent = str(int(now.timestamp()))
    signed = name.encode() + b"." + sent.encode() + b"." + body
    digests = [hmac.new(_standard_key(one), signed, hashlib.sha256).digest() for one in used]
    signatures = " ".join("v1," + base64.b64encode(one).decode("ascii") for one in digests)
    return {"webhook-id": name, "webhook-timestamp": sent, "webhook-signature": signatures}


def is_bfl_webhook(headers: Mapping[str, str], body: bytes, secret: str) -> bool:
    """Tell whether a webhook's ``X-BFL-Signature`` is that of ``body`` under ``secret``.

    It has no time in it: whoever receives one has to know it again by the task's id.
    Raises ``ConfigError`` for an empty secret.
    """
    if not secret:
        raise ConfigError("the secret of the webhook is empty", remedy="Set webhook_secret.")
    known = {name.lower(): value for name, value in headers.items()}
    told = known.get("x-bfl-signature", "")[:_HEADER_CHARS_MAX].strip().lower()
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    digest = told.removeprefix("sha256=").encode("utf-8", "replace")
    return hmac.compare_digest(expected.encode("ascii"), digest)


def check_standard_secret(secret: str) -> None:
    """Raise ``ConfigError`` for a secret that no Standard Webhook can be signed with."""
    _standard_key(secret)


def _standard_key(secret: str) -> bytes:
    remedy = "Copy it again from the provider: whsec_ and base64 behind it."
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if not secret.strip().startswith(_PREFIX) or not key:
        # The secret is not shown.
        raise ConfigError("the secret of the webhook is none", remedy=remedy)
    return key


def _is_recent(sent: str, now: datetime) -> bool:
    if not (sent.isascii() and sent.isdigit() and len(sent) <= 12):
        return False
    return abs(now.timestamp() - int(sent)) <= AGE_S_MAX


def _unpacked(told: str) -> bytes:
    try:
        return base64.b64decode(told, validate=True)
    except (ValueError, binascii.Error):
        return b""
