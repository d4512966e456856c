"""The settings of the ``anthropic`` provider, read from its config table with checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.errors import ConfigError
from headrace.provider import CrashClass
from headrace.providers.remote.batching import BATCH_KEYS, NO_BATCHES, Batching, read_batching
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote

AUTHS = ("x-api-key", "bearer")
MORE = ("api_version", "auth", "betas", "streams", *BATCH_KEYS)

ANTHROPIC = Api(
    kind="anthropic",
    base_url="https://api.anthropic.com",
    base_url_env="ANTHROPIC_BASE_URL",
    key_env="ANTHROPIC_API_KEY",
    crash_class=CrashClass.BLIND,
)
_VERSION = re.compile(r"20[0-9]{2}-[01][0-9]-[0-3][0-9]")


@dataclass(frozen=True)
class AnthropicSettings:
    """The messages API: ``api_version`` is a date, ``betas`` are names of what is on trial.

    ``auth`` says which header carries the key. ``streams``: texts are asked for in pieces where
    somebody listens.
    """

    remote: RemoteSettings
    api_version: str = "2023-06-01"
    auth: str = "x-api-key"
    betas: tuple[str, ...] = ()
    batching: Batching = NO_BATCHES
    streams: bool = True

    def headers(self) -> dict[str, str]:
        """Return the headers of every call, credentials among them."""
        headers = {"anthropic-version": self.api_version}
        if self.betas:
            headers["anthropic-beta"] = ",".join(self.betas)
        key = self.remote.api_key
        if key:
            bearer = self.auth == "bearer"
            headers["Authorization" if bearer else "x-api-key"] = f"Bearer {key}" if bearer else key
        return headers


def read_anthropic(
    name: str, table: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> AnthropicSettings:
    """Return the settings of ``[providers.<name>]``; raises ``ConfigError`` with the remedy."""
    read = Table(name, table, MORE, environment)
    version = read.text("api_version", "2023-06-01")
    if _VERSION.fullmatch(version) is None:
        raise ConfigError(
            f"{version!r} is not a version of the API",
            place=read.at("api_version"),
            remedy="It is a date, such as 2023-06-01.",
        )
    betas = read.names("betas")
    odd = [one for one in betas if re.fullmatch(r"[\w.-]{1,100}", one, re.A) is None]
    if odd:
        raise ConfigError(f"{odd[0]!r} is not the name of a beta", place=read.at("betas"))
    return AnthropicSettings(
        remote=read_remote(read, ANTHROPIC),
        api_version=version,
        auth=read.choice("auth", AUTHS, "x-api-key"),
        betas=betas,
        batching=read_batching(read, default=True),
        streams=read.flag("streams", default=True),
    )
