"""Reads ``model`` or ``models`` of a stage: each model with the settings that are its own."""

from __future__ import annotations

from typing import Any

from headrace.errors import RecipeError
from headrace.recipe import StageSpec
from headrace.stages.settings import Settings

CHOICES_MAX = 8
"""A request is built for every model of every item: a long list costs without helping."""

OWN = (
    "model",
    "provider",
    "prompt",
    "params",
    "inputs",
    "seed",
    "image",
    "sources",
    "schema",
    "schema_form",
    "styles",
    "style_column",
    "complaint",
)


def listed(spec: StageSpec, settings: Settings) -> list[Settings]:
    """Return the settings of each model that a stage names; raises ``RecipeError``.

    A model's own settings stand over those of the stage, its params key by key.
    """
    if "models" not in settings:
        return [settings]
    for key in ("model", "provider"):
        if key in settings:
            raise settings.wrong(f"{key} and models stand side by side", f"Move {key} into models.")
    entries = settings.get("models")
    if not isinstance(entries, list) or not entries:
        raise settings.wrong(
            f"models must be a list, not {entries!r}", 'Write models = ["provider:model", …].'
        )
    if len(entries) > CHOICES_MAX:
        raise settings.wrong(f"{len(entries)} models are too many", f"Keep {CHOICES_MAX} at most.")
    tables = [_own(entry, spec, number) for number, entry in enumerate(entries, 1)]
    for number, table in enumerate(tables, 1):
        if table in tables[: number - 1]:
            raise settings.wrong(f"models[{number}] stands there twice", "Remove one.")
    shared = {key: spec.settings[key] for key in OWN if key in spec.settings}
    return [
        Settings(_merged(spec, shared, table, number), OWN)
        for number, table in enumerate(tables, 1)
    ]


def _own(entry: Any, spec: StageSpec, number: int) -> dict[str, Any]:
    if isinstance(entry, str):
        return {"model": entry}
    if isinstance(entry, dict):
        return entry
    raise RecipeError(
        f"a model must be text or a table, not {entry!r}",
        place=f"{spec.place} models[{number}] ({spec.name})",
        remedy='Write "provider:model", or { model = "provider:model", params = { … } }.',
    )


def _merged(spec: StageSpec, shared: dict[str, Any], own: dict[str, Any], number: int) -> StageSpec:
    merged = {**shared, **own}
    here = StageSpec(spec.name, spec.kind, own, f"{spec.place} models[{number}]")
    of_stage, of_model = Settings(spec, spec.settings), Settings(here, OWN)
    params = {**_params(of_stage), **_params(of_model)}
    # One name for the table, so that the stage may say inputs and its model params.
    merged.pop("inputs", None)
    if params:
        merged["params"] = params
    return StageSpec(spec.name, spec.kind, merged, here.place, spec.files)


def _params(settings: Settings) -> dict[str, Any]:
    if "params" in settings and "inputs" in settings:
        raise settings.wrong("params and inputs are two names of one table", "Keep params.")
    return settings.table("params") or settings.table("inputs")
