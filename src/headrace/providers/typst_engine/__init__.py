"""Template images: rows become cards through Typst, in worker processes with hard limits."""

from headrace.photo import PhotoError, PhotoMissingError, PhotoRefusedError
from headrace.providers.typst_engine.catalog import TemplateColumn, builtin_templates
from headrace.providers.typst_engine.faults import (
    RendererClosedError,
    TemplateError,
    TemplateMemoryError,
    TemplateMissingError,
    TemplateTimeoutError,
    WorkerCrashError,
)
from headrace.providers.typst_engine.job import Cell, Format, Rendered, RenderJob
from headrace.providers.typst_engine.renderer import Renderer

__all__ = [
    "Cell",
    "Format",
    "PhotoError",
    "PhotoMissingError",
    "PhotoRefusedError",
    "RenderJob",
    "Rendered",
    "Renderer",
    "RendererClosedError",
    "TemplateColumn",
    "TemplateError",
    "TemplateMemoryError",
    "TemplateMissingError",
    "TemplateTimeoutError",
    "WorkerCrashError",
    "builtin_templates",
]
