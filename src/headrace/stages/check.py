"""The ``check`` stage: passes the artifact of the stage before on only if it keeps the rules."""

from __future__ import annotations

from typing import Any

from headrace.artifact import Artifact
from headrace.brand import Rules, read_brand, rules_for
from headrace.complaint import TIMES_MAX, Blame
from headrace.provider import Provider
from headrace.recipe import StageSpec, Template
from headrace.stage import StageInput
from headrace.stages.filling import values_of
from headrace.stages.previous import PROVIDER, PreviousStage
from headrace.stages.settings import Providers, Settings

COUNTS = (
    "bytes_min",
    "bytes_max",
    "width",
    "height",
    "width_min",
    "width_max",
    "height_min",
    "height_max",
    "chars_min",
    "chars_max",
)
LISTS = ("media_types", "required", "forbidden")
KNOWN = (*COUNTS, *LISTS, "not_blank", "brand", "language", "schema", "blames", "complaints")
_COUNT_MAX = 1 << 40


class Check(PreviousStage):
    """Rules on media type, size, pixels and text; its result is the same artifact.

    With ``blame``, what it rejects goes back to that stage, whose model is told why.
    """

    kind = "check"

    def __init__(
        self,
        name: str,
        provider: Provider,
        version: str,
        rules: dict[str, Any],
        brand: tuple[dict[str, Rules], Template] | None,
        blame: Blame | None,
    ) -> None:
        super().__init__(name, provider, version)
        self._rules = rules
        self._brand = brand
        self.blame = blame

    def columns(self) -> set[str]:
        """Return the columns that the language reads."""
        return set() if self._brand is None else set(self._brand[1].columns)

    def params(self, given: StageInput, source: Artifact) -> dict[str, Any]:
        """Return the rules beside the artifact's facts; of a brand those of the row's language."""
        rules = self._rules
        if self._brand is not None:
            brand, language = self._brand
            rules = rules | {"brand": rules_for(brand, language.fill(values_of(given)))}
        return {
            "media_type": source.media_type,
            "size_bytes": source.size_bytes,
            "rules": rules,
        }


def build_check(spec: StageSpec, providers: Providers) -> Check:
    """Return the stage that ``spec`` describes; raises ``RecipeError``."""
    settings = Settings(spec, KNOWN)
    provider = settings.provider(PROVIDER, providers)
    rules = _rules(settings)
    brand = _brand(settings)
    if not rules and brand is None:
        raise settings.wrong("a check without a rule checks nothing", "Add not_blank = true, say.")
    for key in ("bytes", "width", "height", "chars"):
        least, most = rules.get(f"{key}_min"), rules.get(f"{key}_max")
        if least is not None and most is not None and least > most:
            raise settings.wrong(f"{key}_min = {least} is above {key}_max = {most}")
    version = settings.version(provider, Check.kind)
    return Check(spec.name, provider, version, rules, brand, _blame(settings))


def _brand(settings: Settings) -> tuple[dict[str, Rules], Template] | None:
    if "brand" not in settings:
        if "language" in settings:
            raise settings.wrong("language is for the rules of a brand", 'Add brand = "brand".')
        return None
    language = settings.template("language", "{{ language }}")
    if "language" not in settings:
        language.columns.clear()  # without a language of its own, a row may well have none
    return read_brand(*settings.file("brand")), language


def _blame(settings: Settings) -> Blame | None:
    if "blames" not in settings:
        if "complaints" in settings:
            raise settings.wrong("complaints need a stage to go to", 'Add blames = "draft".')
        return None
    times = settings.whole("complaints", 0, TIMES_MAX, 2)
    return Blame(settings.text("blames"), times or 0)


def _rules(settings: Settings) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    for key in COUNTS:
        count = settings.whole(key, 0, _COUNT_MAX)
        if count is not None:
            rules[key] = count
    for key in LISTS:
        words = settings.words(key)
        if words:
            rules[key] = words
    if settings.flag("not_blank"):
        rules["not_blank"] = True
    if "schema" in settings:
        from headrace.json_schema import read_schema

        rules["schema"] = read_schema(*settings.file("schema"))
    return rules
