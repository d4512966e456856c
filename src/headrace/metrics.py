"""Metrics as Prometheus reads them: every name with its meaning, and where its value comes from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from headrace.bytes_budget import process_budget
from headrace.clock import Clock
from headrace.meter import LATENCY_BOUNDS_S, Latency, Meter
from headrace.store import observed
from headrace.store.database import Database
from headrace.store.observed import Observed
from headrace.telemetry import log
from headrace.version import VERSION
from headrace.writer import GroupCommit, Writer

MICRO = 1e6
Samples = Iterable[tuple[tuple[str, ...], Any]]


@dataclass(frozen=True)
class Family:
    """One metric: its name without ``headrace_``, kind, labels and meaning."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def shown(self) -> str:
        """Return the name as it is shown and asked for."""
        return f"headrace_{self.name}" + ("_total" if self.kind == "counter" else "")

    def filled(self, samples: Samples) -> Metric:
        """Return the metric with its values."""
        name, labels = f"headrace_{self.name}", self.labels
        if self.kind == "histogram":
            drawn = HistogramMetricFamily(name, self.meaning, labels=labels)
            for values, latency in samples:
                drawn.add_metric(values, buckets=_classes(latency), sum_value=latency.total_s)
            return drawn
        made = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = made(name, self.meaning, labels=labels)
        for values, value in samples:
            family.add_metric(values, value)
        return family


_MAKER = ("provider", "model")
OF_PROCESS = (
    Family("build_info", "gauge", ("version",), "The release that runs: always 1."),
    Family("attempts", "counter", (*_MAKER, "lane", "outcome"), "Calls that ended, by outcome."),
    Family("call_duration_seconds", "histogram", _MAKER, "How long calls took, to their end."),
    Family("results", "counter", (*_MAKER, "source"), "Results of stages, by where from."),
    Family("cost_usd", "counter", (*_MAKER, "source"), "Cost of calls in USD: told or estimated."),
    Family("artifact_bytes", "counter", _MAKER, "Bytes of what was bought."),
    Family("items_ended", "counter", ("state",), "Items walked to their end, by state."),
    Family("credits_charged", "counter", (), "Credits charged for delivered items."),
    Family("fence_refusals", "counter", (), "Writes refused: another worker has the shard."),
    Family("permits", "gauge", ("lane",), "Permits of a lane that are out now."),
    Family("permit_waiters", "gauge", ("lane",), "Items that stand in line for a permit now."),
    Family("group_commits", "counter", ("what",), "Transactions of the group commit."),
    Family("group_commit_writes", "counter", ("what",), "Writes in these transactions."),
    Family("body_bytes", "gauge", (), "Bytes of bodies that are in memory whole."),
    Family("event_readers", "gauge", (), "Readers of live events."),
)
"""What every process tells of itself; events have readers only in a server."""

OF_DATABASE = (
    Family("database_up", "gauge", (), "1 when the whole database could be read, else 0."),
    Family("batches", "gauge", ("state",), "Batches that are not over."),
    Family("items", "gauge", ("class", "state"), "Items that are not over: the queue's depth."),
    Family("oldest_batch_seconds", "gauge", ("class",), "Age of the oldest batch with work left."),
    Family("credits", "gauge", ("account",), "Balances of all tenants together, in credits."),
    Family("ledger_mismatch_credits", "gauge", (), "Credits by which the ledger is wrong: 0."),
    Family("webhooks_waiting", "gauge", ("what",), "Events and messages not delivered yet."),
    Family("provider_batches", "gauge", (), "Batches that providers work on."),
    Family("provider_batch_lines", "gauge", ("state",), "Lines waiting, or handed in."),
    Family("workers", "gauge", (), "Workers that are signed in."),
    Family("lane_utilisation", "gauge", ("lane",), "Sent by what the limit allows, 5 minutes."),
    Family("lane_refused_ratio", "gauge", ("lane",), "Refused calls by those sent, 5 minutes."),
    Family("lane_calls_in_flight", "gauge", ("lane",), "Calls under way."),
    Family("lane_width", "gauge", ("lane",), "Calls that may be under way."),
    Family("lane_waiters", "gauge", ("lane",), "Items in line, in the process that told last."),
    Family("lane_shut_seconds", "gauge", ("lane",), "For how long a lane takes nothing more."),
)
"""What is told of the whole database, by whoever is asked to."""


class Metrics:
    """The registry of one process.

    With ``database`` it tells of the whole database as well, read when somebody asks and no
    more often than every ``database_s`` seconds, however many ask.
    """

    def __init__(
        self,
        meter: Meter,
        writer: Writer,
        clock: Clock,
        *,
        database: Database | None = None,
        database_s: float = 15.0,
        readers: Callable[[], int] | None = None,
    ) -> None:
        self._meter = meter
        self._writer = writer
        self._clock = clock
        self._database = database
        self._database_s = database_s
        self._readers = readers
        self._observed: Observed | None = None
        self._read_at_s: float | None = None
        self._reading = asyncio.Lock()
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)
        ProcessCollector(registry=self.registry)

    async def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return all metrics and their media type, in the form that ``accept`` prefers."""
        await self._refresh()
        encode, media_type = choose_encoder(accept)
        return encode(self.registry), media_type

    async def _refresh(self) -> None:
        if self._database is None:
            return
        async with self._reading:
            now_s = self._clock.monotonic_s()
            if self._read_at_s is not None and now_s - self._read_at_s < self._database_s:
                return
            try:
                async with asyncio.timeout(2 * observed.READ_S_MAX):
                    async with self._database.acquire("repeatable_read") as connection:
                        self._observed = await observed.read(connection, self._clock.now())
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                # Old figures would look like new ones.
                self._observed = None
                log().warning("database_not_observed", why=str(error) or type(error).__name__)
            self._read_at_s = self._clock.monotonic_s()

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as they are now, for the registry."""
        told = self._of_process()
        for family in OF_PROCESS:
            if family.name in told:
                yield family.filled(told[family.name])
        if self._database is not None:
            told = _of_database(self._observed)
            for family in OF_DATABASE:
                if family.name in told:
                    yield family.filled(told[family.name])

    def _of_process(self) -> dict[str, Samples]:
        meter = self._meter
        commits: dict[str, GroupCommit[Any, Any]] = {
            "starts": self._writer.starts,
            "settles": self._writer.settles,
            "accepts": self._writer.accepts,
        }
        told: dict[str, Samples] = {
            "build_info": [((VERSION,), 1)],
            "attempts": meter.attempts.items(),
            "call_duration_seconds": meter.latency.items(),
            "results": meter.results.items(),
            "cost_usd": [(key, cost / MICRO) for key, cost in meter.cost_microusd.items()],
            "artifact_bytes": meter.artifact_bytes.items(),
            "items_ended": [((state,), count) for state, count in meter.items.items()],
            "credits_charged": _one(meter.charged_microcredits / MICRO),
            "fence_refusals": _one(meter.fenced),
            "permits": [((lane,), count) for lane, count in meter.permits.items()],
            "permit_waiters": [((lane,), count) for lane, count in meter.waiters.items()],
            "group_commits": [((name,), one.groups) for name, one in commits.items()],
            "group_commit_writes": [((name,), one.written) for name, one in commits.items()],
            "body_bytes": _one(process_budget().used_bytes),
        }
        if self._readers is not None:
            told["event_readers"] = _one(self._readers())
        return told


def _of_database(seen: Observed | None) -> dict[str, Samples]:
    if seen is None:
        return {"database_up": _one(0)}
    waiting, lanes = seen.waiting, seen.lanes
    return {
        "database_up": _one(1),
        "batches": [((state,), count) for state, count in seen.batches.items()],
        "items": seen.items.items(),
        "oldest_batch_seconds": [((name,), age_s) for name, age_s in seen.oldest_s.items()],
        "credits": [((kind,), balance / MICRO) for kind, balance in seen.accounts.items()],
        "ledger_mismatch_credits": _one(seen.mismatch_microcredits / MICRO),
        "webhooks_waiting": [
            (("events",), waiting["webhook_events"]),
            (("messages",), waiting["webhook_messages"]),
        ],
        "provider_batches": _one(waiting["provider_batches"]),
        "provider_batch_lines": [
            (("waiting",), waiting["lines_waiting"]),
            (("handed_in",), waiting["lines_handed_in"]),
        ],
        "workers": _one(waiting["workers"]),
        **{
            f"lane_{name}": [
                ((lane,), live[told]) for lane, live in lanes.items() if live.get(told) is not None
            ]
            for name, told in _OF_LANE.items()
        },
    }


_OF_LANE = {
    "utilisation": "utilisation",
    "refused_ratio": "refused",
    "calls_in_flight": "in_flight",
    "width": "width",
    "waiters": "waiting",
    "shut_seconds": "shut_s",
}


def _one(value: float) -> Samples:
    return [((), value)]


def _classes(latency: Latency) -> list[tuple[str, float]]:
    """Return the classes as Prometheus counts them: each with all below it."""
    below, found = 0, []
    for bound, count in zip((*LATENCY_BOUNDS_S, float("inf")), latency.counts, strict=True):
        below += count
        found.append(("+Inf" if bound == float("inf") else str(bound), float(below)))
    return found
