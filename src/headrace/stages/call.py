"""The ``call`` stage: each row is a request in OpenAI's shape, and names its own model."""

from __future__ import annotations

from typing import Any

from headrace.errors import InputError
from headrace.openai_body import EDITS, ENDPOINTS, model_of, params_of, source_names
from headrace.provider import Provider
from headrace.recipe import StageSpec
from headrace.request import Request, at_place
from headrace.stage import Models, StageInput
from headrace.stages.filling import checked, invalid
from headrace.stages.settings import Providers, Settings
from headrace.stages.sources import DIGEST, SOURCES_MAX, forged_place

MODELS_MAX = 64
COLUMN = "body"
VARIANT = "variant"
"""The column that tells several results of one body apart, from 0."""

KNOWN = ("endpoint", "models")


class Called:
    """One of the models that rows may name."""

    def __init__(self, provider: Provider, model: str, version: str, endpoint: str) -> None:
        self.provider = provider
        self.model = model
        self._version = version
        self._endpoint = endpoint

    def request(self, given: StageInput) -> Request:
        """Return the request of one row; a body that cannot be sent is invalid."""
        return checked(self._request, given)

    def _request(self, given: StageInput) -> Request:
        params = params_of(self._endpoint, _body(given))
        forged = forged_place(params)
        if forged is not None:
            raise InputError(f"{forged!r} is written like a source", remedy="Leave it out.")
        digests: tuple[str, ...] = ()
        if self._endpoint == EDITS:
            pictures, digests = _pictures(_body(given))
            params |= pictures
        variant = given.row.get(VARIANT, 0)
        if type(variant) is not int or variant < 0:
            raise InputError(f"{VARIANT} = {variant!r} is not a number from 0")
        return Request(
            self.provider.name, self.model, self._version, params, digests, variant=variant
        )


class Call:
    """Sends each row's body to the model that it names, one of those listed."""

    kind = "call"
    cacheable = True

    def __init__(self, name: str, choices: tuple[Called, ...], names: tuple[str, ...]) -> None:
        self.name = name
        self.provider: Provider | None = choices[0].provider
        self.models: Models | None = Models(choices, picks=self._place)
        self._choices = choices
        self._places = {full: place for place, full in enumerate(names)}

    def columns(self) -> set[str]:
        """Return the column that holds the bodies."""
        return {COLUMN}

    def request(self, given: StageInput) -> Request:
        """Return the request to the model that the row names."""
        return self._choices[self._place(given)].request(given)

    def apply(self, given: StageInput) -> None:
        """Pass the previous artifact on: this stage calls a provider instead."""

    def _place(self, given: StageInput) -> int:
        try:
            model = model_of(_body(given))
            if model not in self._places:
                raise InputError(f"model {model[:200]!r} is none of the recipe's")
        except InputError as error:
            raise invalid(error, given) from error
        return self._places[model]


def _body(given: StageInput) -> dict[str, Any]:
    body = given.row.get(COLUMN)
    if not isinstance(body, dict):
        raise InputError(f"{COLUMN!r} is no object")
    return body


def _pictures(body: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the params of an edit's pictures, and their digests."""
    digests: list[str] = []
    params: dict[str, Any] = {}
    for name, wanted in source_names(body).items():
        places = []
        for one in wanted:
            kept = DIGEST.fullmatch(one)
            if kept is None:
                raise InputError(f"the picture {one[:80]!r} was not looked up")
            if kept[1] not in digests:
                digests.append(kept[1])
            places.append(at_place(digests.index(kept[1])))
        params[name] = places if len(places) > 1 else places[0]
    if not 0 < len(digests) <= SOURCES_MAX:
        raise InputError(f"an edit takes 1 to {SOURCES_MAX} pictures, not {len(digests)}")
    return params, tuple(digests)


def build_call(spec: StageSpec, providers: Providers) -> Call:
    """Return the stage that ``spec`` describes; raises ``RecipeError``."""
    settings = Settings(spec, KNOWN)
    endpoint = settings.choice("endpoint", ENDPOINTS)
    names = tuple(dict.fromkeys(settings.words("models") or ()))
    if not 0 < len(names) <= MODELS_MAX:
        raise settings.wrong(
            f"{len(names)} models: there must be 1 to {MODELS_MAX}",
            'Write models = ["provider:model", …].',
        )
    return Call(
        spec.name, tuple(_called(one, endpoint, settings, providers) for one in names), names
    )


def _called(full: str, endpoint: str, settings: Settings, providers: Providers) -> Called:
    try:
        provider_name, _, model = model_of({"model": full}).partition(":")
    except InputError as error:
        raise settings.wrong(error.message, error.remedy) from error
    provider = settings.provider(provider_name, providers)
    return Called(provider, model, settings.version(provider, model), endpoint)
