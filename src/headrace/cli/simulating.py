"""``simulate``: a provider on localhost, to rehearse a batch before it costs money."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import data, line
from headrace.errors import ConfigError

if TYPE_CHECKING:
    from headrace.simulator.server import Simulator
    from headrace.simulator.settings import Settings

LIVE_EVERY_S = 1.0


def simulate(
    *,
    port: Annotated[int, Parameter(help="0 takes a free one, and says which.")] = 8080,
    rpm: Annotated[float | None, Parameter(help="Requests per minute.")] = None,
    tpm: Annotated[float | None, Parameter(help="Tokens per minute.")] = None,
    ipm: Annotated[float | None, Parameter(help="Images per minute.")] = None,
    concurrency: Annotated[int | None, Parameter(help="Calls at a time.")] = None,
    limiter: Annotated[
        Literal["bucket", "gcra", "fixed", "sliding", "subwindow"],
        Parameter(help="How the limits per minute are counted."),
    ] = "bucket",
    burst: Annotated[
        float | None, Parameter(help="Requests and images that a bucket lets through at once.")
    ] = None,
    retry_after: Annotated[
        str | None,
        Parameter(help="true, seconds, float, ms, date, body, text, retryinfo or none."),
    ] = None,
    latency: Annotated[float | None, Parameter(help="Seconds that a call takes.")] = None,
    crash_class: Annotated[str | None, Parameter(help="A, B, C or D.")] = None,
    output: Annotated[
        Literal["image", "video"] | None, Parameter(help="What jobs give that ask for neither.")
    ] = None,
    seed: Annotated[int | None, Parameter(help="Of everything drawn by lot.")] = None,
    scenario: Annotated[Path | None, Parameter(help="TOML file; flags win over it.")] = None,
    log: Annotated[Path | None, Parameter(help="JSON Lines file: one line for every call.")] = None,
    json: Annotated[bool, Parameter(help="Address and summary as JSON.")] = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], help="No live line.")] = False,
) -> int:
    """Play a provider on this machine, with its limits, errors and latencies."""
    from headrace.simulator.scenario import build_settings, read_scenario

    _check_amounts({"--rpm": rpm, "--tpm": tpm, "--ipm": ipm, "--burst": burst})
    tree = read_scenario(scenario) if scenario is not None else {}
    kinds = {"requests": rpm, "tokens": tpm, "images": ipm}
    limits = [
        {"dimension": name, "kind": limiter, "amount": amount}
        | ({"burst": burst} if burst is not None and name != "tokens" else {})
        for name, amount in kinds.items()
        if amount is not None
    ]
    if concurrency is not None:
        limits.append({"dimension": "concurrency", "kind": "concurrency", "amount": concurrency})
    flags = {"retry_after": retry_after, "crash_class": crash_class, "seed": seed}
    merged = _merged(tree, limits, latency, {k: v for k, v in flags.items() if v is not None})
    if output is not None:
        told = merged.get("output", {})
        merged["output"] = (told if isinstance(told, dict) else {}) | {"media": output}
    settings = build_settings(merged, str(scenario) if scenario is not None else "simulate")
    return int(on_loop(_serve(settings, port, log, as_json=json, quiet=quiet)))


def _check_amounts(flags: dict[str, float | None]) -> None:
    """Raise for an amount that limits nothing, by the flag that a person wrote."""
    for flag, amount in flags.items():
        if amount is not None and not 0 < amount < math.inf:
            remedy = "Give a number above 0, or leave the flag out."
            raise ConfigError(f"{amount} is out of range", place=flag, remedy=remedy)


def _merged(
    tree: dict[str, Any],
    limits: list[dict[str, Any]],
    latency: float | None,
    flags: dict[str, Any],
) -> dict[str, Any]:
    """Return the scenario with the flags laid over it: a limit replaces those it is about."""
    merged = tree | flags
    told = merged.get("limits", [])
    if limits and isinstance(told, list):
        named = {one["dimension"] for one in limits}
        kept = [one for one in told if not (isinstance(one, dict) and _about(one) in named)]
        merged["limits"] = [*kept, *limits]
    if latency is not None:
        terms = merged.get("latency", {})
        merged["latency"] = (terms if isinstance(terms, dict) else {}) | {"median_s": latency}
    return merged


def _about(limit: dict[str, Any]) -> Any:
    return limit.get("dimension", "requests")


async def _serve(
    settings: Settings, port: int, log: Path | None, *, as_json: bool, quiet: bool
) -> int:
    from headrace.simulator.server import Simulator

    simulator = Simulator(settings, log=log)
    await simulator.start(port)
    stop = asyncio.Event()
    with _stopping(stop):
        with _reader_gone():
            _tell_addresses(simulator, as_json)
        await _live(simulator, stop, is_shown=sys.stderr.isatty() and not (quiet or as_json))
    summary = _summary(simulator)
    await simulator.close()
    with _reader_gone():
        if as_json:
            data(summary)
        else:
            _sum_up(summary)
        sys.stdout.flush()
    return 0


@contextlib.contextmanager
def _reader_gone() -> Iterator[None]:
    """Go on without a word where nobody reads what is said: clients are served all the same."""
    try:
        yield
    except BrokenPipeError:
        # What is left in our buffer has nowhere to go, and would be an error again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _stopping(stop: asyncio.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set ``stop``."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


def _tell_addresses(simulator: Simulator, as_json: bool) -> None:
    url = simulator.url
    shapes = simulator.settings.shapes
    told = {
        "OPENAI_BASE_URL": f"{url}/v1" if "openai" in shapes else None,
        "ANTHROPIC_BASE_URL": url if "anthropic" in shapes else None,
        "REPLICATE_BASE_URL": url if "replicate" in shapes else None,
        "BFL_BASE_URL": url if "bfl" in shapes else None,
        "QUEUE_BASE_URL": f"{url}/queue" if "queue" in shapes else None,
        "FAL_BASE_URL": f"{url}/fal" if "fal" in shapes else None,
        "GOOGLE_GEMINI_BASE_URL": url if "gemini" in shapes else None,
    }
    addresses = {name: place for name, place in told.items() if place is not None}
    if as_json:
        data({"port": simulator.port, "url": url} | addresses)
    else:
        line(f"A provider is being simulated on {url} (Ctrl-C ends it and sums up).")
        for name, place in addresses.items():
            line(f"  {name}={place}")
        line(f"  what it saw: {url}/_simulator/truth")
    sys.stdout.flush()


async def _live(simulator: Simulator, stop: asyncio.Event, *, is_shown: bool) -> None:
    """Show one line a second until ``stop`` is set; let the log reach its file as often."""
    seen = 0
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), LIVE_EVERY_S)
        truth = simulator.truth
        truth.flush()
        fresh, seen = max(0, truth.total - seen), truth.total
        if is_shown:
            print(
                f"\r{fresh / LIVE_EVERY_S:7.0f} requests/s · {truth.delivered} succeeded · "
                f"{truth.verdicts['refused']} refused · {simulator.lane.in_flight} in flight  ",
                end="",
                file=sys.stderr,
                flush=True,
            )
    if is_shown:
        print(file=sys.stderr)


def _summary(simulator: Simulator) -> dict[str, Any]:
    from headrace.errors import HeadraceError
    from headrace.simulator.control import tell

    summary = tell(simulator)
    works = simulator.lane.works()
    try:
        ideal_s = simulator.lane.ideal_s(works) if works else None
    except HeadraceError:
        # Something was let in while limits were higher than they are at the start.
        ideal_s = None
    return summary | {"ideal_s": ideal_s}


def _sum_up(summary: dict[str, Any]) -> None:
    line(
        f"{summary['requests']} requests: {summary['succeeded']} succeeded, "
        f"{summary['refused']} refused ({summary['refused_share']:.2%}), "
        f"{sum(summary['faults'].values())} faults"
    )
    by = ", ".join(f"{count} by {name}" for name, count in summary["refused_by"].items())
    if by:
        line(f"  refused {by}")
    if summary["paid_twice"]:
        line(f"  {summary['paid_twice']} calls were paid more than once")
    achieved_s, ideal_s = summary["makespan_s"], summary["ideal_s"]
    if achieved_s and ideal_s is not None:
        line(
            f"  took {achieved_s:.1f} s; a client that knows the limits would need "
            f"{ideal_s:.1f} s ({min(1.0, ideal_s / achieved_s):.1%} of the quota used)"
        )
