"""The providers at hand: built when first named, opened before their first call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from headrace.clock import Clock
from headrace.errors import ConfigError
from headrace.nearest import did_you_mean
from headrace.provider import Provider

ENTRY_POINTS = "headrace.providers"
ALWAYS = ("template", "images")
"""Local engines that need no configuration."""


class Shelf(Mapping[str, Provider]):
    """Providers by name. Adapters are imported only when a recipe names them."""

    def __init__(
        self,
        tables: Mapping[str, Mapping[str, Any]],
        template_folders: tuple[Path, ...],
        clock: Clock,
        given: Mapping[str, Provider] | None = None,
    ) -> None:
        self._tables = {name: dict(table) for name, table in tables.items()}
        self._template_folders = template_folders
        self._clock = clock
        self._built: dict[str, Provider] = dict(given or {})
        self._open: set[str] = set()

    def __getitem__(self, name: str) -> Provider:
        if name not in self._built:
            if name not in self._tables and name not in ALWAYS:
                raise KeyError(name)
            self._built[name] = self._build(name, dict(self._tables.get(name, {})))
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._built, *self._tables, *ALWAYS}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    async def open(self, provider: Provider) -> None:
        """Open ``provider`` unless it is open already."""
        if provider.name not in self._open:
            self._open.add(provider.name)
            await provider.open()

    async def close(self) -> None:
        """Close every provider that was opened."""
        for name in sorted(self._open):
            await self._built[name].close()
        self._open.clear()

    def _build(self, name: str, table: dict[str, Any]) -> Provider:
        kind = str(table.pop("kind", name))
        builders: dict[str, Callable[[str, dict[str, Any]], Provider]] = {
            "template": self._template,
            "images": self._images,
            "simulated": self._simulated,
            "openai": self._openai,
        }
        if kind in builders:
            return builders[kind](name, table)
        plugins = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
        if kind in plugins:
            made: Provider = plugins[kind].load()(name, table, self._clock)
            return made
        raise ConfigError(
            f"there is no provider kind {kind!r}",
            place=f"[providers.{name}]",
            remedy=did_you_mean(kind, [*builders, *plugins]),
        )

    def _template(self, name: str, table: dict[str, Any]) -> Provider:
        from headrace.providers.template import TemplateProvider

        _only(name, table, {"concurrency": int, "timeout_s": (int, float)})
        return TemplateProvider(
            self._template_folders,
            workers=table.get("concurrency"),
            timeout_s=float(table.get("timeout_s", 20.0)),
        )

    def _images(self, name: str, table: dict[str, Any]) -> Provider:
        from headrace.providers.images import ImagesProvider

        _only(name, table, {})
        return ImagesProvider()

    def _simulated(self, name: str, table: dict[str, Any]) -> Provider:
        from headrace.providers.simulated import SimulatedProvider

        return SimulatedProvider.from_config(name, table, self._clock)

    def _openai(self, name: str, table: dict[str, Any]) -> Provider:
        from headrace.providers.openai import OpenAIProvider

        return OpenAIProvider.from_config(name, table, self._clock)


def _only(name: str, table: dict[str, Any], known: dict[str, Any]) -> None:
    for key, value in table.items():
        place = f"[providers.{name}] {key}"
        if key not in known:
            raise ConfigError(f"unknown key {key!r}", place=place, remedy=did_you_mean(key, known))
        if not isinstance(value, known[key]) or isinstance(value, bool) or value <= 0:
            raise ConfigError(
                f"{value!r} does not fit", place=place, remedy="Write a number above zero."
            )
