"""What an item delivers: one file, or a film and the picture that stands for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headrace.artifact import Artifact


@dataclass(frozen=True, slots=True)
class Delivery:
    """The artifact that was ordered, and a film's poster where the recipe made one."""

    main: Artifact
    poster: Artifact | None = None

    @property
    def is_film(self) -> bool:
        """Tell whether what was ordered is a film."""
        return is_film(self.main)


def is_film(artifact: Artifact) -> bool:
    """Tell whether an artifact is a film."""
    return artifact.media_type.startswith("video/")


def delivery_of(outputs: Iterable[Artifact]) -> Delivery | None:
    """Return what a finished item delivers, by its artifacts in the order of its stages.

    That is the last one. Where it is a picture and a film came before it, the film is
    what was ordered, and the picture its poster.
    """
    made = list(outputs)
    if not made:
        return None
    last = made[-1]
    film = next((one for one in reversed(made) if is_film(one)), None)
    if film is None or not last.media_type.startswith("image/"):
        return Delivery(last)
    return Delivery(film, last)
