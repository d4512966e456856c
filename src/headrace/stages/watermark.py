"""The ``watermark`` stage: lays a text or a mark over the picture of the stage before."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from headrace.artifact import Artifact
from headrace.outcome import OutcomeKind, failed
from headrace.provider import Provider
from headrace.recipe import StageSpec, Template
from headrace.request import Request
from headrace.stage import StageInput
from headrace.stages.filling import need_texts, values_of
from headrace.stages.previous import PROVIDER, PreviousStage
from headrace.stages.settings import Providers, Settings

KNOWN = (
    "text", "image", "position", "opacity", "size", "format", "quality", "only_images", "no_films",
)  # fmt: skip
POSITIONS = (
    "bottom-right",
    "bottom",
    "bottom-left",
    "left",
    "center",
    "right",
    "top-left",
    "top",
    "top-right",
    "tile",
)


class MarksImages(Provider, Protocol):
    """A provider that knows the marks on this machine by their content."""

    def photo_sha256(self, name: str, folders: Sequence[Path]) -> str:
        """Return the SHA-256 (hex) of a file; raises ``HeadraceError`` naming it."""
        ...


class Watermark(PreviousStage):
    """A text (a template) or an image file; the file's content shapes the fingerprint.

    With ``only`` (the beginning of a media type) it passes anything else on as it is, but for
    what it ``refuses``: an item that made that fails, for it would go out without its mark.
    """

    kind = "watermark"

    def __init__(
        self,
        name: str,
        provider: MarksImages,
        version: str,
        look: dict[str, Any],
        mark: tuple[str, Template],
        only: str | None = None,
        refuses: str | None = None,
    ) -> None:
        super().__init__(name, provider, version)
        self.only = only
        self.refuses = refuses
        self._marks = provider
        self._look = look
        self._key, self._template = mark
        self._stages = frozenset(self._template.stages)

    def columns(self) -> set[str]:
        """Return the columns that the text or the file name reads."""
        return set(self._template.columns)

    def _request(self, given: StageInput) -> Request:
        made = [*given.outputs.values(), given.previous]
        if self.refuses and any(one and one.media_type.startswith(self.refuses) for one in made):
            raise failed(
                OutcomeKind.INVALID,
                f"row {given.row_number} made a film, on which the plan's watermark cannot be put",
                remedy="Films need a plan without a watermark: 'headrace plans set'.",
            )
        return super()._request(given)

    def params(self, given: StageInput, source: Artifact) -> dict[str, Any]:
        """Return the mark and its look."""
        if self._stages:
            need_texts(self._stages, given)
        mark = self._template.fill(values_of(given))
        params = {**self._look, self._key: mark}
        if self._key == "image" and mark:
            params["image_sha256"] = self._marks.photo_sha256(mark, given.folders)
        return params


def build_watermark(spec: StageSpec, providers: Providers) -> Watermark:
    """Return the stage that ``spec`` describes; raises ``RecipeError``."""
    settings = Settings(spec, KNOWN)
    provider = settings.provider(PROVIDER, providers)
    keys = [key for key in ("text", "image") if key in settings]
    if len(keys) != 1:
        raise settings.wrong(
            "a watermark is either a text or an image",
            'Add text = "© {{ brand }}" or image = "logo.png", one of them.',
        )
    look = {
        "position": settings.choice("position", POSITIONS, POSITIONS[0]),
        "opacity": settings.number("opacity", 0.0, 1.0, 0.5),
        "size": settings.number("size", 0.01, 1.0, 0.25),
    }
    if "format" in settings:
        look["format"] = settings.choice("format", ("png", "jpeg", "webp"))
    if "quality" in settings:
        look["quality"] = settings.whole("quality", 1, 100)
    version = settings.version(provider, Watermark.kind)
    mark = (keys[0], settings.template(keys[0]))
    only = "image/" if settings.flag("only_images") else None
    refuses = "video/" if settings.flag("no_films") else None
    return Watermark(spec.name, cast(MarksImages, provider), version, look, mark, only, refuses)
