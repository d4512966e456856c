"""The settings of OpenAI-shaped providers, read from their config tables with checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.provider import CrashClass
from headrace.providers.remote.batching import BATCH_KEYS, NO_BATCHES, Batching, read_batching
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote

APIS = ("chat", "responses", "images")
MORE = ("organization", "project", "api", "crash_class", "streams", *BATCH_KEYS)
CLASSES = {"A": CrashClass.KEYED, "D": CrashClass.BLIND}

OPENAI = Api(
    kind="openai",
    base_url="https://api.openai.com/v1",
    base_url_env="OPENAI_BASE_URL",
    key_env="OPENAI_API_KEY",
    crash_class=CrashClass.BLIND,
    classes=CLASSES,
)


@dataclass(frozen=True)
class OpenAISettings:
    """An OpenAI-shaped API, and which of its APIs is meant where the model does not tell.

    ``api`` is one of ``APIS``, or empty. ``response_format`` is the word by which images
    other than OpenAI's own are asked for as base64. The crash class is A where the server
    honours ``Idempotency-Key``. ``takes_svg``: drawings are images, too. ``batching``: its files
    and batches. ``streams``: texts are asked for in pieces where somebody listens.
    """

    remote: RemoteSettings
    organization: str = ""
    project: str = ""
    api: str = ""
    response_format: str = "b64_json"
    takes_svg: bool = False
    batching: Batching = NO_BATCHES
    streams: bool = True

    def headers(self) -> dict[str, str]:
        """Return the headers of every call, credentials among them."""
        named = {"OpenAI-Organization": self.organization, "OpenAI-Project": self.project}
        headers = {name: value for name, value in named.items() if value}
        if self.remote.api_key:
            headers["Authorization"] = f"Bearer {self.remote.api_key}"
        return headers


def read_openai(
    name: str, table: Mapping[str, object], environment: Mapping[str, str] | None = None
) -> OpenAISettings:
    """Return the settings of ``[providers.<name>]``; raises ``ConfigError`` with the remedy."""
    read = Table(name, table, MORE, environment)
    return OpenAISettings(
        remote=read_remote(read, OPENAI),
        organization=read.secret("organization"),
        project=read.secret("project"),
        api=read.choice("api", APIS),
        batching=read_batching(read, default=True),
        streams=read.flag("streams", default=True),
    )
