"""Following a batch: the live line, Ctrl-C, the output folder, and the words at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headrace.cli.options import Common, data, line
from headrace.cli.pausing import pause_code, pause_lines
from headrace.cli.progress import Progress, cost_of, duration

if TYPE_CHECKING:
    from headrace.engine import Engine
    from headrace.export import Export
    from headrace.store.batches import Summary
    from headrace.watching import Batch, ItemResult

FailOn = Literal["never", "any", "all"]
EXPORT_EVERY_S = 1.0
FAILURES_SHOWN = 5
MOVES_SHOWN = 3


async def follow(engine: Engine, batch: Batch, common: Common, fail_on: FailOn) -> int:
    """Show a batch live until it has ended, export it, sum it up; returns the exit code."""
    from headrace.held import decode_json

    # A recipe that cannot be built any more would be tried by the worker for ever.
    await engine.open_batch(batch.uuid)
    source = decode_json((await batch.summary()).source)
    export = _export(engine, batch, source)
    stop = asyncio.Event()
    with (
        told_to_end(engine, stop) as caught,
        Progress(common.quiet or common.json, engine.clock) as progress,
    ):
        summary = await watch_batch(batch, export, progress, stop)
    if stop.is_set() and summary.open:
        print(
            f"Stopping at {summary.done} of {summary.item_count}: what is in flight finishes "
            f"first (Ctrl-C again stops now).\n"
            f"Go on with: headrace resume {batch.id}{common.repeated()}",
            file=sys.stderr,
        )
        return 130 if caught[0] == signal.SIGINT else 0
    report: dict[str, Any] = {}
    if export is not None:
        report = await export.finish(summary, sheet=bool(source.get("sheet", True)))
    if common.json:
        data(report)
    elif not common.quiet:
        await sum_up(batch, summary, export, common)
    return exit_code(summary, fail_on)


def _export(engine: Engine, batch: Batch, source: dict[str, Any]) -> Export | None:
    from headrace.export import Export

    if "out" not in source:
        return None
    export = Export(batch, Path(source["out"]), engine.blobs)
    export.prepare()
    return export


async def watch_batch(
    batch: Batch, export: Export | None, progress: Progress, stop: asyncio.Event
) -> Summary:
    """Show a batch until it has ended, is stuck, or ``stop`` is set; return where it stands."""
    from headrace.lifecycle import BATCH_FINAL, BatchState

    paused = BatchState.PAUSED.value
    loop = asyncio.get_running_loop()
    exported_s = loop.time()
    while True:
        summary = await batch.summary()
        progress.show(summary, await batch.waits() if summary.waiting else ())
        over = BatchState(summary.state) in BATCH_FINAL
        if over or stop.is_set() or _is_stuck(summary):
            return summary
        if summary.state == paused and await batch.is_at_rest():
            return await batch.summary()
        if export is not None and loop.time() - exported_s >= EXPORT_EVERY_S:
            await export.catch_up()
            exported_s = loop.time()
        await batch.changed(0.1)


def _is_stuck(summary: Summary) -> bool:
    """Tell whether nothing moves until a person decides: paused, or only unknown items left."""
    if summary.state == "paused" and summary.running == 0:
        return True
    return summary.unknown > 0 and summary.open == summary.unknown


@contextlib.contextmanager
def told_to_end(engine: Engine, stop: asyncio.Event) -> Any:
    """Let ``stop`` be set by signals, and when a migration leaves this release behind.

    Raises ``DatabaseError`` at the end in the second case.
    """

    async def watch_schema() -> None:
        await engine.database.outdated.wait()
        stop.set()

    watching = asyncio.create_task(watch_schema(), name="schema watch")
    try:
        with stop_signals(stop) as caught:
            yield caught
    finally:
        watching.cancel()
    engine.database.refuse_outdated()


@contextlib.contextmanager
def stop_signals(stop: asyncio.Event) -> Any:
    """Let the first Ctrl-C (or SIGTERM) set ``stop``; a second Ctrl-C ends the process at once."""
    caught: list[int] = [0]
    loop = asyncio.get_running_loop()

    def on(number: int) -> None:
        if stop.is_set():
            # The write-ahead makes this safe: it is what a power cut would do.
            os._exit(130)
        caught[0] = number
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on, number)
    # Not removed: the second Ctrl-C may come while the engine lets its work finish.
    yield caught


async def sum_up(batch: Batch, summary: Summary, export: Export | None, common: Common) -> None:
    """Say how a batch ended, what failed and why, and what to do next."""
    place, took = common.repeated(), ""
    if summary.finished_at is not None:
        took = f" in {duration((summary.finished_at - summary.created_at).total_seconds())}"
    line(
        f"{summary.succeeded} of {summary.item_count} delivered{took}, "
        f"{summary.cached} from cache, {summary.ended_badly} failed, "
        f"cost {cost_of(summary)} · {batch.id} {summary.state}"
    )
    if summary.repeats:
        line(f"  {summary.repeats} calls made again, because their answers were never seen")
    await _tell_makers(batch)
    if summary.ended_badly:
        await _tell_failures(batch, summary, place)
    for text in await pause_lines(batch, summary, place):
        line(f"  {text}")
    if summary.unknown:
        line(f"  {summary.unknown} with an answer never seen; either may be paid for already:")
        line(f"      headrace retry {batch.id} --unknown{place} (may be paid twice)")
        line(f"      headrace cancel {batch.id}{place} (refund)")
    if export is not None:
        line(f"  results: {_near(export.folder)}")
        again = "all" if summary.ended_badly == 0 else "what succeeded comes"
        told = f" · run again: {again} from cache" if summary.open == 0 else ""
        line(f"  next: headrace show {batch.id}{place}{told}")


async def _tell_makers(batch: Batch) -> None:
    """Say which models made it where the first was not always asked."""
    makers = await batch.makers()
    for by in [one for one in makers if one.why is not None][:MOVES_SHOWN]:
        line(f"  {by.items} made by {by.provider}/{by.model}: {by.why}")


async def _tell_failures(batch: Batch, summary: Summary, place: str) -> None:
    shown, states = 0, set()
    async for item in batch.items():
        if item.error is None or item.state.value not in ("failed", "refused", "dead"):
            continue
        if item.error.get("code") != "invalid_input":
            states.add(item.state.value)
        shown += 1
        if shown <= FAILURES_SHOWN:
            tell_failure(item)
    if shown > FAILURES_SHOWN:
        line(f"  … and {shown - FAILURES_SHOWN} more in results.csv")
    if states:
        flags = " ".join(f"--{state}" for state in sorted(states))
        line(f"  try them again: headrace retry {batch.id} {flags}{place}")


def tell_failure(item: ItemResult) -> None:
    """Say why a row has no result, and what to do; the row's number is said once."""
    error = item.error or {}
    reason = str(error.get("reason", item.file or ""))
    # "row 3 (line 4), column 'price': …" says its place itself.
    own = re.match(rf"row {item.row_number}\b", reason)
    said = reason[own.end() :] if own else f": {reason}"
    line(f"  row {item.row_number} {item.state.value}{said}")
    if error.get("remedy"):
        line(f"      → {error['remedy']}")


def _near(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def exit_code(summary: Summary, fail_on: FailOn) -> int:
    """Return the exit code: 0, 3 when rows failed and ``fail_on`` minds, or that of its pause."""
    if summary.pause is not None:
        return pause_code(summary.pause, fail_on != "never")
    if summary.open or fail_on == "never":
        return 0
    missing = summary.item_count - summary.succeeded
    if fail_on == "all":
        return 3 if missing and summary.succeeded == 0 else 0
    return 3 if missing else 0
