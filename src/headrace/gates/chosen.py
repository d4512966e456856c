"""Which gate a process uses: its own, or the one that all on its database share."""

from __future__ import annotations

from headrace.clock import Clock
from headrace.config import Config
from headrace.gates.local import LocalGate
from headrace.gates.postgres import PostgresGate
from headrace.store.database import Database


def gate_of(config: Config, database: Database, clock: Clock) -> LocalGate | PostgresGate:
    """Return the gate that the settings ask for, not started."""
    wanted, shared = config.worker.gate, config.database_url is not None
    if wanted == "postgres" or (wanted == "auto" and shared):
        return PostgresGate(database, clock)
    return LocalGate(clock)
