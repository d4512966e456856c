"""The settings of the ``fal`` provider, read from its config table with checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from headrace.errors import ConfigError
from headrace.provider import CrashClass
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote

MORE = ("headers", "unit_prices")
HEADERS_MAX = 20
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_OURS = re.compile(
    r"authorization|proxy-.*|host|cookie|content-.*|transfer-encoding|connection|upgrade|expect"
    r"|te|trailer|keep-alive|accept-encoding|user-agent",
    re.IGNORECASE,
)

FAL = Api(
    kind="fal",
    base_url="https://queue.fal.run",
    base_url_env="FAL_BASE_URL",
    key_env="FAL_KEY",
    crash_class=CrashClass.POLLED,
    preset="queue",
)


@dataclass(frozen=True)
class FalSettings:
    """A fal account. ``unit_prices`` are micro-USD for a billable unit, by model."""

    remote: RemoteSettings
    more_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    unit_prices: Mapping[str, Decimal] = field(default_factory=dict)

    def headers(self) -> dict[str, str]:
        """Return the headers of every call, credentials among them."""
        headers = dict(self.more_headers)
        if self.remote.api_key:
            headers["Authorization"] = f"Key {self.remote.api_key}"
        return headers


def read_fal(
    name: str, table: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> FalSettings:
    """Return the settings of ``[providers.<name>]``; raises ``ConfigError`` with the remedy."""
    read = Table(name, table, MORE, environment)
    return FalSettings(
        remote=read_remote(read, FAL),
        more_headers=_headers(read),
        unit_prices=_unit_prices(read),
    )


def _headers(read: Table) -> dict[str, str]:
    found, place = read.get("headers"), read.at("headers")
    if found is None:
        return {}
    if not isinstance(found, Mapping) or len(found) > HEADERS_MAX:
        raise ConfigError(
            f"not a table of at most {HEADERS_MAX} headers",
            place=place,
            remedy='headers = { X-Fal-Queue-Priority = "low" }',
        )
    headers: dict[str, str] = {}
    for header, value in found.items():
        if not _NAME.fullmatch(header) or _OURS.fullmatch(header):
            raise ConfigError(
                f"{header[:80]!r} cannot be set",
                place=place,
                remedy="Headers of the connection and of the key are headrace's own.",
            )
        # The value is not shown: it may be a secret.
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ConfigError("must be one line of ASCII text", place=f"{place} {header}")
        headers[header] = value.strip()
    return headers


def _unit_prices(read: Table) -> dict[str, Decimal]:
    found, place = read.get("unit_prices"), read.at("unit_prices")
    if found is None:
        return {}
    remedy = 'unit_prices = { "fal-ai/flux/dev" = 0.025 }, in USD for a billable unit'
    if not isinstance(found, Mapping):
        raise ConfigError("not a table", place=place, remedy=remedy)
    prices: dict[str, Decimal] = {}
    for model, usd in found.items():
        good = isinstance(usd, int | float) and not isinstance(usd, bool)
        if not good or not 0 <= usd < 1_000_000:
            raise ConfigError(
                f"{usd!r} is not a price", place=f"{place} {model[:80]}", remedy=remedy
            )
        prices[model] = Decimal(repr(usd)) * 1_000_000
    return prices
