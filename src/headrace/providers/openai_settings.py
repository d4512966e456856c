"""The settings of the ``openai`` provider, read from its config table with checks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from yarl import URL

from headrace.errors import ConfigError
from headrace.limits import Quota
from headrace.nearest import did_you_mean
from headrace.provider import CrashClass
from headrace.providers.quotas import read_quota

BASE_URL = "https://api.openai.com/v1"
APIS = ("chat", "images")
KNOWN = (
    "base_url",
    "api_key",
    "api_key_env",
    "organization",
    "project",
    "api",
    "models",
    "crash_class",
    "concurrency",
    "preset",
    "price_microcredits",
    "limits",
)
_CLASSES = {"A": CrashClass.KEYED, "D": CrashClass.BLIND}
_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class OpenAISettings:
    """Where an OpenAI-shaped API is, who we are there, and what it may be asked.

    ``api_key`` is never shown. ``crash_class`` is A where the server honours
    ``Idempotency-Key``. ``models`` lists the known ones, empty for any. ``api`` is
    ``chat`` or ``images`` where the model's name does not tell.
    """

    base_url: URL = field(default_factory=lambda: URL(BASE_URL))
    api_key: str = field(default="", repr=False)
    api_key_env: str = "OPENAI_API_KEY"
    organization: str = ""
    project: str = ""
    api: str = ""
    models: tuple[str, ...] = ()
    crash_class: CrashClass = CrashClass.BLIND
    price_microcredits: int = 0
    quota: Quota = field(default_factory=lambda: read_quota({}, "limits"))

    @property
    def is_local(self) -> bool:
        """Tell whether the server is on this machine: such often want no key."""
        return self.base_url.host in _LOCAL_HOSTS

    def headers(self) -> dict[str, str]:
        """Return the headers of every call, credentials among them."""
        named = {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}
        headers = {name: value for name, value in named.items() if value}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return headers


def read_openai(
    name: str, table: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> OpenAISettings:
    """Return the settings of ``[providers.<name>]``; raises ``ConfigError`` with the remedy.

    ``OPENAI_BASE_URL`` and the variable named by ``api_key_env`` stand in for what the
    table does not say. A missing key is no error here, but when the provider opens.
    """
    env = os.environ if environment is None else environment
    place = f"[providers.{name}]"
    for key in table:
        if key not in KNOWN:
            raise ConfigError(f"unknown key {key!r}", place=place, remedy=did_you_mean(key, KNOWN))
    texts = {
        key: _text(table.get(key, default), f"{place} {key}")
        for key, default in _text_defaults(env).items()
    }
    settings = OpenAISettings(
        base_url=_base_url(texts["base_url"], f"{place} base_url"),
        api_key_env=texts["api_key_env"],
        api_key=_key(texts["api_key"] or env.get(texts["api_key_env"], ""), f"{place} api_key"),
        organization=_key(texts["organization"], f"{place} organization"),
        project=_key(texts["project"], f"{place} project"),
        api=_choice(texts["api"], ("", *APIS), f"{place} api"),
        models=_models(table.get("models", []), f"{place} models"),
        crash_class=_CLASSES[_choice(texts["crash_class"], _CLASSES, f"{place} crash_class")],
        price_microcredits=_count(
            table.get("price_microcredits", 0), f"{place} price_microcredits"
        ),
    )
    start = table.get("concurrency")
    if start is not None and _count(start, f"{place} concurrency") == 0:
        raise ConfigError("must be 1 or more", place=f"{place} concurrency")
    quota = read_quota(table.get("limits", {}), f"{place} limits", start, table.get("preset"))
    return replace(settings, quota=quota)


def _text_defaults(env: Mapping[str, str]) -> dict[str, str]:
    return {
        "base_url": env.get("OPENAI_BASE_URL") or BASE_URL,
        "api_key": "",
        "api_key_env": "OPENAI_API_KEY",
        "organization": "",
        "project": "",
        "api": "",
        "crash_class": "D",
    }


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str):
        # The value is not shown: it may be a key without its quotes.
        raise ConfigError(f"must be text, not {type(value).__name__}", place=place)
    return value.strip()


def _key(value: str, place: str) -> str:
    """Return what goes into a header; the message never shows it."""
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(
            "it holds a space, a line break or another character that no key has",
            place=place,
            remedy="Copy it again, without what stands around it.",
        )
    return value


def _base_url(text: str, place: str) -> URL:
    remedy = f"An address such as {BASE_URL}"
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


def _choice(value: str, options: Mapping[str, Any] | tuple[str, ...], place: str) -> str:
    if value not in options:
        raise ConfigError(
            f"{value!r} is not known",
            place=place,
            remedy=did_you_mean(value, filter(None, options)),
        )
    return value


def _models(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"not a list of names: {value!r}", place=place)
    return tuple(value)


def _count(value: Any, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"not a whole number of zero or more: {value!r}", place=place)
    return value
