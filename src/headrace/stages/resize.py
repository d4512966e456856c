"""The ``resize`` stage: gives the picture of the stage before another size or format."""

from __future__ import annotations

import re

from headrace.recipe import StageSpec
from headrace.stages.previous import PROVIDER, FixedStage
from headrace.stages.settings import Providers, Settings

KNOWN = ("width", "height", "fit", "format", "quality", "background")
FITS = ("inside", "cover", "contain")
FORMATS = ("png", "jpeg", "webp")
SIDE_PX_MAX = 16_384
PIXELS_MAX = 50_000_000
_COLOR = re.compile(r"#[0-9a-fA-F]{6}([0-9a-fA-F]{2})?")


class Resize(FixedStage):
    """``inside`` never enlarges, ``cover`` fills and crops, ``contain`` fits and pads."""

    kind = "resize"


def build_resize(spec: StageSpec, providers: Providers) -> Resize:
    """Return the stage that ``spec`` describes; raises ``RecipeError``."""
    settings = Settings(spec, KNOWN)
    provider = settings.provider(PROVIDER, providers)
    width = settings.whole("width", 1, SIDE_PX_MAX)
    height = settings.whole("height", 1, SIDE_PX_MAX)
    fit = settings.choice("fit", FITS, "inside")
    if width is None and height is None and "format" not in settings:
        raise settings.wrong("nothing to do", "Add width = …, height = … or format = ….")
    if fit != "inside" and (width is None or height is None):
        raise settings.wrong(f"fit = {fit!r} needs width and height", "Add both.")
    if fit != "inside" and (width or 0) * (height or 0) > PIXELS_MAX:
        raise settings.wrong(
            f"{width} x {height} is more than {PIXELS_MAX // 1_000_000} megapixels"
        )
    background = settings.text("background", "#ffffff")
    if not _COLOR.fullmatch(background):
        raise settings.wrong(f"background = {background!r} is not a color", "Write #rrggbb.")
    wanted = {
        "width": width,
        "height": height,
        "fit": fit,
        "format": settings.choice("format", FORMATS) if "format" in settings else None,
        "quality": settings.whole("quality", 1, 100),
        "background": background if fit == "contain" else None,
    }
    return Resize(spec.name, provider, settings.version(provider, Resize.kind), wanted)
