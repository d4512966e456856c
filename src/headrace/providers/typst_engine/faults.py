"""The ways in which a render can fail; each names the template or photo and the remedy."""

from __future__ import annotations

from headrace.errors import HeadraceError, NotFoundError
from headrace.photo import PhotoMissingError, PhotoRefusedError


class TemplateError(HeadraceError):
    """A template does not compile, or does not fit the row it was given."""

    code = "template"
    exit_code = 2


class TemplateMissingError(NotFoundError):
    """No template folder holds a template of that name."""

    code = "template_missing"


class TemplateTimeoutError(TemplateError):
    """A template took longer than the time limit; its worker was killed and replaced."""

    code = "template_timeout"


class TemplateMemoryError(TemplateError):
    """A template went past the memory limit; its worker was ended and replaced."""

    code = "template_memory"


class WorkerCrashError(TemplateError):
    """A render worker ended without an answer; it was replaced."""

    code = "render_crash"


class RendererClosedError(HeadraceError):
    """The renderer was closed while, or before, the job was given to it."""

    code = "renderer_closed"


# What a worker may answer with, by code: an answer is data, never a pickled object.
BY_CODE: dict[str, type[HeadraceError]] = {
    kind.code: kind
    for kind in (TemplateError, TemplateMemoryError, PhotoMissingError, PhotoRefusedError)
}
