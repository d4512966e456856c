"""A stage that hands the artifact of the stage before to the ``images`` provider."""

from __future__ import annotations

from typing import Any

from headrace.artifact import Artifact
from headrace.outcome import OutcomeKind, failed
from headrace.provider import Provider
from headrace.request import Request
from headrace.stage import Models, StageInput
from headrace.stages.filling import checked

PROVIDER = "images"


class PreviousStage:
    """The frame of ``resize``, ``watermark`` and ``check``: one source in, one artifact out."""

    kind = ""
    cacheable = True
    models: Models | None = None

    def __init__(self, name: str, provider: Provider, version: str) -> None:
        self.name = name
        self.provider: Provider | None = provider
        self._provider_name = provider.name
        self._version = version

    def columns(self) -> set[str]:
        """Return the columns that the stage reads."""
        return set()

    def request(self, given: StageInput) -> Request:
        """Return the request about the previous artifact; without one the row is invalid."""
        return checked(self._request, given)

    def _request(self, given: StageInput) -> Request:
        source = given.previous
        if source is None:
            raise failed(
                OutcomeKind.INVALID,
                f"stage {self.name!r} of row {given.row_number} has nothing to work on",
                remedy="Put it after a stage that makes something.",
            )
        params = self.params(given, source)
        sources = (source.sha256.hex(),)
        return Request(self._provider_name, self.kind, self._version, params, sources)

    def apply(self, given: StageInput) -> None:
        """Pass the previous artifact on: this stage calls a provider instead."""

    def params(self, given: StageInput, source: Artifact) -> dict[str, Any]:
        """Return what the provider is told beside the source."""
        raise NotImplementedError


class FixedStage(PreviousStage):
    """One that tells the provider the same of every artifact: its settings."""

    def __init__(
        self, name: str, provider: Provider, version: str, settings: dict[str, Any]
    ) -> None:
        super().__init__(name, provider, version)
        self._settings = {key: value for key, value in settings.items() if value is not None}

    def params(self, given: StageInput, source: Artifact) -> dict[str, Any]:
        """Return the settings that are set."""
        return self._settings
