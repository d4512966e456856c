"""The settings of what a process does beside the work: webhooks that go out, days of data."""

from __future__ import annotations

from typing import Any

import msgspec


class Webhooks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hosts, or ``host:port``, that webhooks may go to although they are private or plain http."""

    allowed_hosts: list[str] | None = None


class Retention(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Days that data of ended batches is kept, and blobs of nobody; ``None``: for good."""

    inputs_days: int | None = None
    artifacts_days: int | None = None
    events_days: int | None = None
    orphans_days: int | None = None


def retention_rules(kept: Retention) -> list[tuple[bool, str, Any, str]]:
    """Return for each setting: whether it holds, its name, its value, what is good."""
    told = msgspec.structs.asdict(kept)
    good = {name: days is None or 1 <= days <= 36_500 for name, days in told.items()}
    return [(good[name], f"retention.{name}", told[name], "1 to 36500") for name in told]
