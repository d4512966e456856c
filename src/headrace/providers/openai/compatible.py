"""The ``openai-compatible`` provider: the many servers that speak OpenAI's verbs, by profile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.clock import Clock
from headrace.errors import ConfigError
from headrace.nearest import did_you_mean
from headrace.price_table import Usage
from headrace.provider import CrashClass
from headrace.providers.openai.adapter import OpenAIProvider
from headrace.providers.openai.messages import Spelling
from headrace.providers.openai.profiles import PLAIN, PROFILES, Profile
from headrace.providers.openai.settings import APIS, CLASSES, MORE, OpenAISettings
from headrace.providers.remote.batching import read_batching
from headrace.providers.remote.settings import Api, Table, read_remote

KIND = "openai-compatible"


class OpenAICompatibleProvider(OpenAIProvider):
    """A server shaped like OpenAI's API; its profile tells what is different there."""

    previews = False

    def __init__(
        self, settings: OpenAISettings, profile: Profile, *, name: str, clock: Clock
    ) -> None:
        super().__init__(
            settings, name=name, clock=clock, spelling=Spelling(profile.numbers, takes_back=True)
        )
        self.signals = profile.signals
        self.edits = profile.edits
        self._profile = profile

    @classmethod
    def from_config(
        cls, name: str, table: Mapping[str, Any], clock: Clock
    ) -> OpenAICompatibleProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        settings, profile = read_compatible(name, table)
        return cls(settings, profile, name=name, clock=clock)

    def billed(
        self, model: str, headers: Mapping[str, str], raw_usage: Any, usage: Usage | None
    ) -> dict[str, int | None]:
        """Return the cost of a call as the server tells it, or estimated."""
        told = super().billed(model, headers, raw_usage, usage)
        if self._profile.zero_is_unknown and told.get("cost_microusd") == 0:
            return super().billed(model, {}, None, usage)
        return told


def read_compatible(
    name: str, table: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> tuple[OpenAISettings, Profile]:
    """Return the settings of ``[providers.<name>]`` and its profile; raises ``ConfigError``."""
    read = Table(name, table, (*MORE, "profile", "svg"), environment)
    chosen = read.choice("profile", PROFILES)
    profile = PROFILES[chosen] if chosen else PLAIN
    if not profile.base_url and not read.text("base_url"):
        raise ConfigError(
            "it is not said where the server is",
            place=read.at("base_url"),
            remedy=f"Give base_url, or a profile. {did_you_mean('', PROFILES)}".strip(),
        )
    api = Api(
        kind=KIND,
        base_url=profile.base_url or read.text("base_url"),
        base_url_env="",
        key_env=profile.key_env,
        crash_class=CrashClass.BLIND,
        hosts=profile.hosts,
        classes=CLASSES,
        preset=profile.preset,
    )
    settings = OpenAISettings(
        remote=read_remote(read, api),
        organization=read.secret("organization"),
        project=read.secret("project"),
        api=read.choice("api", APIS) or profile.api,
        response_format=profile.response_format,
        takes_svg=read.flag("svg"),
        batching=read_batching(read, default=False),
        streams=read.flag("streams", default=True),
    )
    return settings, profile
