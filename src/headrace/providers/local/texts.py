"""The ``texts`` provider: composes pages on this machine, for free."""

from __future__ import annotations

from typing import Any

from headrace.errors import HeadraceError, NotFoundError
from headrace.front_matter import page
from headrace.limits import ONE_CALL, Load, Quota
from headrace.nearest import did_you_mean
from headrace.outcome import OutcomeKind, failed
from headrace.price import FREE, Price
from headrace.provider import Call, CrashClass, Reply
from headrace.request import Request

MODELS = ("compose",)
MEDIA_TYPE = "text/markdown; charset=utf-8"
# Raise it when the same params give other bytes or another verdict.
_VERSION = "1"
_CONCURRENCY = 64


class TextsProvider:
    """Plain functions of text, quick enough to run where they are called."""

    name = "texts"
    crash_class = CrashClass.PURE

    def __init__(self) -> None:
        self.quota = Quota(_CONCURRENCY, learns=False)

    def load(self, request: Request) -> Load:
        """Return the load of a call: one, whatever it asks for."""
        return ONE_CALL

    def lane(self, request: Request) -> str:
        """Return the one lane of this machine's work on texts."""
        return "texts"

    def version(self, model: str) -> str:
        """Return the version of what is written; raises ``NotFoundError``."""
        if model not in MODELS:
            raise NotFoundError(
                f"the texts provider has no model {model!r}", remedy=did_you_mean(model, MODELS)
            )
        return _VERSION

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Accept: the stages that use this provider check their own settings."""

    def price(self, request: Request) -> Price:
        """Return zero: it is this machine's work."""
        return FREE

    async def open(self) -> None:
        """Start nothing."""

    async def close(self) -> None:
        """Stop nothing."""

    async def call(self, call: Call) -> Reply:
        """Compose the page; raises ``CallFailed`` (invalid) for front matter that does not fit."""
        params = call.request.params
        front, schema = params.get("front", {}), params.get("schema")
        if schema is not None:
            from headrace.json_schema import misfits

            wrong = misfits(front, schema)
            if wrong:
                raise failed(
                    OutcomeKind.INVALID,
                    f"the front matter does not fit its schema: {'; '.join(wrong)}",
                    remedy="Change the stage's front table, the schema, or what is asked for.",
                    cost_microusd=0,
                )
        try:
            text = page(front, str(params["body"]))
        except HeadraceError as error:
            raise failed(
                OutcomeKind.INVALID, error.message, remedy=error.remedy, cost_microusd=0
            ) from error
        return Reply(MEDIA_TYPE, body=text.encode("utf-8", "replace"), cost_microusd=0)

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Do the work again: a local computation is free to repeat."""
        return await self.call(call)

    async def find(self, call: Call) -> str | None:
        """Return ``None``: nothing is kept to be found."""
        return None

    async def cancel(self, provider_request_id: str, url: str | None) -> None:
        """Do nothing: the work is short."""
