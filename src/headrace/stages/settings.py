"""Reads the settings of a stage: every wrong one is an error that names its place and remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headrace.errors import HeadraceError, RecipeError
from headrace.nearest import did_you_mean
from headrace.provider import Provider
from headrace.recipe import StageSpec, Template

Providers = Mapping[str, Provider]


class Settings:
    """The settings table of one stage, checked key by key; all errors are ``RecipeError``."""

    def __init__(self, spec: StageSpec, known: Iterable[str]) -> None:
        self.name = spec.name
        self.place = f"{spec.place} ({spec.name})"
        self._table = spec.settings
        self.files = spec.files
        names = set(known)
        for key in spec.settings:
            if key not in names:
                raise RecipeError(
                    f"a {spec.kind!r} stage has no setting {key!r}",
                    place=self.place,
                    remedy=did_you_mean(key, names),
                )

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def wrong(self, message: str, remedy: str = "") -> RecipeError:
        """Return the error for a setting of this stage."""
        return RecipeError(message, place=self.place, remedy=remedy)

    def get(self, key: str) -> Any:
        """Return the raw value, ``None`` when it is not set."""
        return self._table.get(key)

    def text(self, key: str, default: str | None = None, *, example: str = "…") -> str:
        """Return a text setting; without a ``default`` it must be there and not be empty."""
        value = self._table.get(key, default)
        if value is None or value == "":
            raise self.wrong(f"the setting {key!r} is missing", f'Add {key} = "{example}".')
        if not isinstance(value, str):
            raise self.wrong(f"{key} must be text, not {value!r}", f'Write {key} = "{example}".')
        return value

    def template(self, key: str, default: str | None = None, *, example: str = "…") -> Template:
        """Return a text setting as a template."""
        return Template(self.text(key, default, example=example), f"{self.place} {key}")

    def file(self, key: str) -> tuple[str, str]:
        """Return the text of the recipe's file that a setting names, and its place for errors."""
        name = self.text(key, example=key)
        if name not in self.files:
            raise self.wrong(
                f"{key} = {name!r} is none of the recipe's files",
                f'Add {name} = "…" to [files]. {did_you_mean(name, self.files)}',
            )
        return self.files[name], f"{self.place} {key}: files.{name}"

    def choice(self, key: str, options: Iterable[str], default: str | None = None) -> str:
        """Return a text setting that must be one of ``options``."""
        names = list(options)
        value = self.text(key, default, example=names[0])
        if value not in names:
            raise self.wrong(f"{key} = {value!r} is not known", did_you_mean(value, names))
        return value

    def number(
        self, key: str, least: float, most: float, default: float | None = None
    ) -> float | None:
        """Return a number setting between ``least`` and ``most``."""
        value = self._table.get(key, default)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(f"{key} must be a number, not {value!r}", f"Write {key} = {least:g}.")
        if not least <= value <= most:
            raise self.wrong(f"{key} = {value!r} must be between {least:g} and {most:g}")
        return value

    def whole(self, key: str, least: int, most: int, default: int | None = None) -> int | None:
        """Return a whole-number setting between ``least`` and ``most``."""
        value = self.number(key, least, most, default)
        if value is not None and not isinstance(value, int):
            raise self.wrong(f"{key} must be a whole number, not {value!r}")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a true-or-false setting."""
        value = self._table.get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(f"{key} must be true or false, not {value!r}")
        return value

    def words(self, key: str) -> list[str] | None:
        """Return a list of texts, ``None`` when it is not set."""
        value = self._table.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
            raise self.wrong(f"{key} must be a list of texts, not {value!r}")
        return list(value)

    def table(self, key: str) -> dict[str, Any]:
        """Return a table setting, empty when it is not set."""
        value = self._table.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(f"{key} must be a table, not {value!r}", f"Write [stages.{key}].")
        return value

    def provider(self, name: str, providers: Providers) -> Provider:
        """Return the configured provider called ``name``."""
        found = providers.get(name)
        if found is None:
            raise self.wrong(
                f"the provider {name!r} is not configured",
                f"Add [providers.{name}] to headrace.toml. {did_you_mean(name, providers)}",
            )
        return found

    def version(self, provider: Provider, model: str) -> str:
        """Return the pinned version of ``model``; an unknown model is an error of this stage."""
        try:
            return provider.version(model)
        except HeadraceError as error:
            raise self.wrong(error.message, error.remedy) from error

    def check(self, provider: Provider, model: str, params: dict[str, Any]) -> None:
        """Ask ``provider`` whether the unfilled ``params`` can fit ``model``."""
        try:
            provider.check(model, params)
        except HeadraceError as error:
            raise self.wrong(error.message, error.remedy) from error
