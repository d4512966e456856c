"""The ``template`` provider: rows become pictures through Typst, on this machine and for free."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from headrace.clock import Clock, SystemClock
from headrace.errors import HeadraceError, RecipeError
from headrace.limits import ONE_CALL, Load, Quota
from headrace.nearest import did_you_mean
from headrace.outcome import CallFailed, Outcome, OutcomeKind
from headrace.photo import PhotoDigests
from headrace.price import FREE, Price
from headrace.provider import Call, CrashClass, Reply
from headrace.providers.typst_engine import (
    Format,
    PhotoMissingError,
    Renderer,
    RendererClosedError,
    RenderJob,
    TemplateColumn,
    WorkerCrashError,
)
from headrace.request import Request

VERSION_S = 0.25
"""For so long a template's version is taken as read: asking for each row costs 0.1 ms."""

PHOTO_ABSENT = "absent"
"""Stands for the digest of a photo that is not there while ``photo_fallback`` allows it."""


class TemplateProvider:
    """Renders templates in worker processes; the model is the template's name.

    ``Request.params`` are ``inputs`` (what the template's parameters get), ``photos``
    (SHA-256 of each photo by input), ``format``, ``scale``, ``quality`` and
    ``photo_fallback``. Photos come from the call's folders or from ``photo_folders``.
    """

    name = "template"
    crash_class = CrashClass.PURE

    def __init__(
        self,
        template_folders: Sequence[Path] = (),
        *,
        photo_folders: Sequence[Path] = (),
        workers: int | None = None,
        timeout_s: float = 20.0,
        clock: Clock | None = None,
        build: Callable[[], Renderer] | None = None,
    ) -> None:
        self.photo_folders = tuple(photo_folders)
        self.quota = Quota((workers or _cores()) + 1, learns=False)
        self._build = build or (lambda: Renderer(template_folders, workers, timeout_s))
        self._made: Renderer | None = None
        self._digests = PhotoDigests()
        self._clock: Clock = clock or SystemClock()
        self._versions: dict[str, tuple[str, float]] = {}

    @property
    def _renderer(self) -> Renderer:
        if self._made is None:
            self._made = self._build()
        return self._made

    def load(self, request: Request) -> Load:
        """Return the load of a call: one, whatever it asks for."""
        return ONE_CALL

    def lane(self, request: Request) -> str:
        """Return the one lane of this machine's renderer."""
        return "template"

    def version(self, model: str) -> str:
        """Return the hash of the template and all that shapes its pictures.

        Its files are looked at again after ``VERSION_S``; a picture of a template that was
        edited in between is not delivered but rendered again.
        """
        now_s = self._clock.monotonic_s()
        known = self._versions.get(model)
        if known is not None and now_s - known[1] < VERSION_S:
            return known[0]
        version = self._renderer.template_version(model)
        self._versions[model] = (version, now_s)
        return version

    def columns(self, model: str) -> tuple[TemplateColumn, ...]:
        """Return the template's declared parameters, empty when it takes any."""
        return self._renderer.template_columns(model)

    def photo_sha256(self, name: str, folders: Sequence[Path]) -> str:
        """Return the SHA-256 (hex) of a photo; raises ``PhotoError`` kinds."""
        return self._digests.sha256(name, (*folders, *self.photo_folders))

    def check(self, model: str, params: dict[str, Any]) -> None:
        """Raise ``RecipeError`` unless the inputs are parameters and no required one is missing."""
        columns = self.columns(model)
        inputs = params.get("inputs", {})
        if not columns or not inputs:
            return
        known = [column.name for column in columns]
        for name in inputs:
            if name not in known:
                raise RecipeError(
                    f"template {model!r} has no parameter {name!r}",
                    remedy=did_you_mean(name, known),
                )
        for column in columns:
            if column.required and column.name not in inputs:
                raise RecipeError(
                    f"template {model!r} needs the parameter {column.name!r}",
                    remedy=f'Add {column.name} = "{{{{ {column.name} }}}}" to its inputs.',
                )

    def price(self, request: Request) -> Price:
        """Return zero: it is this machine's work."""
        return FREE

    async def open(self) -> None:
        """Start the render workers."""
        await self._renderer.warm()

    async def close(self) -> None:
        """End the render workers; a later call starts new ones."""
        if self._made is not None:
            made, self._made = self._made, None
            await made.close()

    async def call(self, call: Call) -> Reply:
        """Render one row; raises ``CallFailed`` with the template's own reason and remedy."""
        request, params = call.request, call.request.params
        folders = (*call.folders, *self.photo_folders)
        try:
            job = RenderJob(
                template=request.model,
                data=params["inputs"],
                format=Format(params.get("format", "png")),
                scale=float(params.get("scale", 1.0)),
                quality=params.get("quality"),
                photo_folders=folders,
                photo_fallback=bool(params.get("photo_fallback", False)),
            )
            rendered = await self._renderer.render(job)
            self._check_unchanged(request, folders)
        except HeadraceError as error:
            raise CallFailed(_outcome(error)) from error
        facts: dict[str, Any] = {"width": rendered.width_px, "height": rendered.height_px}
        if rendered.warnings:
            facts["warnings"] = list(rendered.warnings)
        return Reply(rendered.media_type, body=rendered.body, cost_microusd=0, facts=facts)

    def _check_unchanged(self, request: Request, folders: Sequence[Path]) -> None:
        """Refuse a picture of files that changed meanwhile: it would be cached for others."""
        inputs = request.params["inputs"]
        for name, before in request.params.get("photos", {}).items():
            try:
                now = self._digests.sha256(inputs[name], folders)
            except PhotoMissingError:
                now = PHOTO_ABSENT
            if now != before:
                raise _ChangedError(f"the photo {inputs[name]!r} changed while it was rendered")
        if self._renderer.template_version(request.model) != request.version:
            self._versions.pop(request.model, None)
            raise _ChangedError(f"the template {request.model!r} changed while it was rendered")

    async def resume(self, call: Call, provider_request_id: str, url: str | None) -> Reply:
        """Render again: a local computation is free to repeat."""
        return await self.call(call)

    async def find(self, call: Call) -> str | None:
        """Return ``None``: nothing is kept to be found."""
        return None

    async def cancel(self, provider_request_id: str, url: str | None) -> None:
        """Do nothing: a render is short."""


class _ChangedError(HeadraceError):
    """What a render reads was replaced under it."""


def _outcome(error: HeadraceError) -> Outcome:
    """Return the outcome for an error of the renderer: the row's fault unless a worker died."""
    passing = isinstance(error, RendererClosedError | WorkerCrashError | _ChangedError)
    reason = f"{error.place}: {error.message}" if error.place else error.message
    kind = OutcomeKind.TRANSIENT if passing else OutcomeKind.INVALID
    return Outcome(kind, reason, remedy=error.remedy, cost_microusd=0)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1
