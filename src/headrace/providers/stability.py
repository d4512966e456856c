"""The ``stability`` provider: pictures of Stability AI's v2beta API, made and enlarged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import aiohttp

from headrace.clock import Clock
from headrace.errors import NotFoundError, RecipeError
from headrace.limits import Dimension, Limit, Load
from headrace.nearest import did_you_mean
from headrace.outcome import CallFailed, OutcomeKind, failed
from headrace.price_table import Usage
from headrace.provider import Call, CrashClass, Reply
from headrace.providers.remote.adapter import RemoteProvider, request_id
from headrace.providers.remote.base64_field import Base64Field
from headrace.providers.remote.cell_numbers import Kind, cell_value, wrong_cell
from headrace.providers.remote.http_calls import PIECE_BYTES
from headrace.providers.remote.letters import Parcel
from headrace.providers.remote.media import HEAD_BYTES, IMAGES, media_type_of
from headrace.providers.remote.receiving import receiving, take_body
from headrace.providers.remote.settings import Api, RemoteSettings, Table, read_remote
from headrace.request import Request, places_of

STABILITY = Api(
    kind="stability",
    base_url="https://api.stability.ai/v2beta",
    base_url_env="STABILITY_BASE_URL",
    key_env="STABILITY_API_KEY",
    crash_class=CrashClass.BLIND,
)
PATHS = {
    "core": "generate/core",
    "ultra": "generate/ultra",
    "sd3": "generate/sd3",
    "upscale/fast": "upscale/fast",
    "upscale/conservative": "upscale/conservative",
}
"""Paths below ``stable-image`` by model; all models named ``sd3…`` share one."""

DOCUMENTED = Limit(Dimension.REQUESTS, amount=150.0, window_s=10.0)
"""Who passes it is shut out for a minute, so it is kept to unless another is told."""

ONE_PICTURE = Usage(images=1)
SOURCE_BYTES_MAX = 16 * 1024 * 1024
TEXT_CHARS_MAX = 100_000
_NUMBERS: dict[str, Kind] = {
    "seed": int,
    "strength": float,
    "cfg_scale": float,
    "creativity": float,
}
_FORMATS = ("png", "jpeg", "webp")


class StabilityProvider(RemoteProvider):
    """One call for one picture, as a form; the picture is streamed as it comes. Class D.

    The limit is the account's, so there is one lane.
    """

    signals = "stability"
    needs_prompt = False

    def __init__(self, settings: RemoteSettings, *, name: str, clock: Clock) -> None:
        headers = {"Accept": "image/*"}
        if settings.api_key:
            headers["Authorization"] = f"Bearer {settings.api_key}"
        super().__init__(settings, name=name, clock=clock, headers=headers)
        if not self.quota.limits:
            self.quota = replace(self.quota, limits=(DOCUMENTED,), pinned=True, rate_start=None)

    @classmethod
    def from_config(cls, name: str, table: Mapping[str, Any], clock: Clock) -> StabilityProvider:
        """Return the provider that ``[providers.<name>]`` describes; raises ``ConfigError``."""
        return cls(read_remote(Table(name, table), STABILITY), name=name, clock=clock)

    def lane(self, request: Request) -> str:
        """Return the lane: the account's."""
        return self.name

    def load(self, request: Request) -> Load:
        """Return what a call takes: one picture."""
        return Load(images=1)

    def most(self, request: Request) -> Usage:
        """Return the most that a call uses: one picture."""
        return ONE_PICTURE

    def version(self, model: str) -> str:
        """Return the version of our reading; raises ``NotFoundError`` for a model not known."""
        found = super().version(model)
        if _path(model) is None:
            known = [*PATHS, "sd3.5-large"]
            raise NotFoundError(
                f"the provider {self.name!r} has no model {model!r}",
                remedy=did_you_mean(model, known),
            )
        return found

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Raise ``RecipeError`` for params that can never be sent, or lack a picture."""
        super().check(model, params)
        wrong = _wrong_picture(_path(model) or "", params, bool(places_of(params.get("image"))))
        if wrong:
            raise RecipeError(wrong, remedy="Change the stage's params.")

    def wrong_param(self, name: str, value: Any) -> str:
        """Return what is wrong with one parameter, empty when nothing is."""
        if name == "model":
            return "'model' cannot be set: it is the stage's model"
        if name in _NUMBERS:
            return wrong_cell(name, value, _NUMBERS[name])
        if name == "output_format" and value not in _FORMATS:
            return f"output_format = {str(value)[:40]!r} is not one of {', '.join(_FORMATS)}"
        if not isinstance(value, str | int | float) and not places_of(value):
            return f"{name} must be a text or a number, not {type(value).__name__}"
        too_long = isinstance(value, str) and len(value) > TEXT_CHARS_MAX
        return f"{name} has more than {TEXT_CHARS_MAX:,} letters" if too_long else ""

    async def call(self, call: Call) -> Reply:
        """Make the call; raises ``CallFailed`` for every ending but success."""
        path = _path(call.request.model)
        if path is None:
            raise failed(OutcomeKind.INVALID, f"there is no model {call.request.model[:80]!r}")
        form = await self._form(call, path)

        async def take(response: aiohttp.ClientResponse) -> Reply:
            await self.refuse(response, call.deadline_s)
            if response.content_type == "application/json":
                return await self._take_json(response, call)
            self._refuse_filtered(response, b"{}")
            return replace(await take_body(response, call, IMAGES), **self._told(response, call))

        return await self.http.post(
            self.http.url(f"stable-image/{path}"), form, call.deadline_s, take
        )

    async def _form(self, call: Call, path: str) -> Parcel:
        """Return the form: a multipart one even where no file is in it."""
        request, form = call.request, Parcel()
        placed = request.placed()
        texts = {name: one for name, one in request.params.items() if name not in placed}
        wrong = [self.wrong_param(*one) for one in texts.items()]
        wrong.append(_wrong_picture(path, texts, "image" in placed))
        if any(wrong):
            reason = next(filter(None, wrong))
            raise failed(OutcomeKind.INVALID, reason, remedy="Change the stage's params.")
        if path == "generate/sd3":
            texts = {"mode": "image-to-image"} | texts if "image" in placed else texts
            if request.model != "sd3":
                texts["model"] = request.model
        for name, value in texts.items():
            form.field(name, _spoken(name, value))
        size_bytes = 0
        for name, digests in placed.items():
            for digest in digests:
                source = await call.source(digest)
                size_bytes += len(source)
                media_type = media_type_of(source[:HEAD_BYTES])
                if size_bytes > SOURCE_BYTES_MAX or media_type not in IMAGES:
                    raise _unusable(size_bytes)
                form.file(name, f"{name}.{media_type[6:]}", source, media_type)
        return form

    def _refuse_filtered(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        """Raise ``CallFailed`` for a picture that was blurred by the content filter."""
        signal = self.signal(response.status, response.headers, body)
        if signal.kind is not OutcomeKind.SUCCESS:
            raise self.failed(response, body, facts=_facts(response))

    async def _take_json(self, response: aiohttp.ClientResponse, call: Call) -> Reply:
        """Return the picture of an answer in JSON, which a proxy may make of it."""
        sieve = Base64Field("image")
        async with receiving(call, IMAGES) as receiver:
            try:
                while piece := await response.content.read(PIECE_BYTES):
                    decoded = sieve.feed(piece)
                    if decoded:
                        await receiver.add(decoded)
            except ValueError as error:
                raise failed(
                    OutcomeKind.NO_OUTPUT, f"the picture cannot be read: {error}"
                ) from None
            rest = bytes(sieve.rest)
            self._refuse_filtered(response, rest)
            if not sieve.complete:
                raise self.failed(response, rest)
            body, artifact = await receiver.finish()
        return Reply(
            receiver.media_type, body=body, artifact=artifact, **self._told(response, call)
        )

    def _told(self, response: aiohttp.ClientResponse, call: Call) -> dict[str, Any]:
        """Return the fields of a reply that stand in the headers, and its price by the list."""
        return {
            "facts": {"model": call.request.model, **_facts(response)},
            "provider_request_id": request_id(response),
            "estimate_microusd": self.costs.of(call.request.model, ONE_PICTURE),
        }


def _path(model: str) -> str | None:
    return "generate/sd3" if model.startswith("sd3") else PATHS.get(model)


def _wrong_picture(path: str, texts: Mapping[str, Any], has_picture: bool) -> str:
    """Return what is wrong with a call's picture, or with the want of one."""
    if path.startswith("upscale/") and not has_picture:
        return "to enlarge a picture there has to be one: add image = … to the stage"
    if path.startswith("generate/") and has_picture and "strength" not in texts:
        return "a call with a picture needs strength = 0 … 1: how far it may go from it"
    return ""


def _spoken(name: str, value: Any) -> str:
    if name in _NUMBERS:
        return f"{cell_value(value, _NUMBERS[name])}"
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def _unusable(size_bytes: int) -> CallFailed:
    return failed(
        OutcomeKind.INVALID,
        f"a source is no picture, or the sources have more than {SOURCE_BYTES_MAX:,} bytes",
        remedy=f"Use PNG, JPEG or WebP, and a resize stage before ({size_bytes:,} bytes).",
    )


def _facts(response: aiohttp.ClientResponse) -> dict[str, Any]:
    seed = cell_value(response.headers.get("seed"), int)
    facts: dict[str, Any] = {"usage": {"images": 1}}
    return {"seed": seed, **facts} if seed is not None and 0 <= seed < 1 << 63 else facts
