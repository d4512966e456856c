"""The ``check`` stage: passes the artifact of the stage before on only if it keeps the rules."""

from __future__ import annotations

from typing import Any

from headrace.artifact import Artifact
from headrace.provider import Provider
from headrace.recipe import StageSpec
from headrace.stage import StageInput
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
KNOWN = (*COUNTS, *LISTS, "not_blank")
_COUNT_MAX = 1 << 40


class Check(PreviousStage):
    """Rules on media type, size, pixels and phrases; its result is the same artifact."""

    kind = "check"

    def __init__(self, name: str, provider: Provider, version: str, rules: dict[str, Any]) -> None:
        super().__init__(name, provider, version)
        self._rules = rules

    def params(self, given: StageInput, source: Artifact) -> dict[str, Any]:
        """Return the rules beside the artifact's facts."""
        return {
            "media_type": source.media_type,
            "size_bytes": source.size_bytes,
            "rules": self._rules,
        }


def build_check(spec: StageSpec, providers: Providers) -> Check:
    """Return the stage that ``spec`` describes; raises ``RecipeError``."""
    settings = Settings(spec, KNOWN)
    provider = settings.provider(PROVIDER, providers)
    rules = _rules(settings)
    for key in ("bytes", "width", "height", "chars"):
        least, most = rules.get(f"{key}_min"), rules.get(f"{key}_max")
        if least is not None and most is not None and least > most:
            raise settings.wrong(f"{key}_min = {least} is above {key}_max = {most}")
    return Check(spec.name, provider, settings.version(provider, Check.kind), rules)


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
    if not rules:
        raise settings.wrong("a check without a rule checks nothing", "Add not_blank = true, say.")
    return rules
