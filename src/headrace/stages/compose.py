"""The ``compose`` stage: a Markdown page out of earlier texts, with YAML front matter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from headrace.outcome import OutcomeKind, failed
from headrace.provider import Provider
from headrace.recipe import StageSpec, Template
from headrace.request import Request
from headrace.stage import Models, StageInput
from headrace.stages.filling import Tree, checked, need_texts, values_of
from headrace.stages.settings import Providers, Settings

KNOWN = ("body", "front", "schema")
PROVIDER = "texts"
KEYS_MAX = 64
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


class Compose:
    """Puts a page together; its front matter fits the schema, or the item says why not."""

    kind = "compose"
    cacheable = True
    models: Models | None = None

    def __init__(
        self,
        name: str,
        provider: Provider,
        version: str,
        parts: tuple[Template, Tree],
        schema: dict[str, Any] | None,
        files: Mapping[str, str],
    ) -> None:
        self.name = name
        self.provider: Provider | None = provider
        self._provider_name = provider.name
        self._version = version
        self._body, self._front = parts
        self._schema = schema
        self._files = files
        self._stages = frozenset(self._body.stages | self._front.stages)

    def columns(self) -> set[str]:
        """Return the columns that the body and the front matter read."""
        return self._body.columns | self._front.columns

    def request(self, given: StageInput) -> Request:
        """Return the request for one row; an empty body is invalid."""
        return checked(self._request, given)

    def _request(self, given: StageInput) -> Request:
        need_texts(self._stages, given)
        values = values_of(given, self._files)
        body = self._body.fill(values)
        if not body.strip():
            raise failed(
                OutcomeKind.INVALID,
                f"the page of row {given.row_number} is empty",
                remedy="Look at what the stages before gave.",
            )
        params: dict[str, Any] = {"body": body, "front": self._front.fill(values)}
        if self._schema is not None:
            params["schema"] = self._schema
        return Request(self._provider_name, self.kind, self._version, params)

    def apply(self, given: StageInput) -> None:
        """Pass the previous artifact on: this stage calls a provider instead."""


def build_compose(spec: StageSpec, providers: Providers) -> Compose:
    """Return the stage that ``spec`` describes; raises ``RecipeError``."""
    settings = Settings(spec, KNOWN)
    provider = settings.provider(PROVIDER, providers)
    body = settings.template("body", example="{{ stages.draft }}")
    front = settings.table("front")
    for key in front:
        if not _KEY.fullmatch(key) or len(front) > KEYS_MAX:
            raise settings.wrong(
                f"{key!r} is no key of a front matter",
                f"Use letters, digits, '_' and '-', {KEYS_MAX} keys at most.",
            )
    schema = None
    if "schema" in settings:
        from headrace.json_schema import read_schema

        schema = read_schema(*settings.file("schema"))
    tree = Tree(front, f"{settings.place} front")
    version = settings.version(provider, Compose.kind)
    return Compose(spec.name, provider, version, (body, tree), schema, spec.files)
