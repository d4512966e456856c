"""The benchmark of admission: ours and two clients by hand, on one simulator, in one command.

python -m bench.admission                    all scenarios, and 20 drawn at random
python -m bench.admission --only NAME        one of them (again for more)
python -m bench.admission --quick            a few, in two minutes
python -m bench.admission --random 100 --seed 7
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from pathlib import Path

from bench.admission.drawn import known_cases
from bench.admission.measured import Measured
from bench.admission.page import as_json, page, random_lines, row
from bench.admission.plan import CLIENTS, Planned, plan
from bench.admission.running import measure
from bench.admission.scenario import Scenario
from bench.admission.schedule import Places

PAGE = Path(__file__).parents[2] / "docs" / "admission-benchmarks.md"
QUICK = ("told-buckets", "hidden-gcra", "hidden-fixed", "shared", "own-server")


def chosen(options: argparse.Namespace) -> list[Scenario]:
    """Return the scenarios asked for; raises ``SystemExit`` for a name that is not known."""
    known = known_cases(options.seed, options.random)
    if options.only:
        wrong = [name for name in options.only if name not in known]
        if wrong:
            raise SystemExit(f"no scenario {wrong[0]!r}; known are: {', '.join(known)}")
        return [known[name] for name in options.only]
    if options.quick:
        return [known[name] for name in QUICK]
    return list(known.values())


async def until_stopped(options: argparse.Namespace, cases: list[Scenario]) -> list[Measured]:
    """Run everything; SIGTERM and Ctrl-C end the clients and their databases first."""
    task = asyncio.ensure_future(run_all(options, cases))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise SystemExit(130) from None


async def run_all(options: argparse.Namespace, cases: list[Scenario]) -> list[Measured]:
    """Run everything that is asked for, the longest first, and print each as it ends."""
    places = Places(options.jobs)
    planned = [one for case in cases for one in plan(case, options)]
    # The longest first; who needs the machine alone goes before everybody.
    planned.sort(key=lambda one: (one.units < options.jobs, -one.case.duration_s))
    results: list[Measured] = []

    async def run(one: Planned) -> None:
        async with places.taken(one.units):
            seen = await measure(one.case, one.client, one.module, one.job, options.keep)
        results.append(seen)
        print(row(seen), flush=True)

    async with asyncio.TaskGroup() as group:
        for one in planned:
            group.create_task(run(one))
    order = {case.name: number for number, case in enumerate(cases)}
    clients = list(CLIENTS)
    results.sort(key=lambda one: (order[one.scenario], clients.index(one.client)))
    return results


def read_options() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m bench.admission", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", action="append", metavar="NAME")
    parser.add_argument("--client", action="append", choices=list(CLIENTS))
    parser.add_argument("--quick", action="store_true", help="a few scenarios")
    parser.add_argument("--random", type=int, default=20, help="so many drawn by lot (20)")
    parser.add_argument("--seed", type=int, default=1, help="of the drawn ones and of the items")
    parser.add_argument(
        "--jobs",
        type=int,
        default=16,
        help="units side by side: a run of ours on a slow lane takes three, others one",
    )
    parser.add_argument("--json", type=Path, help="write everything there")
    parser.add_argument("--page", type=Path, help="write the page there, also of a part")
    parser.add_argument("--keep", type=Path, help="keep the simulators' logs in this folder")
    return parser.parse_args()


def shown(arguments: list[str]) -> list[str]:
    """Return the arguments that change what is measured: not those that name files."""
    kept, files = [], ("--json", "--keep", "--page")
    for number, word in enumerate(arguments):
        before = arguments[number - 1] if number else ""
        if before not in files and not word.startswith(files):
            kept.append(word)
    return kept


def main() -> int:
    """Run the benchmark; returns 0 whatever was missed: it measures, it does not judge."""
    options = read_options()
    cases = chosen(options)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    results = asyncio.run(until_stopped(options, cases))
    took_s = time.monotonic() - started_s
    print()
    print("\n".join(random_lines(results)))
    if options.json:
        options.json.write_text(json.dumps(as_json(results), indent=1), encoding="utf-8")
    whole = not (options.only or options.quick or options.client)
    target = options.page or (PAGE if whole else None)
    if target:
        target.write_text(page(cases, results, took_s, shown(sys.argv[1:])), encoding="utf-8")
        print(f"written to {target}")
    print(f"took {took_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
