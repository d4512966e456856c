"""One run: a simulator and a client as processes of their own, and what the truth says of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from bench.admission.job import Job, Told
from bench.admission.measured import (
    Measured,
    Span,
    items_delivered,
    outage_figures,
    pace_per_s,
    refused_since,
    windows_filled,
)
from bench.admission.ours import knows_gates
from bench.admission.scenario import Scenario
from bench.admission.simulation import Simulation, simulation
from headrace.simulator.truth import Entry

START_S, LEAVE_S, END_S = 60.0, 40.0, 15.0
KILLS_S = (30.0, 45.0)
"""When helpers are killed, in seconds after their start."""


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a folder that the database's user may pass through, and remove it."""
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


async def client_process(module: str, job: Job, kill_after_s: float | None = None) -> Told:
    """Run a client's process to its end; one that does not end is killed and told so.

    With ``kill_after_s`` it is killed then, without a word.
    """
    environment = {key: value for key, value in os.environ.items() if key[:9] != "HEADRACE_"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment,
    )  # fmt: skip
    given = json.dumps(asdict(job)).encode()
    try:
        async with asyncio.timeout(kill_after_s or job.limit_s + START_S + LEAVE_S):
            out, err = await process.communicate(given)
    except TimeoutError:
        if kill_after_s:
            return Told()
        return Told(timed_out=True, errors={"killed: it did not end": 1})
    finally:
        await _end(process, killed=kill_after_s is not None)
    try:
        return Told(**json.loads(out.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        said = err.decode("utf-8", "replace").strip().splitlines() or ["without a word"]
        return Told(errors={f"broke: {said[-1]}"[:300]: 1})


async def measure(
    case: Scenario, client: str, module: str, given: Job, keep: Path | None = None
) -> Measured:
    """Run one client against a simulator of its own and return the figures.

    With ``keep``, the simulator's log of the run is kept in that folder.
    """
    seen = Measured(case.name, client, case.situation, given.items)
    if case.workers > 1 and not knows_gates():
        seen.skipped = "this engine has no gate that several processes share"
        return seen
    with folder() as home:
        async with simulation(case.tree) as simulator:
            job = replace(given, url=simulator.url, home=str(home))
            if case.workers > 1:
                seen.told = await _together(module, replace(job, gate="postgres"))
            else:
                seen.told = await client_process(module, job)
            entries = await simulator.log()
            if keep is not None:
                name = f"{case.name}.{client.replace('/', '-')}.jsonl"
                lines = [json.dumps(one._asdict()) for one in entries]
                (keep / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
            try:
                await _read(simulator, entries, case, seen)
            except RuntimeError as error:
                # Something was let in that the limits as they began would never let in.
                seen.notes.append(str(error))
    return seen


async def _together(module: str, job: Job) -> Told:
    """Run one that submits and others that help; of eight, two are killed on the way."""
    case = job.case
    stops_s = KILLS_S if case.workers > 2 else ()
    helpers = [
        asyncio.create_task(
            client_process(module, replace(job, role="join"), dict(enumerate(stops_s)).get(number))
        )
        for number in range(case.workers - 1)
    ]
    told = await client_process(module, job)
    for helper in await asyncio.gather(*helpers):
        told.cpu_s += helper.cpu_s
        told.errors |= helper.errors
    return told


async def _read(
    simulator: Simulation, entries: list[Entry], case: Scenario, seen: Measured
) -> None:
    truth = await simulator.ask("truth")
    seen.delivered = items_delivered(entries)
    seen.paid_twice = truth["paid_twice"]
    seen.in_flight_max = truth["in_flight_max"]
    seen.refused_by, seen.faults = truth["refused_by"], truth["faults"]
    late = refused_since(entries, case.learning_s)
    seen.whole = Span(requests=truth["requests"], refused=truth["refused"])
    seen.after = Span(requests=late[0], refused=late[1])
    seen.items_per_s = pace_per_s(entries, case.learning_s)
    if not seen.delivered:
        return
    await _ideals(simulator, case, truth["snapshots_s"], seen)
    seen.after.filled = windows_filled(entries, case.built(), case.learning_s)
    if case.kind == "outage":
        _outage(case, entries, seen)


async def _end(process: asyncio.subprocess.Process, *, killed: bool) -> None:
    """End a client, with time to stop its database unless it is to be killed."""
    with contextlib.suppress(ProcessLookupError):
        if not killed and process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), END_S)
        if process.returncode is None:
            process.kill()
    await process.wait()


async def _ideals(simulator: Simulation, case: Scenario, kept: list[float], seen: Measured) -> None:
    found = await simulator.ask("ideal")
    seen.whole.ideal_s, seen.whole.achieved_s = found["ideal_s"], found["achieved_s"]
    if case.learning_s in kept:
        found = await simulator.ask("ideal", after_s=case.learning_s)
        if found["items"]:
            seen.after.ideal_s, seen.after.achieved_s = found["ideal_s"], found["achieved_s"]


def _outage(case: Scenario, entries: list[Entry], seen: Measured) -> None:
    fault = next(one for one in case.built().faults if one.kind == "outage")
    rate = case.true_rates()["requests"]
    seen.outage = outage_figures(entries, fault.from_s, fault.until_s, rate)
