"""Named crash points and the structured log: the seams at which the engine is observed."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Protocol

import structlog

CRASH_POINTS = (
    "submit-before-commit",
    "submit-after-commit",
    "intake-before-commit",
    "cut-after-commit",
    "claim-after-commit",
    "start-before-commit",
    "start-after-commit",
    "before-send",
    "after-send",
    "after-accept",
    "blob-before-rename",
    "blob-after-put",
    "spooled-after-commit",
    "blob-after-upload",
    "settle-before-commit",
    "settle-after-commit",
    "shard-before-done",
    "guard-before-commit",
    "finish-before-commit",
    "handout-before-commit",
    "line-before-commit",
    "line-after-commit",
    "lines-gathered",
    "lines-uploaded",
    "batch-before-create",
    "batch-after-create",
    "batch-created",
    "answers-before-commit",
    "tick-planned",
    "tick-before-batch",
    "tick-before-commit",
    "expire-before-commit",
    "message-before-commit",
    "message-claimed",
    "message-after-send",
    "sweep-before-commit",
    "sweep-set-aside",
    "sweep-removed",
)
"""Every name that ``crash_point`` may be called with, in the order of an item's walk."""


class _CrashPlan:
    """Which point kills this process, and at which passage; read once from the environment."""

    def __init__(self) -> None:
        name, _, passage = os.environ.get("HEADRACE_CRASH_AT", "").partition(":")
        self.name = name
        self.left = int(passage or 1)


_plan: _CrashPlan | None = None


def crash_point(name: str) -> None:
    """Kill this process with SIGKILL if the environment names this point; else do nothing.

    ``HEADRACE_CRASH_AT=after-send:3`` dies at the third passage of ``after-send``. The
    sweep in ``bench/crash.py`` uses it; without the variable a call costs a comparison.
    """
    global _plan  # noqa: PLW0603 - one plan per process, read late so that import does nothing
    if _plan is None:
        _plan = _CrashPlan()
    if _plan.name != name:
        return
    _plan.left -= 1
    if _plan.left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)


def log(**bound: Any) -> Any:
    """Return a structured logger with ``bound`` fields; no prompts and no secrets go in."""
    return structlog.get_logger("headrace").bind(**bound)


class InHand(Protocol):
    """What is being worked on: its ids for the log, and its inputs, which never go in."""

    def log_ids(self) -> Mapping[str, Any]:
        """Return batch, row and attempt."""
        ...

    def log_hides(self) -> tuple[Any, ...]:
        """Return the inputs: texts, or tables and lists of them."""
        ...


_in_hand: ContextVar[InHand | None] = ContextVar("in_hand", default=None)


class at_work_on:  # noqa: N801 - a context manager, read as a verb
    """Let what is logged in the block, and in tasks begun there, say what it is about."""

    __slots__ = ("_item", "_token")

    def __init__(self, item: InHand) -> None:
        self._item = item

    def __enter__(self) -> None:
        self._token: Token[InHand | None] = _in_hand.set(self._item)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _in_hand.reset(self._token)


def in_hand() -> InHand | None:
    """Return what the code that runs now is working on, ``None`` for nothing known."""
    return _in_hand.get()
