"""The settings of what is seen from outside: metrics and the log."""

from __future__ import annotations

from typing import Any

import msgspec


class Metrics(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may read ``/metrics`` of the server, and how often the database is asked for it.

    ``open``: anybody who reaches the port, else only with a key of the operator's.
    ``database_s``: what is told of the whole database is read no more often than that.
    """

    open: bool = False
    database_s: float = 15.0


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the log is written: ``text`` or ``json``."""

    format: str = "text"


def observe_rules(metrics: Metrics, log: Log) -> list[tuple[bool, str, Any, str]]:
    """Return for each setting: whether it holds, its name, its value, what is good."""
    often, form = metrics.database_s, log.format
    return [
        (1 <= often <= 3600, "metrics.database_s", often, "1 to 3600"),
        (form in ("text", "json"), "log.format", form, "text or json"),
    ]
