"""Schedules and their ticks for programs and people: the same over HTTP and on a terminal."""

from __future__ import annotations

from typing import Any

from headrace.identity import show_batch_id
from headrace.price import usd_exact
from headrace.schedule import Schedule
from headrace.schedule_rows import shown

COUNTS = ("succeeded", "failed", "refused", "dead", "cancelled", "cached")


def schedule_json(found: Schedule) -> dict[str, Any]:
    """Return a schedule as a JSON object; ``next_at`` is ``None`` where no tick comes."""
    coming = found.next_at if found.state == "active" else None
    return {
        "id": found.public_id,
        "name": found.name,
        "cron": found.cron,
        "timezone": found.timezone,
        "recipe": found.recipe,
        **shown(found.source),
        **found.settings.told(),
        "state": found.state,
        "next_at": None if coming is None else coming.isoformat(),
        "created_at": found.created_at.isoformat(),
    }


def tick_json(row: dict[str, Any]) -> dict[str, Any]:
    """Return a tick as a JSON object: what it read and made, or why it failed.

    ``batch`` is ``None`` where it made none, or where that was forgotten.
    """
    batch = None
    if row["batch_state"] is not None:
        batch = {
            "id": show_batch_id(row["batch_id"]),
            "state": row["batch_state"],
            "counts": {name: row[name] for name in COUNTS},
            "cost_usd": usd_exact(row["cost_microusd"]),
        }
    ended = row["ended_at"]
    return {
        "at": row["at"].isoformat(),
        "state": row["state"],
        "by_hand": row["by_hand"],
        **row["told"],
        "batch": batch,
        "ended_at": None if ended is None else ended.isoformat(),
    }


def tick_words(told: dict[str, Any]) -> str:
    """Return in words what became of a tick, given as ``tick_json`` tells it."""
    state = told["state"]
    if state == "failed":
        error = told["error"]
        place = f"{error['place']}: " if error["place"] else ""
        remedy = f"  → {error['remedy']}" if error["remedy"] else ""
        return f"failed: {place}{error['message']}{remedy}"
    if state == "skipped":
        many = f"{told['missed']} ticks" if told["missed"] > 1 else "1 tick"
        return f"skipped: {many} missed since {told['from']}"
    if state == "empty":
        return f"nothing new in {told['read']} rows, so no batch"
    if state == "due":
        return "due: it is made as soon as a worker runs"
    more = ", more come with the next tick" if told.get("more_next_time") else ""
    batch = told["batch"]
    if batch is None:
        return f"{told['new']} new of {told['read']} rows{more}; its batch was forgotten"
    counts = ", ".join(
        f"{batch['counts'][name]} {name}" for name in COUNTS if batch["counts"][name]
    )
    so_far = f" ({counts})" if counts else ""
    return f"{told['new']} new of {told['read']} rows{more}: {batch['id']} {batch['state']}{so_far}"
