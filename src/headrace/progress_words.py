"""How far a batch is, in words: the same on a terminal and over HTTP."""

from __future__ import annotations

from headrace.store.batches import Summary


def line_of(summary: Summary) -> str:
    """Return the words for how far a batch is, such as ``Generating 4 of 12``."""
    doing = "Generating" if summary.open else "Ended"
    if summary.state == "canary":
        doing = f"Trying the first {summary.canary} rows:"
    elif summary.state == "paused":
        doing = "Paused at"
    return f"{doing} {summary.done} of {summary.item_count}"
