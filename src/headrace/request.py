"""What is asked of a provider: a plain, canonical value that can be hashed and sent again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from headrace.fingerprint import fingerprint
from headrace.outcome import OutcomeKind, failed


@dataclass(frozen=True)
class Request:
    """One call that a stage wants made.

    ``provider`` and ``model`` name who makes it, ``version`` pins the model or template
    (a change of it is another request), ``params`` is JSON: the prompt, template inputs,
    sizes, seed. ``sources`` are the SHA-256 digests (hex) of what goes in: artifacts, or
    photos of the row. A param that is one of them is written ``{"source": 0}``, its place
    in ``sources``, or a list of such; ``placed`` reads them. ``files`` names, by digest,
    the sources that are photos; a path does not shape the result, so it is not hashed.
    ``variant`` tells several results of the same wish apart, from 0; it is not sent.
    """

    provider: str
    model: str
    version: str
    params: dict[str, Any]
    sources: tuple[str, ...] = field(default=())
    files: Mapping[str, str] = field(default_factory=dict, compare=False)
    variant: int = 0

    def canonical(self) -> dict[str, Any]:
        """Return the JSON object that is hashed: everything that shapes the result."""
        told = {
            "provider": self.provider,
            "model": self.model,
            "version": self.version,
            "params": self.params,
            "sources": list(self.sources),
        }
        # The first one is what it was before there were others: it stays in the cache.
        return {**told, "variant": self.variant} if self.variant else told

    def placed(self) -> dict[str, tuple[str, ...]]:
        """Return the digests (hex) of the params that are sources, by the param's name.

        Raises ``CallFailed`` (invalid) for one that names no source of the request.
        """
        found: dict[str, tuple[str, ...]] = {}
        for name, value in self.params.items():
            places = places_of(value)
            if any(not 0 <= place < len(self.sources) for place in places):
                raise failed(
                    OutcomeKind.INVALID,
                    f"{name} names a source that the request does not have",
                    remedy="Pictures go in by image = … or [stages.sources] of the recipe.",
                    cost_microusd=0,
                )
            if places:
                found[name] = tuple(self.sources[place] for place in places)
        return found

    @cached_property
    def fingerprint(self) -> bytes:
        """Return the 32-byte cache key of this request (RFC 8785, SHA-256)."""
        return fingerprint(self.canonical())


def at_place(place: int) -> dict[str, int]:
    """Return how a param says that it is the source at that place."""
    return {"source": place}


def places_of(value: Any) -> list[int]:
    """Return the places that a param names, none where it is no source."""
    told = value if isinstance(value, list) else [value]
    places = [
        one["source"]
        for one in told
        if isinstance(one, dict) and one.keys() == {"source"} and type(one["source"]) is int
    ]
    return places if len(places) == len(told) else []
