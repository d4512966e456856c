"""The ``vertex`` provider: Google's models by Vertex AI, signed in with a Google account."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from headrace.clock import Clock
from headrace.errors import ConfigError
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.provider import Call, Reply
from headrace.providers.google import gemini_messages as messages
from headrace.providers.google.account import GoogleAccount, need_google_auth
from headrace.providers.google.account_tokens import AccountTokens, Minted
from headrace.providers.google.gemini import GoogleModels
from headrace.providers.google.gemini_chats import in_googles_words
from headrace.providers.google.vertex_settings import VertexSettings, read_vertex
from headrace.providers.remote.adapter import PROBE_S, Probe
from headrace.providers.remote.inlined import inlined
from headrace.providers.remote.media import ANY


class VertexProvider(GoogleModels):
    """Vertex AI under one project, in one location; a lane is one of its models.

    Speaks as ``gemini`` does. Access tokens are fetched when they are needed and kept
    while they are good; one that is rejected is fetched anew once.
    """

    signals = "vertex"

    def __init__(
        self,
        settings: VertexSettings,
        *,
        name: str,
        clock: Clock,
        account: GoogleAccount | None = None,
    ) -> None:
        super().__init__(
            settings.remote,
            name=name,
            clock=clock,
            headers={},
            secrets=(settings.access_token,),
        )
        self._settings = settings
        self.streams = settings.streams
        self._account = account
        self._tokens = AccountTokens(account.mint, clock) if account is not None else None

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> VertexProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        settings, place = read_vertex(name, table), f"[providers.{name}]"
        account = None
        if not settings.is_open and not settings.access_token_env:
            need_google_auth(place)
            account = GoogleAccount(settings.credentials_file, settings.token_hosts, place, clock)
        return cls(settings, name=name, clock=clock, account=account)

    async def open(self) -> None:
        """Open the pool and read the account; raises ``ConfigError`` where that cannot be."""
        settings, place = self._settings, f"[providers.{self.name}]"
        if settings.access_token_env and not settings.access_token:
            raise ConfigError(
                f"there is no access token for {settings.remote.base_url.host}",
                place=place,
                remedy=f"Set the variable {settings.access_token_env}.",
            )
        if self._account is not None:
            project = await asyncio.to_thread(self._account.load)
            if not settings.project and not project:
                raise ConfigError(
                    "the account does not tell its project",
                    place=f"{place} project",
                    remedy='Write project = "my-project-123", or set GOOGLE_CLOUD_PROJECT.',
                )
        self.http.open()

    async def probe(self) -> Probe | None:
        """Try to sign in, which costs nothing; ``None`` where there is no account to try."""
        await self.open()
        if self._tokens is None:
            return None
        try:
            await self._tokens.get(PROBE_S)
        except CallFailed as failure:
            outcome = failure.outcome
            return Probe(outcome.kind, outcome.reason, outcome.remedy)
        return Probe(OutcomeKind.SUCCESS)

    async def close(self) -> None:
        """Close the connections; a token under way is let go."""
        if self._tokens is not None:
            await self._tokens.close()
        await super().close()

    async def call(self, call: Call) -> Reply:
        """Make the call; raises ``CallFailed`` for every ending but success."""
        begun_s = self._clock.monotonic_s()
        call = replace(call, request=in_googles_words(call.request))
        body = messages.body_of(call.request, await inlined(call, ANY))
        rejected: list[bool] = []
        token = await self._token(call.deadline_s)
        try:
            return await self._send(call, begun_s, body, token, rejected)
        except CallFailed:
            if not rejected or self._tokens is None:
                raise
        # It may have been taken back, or our clock be wrong. What is rejected was not done.
        self._tokens.reject(token.token)
        token = await self._token(call.deadline_s - (self._clock.monotonic_s() - begun_s))
        return await self._send(call, begun_s, body, token, [])

    async def _token(self, deadline_s: float) -> Minted:
        if self._tokens is None:
            return Minted(self._settings.access_token)
        return await self._tokens.get(max(0.0, deadline_s))

    async def _send(
        self, call: Call, begun_s: float, body: bytes, token: Minted, rejected: list[bool]
    ) -> Reply:
        left_s = call.deadline_s - (self._clock.monotonic_s() - begun_s)
        if left_s <= 0:
            raise failed(OutcomeKind.TIMEOUT, "no access token in time: nothing was sent")
        settings = self._settings
        project = settings.project or token.project
        if not project:
            raise failed(
                OutcomeKind.INVALID,
                "the account does not tell its project",
                remedy=f"Set project in [providers.{self.name}].",
            )
        verb, query = self.verb(call)
        url = self.http.url(
            f"{settings.api_version}/projects/{project}/locations/{settings.location}"
            f"/publishers/google/models/{call.request.model}:{verb}"
        ).with_query(query)
        headers = {"Authorization": f"Bearer {token.token}"} if token.token else {}
        payer = settings.quota_project or token.payer
        if payer:
            headers["x-goog-user-project"] = payer
        limited = replace(call, deadline_s=left_s)
        return await self.send(limited, url, body, headers, lambda: rejected.append(True))

    def hidden(self, text: str) -> str:
        """Return ``text`` without our tokens."""
        for token in self._tokens.seen if self._tokens is not None else ():
            text = text.replace(token, "[token]")
        return super().hidden(text)
