"""The settings of the ``replicate`` provider, read from its config table with checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from headrace.errors import ConfigError
from headrace.provider import CrashClass
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote
from headrace.webhook_signature import check_standard_secret

WEBHOOK = ("webhook_url", "webhook_secret", "webhook_secret_env")
SECRET_ENV = "REPLICATE_WEBHOOK_SECRET"
WAIT_S_MAX = 60
"""The longest ``Prefer: wait`` that the API takes."""

REPLICATE = Api(
    kind="replicate",
    base_url="https://api.replicate.com/v1",
    base_url_env="REPLICATE_BASE_URL",
    key_env="REPLICATE_API_TOKEN",
    crash_class=CrashClass.POLLED,
)


@dataclass(frozen=True)
class ReplicateSettings:
    """Replicate, or what stands in for it. ``wait_s``: a create is held open so long.

    ``webhook`` is the address that is told of ends, empty for none, ``webhook_secret``
    what such word is signed with.
    """

    remote: RemoteSettings
    wait_s: int = 0
    webhook: str = ""
    webhook_secret: str = field(default="", repr=False)

    def headers(self) -> dict[str, str]:
        """Return the headers of every call, credentials among them."""
        key = self.remote.api_key
        return {"Authorization": f"Bearer {key}"} if key else {}


def read_replicate(
    name: str, table: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> ReplicateSettings:
    """Return the settings of ``[providers.<name>]``; raises ``ConfigError`` with the remedy."""
    read = Table(name, table, ("wait_s", *WEBHOOK), environment)
    remote, wait_s = read_remote(read, REPLICATE), read.count("wait_s")
    if wait_s > WAIT_S_MAX:
        raise ConfigError(
            f"{wait_s} is more than {WAIT_S_MAX}",
            place=read.at("wait_s"),
            remedy="Leave it out: a prediction is looked at until it ends.",
        )
    if read.get("base_url") is None and remote.base_url.path in ("", "/"):
        # By custom the variable names the server alone, without the version of its API.
        remote = replace(remote, base_url=remote.base_url / "v1")
    return ReplicateSettings(remote, wait_s, *_webhook(read, name))


def _webhook(read: Table, name: str) -> tuple[str, str]:
    """Return the address for webhooks and their secret, empty where there is none."""
    if not read.text("webhook_url"):
        return "", ""
    url = read.address("webhook_url", "https://headrace.example.com")
    if url.scheme != "https":
        raise ConfigError(
            "webhooks come by https only", place=read.at("webhook_url"), remedy="https://…"
        )
    variable = read.text("webhook_secret_env", SECRET_ENV)
    secret = read.secret("webhook_secret", read.env.get(variable, "").strip())
    try:
        check_standard_secret(secret)
    except ConfigError as error:
        raise ConfigError(
            error.message,
            place=read.at("webhook_secret"),
            remedy=f"Set {variable} to what GET /v1/webhooks/default/secret answers.",
        ) from None
    return f"{url}/hooks/{name}", secret
