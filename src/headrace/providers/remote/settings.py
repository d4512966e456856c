"""What the config tables of all remote providers have in common, read with checks."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from yarl import URL

from headrace.errors import ConfigError
from headrace.limits import Quota
from headrace.nearest import did_you_mean
from headrace.price_table import PriceTable, read_models
from headrace.provider import CrashClass
from headrace.providers.remote.quotas import read_quota, read_refunded

KNOWN = (
    "base_url",
    "api_key",
    "api_key_env",
    "models",
    "concurrency",
    "preset",
    "limits",
    "tokens_refunded",
    "price_microcredits",
    "download_hosts",
    "prices",
)
"""Keys that the table of every remote provider may have."""

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Api:
    """What an adapter knows of its API before any configuration.

    ``base_url`` is the official address, ``base_url_env`` and ``key_env`` the variables
    that stand in for the table. ``hosts`` are further hosts of the provider that the key
    may go to; one that begins with a dot stands for all names that end in it.
    ``crash_class`` is the adapter's own, ``classes`` those that a table may choose
    instead, by letter. ``concurrency`` and ``preset`` are where an unknown lane starts;
    ``limits`` are documented ones, by the keys of a ``limits`` table, for what that does
    not tell.
    """

    kind: str
    base_url: str
    base_url_env: str
    key_env: str
    crash_class: CrashClass
    hosts: tuple[str, ...] = ()
    classes: Mapping[str, CrashClass] = field(default_factory=dict)
    concurrency: int | None = None
    preset: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RemoteSettings:
    """Where an API is, who we are there, and what it may be asked; the key is never shown.

    ``download_hosts`` are hosts that results may be fetched from although they are
    private: everything else on a private network is refused. ``prices`` are those of the
    table, for this provider alone.
    """

    api: Api
    base_url: URL
    api_key: str = field(repr=False)
    api_key_env: str
    models: tuple[str, ...]
    crash_class: CrashClass
    price_microcredits: int
    quota: Quota
    download_hosts: tuple[str, ...] = ()
    prices: PriceTable = field(default_factory=PriceTable)

    @property
    def official_url(self) -> URL:
        """Return where the API is documented to be."""
        return URL(self.api.base_url)

    @property
    def is_official(self) -> bool:
        """Tell whether this is the provider's own API, for which its list prices hold."""
        host = self.base_url.host or ""
        return self.base_url.scheme == "https" and any(
            host == own or (own.startswith(".") and host.endswith(own))
            for own in (self.official_url.host, *self.api.hosts)
            if own
        )

    @property
    def is_local(self) -> bool:
        """Tell whether the server is on this machine: such often want no key."""
        return self.base_url.host in _LOCAL_HOSTS


class Table:
    """A provider's config table, read key by key; all errors are ``ConfigError``.

    ``more`` are the adapter's own keys beside ``KNOWN``.
    """

    def __init__(
        self,
        name: str,
        table: Mapping[str, Any],
        more: Iterable[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.place = f"[providers.{name}]"
        self.env = os.environ if environment is None else environment
        self._table = table
        known = (*KNOWN, *more)
        for key in table:
            if key not in known:
                raise ConfigError(
                    f"unknown key {key!r}", place=self.place, remedy=did_you_mean(key, known)
                )

    def at(self, key: str) -> str:
        """Return the place of ``key``, as errors name it."""
        return f"{self.place} {key}"

    def get(self, key: str) -> Any:
        """Return the raw value, ``None`` when it is not set."""
        return self._table.get(key)

    def text(self, key: str, default: str = "") -> str:
        """Return a text setting."""
        value = self._table.get(key, default)
        if not isinstance(value, str):
            # The value is not shown: it may be a key without its quotes.
            raise ConfigError(f"must be text, not {type(value).__name__}", place=self.at(key))
        return value.strip()

    def secret(self, key: str, default: str = "") -> str:
        """Return a text that goes into a header; no message ever shows it."""
        value = self.text(key, default)
        if not value.isascii() or not value.isprintable() or " " in value:
            raise ConfigError(
                "it holds a space, a line break or another character that no key has",
                place=self.at(key),
                remedy="Copy it again, without what stands around it.",
            )
        return value

    def choice(self, key: str, options: Iterable[str], default: str = "") -> str:
        """Return a text setting that is one of ``options``, or its ``default``."""
        value, names = self.text(key, default), [*options]
        if value not in (*names, default):
            raise ConfigError(
                f"{value!r} is not known", place=self.at(key), remedy=did_you_mean(value, names)
            )
        return value

    def count(self, key: str, default: int = 0, least: int = 0) -> int:
        """Return a whole number of ``least`` or more."""
        value = self._table.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(
                f"not a whole number of {least or 'zero'} or more: {value!r}", place=self.at(key)
            )
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """Return a true-or-false setting."""
        value = self._table.get(key, default)
        if not isinstance(value, bool):
            raise ConfigError(f"must be true or false, not {value!r}", place=self.at(key))
        return value

    def names(self, key: str) -> tuple[str, ...]:
        """Return a list of texts, empty when it is not set."""
        value = self._table.get(key, [])
        if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
            raise ConfigError(f"not a list of names: {value!r}", place=self.at(key))
        return tuple(value)

    def address(self, key: str, default: str) -> URL:
        """Return a setting that is the address of a server, without a slash at its end."""
        text, place = self.text(key, default), self.at(key)
        remedy = f"An address such as {default}"
        try:
            url = URL(text)
            port = url.port
        except ValueError:
            raise ConfigError("not an address", place=place, remedy=remedy) from None
        if url.scheme not in ("http", "https") or not url.host or not port:
            raise ConfigError(f"not an address: {url.host or text!r}", place=place, remedy=remedy)
        if url.user or url.password or url.query_string or url.fragment:
            raise ConfigError(
                "it may hold neither a user, a query nor a fragment",
                place=place,
                remedy="Put the key into api_key.",
            )
        return URL(text.rstrip("/"))


def read_remote(table: Table, api: Api) -> RemoteSettings:
    """Return the settings that every remote provider has; raises ``ConfigError``.

    The variables that ``api`` names stand in for what the table does not say. A missing
    key is no error here, but when the provider opens.
    """
    letter = table.choice("crash_class", api.classes) if api.classes else ""
    key_env = table.text("api_key_env", api.key_env)
    start = table.get("concurrency")
    if start is not None:
        start = table.count("concurrency", least=1)
    elif not _tells_width(table.get("limits")) and table.get("preset") is None:
        start = api.concurrency
    return RemoteSettings(
        api=api,
        base_url=table.address("base_url", table.env.get(api.base_url_env) or api.base_url),
        api_key=table.secret("api_key", table.env.get(key_env, "").strip()),
        api_key_env=key_env,
        models=table.names("models"),
        crash_class=api.classes[letter] if letter else api.crash_class,
        price_microcredits=table.count("price_microcredits"),
        quota=_quota(table, api, start),
        download_hosts=table.names("download_hosts"),
        prices=read_models(
            {} if table.get("prices") is None else table.get("prices"), table.at("prices")
        ),
    )


def _quota(table: Table, api: Api, start: int | None) -> Quota:
    """Return what is told of a lane; what is only documented by the provider is not pinned."""
    told = {} if table.get("limits") is None else table.get("limits")
    known = {**api.limits, **told} if isinstance(told, Mapping) else told
    refunded = read_refunded(table.get("tokens_refunded"), table.at("tokens_refunded"))
    preset = table.get("preset") or api.preset
    quota = read_quota(known, table.at("limits"), start, preset, refunded)
    return replace(quota, pinned=bool(told))


def _tells_width(limits: Any) -> bool:
    return isinstance(limits, Mapping) and "concurrency" in limits
