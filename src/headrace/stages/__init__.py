"""The stages: what each kind in a recipe does, and how a recipe becomes a list of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from headrace.errors import RecipeError
from headrace.nearest import did_you_mean
from headrace.provider import Provider
from headrace.recipe import Recipe, StageSpec, Template
from headrace.stage import Stage, providers_of
from headrace.stages.call import build_call
from headrace.stages.check import build_check
from headrace.stages.compose import build_compose
from headrace.stages.generate import build_generate
from headrace.stages.poster import build_poster
from headrace.stages.render import build_render
from headrace.stages.resize import build_resize
from headrace.stages.settings import Providers
from headrace.stages.sources import PREVIOUS, stages_taken
from headrace.stages.watermark import build_watermark
from headrace.stages.write import build_write

STAGE_KINDS: dict[str, Callable[[StageSpec, Providers], Stage]] = {
    "generate": build_generate,
    "call": build_call,
    "render": build_render,
    "resize": build_resize,
    "watermark": build_watermark,
    "check": build_check,
    "compose": build_compose,
    "poster": build_poster,
    "write": build_write,
}

NEEDS_PREVIOUS = frozenset({"resize", "watermark", "check", "poster"})
"""Kinds that work on the artifact of the stage before, so they cannot come first."""

READS_FILES = frozenset({"generate", "compose"})
"""Kinds whose templates may hold ``{{ files.NAME }}``."""


def build_stages(recipe: Recipe, providers: Mapping[str, Provider]) -> list[Stage]:
    """Return the stages of ``recipe``, bound to ``providers``; raises ``RecipeError``."""
    built: list[Stage] = []
    names = [spec.name for spec in recipe.stages]
    for index, spec in enumerate(recipe.stages):
        build = STAGE_KINDS.get(spec.kind)
        if build is None:
            raise RecipeError(
                f"there is no stage kind {spec.kind!r}",
                place=spec.place,
                remedy=did_you_mean(spec.kind, STAGE_KINDS),
            )
        _check_order(spec, names[:index], names)
        _check_files(spec)
        _check_blame(spec, recipe.stages[:index])
        needs = spec.kind in NEEDS_PREVIOUS or PREVIOUS in stages_taken(spec)
        if needs and all(stage.kind == "write" for stage in built):
            raise RecipeError(
                f"a {spec.kind!r} stage needs an earlier stage that makes something",
                place=spec.place,
                remedy="Put it after a generate or render stage.",
            )
        built.append(build(spec, providers))
        _check_films(spec, built)
    return built


def _check_films(spec: StageSpec, built: Sequence[Stage]) -> None:
    """Refuse what is sure to make films before a mark that cannot be put on them."""
    if getattr(built[-1], "refuses", None) is None:
        return
    for stage in built[:-1]:
        makers = providers_of(stage)
        all_films = bool(makers) and all(getattr(one, "films_only", False) for one in makers)
        if stage.kind == "poster" or all_films:
            raise RecipeError(
                f"stage {stage.name!r} is about films, on which the plan's watermark cannot be put",
                place=spec.place,
                remedy="Films need a plan without a watermark: 'headrace plans set'.",
            )


def stages_read(spec: StageSpec) -> set[str]:
    """Return the names of the stages whose text the templates of ``spec`` read."""
    found: set[str] = set()
    for text in _texts(spec.settings):
        found |= Template(text, spec.place).stages
    return found


def reads_texts(recipe: Recipe) -> bool:
    """Tell whether a stage reads what an earlier one wrote, or what was wrong with it."""
    return any(stages_read(spec) or "blames" in spec.settings for spec in recipe.stages)


def _check_files(spec: StageSpec) -> None:
    for text in _texts(spec.settings):
        read = Template(text, spec.place).files
        if read and spec.kind not in READS_FILES:
            raise RecipeError(
                f"a {spec.kind!r} stage reads no files of the recipe",
                place=spec.place,
                remedy=f"Read it in one of these: {', '.join(sorted(READS_FILES))}.",
            )
        for name in sorted(read - spec.files.keys()):
            raise RecipeError(
                f"stage {spec.name!r} reads {{{{ files.{name} }}}}, which the recipe does not name",
                place=spec.place,
                remedy=f'Add {name} = "{name}.md" to [files]. {did_you_mean(name, spec.files)}',
            )


def _check_blame(spec: StageSpec, earlier: Sequence[StageSpec]) -> None:
    blamed = spec.settings.get("blames")
    if blamed is None:
        return
    models = [one.name for one in earlier if one.kind == "generate"]
    if blamed not in models:
        raise RecipeError(
            f"stage {spec.name!r} blames {blamed!r}, which is no generate stage before it",
            place=spec.place,
            remedy=did_you_mean(str(blamed), models),
        )


def _check_order(spec: StageSpec, earlier: list[str], names: list[str]) -> None:
    wanted = stages_read(spec) | (stages_taken(spec) - {PREVIOUS})
    for name in sorted(wanted - set(earlier)):
        if name == spec.name:
            why, remedy = "is this stage itself", "Name an earlier stage."
        elif name in names:
            why, remedy = "comes later", f"Move the stage {name!r} before {spec.name!r}."
        else:
            why, remedy = "does not exist", did_you_mean(name, earlier)
        raise RecipeError(
            f"stage {spec.name!r} reads stages.{name}, which {why}",
            place=spec.place,
            remedy=remedy,
        )


def _texts(value: Any) -> Iterator[str]:
    """Yield every text with a hole in a settings tree."""
    if isinstance(value, str) and "{{" in value:
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)


__all__ = ["NEEDS_PREVIOUS", "STAGE_KINDS", "build_stages", "reads_texts", "stages_read"]
