"""The ``http`` hook: asks an address of the operator's, or of a recipe's author, by signed POST."""

from __future__ import annotations

import base64
import json
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from headrace.clock import Clock
from headrace.egress import ClosedAddressError, OpenResolver, is_address, is_open
from headrace.identity import new_uuid
from headrace.policies.asking import Asking, NoVerdictError
from headrace.policies.rules import told, whens_of
from headrace.policy import Finding, Subject
from headrace.policy_table import HookTable
from headrace.provider import Provider
from headrace.version import VERSION
from headrace.webhook_signature import standard_headers

ANSWER_BYTES_MAX = 64 * 1024
WORDS_MAX = 300
_AGAIN = (408, 425, 429)
_encode = msgspec.json.Encoder().encode


class HttpHook:
    """Posts ``{"when": …}`` and reads ``{"allow": true}``; nothing else is a verdict.

    The request is signed as Standard Webhooks are, under the hook's secret if it has one.
    Redirects are not followed. A recipe's hook is reached over TLS on the open internet only.
    """

    def __init__(self, table: HookTable, clock: Clock) -> None:
        self.name = table.name
        self.whens = whens_of(table.on)
        self.provider: Provider | None = None
        self._table = table
        self._url = URL(table.url)
        self._clock = clock
        self._asking = Asking(table, clock)
        self._session: aiohttp.ClientSession | None = None

    async def ask(self, subject: Subject) -> Finding | None:
        """Return what the hook finds, ``None`` if nothing; raises ``AwayError``."""
        letter = _encode(_letter(subject))
        # One id for all tries: who hears it twice knows it again.
        name = f"policy_{new_uuid(self._clock.now()).hex}"

        async def once() -> Finding | None:
            return self._read(await self._post(name, letter), subject)

        return await self._asking.verdict(once)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _post(self, name: str, letter: bytes) -> Any:
        session = self._opened()
        headers = {"Content-Type": "application/json", **self._signature(name, letter)}
        try:
            async with session.post(
                self._url, data=letter, headers=headers, allow_redirects=False
            ) as answer:
                body = await answer.content.read(ANSWER_BYTES_MAX)
                if answer.status != 200:
                    final = answer.status < 500 and answer.status not in _AGAIN
                    raise NoVerdictError(f"HTTP {answer.status}", final=final)
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            closed = isinstance(getattr(error, "os_error", error), ClosedAddressError)
            why = "it is on a private address" if closed else "it cannot be reached"
            raise NoVerdictError(why, final=closed) from None
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise NoVerdictError("its answer is no JSON", final=True) from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = None if self._table.trusted else OpenResolver()
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._table.concurrency, resolver=resolver),
                headers={"User-Agent": f"headrace/{VERSION}"},
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            )
        host = self._url.host or ""
        if not self._table.trusted and is_address(host) and not is_open(host):
            raise NoVerdictError("it is on a private address", final=True)
        return self._session

    def _signature(self, name: str, letter: bytes) -> dict[str, str]:
        if not self._table.secret:
            return {}
        return standard_headers(name, letter, (self._table.secret,), self._clock.now())

    def _read(self, answer: Any, subject: Subject) -> Finding | None:
        allow = answer.get("allow") if isinstance(answer, dict) else None
        if allow is True:
            return None
        if allow is not False:
            raise NoVerdictError('its answer has no "allow"', final=True)
        reason = _words(answer.get("reason")) or f"{self.name!r} does not allow {told(subject)}"
        remedy = _words(answer.get("remedy")) or "Change what is asked for."
        return Finding(_words(answer.get("rule")) or self.name, reason, remedy)


def _words(value: Any) -> str:
    """Return a text of a stranger's as one short line."""
    if not isinstance(value, str):
        return ""
    return " ".join("".join(c if c.isprintable() else " " for c in value[:WORDS_MAX]).split())


def _letter(subject: Subject) -> dict[str, Any]:
    letter: dict[str, Any] = {
        "when": subject.when.value,
        "tenant": subject.tenant_id,
        "stage": subject.stage,
        "provider": subject.provider,
        "model": subject.model,
        "text": subject.text,
        "pictures": list(subject.pictures),
    }
    if subject.artifact is not None:
        body = None if subject.body is None else base64.b64encode(subject.body).decode("ascii")
        letter["artifact"] = {**subject.artifact.to_json(), "base64": body}
    return letter
