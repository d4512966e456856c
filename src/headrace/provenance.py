"""Where an artifact came from: kept in its record, and told in the file where the format can."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any

import msgspec

SEED_CHARS_MAX = 100
SIGNED, UNSIGNED, FOREIGN = "signed", "not signed", "signed by its maker"
"""What an origin says of its file's manifest, where files are signed."""


class SourceType(StrEnum):
    """IPTC's digital source types, as far as they concern us; ``NONE``: no model had a part."""

    TRAINED = "trainedAlgorithmicMedia"
    COMPOSITE = "compositeWithTrainedAlgorithmicMedia"
    NONE = ""

    @property
    def url(self) -> str:
        """Return the address that stands for it."""
        return f"http://cv.iptc.org/newscodes/digitalsourcetype/{self.value}"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who made an artifact, of what, and when.

    ``request_sha256`` (hex) is the fingerprint of the normalised request, so the prompt's
    without being the prompt; ``made_at`` is RFC 3339, UTC; ``recipe_sha256`` (hex) the
    recipe's version. What stages on this machine did to it afterwards stands in ``edited``,
    by their names; the rest is then still told of the model. Where files are signed,
    ``c2pa`` says whether this one is.
    """

    provider: str
    model: str
    request_sha256: str
    made_at: str
    recipe: str
    recipe_sha256: str
    headrace: str
    seed: int | str | None = None
    source_type: str = SourceType.NONE.value
    edited: tuple[str, ...] = ()
    c2pa: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        # A seed of 0 is one.
        values = zip(_FIELDS, _values_of(self), strict=True)
        told = {name: value for name, value in values if value or value == 0}
        if self.edited:
            told["edited"] = list(self.edited)
        return told

    @classmethod
    def from_json(cls, told: Any) -> Origin | None:
        """Return what ``to_json`` wrote; ``None`` where nothing was kept."""
        if not isinstance(told, Mapping):
            return None
        texts = {name: str(told.get(name, "")) for name in _TEXTS}
        return cls(**texts, seed=told.get("seed"), edited=tuple(told.get("edited", ())))


def packed(origin: Origin) -> str:
    """Return an origin as a word for an address: letters, digits, ``-`` and ``_``."""
    told = {name: value for name, value in origin.to_json().items() if name not in _DIGESTS}
    digests = [bytes.fromhex(getattr(origin, name)) for name in _DIGESTS]
    return base64.urlsafe_b64encode(msgspec.msgpack.encode([told, *digests])).decode().rstrip("=")


def unpacked(word: str) -> Origin | None:
    """Return the origin that ``packed`` made a word of; ``None`` for any other word."""
    try:
        body = base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True)
        told, *digests = msgspec.msgpack.decode(body, type=tuple[dict[str, Any], bytes, bytes])
        names = zip(_DIGESTS, digests, strict=True)
        return Origin.from_json({**told, **{name: digest.hex() for name, digest in names}})
    except (ValueError, TypeError):
        return None


_DIGESTS = ("request_sha256", "recipe_sha256")
_TEXTS = (
    "provider", "model", "request_sha256", "made_at", "recipe", "recipe_sha256", "headrace",
    "source_type", "c2pa",
)  # fmt: skip

_FIELDS = tuple(field.name for field in fields(Origin))
_values_of = attrgetter(*_FIELDS)


def origin_line(origin: Origin) -> str:
    """Return an origin as a line for people."""
    words = [f"made by {origin.provider}:{origin.model}, {origin.made_at}"]
    if origin.seed is not None:
        words.append(f"seed {origin.seed}")
    if origin.edited:
        words.append(f"then {', '.join(origin.edited)}")
    words.append(origin.source_type or "no model had a part in it")
    if origin.c2pa:
        words.append(f"C2PA: {origin.c2pa}")
    words.append(f"request {origin.request_sha256[:12]}")
    return " · ".join(words)


def seed_of(params: Mapping[str, Any], facts: Mapping[str, Any]) -> int | str | None:
    """Return the seed that was asked for, or that the provider tells it has used."""
    for told in (params.get("seed"), facts.get("seed")):
        if isinstance(told, int | str) and not isinstance(told, bool) and told != "":
            return told if isinstance(told, int) else told[:SEED_CHARS_MAX]
    return None
