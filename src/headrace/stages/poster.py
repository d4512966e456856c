"""The ``poster`` stage: takes one frame out of the film of the stage before, as a picture."""

from __future__ import annotations

from headrace.recipe import StageSpec
from headrace.stages.previous import FixedStage
from headrace.stages.settings import Providers, Settings

PROVIDER = "films"
KNOWN = ("at_s", "width", "format", "quality")
FORMATS = ("jpeg", "png", "webp")
AT_S_MAX = 3600.0
WIDTH_PX_MAX = 16_384


class Poster(FixedStage):
    """The stages after it see the picture; the film is delivered all the same, beside it."""

    kind = "poster"


def build_poster(spec: StageSpec, providers: Providers) -> Poster:
    """Return the stage that ``spec`` describes; raises ``RecipeError``."""
    settings = Settings(spec, KNOWN)
    provider = settings.provider(PROVIDER, providers)
    wanted = {
        "at_s": settings.number("at_s", 0.0, AT_S_MAX),
        "width": settings.whole("width", 1, WIDTH_PX_MAX),
        "format": settings.choice("format", FORMATS, "jpeg"),
        "quality": settings.whole("quality", 1, 100),
    }
    return Poster(spec.name, provider, settings.version(provider, Poster.kind), wanted)
