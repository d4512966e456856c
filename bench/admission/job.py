"""What a client's process is told, and what it tells when it has ended; both as JSON."""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from bench.admission.scenario import Item, Scenario
from bench.peak import peak_mib


@dataclass(frozen=True)
class Job:
    """A run of one client. ``rates`` and ``concurrency`` are those a client by hand is given.

    ``role`` is ``submit``, or ``join`` for one that helps with what another has submitted.
    """

    url: str
    home: str
    scenario: dict[str, Any]
    items: int
    seed: int
    limit_s: float
    rates: dict[str, float] = field(default_factory=dict)
    concurrency: int = 10
    role: str = "submit"
    gate: str = ""

    @property
    def case(self) -> Scenario:
        """The scenario of the run."""
        names = {one.name for one in fields(Scenario)}
        return Scenario(**{key: value for key, value in self.scenario.items() if key in names})

    def rows(self) -> list[Item]:
        """Return the items of the run."""
        return list(self.case.rows(self.items, self.seed))


@dataclass
class Told:
    """What a client says of itself; CPU from the first item on, memory over its whole life."""

    succeeded: int = 0
    failed: int = 0
    cpu_s: float = 0.0
    database_cpu_s: float = 0.0
    peak_mib: float = 0.0
    timed_out: bool = False
    errors: dict[str, int] = field(default_factory=dict)
    lane: dict[str, Any] = field(default_factory=dict)


def read_job() -> Job:
    """Return the job on standard input."""
    return Job(**json.load(sys.stdin))


def tell(told: Told) -> None:
    """Write what is told as the last line of standard output."""
    told.peak_mib = peak_mib()
    print(json.dumps(asdict(told)), flush=True)


def cpu_s() -> float:
    """Return the CPU seconds that this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
