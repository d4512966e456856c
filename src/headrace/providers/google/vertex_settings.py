"""The settings of the ``vertex`` provider, read from its config table with checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.errors import ConfigError
from headrace.provider import CrashClass
from headrace.providers.google.gemini_settings import read_version
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote

VERTEX = Api(
    kind="vertex",
    base_url="https://aiplatform.googleapis.com",
    base_url_env="GOOGLE_VERTEX_BASE_URL",
    key_env="",
    crash_class=CrashClass.BLIND,
)
MORE = (
    "project",
    "location",
    "credentials_file",
    "access_token_env",
    "quota_project",
    "token_hosts",
    "api_version",
    "streams",
)
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{0,99}")
_LOCATION = re.compile(r"[a-z]{2,20}(?:-[a-z]{2,20}[0-9]{1,2})?")


@dataclass(frozen=True)
class VertexSettings:
    """Vertex AI: whose project, where, and as whom.

    ``project`` is empty where the account tells it. ``access_token`` is a token that was
    given ready made; without it ``credentials_file``, or this machine's account, is used.
    ``streams``: texts are asked for in pieces where somebody listens.
    """

    remote: RemoteSettings
    location: str
    api_version: str
    project: str = ""
    credentials_file: str = ""
    access_token_env: str = ""
    access_token: str = field(default="", repr=False)
    quota_project: str = ""
    token_hosts: tuple[str, ...] = ()
    streams: bool = True

    @property
    def is_open(self) -> bool:
        """Tell whether the server wants no account: one on this machine, with none named."""
        named = self.credentials_file or self.access_token_env
        return self.remote.is_local and not named


def read_vertex(
    name: str, table: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> VertexSettings:
    """Return the settings of ``[providers.<name>]``; raises ``ConfigError`` with the remedy."""
    read = Table(name, table, MORE, environment)
    for key in ("api_key", "api_key_env"):
        if read.get(key) is not None:
            raise ConfigError(
                "Vertex AI knows accounts, not keys",
                place=read.at(key),
                remedy="Set credentials_file or access_token_env; keys belong to kind gemini.",
            )
    location = _location(read)
    api = VERTEX
    if location != "global":
        api = replace(VERTEX, base_url=f"https://{location}-aiplatform.googleapis.com")
    token_env = read.text("access_token_env")
    settings = VertexSettings(
        remote=read_remote(read, api),
        location=location,
        api_version=read_version(read, "v1beta1"),
        project=_project(read, "project", read.env.get("GOOGLE_CLOUD_PROJECT", "")),
        credentials_file=read.text("credentials_file"),
        access_token_env=token_env,
        access_token=read.env.get(token_env, "").strip() if token_env else "",
        quota_project=_project(read, "quota_project", ""),
        token_hosts=read.names("token_hosts"),
        streams=read.flag("streams", default=True),
    )
    _checked(settings, read)
    return settings


def _location(read: Table) -> str:
    location = read.text("location", read.env.get("GOOGLE_CLOUD_LOCATION") or "global")
    if _LOCATION.fullmatch(location) is None:
        raise ConfigError(
            f"{location!r} is not a location",
            place=read.at("location"),
            remedy="Write global, or a region such as us-central1.",
        )
    return location


def _project(read: Table, key: str, default: str) -> str:
    project = read.text(key, default)
    if project and _PROJECT.fullmatch(project) is None:
        raise ConfigError(
            f"{project!r} is not the id of a project",
            place=read.at(key),
            remedy="Write the id, such as my-project-123.",
        )
    return project


def _checked(settings: VertexSettings, read: Table) -> None:
    if settings.credentials_file and settings.access_token_env:
        raise ConfigError(
            "there are two accounts",
            place=read.at("access_token_env"),
            remedy="Keep credentials_file or access_token_env.",
        )
    token = settings.access_token
    if not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            f"the variable {settings.access_token_env} holds no token",
            place=read.at("access_token_env"),
            remedy="Set it to what 'gcloud auth print-access-token' prints.",
        )
    if not settings.project and (settings.access_token_env or settings.is_open):
        raise ConfigError(
            "the project is not known",
            place=read.at("project"),
            remedy='Write project = "my-project-123", or set GOOGLE_CLOUD_PROJECT.',
        )
