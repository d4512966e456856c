"""The settings of the ``gemini`` provider, read from its config table with checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.errors import ConfigError
from headrace.provider import CrashClass
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote

GEMINI = Api(
    kind="gemini",
    base_url="https://generativelanguage.googleapis.com",
    base_url_env="GOOGLE_GEMINI_BASE_URL",
    key_env="GEMINI_API_KEY",
    crash_class=CrashClass.BLIND,
)
VERSION = re.compile(r"v[0-9][0-9a-z]{0,15}")


@dataclass(frozen=True)
class GeminiSettings:
    """The Gemini API: ``api_version`` is the first step of every path, such as ``v1beta``.

    ``streams``: texts are asked for in pieces where somebody listens.
    """

    remote: RemoteSettings
    api_version: str = "v1beta"
    streams: bool = True

    def headers(self) -> dict[str, str]:
        """Return the headers of every call, credentials among them."""
        key = self.remote.api_key
        return {"x-goog-api-key": key} if key else {}


def read_version(table: Table, default: str) -> str:
    """Return the setting ``api_version``; raises ``ConfigError``."""
    version = table.text("api_version", default)
    if VERSION.fullmatch(version) is None:
        raise ConfigError(
            f"{version!r} is not a version of the API",
            place=table.at("api_version"),
            remedy=f"Write it like {default}.",
        )
    return version


def read_gemini(
    name: str, table: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> GeminiSettings:
    """Return the settings of ``[providers.<name>]``; raises ``ConfigError`` with the remedy."""
    read = Table(name, table, ("api_version", "streams"), environment)
    return GeminiSettings(
        remote=read_remote(read, GEMINI),
        api_version=read_version(read, "v1beta"),
        streams=read.flag("streams", default=True),
    )
