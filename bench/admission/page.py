"""The figures for people: a line on the terminal, tables in the document, all of it as JSON."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import textwrap
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.admission.measured import GOOD, GOODPUT_S, GOODPUT_SPANS, Measured, Outage
from bench.admission.plan import CLIENTS
from bench.admission.scenario import Scenario
from bench.admission.targets import TARGETS, our_own
from headrace.version import VERSION

HERE = Path(__file__).parent

_INTRO = """\
# Admission, measured

Written by `make bench-admission`: the whole engine (database and all) and two clients as people
write them, each against a simulated provider of its own, in one run of the command. The figures
are the simulator's: it knows every call and computes the ideal makespan.

- **utilisation**: the time of a client that knows the limiter and has no overhead, by the time
  taken, from the first request to the last result. *After learning* counts from a moment that
  stands fixed for each scenario (10 s where limits are told, 40 s or two real minutes where not).
  Where a limit counts by windows, the whole windows after learning are compared instead: what was
  let in by what they hold; the makespan would depend on where in a window the last item falls.
- **refused**: answers 429 by all requests.
- **A**: asyncio and aiohttp, ten calls in flight, 6 attempts, exponential backoff with jitter,
  honouring Retry-After. **B**: a token bucket (one second's worth at once) at the rate that is
  told, then as A; where the limit is hidden it guesses half of it, as the careful do. Both are
  stopped when they take much longer than the ideal; what they reached by then is measured.
- A limit is *hidden* where neither headers nor the words of a refusal state its amount; headers
  that mislead state a wrong one.
- Another user of the same key always gets his share; the ideal uses what that leaves.
{our_own}
- Ours runs with its defaults everywhere. Where a limit is *told* it stands in the provider's
  `limits`; nothing is set for a scenario. Calls carry an `Idempotency-Key`, those by hand do not.
"""


def _share(value: float | None) -> str:
    return "—" if value is None else f"{value:.1%}"


def _number(value: float | None, form: str) -> str:
    return "—" if value is None else format(value, form)


def verdict(seen: Measured) -> str:
    """Return ``met`` or what was missed; clients by hand have no target."""
    if seen.skipped or seen.client != "ours":
        return f"skipped: {seen.skipped}" if seen.skipped else ""
    missed = TARGETS[seen.situation].missed(seen)
    return "met" if not missed else "; ".join(missed)


def _back(seen: Outage) -> str:
    return "never" if seen.recovery_s is None else f"after {seen.recovery_s:.0f} s"


def _outage_words(seen: Outage) -> str:
    """Return what an outage did, for the terminal."""
    return (
        f"requests by items {_number(seen.amplification, '.3f')}, busiest minute "
        f"{_number(seen.peak, '.2f')} of the rate, goodput back {_back(seen)}, "
        f"{seen.during} requests in the outage"
    )


def row(seen: Measured) -> str:
    """Return a line for the terminal."""
    told = seen.told
    if seen.skipped:
        return f"{seen.scenario:17} {seen.client:5} skipped: {seen.skipped}"
    more = [
        f"given up {told.failed}" if told.failed else "",
        f"twice {seen.paid_twice}" if seen.paid_twice else "",
        "(stopped)" if told.timed_out else "",
        f"cpu {_number(seen.cpu_ms, '.2f')}/{_number(seen.cpu_all_ms, '.2f')} ms",
        f"{told.peak_mib:.0f} MiB",
        _outage_words(seen.outage) if seen.outage else "",
        verdict(seen),
        next(iter(told.errors)) if told.errors and not seen.delivered else "",
        *seen.notes,
    ]
    return (
        f"{seen.scenario:17} {seen.client:5} util {_share(seen.whole.utilisation):>6} "
        f"after {_share(seen.after.utilisation):>6}  refused {seen.whole.refused_share:6.2%} "
        f"after {seen.after.refused_share:6.2%}  done {seen.delivered}/{seen.items} "
        + "  ".join(one for one in more if one)
    )


def as_json(results: list[Measured]) -> list[dict[str, Any]]:
    """Return everything that was measured."""
    return [
        asdict(one)
        | {
            "utilisation": one.whole.utilisation,
            "utilisation_after": one.after.utilisation,
            "refused_share": one.whole.refused_share,
            "refused_share_after": one.after.refused_share,
            "cpu_ms": one.cpu_ms,
            "cpu_all_ms": one.cpu_all_ms,
            "missed": TARGETS[one.situation].missed(one) if one.client == "ours" else [],
        }
        for one in results
    ]


def random_lines(results: list[Measured]) -> list[str]:
    """Return median and worst of the scenarios drawn at random, a line for each client."""
    drawn = [one for one in results if one.scenario.startswith("random-")]
    lines = []
    for client in CLIENTS:
        mine = [one for one in drawn if one.client == client]
        if not mine:
            continue
        used = [one.after.utilisation or 0.0 for one in mine]
        refused = [one.after.refused_share for one in mine]
        worst = min(mine, key=lambda one: one.after.utilisation or 0.0)
        lines.append(
            f"| {client} | {len(mine)} | {statistics.median(used):.1%} | {min(used):.1%} "
            f"({worst.scenario}) | {statistics.median(refused):.2%} | {max(refused):.2%} "
            f"| {sum(one.items - one.delivered for one in mine)} |"
        )
    head = [
        "| client | runs | median utilisation | worst | median refused | worst | undelivered |",
        "|---|---|---|---|---|---|---|",
    ]
    return head + lines if lines else []


_HEAD = [
    "| scenario | client | utilisation | after learning | refused | after learning | delivered "
    "| given up | paid twice | CPU ms/item (with database) | peak MiB | target |",
    "|---|---|---|---|---|---|---|---|---|---|---|---|",
]


def _line(seen: Measured) -> str:
    cells = [
        seen.scenario if seen.client == "ours" else "",
        f"**{seen.client}**" if seen.client == "ours" else seen.client,
        _share(seen.whole.utilisation),
        _share(seen.after.utilisation),
        f"{seen.whole.refused_share:.2%}",
        f"{seen.after.refused_share:.2%}",
        f"{seen.delivered:,} of {seen.items:,}" + (" (stopped)" if seen.told.timed_out else ""),
        str(seen.told.failed),
        str(seen.paid_twice),
        _number(seen.cpu_ms, ".2f")
        + (f" ({_number(seen.cpu_all_ms, '.2f')})" if seen.client == "ours" else ""),
        f"{seen.told.peak_mib:.0f}",
        verdict(seen),
    ]
    return "| " + " | ".join(cells) + " |"


_OUTAGE = f"""
## The outage

*Amplification* is all requests of the run that reached the provider, whatever it answered, by
the items delivered; the *busiest minute* is by what the healthy lane takes in one; *in the
outage* are the requests that came while nothing was answered. *Goodput back* is how long after
its end {GOOD:.0%} of the rate were delivered over {GOODPUT_S:.0f} s, and over each of the
{GOODPUT_SPANS - 1} spans of {GOODPUT_S:.0f} s that follow, where the run lasts so long.

| client | amplification | busiest minute | in the outage | goodput back |
|---|---|---|---|---|"""


def outage_lines(results: list[Measured]) -> list[str]:
    """Return what the outage did, a line for each client; nothing where there was none."""
    lines = []
    for one in results:
        if one.outage is not None:
            found = one.outage
            lines.append(
                f"| {one.client} | {_number(found.amplification, '.3f')} "
                f"| {_number(found.peak, '.2f')} | {found.during} | {_back(found)} |"
            )
    return [_OUTAGE, *lines] if lines else []


def commit() -> str:
    """Return which state of the code was measured, as far as it is known."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=7"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE)
    except (OSError, subprocess.CalledProcessError):
        return f"version {VERSION}"
    return f"commit {found.stdout.strip()}"


def page(
    cases: list[Scenario], results: list[Measured], took_s: float, arguments: list[str]
) -> str:
    """Return the document."""
    ours = [one for one in results if one.client == "ours"]
    met = sum(1 for one in ours if verdict(one) == "met")
    skipped = sum(1 for one in ours if one.skipped)
    command = " ".join(["python -m bench.admission", *arguments])
    lines = [
        _INTRO.format(our_own=textwrap.fill(f"- {our_own()}", 98, subsequent_indent="  ")),
        f"`{command}` at {commit()} on {os.cpu_count()} cores, {platform.system()}, Python "
        f"{platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}; it took {took_s / 60:.0f} "
        f"minutes. The simulators, the clients and the databases share the cores; where it is "
        f"allowed the simulators have a higher priority. "
        f"{met} of {len(ours) - skipped} targets met, {skipped} scenarios skipped.",
        "",
        "## Scenarios",
        "",
        "| scenario | what | known | target |",
        "|---|---|---|---|",
    ]
    fixed = [case for case in cases if not case.name.startswith("random-")]
    drawn = [case for case in cases if case.name.startswith("random-")]
    for case in cases:
        target = TARGETS[case.situation].told()
        lines.append(f"| {case.name} | {case.title} | {case.know} | {target} |")
    for title, group in (("Results", fixed), ("Drawn at random", drawn)):
        names = {case.name for case in group}
        found = [one for one in results if one.scenario in names]
        if found:
            lines += ["", f"## {title}", "", *(random_lines(results) if group is drawn else [])]
            lines += [*([""] if group is drawn else []), *_HEAD, *(_line(one) for one in found)]
            lines += outage_lines(found)
    return "\n".join(lines) + "\n"
