"""The ``imejis`` provider: a design rendered with a row's fields, by an API for templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

from headrace.clock import Clock
from headrace.limits import Load, Said
from headrace.outcome import OutcomeKind, failed
from headrace.provider import Call, CrashClass, Reply
from headrace.providers.remote.adapter import RemoteProvider
from headrace.providers.remote.following import Follower
from headrace.providers.remote.http_calls import read_object, read_whole
from headrace.providers.remote.media import IMAGES
from headrace.providers.remote.receiving import fetched, take_body
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote
from headrace.request import Request
from headrace.signals import read_announced

IMEJIS = Api(
    kind="imejis",
    base_url="https://render.imejis.io/v1",
    base_url_env="IMEJIS_BASE_URL",
    key_env="IMEJIS_API_KEY",
    crash_class=CrashClass.BLIND,
)
FORMATS = ("png", "jpeg", "webp", "pdf")
DELIVERIES = ("stream", "hosted", "signed")
ASKED = ("format", "delivery", "quality", "expiresIn")
"""Params that go into the query; all others are the design's fields."""

WANTED = IMAGES | {"application/pdf"}
WARNINGS_MAX = 20


class ImejisProvider(RemoteProvider):
    """Renders a design: the model is its id, the params are its fields.

    The same fields give the same image, so the cache is always right; a render that was
    sent and not answered may have been counted (class D). All designs share the
    account's monthly quota, and so one lane.
    """

    signals = "imejis"
    needs_prompt = False

    def __init__(self, settings: RemoteSettings, *, name: str, clock: Clock) -> None:
        key = settings.api_key
        super().__init__(
            settings, name=name, clock=clock, headers={"dma-api-key": key} if key else {}
        )
        self._follower = Follower(clock, per_minute=600.0)

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> ImejisProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_remote(Table(name, table), IMEJIS), name=name, clock=clock)

    def lane(self, request: Request) -> str:
        """Return the lane: the account's."""
        return self.name

    def load(self, request: Request) -> Load:
        """Return what a render takes: one image."""
        return Load(images=1)

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with one parameter, empty when nothing is."""
        choices = {"format": FORMATS, "delivery": DELIVERIES}.get(name)
        if choices is not None and value not in choices:
            return f"{name} = {value!r} is not one of {', '.join(choices)}"
        if name == "quality" and not _is_percent(value):
            return f"quality = {value!r} is not a whole number between 1 and 100"
        return ""

    async def call(self, call: Call) -> Reply:
        """Render; raises ``CallFailed`` for every ending but success."""
        params = call.request.params
        for name in ASKED:
            wrong = self.wrong_param(name, params[name]) if name in params else ""
            if wrong:
                raise failed(OutcomeKind.INVALID, wrong, remedy="Change the stage's params.")
        fields = {name: value for name, value in params.items() if name not in ASKED}
        body = json.dumps(fields, ensure_ascii=False).encode("utf-8", "replace")

        async def take(response: aiohttp.ClientResponse) -> Reply:
            await self.refuse(response, call.deadline_s)
            said = Said(limits=read_announced(response.headers))
            if response.content_type != "application/json":
                return replace(await take_body(response, call, WANTED), said=said)
            return replace(await self._hosted(response, call), said=said)

        address = self._address(call.request)
        reply = await self.http.post(address, body, call.deadline_s, take)
        return self.priced(reply, call.request.model)

    def _address(self, request: Request) -> URL:
        if request.model in (".", ".."):
            raise failed(OutcomeKind.INVALID, f"{request.model!r} is not a design")
        path = quote(request.model, safe="", errors="replace")
        url = URL(f"{self.remote.base_url}/{path}", encoded=True)
        asked = {name: str(request.params[name]) for name in ASKED if name in request.params}
        return url.update_query({"format": "png", **asked})

    async def _hosted(self, response: aiohttp.ClientResponse, call: Call) -> Reply:
        """Fetch what an answer only names; its warnings are kept as facts."""
        body = await read_whole(response)
        told = read_object(body) or {}
        if told.get("success") is False or not isinstance(told.get("url"), str):
            raise self.failed(response, body)
        reply = await fetched(self.http, told["url"], call, WANTED, pause=self._follower.pause)
        warnings = told.get("warnings")
        facts: dict[str, Any] = {}
        if isinstance(warnings, list) and warnings:
            facts["warnings"] = [str(one)[:200] for one in warnings[:WARNINGS_MAX]]
        return replace(reply, facts=facts)


def _is_percent(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and 1 <= int(str(value)) <= 100
    except ValueError:
        return False
