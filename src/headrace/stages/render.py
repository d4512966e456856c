"""The ``render`` stage: draws a row with a template of the ``template`` provider."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from headrace.errors import HeadraceError
from headrace.provider import Provider
from headrace.recipe import StageSpec
from headrace.request import Request
from headrace.stage import Models, StageInput
from headrace.stages.filling import Tree, checked, need_texts, values_of
from headrace.stages.settings import Providers, Settings

KNOWN = (
    "template",
    "format",
    "scale",
    "quality",
    "inputs",
    "photo_columns",
    "photo_fallback",
)
FORMATS = ("png", "webp", "jpeg", "pdf")
PROVIDER = "template"


class Parameter(Protocol):
    """What a template declares about one of its parameters."""

    @property
    def name(self) -> str:
        """Return the parameter's name."""
        ...

    @property
    def required(self) -> bool:
        """Tell whether a row must fill it."""
        ...

    @property
    def kind(self) -> str:
        """Return ``text``, ``color``, ``photo`` or ``list``."""
        ...


class Renders(Provider, Protocol):
    """A provider of templates: it knows their parameters and the photos on this machine."""

    def columns(self, model: str) -> Sequence[Parameter]:
        """Return the template's declared parameters, empty when it takes any."""
        ...

    def photo_sha256(self, name: str, folders: Sequence[Path]) -> str:
        """Return the SHA-256 (hex) of a photo; raises ``HeadraceError`` naming the path."""
        ...


class Render:
    """Draws a row; a photo's content, not only its path, shapes the fingerprint."""

    kind = "render"
    cacheable = True
    models: Models | None = None

    def __init__(
        self,
        name: str,
        provider: Renders,
        template: str,
        looks: dict[str, Any],
        tree: Tree | None,
        photos: frozenset[str],
    ) -> None:
        self.name = name
        self.provider: Provider | None = provider
        self._renders = provider
        self._template = template
        self._looks = looks
        self._tree = tree
        self._photos = photos
        parameters = provider.columns(template)
        self._names = [parameter.name for parameter in parameters]
        self._required = {p.name for p in parameters if p.required}
        self._stages = frozenset(tree.stages) if tree is not None else frozenset()

    def columns(self) -> set[str]:
        """Return the columns that the inputs read; without inputs, the required parameters."""
        return set(self._required) if self._tree is None else set(self._tree.columns)

    def request(self, given: StageInput) -> Request:
        """Return the request for one row; raises ``CallFailed`` (invalid) for a missing photo."""
        return checked(self._request, given)

    def _request(self, given: StageInput) -> Request:
        if self._stages:
            need_texts(self._stages, given)
        if self._tree is not None:
            inputs = self._tree.fill(values_of(given))
        else:
            inputs = self._own_columns(given.row)
        params: dict[str, Any] = {"inputs": inputs, **self._looks}
        photos = {key: self._digest(inputs[key], given) for key in inputs if key in self._photos}
        if photos:
            params["photos"] = photos
        # Asked for each row, not once: a template edited meanwhile is another request.
        version = self._renders.version(self._template)
        return Request(self._renders.name, self._template, version, params)

    def apply(self, given: StageInput) -> None:
        """Pass the previous artifact on: this stage calls a provider instead."""

    def _own_columns(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row's cells for the parameters of the same names (all, if none declared)."""
        names: Iterable[str] = self._names or row
        return {name: row[name] for name in names if row.get(name) not in (None, "")}

    def _digest(self, photo: Any, given: StageInput) -> str:
        try:
            return self._renders.photo_sha256(str(photo), given.folders)
        except HeadraceError as error:
            if error.code == "photo_missing" and self._looks.get("photo_fallback"):
                return "absent"
            raise


def build_render(spec: StageSpec, providers: Providers) -> Render:
    """Return the stage that ``spec`` describes; raises ``RecipeError``."""
    settings = Settings(spec, KNOWN)
    provider = settings.provider(PROVIDER, providers)
    if not hasattr(provider, "columns") or not hasattr(provider, "photo_sha256"):
        raise settings.wrong(
            f"the provider {PROVIDER!r} renders no templates", "Name another provider differently."
        )
    renders = cast(Renders, provider)
    template = settings.text("template", example="product-card")
    settings.version(renders, template)
    looks = _looks(settings)
    inputs = settings.table("inputs") if "inputs" in settings else None
    settings.check(renders, template, {"inputs": inputs or {}, **looks})
    tree = None if inputs is None else Tree(inputs, f"{settings.place} inputs")
    photos = _photos(settings, renders.columns(template), inputs)
    return Render(spec.name, renders, template, looks, tree, photos)


def _looks(settings: Settings) -> dict[str, Any]:
    looks: dict[str, Any] = {"format": settings.choice("format", FORMATS, "png")}
    scale = settings.number("scale", 0.05, 4.0)
    if scale is not None and scale != 1:
        looks["scale"] = scale
    quality = settings.whole("quality", 1, 100)
    if quality is not None:
        looks["quality"] = quality
    if settings.flag("photo_fallback"):
        looks["photo_fallback"] = True
    return looks


def _photos(
    settings: Settings, parameters: Sequence[Parameter], inputs: dict[str, Any] | None
) -> frozenset[str]:
    """Return the inputs that are paths of photos: named ones, declared ones, or ``photo``."""
    named = settings.words("photo_columns")
    if named is None:
        declared = {p.name for p in parameters if p.kind == "photo"}
        return frozenset(declared if parameters else {"photo"})
    for name in named:
        if inputs is not None and name not in inputs:
            raise settings.wrong(
                f"photo_columns names {name!r}, which is not among the inputs",
                f'Add {name} = "{{{{ {name} }}}}" to [stages.inputs].',
            )
    return frozenset(named)
