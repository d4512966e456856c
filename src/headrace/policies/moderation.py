"""The ``moderation`` hook: asks an endpoint such as OpenAI's ``/v1/moderations``."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Protocol, cast

from headrace.clock import Clock
from headrace.errors import ConfigError, RecipeError
from headrace.outcome import CallFailed, OutcomeKind
from headrace.policies.asking import Asking, NoVerdictError
from headrace.policies.rules import told, whens_of
from headrace.policy import Finding, Subject
from headrace.policy_table import HookTable
from headrace.provider import Provider

_FINAL = (OutcomeKind.INVALID, OutcomeKind.AUTH)
_PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif")


class Moderates(Provider, Protocol):
    """A provider with a moderation endpoint."""

    async def moderate(self, model: str, letter: Any, deadline_s: float) -> dict[str, Any]:
        """Return the endpoint's answer, a JSON object; raises ``CallFailed``."""
        ...


class ModerationHook:
    """Sends texts and pictures; a category at or above its threshold is a hit.

    Categories without a threshold of their own are hits where the endpoint flags them,
    unless thresholds are set: then only those count.
    """

    def __init__(self, table: HookTable, providers: Mapping[str, Provider], clock: Clock) -> None:
        self.name = table.name
        self.whens = whens_of(table.on)
        try:
            provider = providers[table.provider]
        except KeyError:
            provider = None
        if provider is None or not hasattr(provider, "moderate"):
            raise (ConfigError if table.trusted else RecipeError)(
                f"the provider {table.provider!r} has no moderations",
                place=table.place,
                remedy='Name one of the kind "openai" or "openai-compatible".',
            )
        self.provider: Provider | None = provider
        self._moderates = cast(Moderates, provider)
        self._table = table
        self._asking = Asking(table, clock)

    async def ask(self, subject: Subject) -> Finding | None:
        """Return what the endpoint finds, ``None`` if nothing; raises ``AwayError``."""
        letter = _letter(subject)
        if not letter:
            return None

        async def once() -> Finding | None:
            return self._read(await self._answer(letter), subject)

        return await self._asking.verdict(once)

    async def close(self) -> None:
        """Do nothing: the connections are the provider's."""

    async def _answer(self, letter: Any) -> dict[str, Any]:
        try:
            return await self._moderates.moderate(self._table.model, letter, self._table.timeout_s)
        except CallFailed as failure:
            outcome = failure.outcome
            final = outcome.kind in _FINAL
            raise NoVerdictError(outcome.kind.value, final=final, wait_s=outcome.wait_s) from None

    def _read(self, answer: Mapping[str, Any], subject: Subject) -> Finding | None:
        results = answer.get("results")
        if not isinstance(results, list) or not results:
            raise NoVerdictError("its answer holds no results", final=True)
        hit: set[str] = set()
        for result in results:
            if not isinstance(result, dict) or not isinstance(result.get("flagged"), bool):
                raise NoVerdictError("its answer cannot be read", final=True)
            hit |= self._hits(result)
        if not hit:
            return None
        named = ", ".join(sorted(hit))[:200]
        reason = f"{self.name!r} does not allow {told(subject)}: {named}"
        return Finding(self.name, reason, "Change what is asked for.")

    def _hits(self, result: Mapping[str, Any]) -> set[str]:
        scores, flags = result.get("category_scores"), result.get("categories")
        if self._table.thresholds:
            if not isinstance(scores, dict):
                raise NoVerdictError("its answer holds no scores", final=True)
            return {
                name
                for name, least in self._table.thresholds.items()
                if _number(scores.get(name)) >= least
            }
        if result["flagged"] is not True:
            return set()
        named = flags.items() if isinstance(flags, dict) else ()
        return {str(name)[:60] for name, is_hit in named if is_hit is True} or {"flagged"}


def _number(value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else 0.0


def _letter(subject: Subject) -> Any:
    """Return what is sent in: a text, or a list where a picture goes along."""
    artifact = subject.artifact
    if artifact is None or subject.body is None or artifact.media_type not in _PICTURES:
        return subject.text
    data = base64.b64encode(subject.body).decode("ascii")
    url = f"data:{artifact.media_type};base64,{data}"
    return [{"type": "image_url", "image_url": {"url": url}}]
