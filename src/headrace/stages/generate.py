"""The ``generate`` stage: asks a model of a provider for a result, from a prompt template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.outcome import OutcomeKind, failed
from headrace.provider import Provider
from headrace.recipe import StageSpec, Template
from headrace.request import Request
from headrace.stage import Models, Route, StageInput
from headrace.stages.answer_form import response_format
from headrace.stages.filling import RowValues, Tree, checked, need_texts, values_of
from headrace.stages.model_list import OWN, listed
from headrace.stages.settings import Providers, Settings
from headrace.stages.sources import Sources, forged_place, read_sources
from headrace.stages.styles import Styles, read_styles
from headrace.stages.told import DEFAULT, Told

KNOWN = ("models", "route", *OWN)


@dataclass(frozen=True)
class Asking:
    """What shapes a request beside its prompt: params, pictures, files, a style, a complaint."""

    tree: Tree
    sources: Sources
    files: Mapping[str, str]
    styles: Styles | None
    told: Told


class Asked:
    """One model with what it is asked: ``Request.params`` is the prompt beside the params.

    Pictures that go in are the request's sources, each under the param that it becomes.
    """

    def __init__(
        self,
        name: str,
        provider: Provider,
        model: str,
        version: str,
        prompt: Template | None,
        asking: Asking,
    ) -> None:
        self.provider = provider
        self.model = model
        self._name = name
        self._version = version
        self._prompt = prompt
        self._asking = asking
        read = asking.tree.stages | asking.sources.stages
        self._stages = frozenset(read | prompt.stages if prompt is not None else read)

    def columns(self) -> set[str]:
        """Return the columns that the prompt, the params and the sources read."""
        columns = self._asking.tree.columns | self._asking.sources.columns
        return columns if self._prompt is None else columns | self._prompt.columns

    def request(self, given: StageInput) -> Request:
        """Return the request for one row; an empty prompt or a bad seed is invalid."""
        return checked(self._request, given)

    def _request(self, given: StageInput) -> Request:
        if self._stages:
            need_texts(self._stages, given)
        asking = self._asking
        values = values_of(given, asking.files)
        if asking.styles is not None:
            asking.styles.fill(values, given.row_number)
        params: dict[str, Any] = {}
        if self._prompt is not None:
            params["prompt"] = self._filled(self._prompt, given, values)
        params |= asking.tree.fill(values)
        if "seed" in params and type(params["seed"]) is not int:
            params["seed"] = _seed(params["seed"], given.row_number)
        pictures, digests, files = asking.sources.fill(given, values)
        forged = forged_place(params)
        if forged is not None:
            raise failed(
                OutcomeKind.INVALID,
                f"row {given.row_number}: {forged!r} is written like a source",
                remedy="Pictures go in by image = … or [stages.sources] of the recipe.",
            )
        params |= pictures
        return Request(self.provider.name, self.model, self._version, params, digests, files)

    def _filled(self, template: Template, given: StageInput, values: RowValues) -> str:
        prompt = template.fill(values)
        if not prompt or prompt.isspace():
            raise failed(
                OutcomeKind.INVALID,
                f"the prompt of stage {self._name!r} is empty for row {given.row_number}",
                remedy=f"Fill {', '.join(sorted(template.columns)) or 'the prompt'}.",
            )
        return self._asking.told.after(prompt, given, values)


class Generate:
    """Asks a provider's model, or one of several in the order of its route."""

    kind = "generate"
    cacheable = True

    def __init__(self, name: str, choices: tuple[Asked, ...], route: Route) -> None:
        self.name = name
        self.models: Models | None = Models(choices, route)
        self.provider: Provider | None = choices[0].provider
        self._choices = choices

    def columns(self) -> set[str]:
        """Return the columns that the prompts and the params read."""
        return set().union(*(choice.columns() for choice in self._choices))

    def request(self, given: StageInput) -> Request:
        """Return the request to the model listed first."""
        return self._choices[0].request(given)

    def apply(self, given: StageInput) -> None:
        """Pass the previous artifact on: this stage calls a provider instead."""


def _seed(value: Any, row_number: int) -> int:
    try:
        return int(str(value).strip())
    except ValueError:
        raise failed(
            OutcomeKind.INVALID,
            f"the seed {value!r} of row {row_number} is not a whole number",
            remedy="Write digits only, or leave it empty.",
        ) from None


def build_generate(spec: StageSpec, providers: Providers) -> Generate:
    """Return the stage that ``spec`` describes; raises ``RecipeError``."""
    settings = Settings(spec, KNOWN)
    choices = tuple(_asked(one, providers) for one in listed(spec, settings))
    if "route" not in settings:
        return Generate(spec.name, choices, Route.ORDER)
    if "models" not in settings:
        raise settings.wrong("route orders several models", 'Write models = ["…", "…"].')
    route = settings.choice("route", [word.value for word in Route])
    return Generate(spec.name, choices, Route(route))


def _asked(settings: Settings, providers: Providers) -> Asked:
    """Return one model with what it is asked."""
    provider_name, model = _whom(settings)
    provider = settings.provider(provider_name, providers)
    params, sources = _params(settings), read_sources(settings)
    prompt = _prompt(settings, provider, params, sources)
    version = settings.version(provider, model)
    twice = sources.unfilled().keys() & params.keys()
    if twice or forged_place(params):
        raise settings.wrong(
            f"the params hold a source, {(*sorted(twice), forged_place(params))[0]!r}",
            "Pictures go in by image = … or [stages.sources], under a name of their own.",
        )
    asked = {} if prompt is None else {"prompt": prompt.text}
    settings.check(provider, model, {**asked, **params, **sources.unfilled()})
    told = Told(settings.name, settings.template("complaint", DEFAULT))
    tree = Tree(params, f"{settings.place} params")
    asking = Asking(tree, sources, settings.files, read_styles(settings), told)
    return Asked(settings.name, provider, model, version, prompt, asking)


def _prompt(
    settings: Settings, provider: Provider, params: dict[str, Any], sources: Sources
) -> Template | None:
    """Return the prompt; a picture, a design or whole messages may do without one."""
    needed = getattr(provider, "needs_prompt", True) and "messages" not in params and not sources
    if "prompt" not in settings and not needed:
        return None
    return settings.template("prompt", example="A photo of {{ title }}")


def _whom(settings: Settings) -> tuple[str, str]:
    model = settings.text("model", example="replicate:black-forest-labs/flux-schnell")
    if "provider" in settings:
        return settings.text("provider"), model
    provider, colon, rest = model.partition(":")
    if not colon or not provider or not rest:
        raise settings.wrong(
            f"model = {model!r} does not say whose it is",
            f'Write model = "provider:{model}", or add provider = "…".',
        )
    return provider, rest


def _params(settings: Settings) -> dict[str, Any]:
    if "params" in settings and "inputs" in settings:
        raise settings.wrong("params and inputs are two names of one table", "Keep params.")
    params = dict(settings.table("params") or settings.table("inputs"))
    if "prompt" in params:
        raise settings.wrong("the prompt stands twice", "Keep prompt = … of the stage itself.")
    form = response_format(settings)
    if form is not None:
        params.setdefault("response_format", form)
    if "seed" not in settings:
        return params
    seed = settings.get("seed")
    if isinstance(seed, bool) or not isinstance(seed, int | str):
        raise settings.wrong(f"seed must be a whole number or a template, not {seed!r}")
    if "seed" in params:
        raise settings.wrong("the seed stands twice", "Keep seed = … of the stage itself.")
    return {**params, "seed": seed}
