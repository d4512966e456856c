"""List prices of models: read with checks, found by name, multiplied by what a call used.

Money is counted in whole micro-USD, without floats: a price per million tokens is kept as
micro-USD per million, and a cost is rounded once, at its end.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Any

from headrace.errors import ConfigError
from headrace.nearest import did_you_mean
from headrace.price import MICRO, USD_MAX

FILE = "prices.toml"
COST_MAX_MICROUSD = USD_MAX * MICRO
"""No estimate is larger: what asks for more is a count that cannot be true."""

_PER_MILLION = "_usd_per_million"
TOKENS = ("input", "cached_input", "cache_write", "output", "image_input", "image_output")
FLAT = ("image", "second", "request")
KNOWN = (
    *(f"{name}{_PER_MILLION}" for name in TOKENS),
    *(f"{name}_usd" for name in FLAT),
    "images_usd",
    "input_tokens_max",
    "dated",
    "as_of",
)
"""Every key of a model's entry."""

_SECTION = ("as_of", "source", "models")
_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|20\d{6})")
_ANY = ("", "auto", "*")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call used, or may use at most: counts that do not overlap.

    ``input_tokens`` and ``output_tokens`` are text; ``cached_tokens`` were read from the
    provider's prompt cache, ``cache_write_tokens`` written to it. ``images`` came out, of
    ``size`` (``1024x1024``, ``2K``) and ``quality``, empty when not known. ``seconds`` is
    the time that the model computed, ``None`` when nobody tells.
    """

    input_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    images: int = 0
    size: str = ""
    quality: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class ModelPrice:
    """The list price of one model; what is ``None`` is not known, or not billed.

    The prices of tokens are micro-USD per million, ``image``, ``second`` and ``request``
    micro-USD each. ``images`` has prices by size and quality. They hold up to
    ``input_tokens_max`` tokens that go in. ``dated``: also for the model's dated names.
    """

    input: int | None = None
    cached_input: int | None = None
    cache_write: int | None = None
    output: int | None = None
    image_input: int | None = None
    image_output: int | None = None
    image: int | None = None
    second: int | None = None
    request: int | None = None
    images: Mapping[tuple[str, str], int] = field(default_factory=dict)
    input_tokens_max: int | None = None
    dated: bool = False
    as_of: date | None = None

    def of(self, usage: Usage) -> int | None:
        """Return what ``usage`` costs in micro-USD, rounded half up; ``None`` when not known."""
        return self._cost(usage, at_most=False)

    def most(self, usage: Usage) -> int | None:
        """Return the most that a call of at most ``usage`` costs, rounded up; or ``None``."""
        return self._cost(usage, at_most=True)

    @property
    def by_request(self) -> int | None:
        """Return the price of a call that costs the same whatever it uses, else ``None``."""
        is_all = self._is_flat and not self.images and self.image is self.second is None
        return self.request if is_all else None

    def _cost(self, usage: Usage, *, at_most: bool) -> int | None:
        parts = [*self._tokens(usage, at_most), *self._others(usage, at_most)]
        if not parts or not self._holds(usage):
            return None
        known = [amount for amount in parts if amount is not None]
        if len(known) < len(parts):
            return None
        whole, rest = divmod(sum(known), MICRO)
        cost = whole + (rest > 0 if at_most else 2 * rest >= MICRO)
        return cost if cost <= COST_MAX_MICROUSD else None

    def _holds(self, usage: Usage) -> bool:
        goes_in = usage.input_tokens + usage.cached_tokens + usage.cache_write_tokens
        goes_in += usage.image_input_tokens
        return self.input_tokens_max is None or goes_in <= self.input_tokens_max

    def _tokens(self, usage: Usage, at_most: bool) -> list[int | None]:
        """Return the millionths of micro-USD that each kind of tokens costs."""
        into = self.input
        if at_most and into is not None:
            # Whether the provider will read or write its cache, nobody knows beforehand.
            into = max(into, self.cached_input or 0, self.cache_write or 0)
        cached = into if self.cached_input is None else self.cached_input
        kinds = (
            (usage.input_tokens, into),
            # Without a price of its own, cached input is taken at the full one: never below.
            (usage.cached_tokens, into if at_most else cached),
            (usage.cache_write_tokens, self.cache_write),
            (usage.output_tokens, self.output),
            (usage.image_input_tokens, into if self.image_input is None else self.image_input),
            (usage.image_output_tokens, self.image_output),
        )
        return [
            None if price is None else count * price
            for count, price in kinds
            if count and not (price is None and self._is_flat)
        ]

    @property
    def _is_flat(self) -> bool:
        """Tell whether the model is billed by image, second or request, and not by tokens."""
        by_token = (getattr(self, name) for name in TOKENS)
        flat = (self.image, self.second, self.request)
        told = any(price is not None for price in flat) or bool(self.images)
        return told and all(price is None for price in by_token)

    def _others(self, usage: Usage, at_most: bool) -> list[int | None]:
        """Return the millionths of micro-USD for images, seconds and the request itself."""
        parts: list[int | None] = []
        if self.request is not None:
            parts.append(self.request * MICRO)
        if self.second is not None:
            parts.append(None if usage.seconds is None else _seconds(self.second, usage.seconds))
        by_tokens = usage.image_output_tokens > 0 and self.image_output is not None
        if usage.images and not by_tokens:
            each = self._image(usage.size, usage.quality, at_most)
            if each is not None:
                parts.append(usage.images * each * MICRO)
            elif not parts:
                parts.append(None)
        return parts

    def _image(self, size: str, quality: str, at_most: bool) -> int | None:
        """Return the price of one image; the highest that may apply where it is the most."""
        fitting = [
            price
            for (own_size, own_quality), price in self.images.items()
            if _fits(own_size, size, at_most) and _fits(own_quality, quality, at_most)
        ]
        if at_most and self.images and (size in _ANY or quality in _ANY):
            return max([*fitting, *([] if self.image is None else [self.image])], default=None)
        return max(fitting, default=self.image)


def _fits(own: str, asked: str, at_most: bool) -> bool:
    return own == "*" or own == asked.lower() or (at_most and asked in _ANY)


def _seconds(price: int, seconds: float) -> int | None:
    try:
        amount = Decimal(repr(seconds)) * price * MICRO
        return None if amount < 0 else int(amount.to_integral_value(rounding="ROUND_CEILING"))
    except (InvalidOperation, OverflowError, ValueError):
        return None


class PriceTable:
    """The models of one provider, by name."""

    def __init__(self, models: Mapping[str, ModelPrice] | None = None) -> None:
        self.models = dict(models or {})

    def find(self, model: str) -> ModelPrice | None:
        """Return the price of ``model``, or of its family where that says it has dated names."""
        found = self.models.get(model)
        if found is None:
            dated = _DATE.search(model)
            family = self.models.get(model[: dated.start()]) if dated and _ends(dated) else None
            found = family if family is not None and family.dated else None
        return found

    def __bool__(self) -> bool:
        return bool(self.models)


def _ends(found: re.Match[str]) -> bool:
    return found.end() == len(found.string)


def read_models(table: Any, place: str, as_of: date | None = None) -> PriceTable:
    """Return the prices of a table of models; raises ``ConfigError`` with place and remedy."""
    if not isinstance(table, Mapping):
        raise ConfigError(
            f"not a table of models: {table!r}"[:200],
            place=place,
            remedy='"gpt-5-mini" = { input_usd_per_million = 0.25, output_usd_per_million = 2 }',
        )
    return PriceTable(
        {name: _model(entry, f'{place} "{name}"', as_of) for name, entry in table.items()}
    )


def read_file(path: Path) -> dict[str, PriceTable]:
    """Return the prices of a file by its sections: a kind of provider, or a provider's name.

    Raises ``ConfigError`` with the place and the remedy.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except FileNotFoundError as error:
        raise ConfigError(
            "there is no such file", place=str(path), remedy="Correct the setting prices."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file cannot be read: {error}", place=str(path)) from error
    except (tomllib.TOMLDecodeError, InvalidOperation) as error:
        raise ConfigError(f"not valid TOML: {error}", place=str(path)) from error
    return {name: _section(table, f"{path} [{name}]") for name, table in tree.items()}


@cache
def built_in() -> dict[str, PriceTable]:
    """Return the prices that come with this release, by the kind of provider."""
    return read_file(Path(__file__).parent / FILE)


def _section(table: Any, place: str) -> PriceTable:
    if not isinstance(table, Mapping):
        raise ConfigError(
            "not a table", place=place, remedy='Write [KIND.models] and below it "model" = { … }.'
        )
    for key in table:
        if key not in _SECTION:
            raise ConfigError(
                f"unknown key {key!r}", place=place, remedy=did_you_mean(key, _SECTION)
            )
    return read_models(
        table.get("models", {}), f"{place} models", _date(table.get("as_of"), f"{place} as_of")
    )


def _model(entry: Any, place: str, as_of: date | None) -> ModelPrice:
    if not isinstance(entry, Mapping):
        raise ConfigError(
            f"not a table: {entry!r}"[:200], place=place, remedy="{ image_usd = 0.04 }"
        )
    for key in entry:
        if key not in KNOWN:
            raise ConfigError(f"unknown key {key!r}", place=place, remedy=did_you_mean(key, KNOWN))
    prices = {
        name: _micro(entry[key], f"{place} {key}")
        for name, key in (
            *((name, f"{name}{_PER_MILLION}") for name in TOKENS),
            *((name, f"{name}_usd") for name in FLAT),
        )
        if key in entry
    }
    images = _images(entry.get("images_usd", {}), f"{place} images_usd")
    if not prices and not images:
        raise ConfigError(
            "it tells no price", place=place, remedy=f"Give one of {', '.join(KNOWN[:10])}."
        )
    dated = entry.get("dated", False)
    if not isinstance(dated, bool):
        raise ConfigError(f"must be true or false, not {dated!r}", place=f"{place} dated")
    limit = entry.get("input_tokens_max")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise ConfigError(
            f"{limit!r} is not a whole number of 1 or more", place=f"{place} input_tokens_max"
        )
    told = _date(entry.get("as_of"), f"{place} as_of") or as_of
    return ModelPrice(**prices, images=images, input_tokens_max=limit, dated=dated, as_of=told)


def _images(table: Any, place: str) -> dict[tuple[str, str], int]:
    """Read prices by ``"1024x1024 low"``, ``"2K"``, or ``"* high"``: a size, and a quality."""
    if not isinstance(table, Mapping):
        raise ConfigError("not a table", place=place, remedy='{ "1024x1024 low" = 0.009 }')
    prices = {}
    for key, value in table.items():
        words = key.lower().split()
        if not 1 <= len(words) <= 2:
            raise ConfigError(
                f"{key!r} is not a size, or a size and a quality",
                place=place,
                remedy='Write it like "1024x1024 low", "2K" or "* high".',
            )
        prices[words[0], words[1] if len(words) == 2 else "*"] = _micro(value, f"{place} {key!r}")
    return prices


def _micro(value: Any, place: str) -> int:
    """Return dollars as micro-USD; there is no price of less than one."""
    good = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    amount = Decimal(str(value)) if good else Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount < USD_MAX:
        raise ConfigError(
            f"{value!r} is not an amount of dollars", place=place, remedy="Write it like 0.25."
        )
    if amount * MICRO != int(amount * MICRO):
        raise ConfigError(
            f"{value!r} has more than six places after the point",
            place=place,
            remedy="Prices are counted in millionths of a dollar.",
        )
    return int(amount * MICRO)


def _date(value: Any, place: str) -> date | None:
    if value is None or type(value) is date:
        return value
    raise ConfigError(f"{value!r} is not a date", place=place, remedy="Write it like 2026-11-21.")
