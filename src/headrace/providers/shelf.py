"""The providers at hand: built when first named, opened before their first call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from headrace.bytes_budget import process_budget
from headrace.clock import Clock, SystemClock
from headrace.config import Config
from headrace.errors import ConfigError
from headrace.nearest import did_you_mean
from headrace.price_table import PriceTable, built_in, read_file
from headrace.provider import Provider
from headrace.provider_batch import BatchApi, batch_api_of

ENTRY_POINTS = "headrace.providers"
ALWAYS = ("template", "images", "texts", "films")
"""Local engines that need no configuration."""

ADAPTERS = {
    "simulated": "simulated.adapter:SimulatedProvider",
    "openai": "openai.adapter:OpenAIProvider",
    "http": "declared.adapter:HttpProvider",
    "imejis": "imejis:ImejisProvider",
    "replicate": "replicate.adapter:ReplicateProvider",
    "bfl": "bfl.adapter:BflProvider",
    "gemini": "google.gemini:GeminiProvider",
    "vertex": "google.vertex:VertexProvider",
    "anthropic": "anthropic.adapter:AnthropicProvider",
    "openai-compatible": "openai.compatible:OpenAICompatibleProvider",
    "fal": "fal.adapter:FalProvider",
    "stability": "stability:StabilityProvider",
}
"""Kinds of providers that a config table makes: module and class, imported when one is named."""


class Shelf(Mapping[str, Provider]):
    """Providers by name. Adapters are imported only when a recipe names them."""

    def __init__(
        self,
        tables: Mapping[str, Mapping[str, Any]],
        template_folders: tuple[Path, ...],
        clock: Clock,
        given: Mapping[str, Provider] | None = None,
        prices: Path | None = None,
    ) -> None:
        self._tables = {name: dict(table) for name, table in tables.items()}
        self._template_folders = template_folders
        self._clock = clock
        self._built: dict[str, Provider] = dict(given or {})
        self._open: set[str] = set()
        self._prices = prices
        self._lists: dict[str, PriceTable] | None = None

    def __getitem__(self, name: str) -> Provider:
        if name not in self._built:
            if name not in self._tables and name not in ALWAYS:
                raise KeyError(name)
            self._built[name] = self._build(name, dict(self._tables.get(name, {})))
        return self._built[name]

    @staticmethod
    def kinds() -> list[str]:
        """Return the kinds that a table may have, those of plug-ins among them."""
        return sorted({*ADAPTERS, *(point.name for point in entry_points(group=ENTRY_POINTS))})

    def kind(self, name: str) -> str:
        """Return the kind that the provider called ``name`` is of."""
        return str(self._tables.get(name, {}).get("kind", name))

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*self._built, *self._tables, *ALWAYS}))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def with_key(self, name: str, api_key: str) -> Provider:
        """Return a further provider called ``name`` that uses ``api_key``; raises ``ConfigError``.

        It is not kept here: whoever asks for it opens and closes it.
        """
        if name not in self._tables:
            raise ConfigError(
                f"the provider {name[:80]!r} is not configured",
                remedy=f"Add [providers.{name[:80]}] to headrace.toml. "
                f"{did_you_mean(name[:80], self._tables)}",
            )
        return self._build(name, {**self._tables[name], "api_key": api_key})

    async def open(self, provider: Provider) -> None:
        """Open ``provider`` unless it is open already."""
        if provider.name not in self._open:
            self._open.add(provider.name)
            await provider.open()

    async def batch_api(self, name: str) -> BatchApi | None:
        """Return a provider's batch API, ``None`` where there is none (any more)."""
        try:
            found = self[name]
            await self.open(found)
        except (KeyError, ConfigError):
            return None
        return batch_api_of(found)

    async def close(self) -> None:
        """Close every provider that was opened."""
        for name in sorted(self._open):
            await self._built[name].close()
        self._open.clear()

    def _build(self, name: str, table: dict[str, Any]) -> Provider:
        kind = str(table.pop("kind", name))
        if kind in _LOCAL:
            return _LOCAL[kind](name, table, self._template_folders)
        if kind in ADAPTERS:
            module, _, adapter = ADAPTERS[kind].partition(":")
            found = getattr(import_module(f"headrace.providers.{module}"), adapter)
            return self._priced(found.from_config(name, table, self._clock))
        plugins = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
        if kind in plugins:
            return self._priced(plugins[kind].load()(name, table, self._clock))
        raise ConfigError(
            f"there is no provider kind {kind!r}",
            place=f"[providers.{name}]",
            remedy=did_you_mean(kind, [*_LOCAL, *ADAPTERS, *plugins]),
        )

    def _priced(self, provider: Provider) -> Provider:
        """Give a provider that works with list prices those of the user."""
        use: Any = getattr(provider, "use_prices", None)
        if use is not None:
            use(self._user_prices())
        return provider

    def _user_prices(self) -> dict[str, PriceTable]:
        if self._lists is None:
            lists = read_file(self._prices) if self._prices is not None else {}
            known = sorted({*self._tables, *self.kinds(), *built_in()})
            for section in lists:
                if section not in known:
                    raise ConfigError(
                        f"[{section}] is neither a provider nor a kind of them",
                        place=str(self._prices),
                        remedy=did_you_mean(section, known),
                    )
            self._lists = lists
        return self._lists


def shelf_of(
    config: Config, clock: Clock | None = None, given: Mapping[str, Provider] | None = None
) -> Shelf:
    """Return the configured providers, none of them opened; no database is needed."""
    if config.limits.bodies_bytes_max is not None:
        process_budget().bytes_max = config.limits.bodies_bytes_max
    folders = (Path("templates"), Path(config.home) / "templates")
    prices = Path(config.prices) if config.prices is not None else None
    return Shelf(config.providers, folders, clock or SystemClock(), given, prices)


def _template(name: str, table: dict[str, Any], folders: tuple[Path, ...]) -> Provider:
    from headrace.providers.local.template import TemplateProvider

    _only(name, table, {"concurrency": int, "timeout_s": (int, float)})
    return TemplateProvider(
        folders, workers=table.get("concurrency"), timeout_s=float(table.get("timeout_s", 20.0))
    )


def _images(name: str, table: dict[str, Any], folders: tuple[Path, ...]) -> Provider:
    from headrace.providers.local.images import ImagesProvider

    _only(name, table, {})
    return ImagesProvider()


def _texts(name: str, table: dict[str, Any], folders: tuple[Path, ...]) -> Provider:
    from headrace.providers.local.texts import TextsProvider

    _only(name, table, {})
    return TextsProvider()


def _films(name: str, table: dict[str, Any], folders: tuple[Path, ...]) -> Provider:
    from headrace.providers.local.films import TIMEOUT_S, FilmsProvider

    _only(name, table, {"concurrency": int, "timeout_s": (int, float)})
    return FilmsProvider(
        timeout_s=float(table.get("timeout_s", TIMEOUT_S)), workers=table.get("concurrency", 0)
    )


_LOCAL: dict[str, Callable[[str, dict[str, Any], tuple[Path, ...]], Provider]] = {
    "template": _template,
    "images": _images,
    "texts": _texts,
    "films": _films,
}


def _only(name: str, table: dict[str, Any], known: dict[str, Any]) -> None:
    for key, value in table.items():
        place = f"[providers.{name}] {key}"
        if key not in known:
            raise ConfigError(f"unknown key {key!r}", place=place, remedy=did_you_mean(key, known))
        if not isinstance(value, known[key]) or isinstance(value, bool) or value <= 0:
            raise ConfigError(
                f"{value!r} does not fit", place=place, remedy="Write a number above zero."
            )
