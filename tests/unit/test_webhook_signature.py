"""Signatures of webhooks: the right one is taken, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.errors import ConfigError
from headrace.webhook_signature import AGE_S_MAX, is_bfl_webhook, is_standard_webhook

# The example that the Standard Webhooks specification is tested with by its own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, SENT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
NOW = datetime.fromtimestamp(SENT, UTC)


def headers(**changes: str) -> dict[str, str]:
    told = {
        "webhook-id": ID,
        "webhook-timestamp": str(SENT),
        "webhook-signature": SIGNATURE,
    }
    return told | {name.replace("_", "-"): value for name, value in changes.items()}


def test_the_specifications_example_is_taken() -> None:
    """Whatever the case of the headers, and among signatures of other secrets and versions."""
    assert is_standard_webhook(headers(), BODY, SECRET, NOW)
    loud = {name.title(): value for name, value in headers().items()}
    assert is_standard_webhook(loud, BODY, SECRET, NOW)
    other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    several = f"v1a,xx {other} {SIGNATURE} v2,yy"
    assert is_standard_webhook(headers(webhook_signature=several), BODY, SECRET, NOW)


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({}, BODY + b" "),
        ({"webhook_id": "msg_other"}, BODY),
        ({"webhook_id": ""}, BODY),
        ({"webhook_timestamp": str(SENT + 1)}, BODY),
        ({"webhook_timestamp": f"{SENT}.0"}, BODY),
        ({"webhook_timestamp": "٣"}, BODY),
        ({"webhook_timestamp": ""}, BODY),
        ({"webhook_signature": ""}, BODY),
        ({"webhook_signature": "v1,"}, BODY),
        ({"webhook_signature": SIGNATURE[3:]}, BODY),
        ({"webhook_signature": SIGNATURE.replace("v1", "v2")}, BODY),
        ({"webhook_signature": SIGNATURE[:-4] + "===="}, BODY),
        ({"webhook_signature": "v1,ü"}, BODY),
        ({"webhook_signature": "v1,x " * 16 + SIGNATURE}, BODY),
    ],
)
def test_whatever_was_changed_is_refused(changes: dict[str, str], body: bytes) -> None:
    """Body, id, time and signature all count."""
    assert not is_standard_webhook(headers(**changes), body, SECRET, NOW)


def test_an_old_webhook_and_one_of_the_future_are_refused() -> None:
    """A recorded one cannot be sent again later."""
    near, far = timedelta(seconds=AGE_S_MAX), timedelta(seconds=AGE_S_MAX + 1)
    for moment in (NOW + near, NOW - near):
        assert is_standard_webhook(headers(), BODY, SECRET, moment)
    for moment in (NOW + far, NOW - far):
        assert not is_standard_webhook(headers(), BODY, SECRET, moment)


@pytest.mark.parametrize("secret", ["", "whsec_", "MfKQ9r8GKYqrTwjU", "whsec_not base64!", "r8_x"])
def test_a_secret_that_is_none_is_named_without_showing_it(secret: str) -> None:
    """An empty key would let in whoever signs with nothing."""
    with pytest.raises(ConfigError) as caught:
        is_standard_webhook(headers(), BODY, secret, NOW)
    assert secret == "" or secret not in str(caught.value).replace("whsec_ and", "")
    assert caught.value.remedy


def test_bfl_signs_the_body_in_hex() -> None:
    """With sha256= before it or without; anything else is refused."""
    digest = hmac.new(b"geheim", BODY, hashlib.sha256).hexdigest()
    for told in (f"sha256={digest}", digest, digest.upper()):
        assert is_bfl_webhook({"X-BFL-Signature": told}, BODY, "geheim")
    for told in ("", "sha256=", digest[:-1], digest + "0", "ü", base64.b64encode(BODY).decode()):
        assert not is_bfl_webhook({"x-bfl-signature": told}, BODY, "geheim")
    assert not is_bfl_webhook({"x-bfl-signature": digest}, BODY + b"x", "geheim")
    assert not is_bfl_webhook({}, BODY, "geheim")
    with pytest.raises(ConfigError):
        is_bfl_webhook({"x-bfl-signature": digest}, BODY, "")


NAMES = st.sampled_from(("webhook-id", "webhook-timestamp", "webhook-signature", "x-bfl-signature"))


@given(st.dictionaries(NAMES, st.text()), st.binary())
def test_nothing_that_comes_is_an_error(told: dict[str, str], body: bytes) -> None:
    """A stranger's headers and bytes are refused, never a crash."""
    assert is_standard_webhook(told, body, SECRET, NOW) is False
    assert is_bfl_webhook(told, body, "geheim") is False
