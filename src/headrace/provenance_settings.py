"""The settings of what files tell of themselves."""

from __future__ import annotations

import msgspec


class ProvenanceSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """With what artifacts are signed (C2PA): a certificate chain and its key, PEM files.

    Both or neither; without them nothing is signed.
    """

    c2pa_certificate: str | None = None
    c2pa_key: str | None = None
