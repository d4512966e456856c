"""A provider as a plug-in: an API that writes poems, one POST for one poem.

[providers.poems]
kind = "haiku"
api_key_env = "HAIKU_API_KEY"
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import aiohttp

from headrace.clock import Clock
from headrace.limits import Load, Said
from headrace.provider import Call, CrashClass, Reply
from headrace.providers.remote.adapter import RemoteProvider, request_id
from headrace.providers.remote.http_calls import read_object, read_whole
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote
from headrace.request import Request
from headrace.signals import read_announced

# Where the API is, which variables stand in for the table, and what may be done about a call
# that was sent and never answered: nothing, here (class D).
HAIKU = Api(
    kind="haiku",
    base_url="https://api.haiku.example/v1",
    base_url_env="HAIKU_BASE_URL",
    key_env="HAIKU_API_KEY",
    crash_class=CrashClass.BLIND,
)


class HaikuProvider(RemoteProvider):
    """Poems on a theme; the base class brings connections, errors, limits and keys."""

    probe_path = "moods"

    def __init__(self, settings: RemoteSettings, *, name: str, clock: Clock) -> None:
        headers = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key else {}
        super().__init__(settings, name=name, clock=clock, headers=headers)

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> HaikuProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_remote(Table(name, table), HAIKU), name=name, clock=clock)

    def load(self, request: Request) -> Load:
        """Return what a poem takes of the lane."""
        return Load(tokens=40 + len(request.params.get("prompt", "")) // 4)

    async def call(self, call: Call) -> Reply:
        """Ask for one poem; raises ``CallFailed`` for every ending but success."""
        theme = {"mood": call.request.model, "theme": call.request.params["prompt"]}

        async def take(response: aiohttp.ClientResponse) -> Reply:
            await self.refuse(response, call.deadline_s)
            body = await read_whole(response)
            poem = (read_object(body) or {}).get("poem")
            if not isinstance(poem, str) or not poem.strip():
                raise self.failed(response, body)
            said = Said(limits=read_announced(response.headers))
            named = request_id(response)
            return Reply("text/plain", body=poem.encode(), provider_request_id=named, said=said)

        url = self.http.url("poems")
        return await self.http.post(url, json.dumps(theme).encode(), call.deadline_s, take)
