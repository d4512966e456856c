"""The cache key: SHA-256 of a request in canonical JSON (RFC 8785), every nested key included."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import rfc8785

from headrace.errors import InputError

_INTEGER_MAX = 2**53 - 1
_fast_encoder = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
)


def canonical_json(value: Any) -> bytes:
    """Return ``value`` as RFC 8785 canonical JSON.

    Values made of text, integers, booleans, null, lists and ASCII-keyed objects take
    the C encoder of the standard library, which writes the same bytes several times
    faster; anything else (floats above all) goes through the ``rfc8785`` library.
    Raises ``InputError`` for what canonical JSON cannot hold (NaN, infinity, integers
    beyond 2**53, lone surrogates).
    """
    try:
        if _plain(value):
            return _fast_encoder.encode(value).encode("utf-8")
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, ValueError, TypeError) as error:
        raise InputError(
            f"a value cannot be written as canonical JSON: {error}",
            remedy="Use text, finite numbers below 2**53, booleans, lists and objects.",
        ) from error


def fingerprint(value: Any) -> bytes:
    """Return the 32-byte SHA-256 of ``value`` in canonical JSON."""
    return hashlib.sha256(canonical_json(value)).digest()


def _plain(value: Any) -> bool:
    """Tell whether the C encoder and RFC 8785 write the same bytes for ``value``."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if kind is int:
        return bool(-_INTEGER_MAX <= value <= _INTEGER_MAX)
    if kind is dict:
        for name, one in value.items():
            # Most values are text: they need no call of their own.
            if type(name) is not str or not name.isascii():
                return False
            if type(one) is not str and not _plain(one):
                return False
        return True
    if kind is list:
        return all(map(_plain, value))
    return False
