"""The manifest contract: a signed account of where a file came from, written into the file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any, Protocol

from headrace.provenance import Origin

MEDIA_TYPES = frozenset({"image/png", "image/jpeg", "image/webp", "video/mp4"})
"""The kinds of files that are signed."""


class UnsignedError(Exception):
    """A file could not be signed, or its manifest not be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a file's manifest says, and whether it may be believed.

    ``state`` is ``valid`` (the file is what was signed), ``trusted`` (and the signer is
    known) or ``invalid``, with ``failures``. ``issuer`` is the signing certificate's,
    ``generator`` what wrote the manifest, ``actions`` what was done, in order.
    """

    state: str
    issuer: str
    signed_by: str
    generator: str
    actions: tuple[dict[str, str], ...]
    failures: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "state": self.state,
            "issuer": self.issuer,
            "signed_by": self.signed_by,
            "generator": self.generator,
            "actions": [dict(one) for one in self.actions],
            "failures": list(self.failures),
        }


class Manifests(Protocol):
    """Signs files with one key."""

    def open(self, now: datetime) -> datetime:
        """Load the key, try it, and return until when it is good; raises ``ConfigError``."""
        ...

    def sign(
        self, media_type: str, source: IO[bytes], target: IO[bytes], origin: Origin, now: datetime
    ) -> None:
        """Write ``source`` with a signed manifest into ``target``; raises ``UnsignedError``.

        Both can be sought. It takes its time, so it is for a thread.
        """
        ...
