"""The states of batches, items and attempts, and the one table of their legal moves."""

from __future__ import annotations

from enum import StrEnum

from headrace.errors import IllegalMoveError


class ItemState(StrEnum):
    """Where an item stands."""

    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    UNKNOWN = "unknown"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    DEAD = "dead"


class AttemptState(StrEnum):
    """Where an attempt stands."""

    STARTED = "started"
    ACCEPTED = "accepted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    RESOLVED = "resolved"


class BatchState(StrEnum):
    """Where a batch stands."""

    VALIDATING = "validating"
    CANARY = "canary"
    RUNNING = "running"
    PAUSED = "paused"
    FINALIZING = "finalizing"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    FAILED = "failed"


ITEM_FINAL = frozenset(
    {
        ItemState.SUCCEEDED,
        ItemState.FAILED,
        ItemState.REFUSED,
        ItemState.CANCELLED,
        ItemState.DEAD,
    }
)
ITEM_OPEN = frozenset(ItemState) - ITEM_FINAL
ITEM_RETRYABLE = frozenset({ItemState.FAILED, ItemState.REFUSED, ItemState.DEAD})
BATCH_FINAL = frozenset(
    {BatchState.COMPLETED, BatchState.CANCELLED, BatchState.EXPIRED, BatchState.FAILED}
)

I, A, B = ItemState, AttemptState, BatchState  # noqa: E741 - read in the tables below

ITEM_MOVES: dict[ItemState, frozenset[ItemState]] = {
    # A cache hit succeeds straight from pending: no attempt, no permit, no credits.
    # Refused straight from pending: the policy does not allow it, so nothing was bought.
    I.PENDING: frozenset(
        {I.RUNNING, I.SUCCEEDED, I.WAITING, I.FAILED, I.REFUSED, I.CANCELLED, I.DEAD}
    ),
    I.RUNNING: frozenset(
        {
            I.RUNNING,
            I.PENDING,
            I.SUCCEEDED,
            I.FAILED,
            I.REFUSED,
            I.CANCELLED,
            I.WAITING,
            I.UNKNOWN,
            I.DEAD,
        }
    ),
    I.WAITING: frozenset({I.PENDING, I.CANCELLED, I.FAILED}),
    # Held until a person says "retry" (it may be paid twice) or "cancel" (refund).
    I.UNKNOWN: frozenset({I.WAITING, I.CANCELLED}),
    I.SUCCEEDED: frozenset(),
    # Only a person's "retry" leaves these: a new round, with a reserve of its own.
    I.FAILED: frozenset({I.WAITING}),
    I.REFUSED: frozenset({I.WAITING}),
    I.DEAD: frozenset({I.WAITING}),
    I.CANCELLED: frozenset(),
}

ATTEMPT_MOVES: dict[AttemptState, frozenset[AttemptState]] = {
    # Straight to resolved: the worker died, and another attempt replaces this one.
    A.STARTED: frozenset({A.ACCEPTED, A.SUCCEEDED, A.FAILED, A.REFUSED, A.UNKNOWN, A.RESOLVED}),
    A.ACCEPTED: frozenset({A.SUCCEEDED, A.FAILED, A.REFUSED, A.UNKNOWN, A.RESOLVED}),
    # Straight to its end: its batch was cancelled, and the job is followed without another attempt.
    A.UNKNOWN: frozenset({A.RESOLVED, A.SUCCEEDED, A.FAILED, A.REFUSED}),
    A.SUCCEEDED: frozenset(),
    A.FAILED: frozenset(),
    A.REFUSED: frozenset(),
    A.RESOLVED: frozenset(),
}

BATCH_MOVES: dict[BatchState, frozenset[BatchState]] = {
    B.VALIDATING: frozenset({B.CANARY, B.RUNNING, B.FAILED, B.CANCELLED}),
    # Completed straight from canary or paused: what was under way were its last items.
    B.CANARY: frozenset(
        {B.RUNNING, B.PAUSED, B.FINALIZING, B.COMPLETED, B.EXPIRED, B.FAILED},
    ),
    B.RUNNING: frozenset({B.PAUSED, B.FINALIZING, B.COMPLETED, B.EXPIRED, B.FAILED}),
    # Never back to canary: who resumes has seen what there was to see.
    B.PAUSED: frozenset({B.RUNNING, B.FINALIZING, B.COMPLETED, B.EXPIRED, B.FAILED}),
    B.FINALIZING: frozenset({B.COMPLETED, B.CANCELLED, B.EXPIRED, B.FAILED}),
    # "retry --failed" opens a completed batch again.
    B.COMPLETED: frozenset({B.RUNNING}),
    B.CANCELLED: frozenset(),
    B.EXPIRED: frozenset(),
    B.FAILED: frozenset(),
}


def check_item_move(old: ItemState, new: ItemState) -> None:
    """Raise ``IllegalMoveError`` unless an item may move from ``old`` to ``new``."""
    if new not in ITEM_MOVES[old]:
        raise IllegalMoveError(f"an item cannot move from {old.value} to {new.value}")


def check_attempt_move(old: AttemptState, new: AttemptState) -> None:
    """Raise ``IllegalMoveError`` unless an attempt may move from ``old`` to ``new``."""
    if new not in ATTEMPT_MOVES[old]:
        raise IllegalMoveError(f"an attempt cannot move from {old.value} to {new.value}")


def check_batch_move(old: BatchState, new: BatchState) -> None:
    """Raise ``IllegalMoveError`` unless a batch may move from ``old`` to ``new``."""
    if new not in BATCH_MOVES[old]:
        raise IllegalMoveError(f"a batch cannot move from {old.value} to {new.value}")


def picture() -> str:
    """Return the three state machines as Mermaid text, generated from the tables above."""
    parts: list[str] = []
    tables: list[tuple[str, dict[StrEnum, frozenset[StrEnum]]]] = [
        ("Item", dict(ITEM_MOVES)),  # type: ignore[arg-type]
        ("Attempt", dict(ATTEMPT_MOVES)),  # type: ignore[arg-type]
        ("Batch", dict(BATCH_MOVES)),  # type: ignore[arg-type]
    ]
    for title, moves in tables:
        lines = [f"### {title}", "", "```mermaid", "stateDiagram-v2"]
        for old, news in moves.items():
            lines += [f"    {old.value} --> {new.value}" for new in sorted(news)]
        parts.append("\n".join([*lines, "```"]))
    return "\n\n".join(parts) + "\n"


def page() -> str:
    """Return ``docs/lifecycle.md``: the picture with its heading."""
    head = (
        "# States and their legal moves\n\nGenerated from `src/headrace/lifecycle.py` by "
        "`headrace.lifecycle.page()`; a test keeps it so.\n\n"
    )
    return head + picture()
