"""headrace pushes batches of AI generation work through rate-limited providers.

It runs at the quota, buys nothing twice and loses nothing. The public names:
``open``, ``run``, ``Batch``, ``ItemResult``, ``Generated``, ``Terms`` and the errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from headrace import version

if TYPE_CHECKING:
    from headrace.doors import open, run  # noqa: A004 - the word people expect
    from headrace.errors import (
        ConfigError,
        ConflictError,
        DatabaseError,
        HeadraceError,
        InputError,
        InsufficientCreditsError,
        NotFoundError,
        PausedError,
        RecipeError,
        StorageError,
        UsageError,
    )
    from headrace.generation import Generated, GenerationError
    from headrace.submission import Terms
    from headrace.watching import Batch, ItemResult

__version__ = version.VERSION

_HOMES = {
    "open": "headrace.doors",
    "run": "headrace.doors",
    "HeadraceError": "headrace.errors",
    "InputError": "headrace.errors",
    "UsageError": "headrace.errors",
    "ConfigError": "headrace.errors",
    "RecipeError": "headrace.errors",
    "NotFoundError": "headrace.errors",
    "ConflictError": "headrace.errors",
    "InsufficientCreditsError": "headrace.errors",
    "PausedError": "headrace.errors",
    "DatabaseError": "headrace.errors",
    "StorageError": "headrace.errors",
    "GenerationError": "headrace.generation",
    "Generated": "headrace.generation",
    "Terms": "headrace.submission",
    "Batch": "headrace.watching",
    "ItemResult": "headrace.watching",
}

__all__ = [
    "Batch",
    "ConfigError",
    "ConflictError",
    "DatabaseError",
    "Generated",
    "GenerationError",
    "HeadraceError",
    "InputError",
    "InsufficientCreditsError",
    "ItemResult",
    "NotFoundError",
    "PausedError",
    "RecipeError",
    "StorageError",
    "Terms",
    "UsageError",
    "__version__",
    "open",
    "run",
]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used: ``import headrace`` itself loads nothing."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'headrace' has no attribute {name!r}")
