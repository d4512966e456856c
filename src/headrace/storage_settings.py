"""The settings of the blob store and its spool, and of how artifacts are served from it."""

from __future__ import annotations

import re
from typing import Any

import msgspec

SPOOL_BYTES_MAX = 10 * 1024**3
_PUBLIC = re.compile(r"https://[^\s?#@]+|http://(localhost|127\.0\.0\.1)(:\d+)?(/[^\s?#@]*)?")


class Storage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where results wait for an object store, and how much of them.

    ``spool_folder`` (by default ``spool`` in ``home``) has to outlive a restart;
    ``spool_bytes_max`` bounds it for each process. A result whose machine is gone is given up
    after ``lost_after_s`` seconds.
    """

    spool_folder: str | None = None
    spool_bytes_max: int = SPOOL_BYTES_MAX
    lost_after_s: float = 86_400.0


class Http(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How artifacts are served.

    With ``redirect`` by the object storage itself, at addresses that it signs; with
    ``public_url`` at that address, a CDN's or that of a public bucket.
    """

    redirect: bool = False
    public_url: str | None = None


def storage_rules(storage: Storage, http: Http) -> list[tuple[bool, str, Any, str]]:
    """Return for each setting: whether it holds, its name, its value, what is good."""
    least, url = 1024 * 1024, http.public_url
    return [
        (
            storage.spool_bytes_max >= least,
            "storage.spool_bytes_max",
            storage.spool_bytes_max,
            f"{least} or more",
        ),
        (storage.lost_after_s > 0, "storage.lost_after_s", storage.lost_after_s, "above 0"),
        (
            url is None or _PUBLIC.fullmatch(url) is not None,
            "http.public_url",
            url,
            "an https address without a query, as https://cdn.example.com/artifacts",
        ),
    ]
