"""``run``, ``estimate``, ``resume``, ``retry``, ``watch``: a batch from its input to its folder."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from headrace.cli.common import Common, data, engine_of, line
from headrace.cli.main import on_loop
from headrace.cli.progress import Progress, duration

if TYPE_CHECKING:
    from headrace.engine import Engine
    from headrace.export import Export
    from headrace.source import Source
    from headrace.store.batches import Summary
    from headrace.submission import Terms
    from headrace.watching import Batch

FailOn = Literal["never", "any", "all"]
EXPORT_EVERY_S = 1.0
FAILURES_SHOWN = 5


@Parameter(name="*")
@dataclass(frozen=True)
class Reading:
    """How an input is read."""

    encoding: Annotated[str | None, Parameter(help="Text encoding, where it is not UTF-8.")] = None
    delimiter: Annotated[
        str | None, Parameter(help="One character, where the header misleads.")
    ] = None
    photos: Annotated[
        Path | None, Parameter(help="A further folder that photo columns point into.")
    ] = None
    limit: Annotated[int | None, Parameter(help="Only the first N rows.")] = None


class Interrupted(Exception):  # noqa: N818 - a person's wish, not a fault
    """The person asked to stop; what was in flight has finished."""


def run(
    input: Annotated[  # noqa: A002 - the word of the help page
        str, Parameter(help="CSV, JSONL or OpenAI batch JSONL; - for standard input.")
    ],
    *,
    recipe: Annotated[
        str, Parameter(name=["--recipe", "-r"], help="A recipe's name, or a .toml file.")
    ],
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="Where the results go.")] = Path(
        "out"
    ),
    name: Annotated[
        str | None, Parameter(help="The batch's name; the folder in OUT has it too.")
    ] = None,
    cache: Annotated[
        Literal["reuse", "refresh", "off"] | None, Parameter(help="Finished results.")
    ] = None,
    unknown: Annotated[
        Literal["retry", "hold", "refund"], Parameter(help="Calls whose answer was never seen.")
    ] = "retry",
    strict: Annotated[bool, Parameter(help="Stop at the first row that cannot be used.")] = False,
    idempotency_key: Annotated[
        str | None, Parameter(help="The same key is the same batch.")
    ] = None,
    contact_sheet: Annotated[bool, Parameter(help="Draw contact-sheet.png.")] = True,
    fail_on: Annotated[FailOn, Parameter(help="Which failed rows make the exit code 3.")] = "any",
    reading: Reading | None = None,
    common: Common | None = None,
) -> int:
    """Turn every row of INPUT into a result, durably, with live progress."""
    from headrace.submission import Terms

    common, reading = common or Common(), reading or Reading()
    label = name or (Path(input).stem if input != "-" else "stdin")
    folder = (out / label).absolute()
    terms = Terms(
        name=label,
        cache=cache or common.settings().cache.mode,
        unknown=unknown,
        strict=strict,
        idempotency_key=idempotency_key,
        folders=_folders(input, reading.photos),
        source={"input": input, "out": str(folder), "sheet": contact_sheet},
    )

    async def work() -> int:
        _check_folder(folder)
        with _open(input, reading, common) as source:
            async with engine_of(common, work=True) as engine:
                batch = await _submit(engine, source, recipe, terms, reading.limit)
                return await follow(engine, batch, common, fail_on)

    return int(on_loop(work()))


def _folders(input: str, photos: Path | None) -> tuple[str, ...]:  # noqa: A002
    own = Path(input).absolute().parent if input != "-" else Path.cwd()
    folders = [own, own / "photos"]
    if photos is not None:
        folders.insert(0, photos.absolute())
    return tuple(str(folder) for folder in folders)


def _check_folder(folder: Path) -> None:
    from headrace.reports import OutputFolder

    OutputFolder(folder).prepare()


def _open(input: str, reading: Reading, common: Common) -> Source:  # noqa: A002
    from headrace.source import Limits
    from headrace.sources import open_source

    limits = common.settings().limits
    return open_source(
        input,
        encoding=reading.encoding,
        delimiter=reading.delimiter,
        limits=Limits(field_chars_max=limits.field_bytes_max, rows_max=limits.rows_max),
    )


async def _submit(
    engine: Engine, source: Source, recipe: str, terms: Terms, limit: int | None
) -> Batch:
    from itertools import islice

    from headrace.submission import request_digest

    rows = islice(source, limit) if limit is not None else source
    digest = None
    if terms.idempotency_key is not None:
        digest = request_digest(engine.recipe(recipe), terms, _sha256(source.name))
    return await engine.submit(rows, recipe, columns=source.columns, terms=terms, digest=digest)


def _sha256(name: str) -> str:
    import hashlib

    from headrace.errors import UsageError

    if not Path(name).is_file():
        raise UsageError(
            "an idempotency key needs an input that can be read twice",
            remedy="Save standard input to a file first.",
        )
    with Path(name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def follow(engine: Engine, batch: Batch, common: Common, fail_on: FailOn) -> int:
    """Show a batch live until it has ended, export it, sum it up; returns the exit code."""
    from headrace.held import decode_json

    source = decode_json((await batch.summary()).source)
    export = _export(engine, batch, source)
    stop = asyncio.Event()
    with _signals(stop) as caught, Progress(common.quiet or common.json, engine.clock) as progress:
        summary = await _watch(batch, export, progress, stop)
    if stop.is_set() and summary.open:
        print(
            f"\nStopping: what is in flight finishes first (Ctrl-C again stops now).\n"
            f"Go on with: headrace resume {batch.id}",
            file=sys.stderr,
        )
        return 130 if caught[0] == signal.SIGINT else 0
    report: dict[str, Any] = {}
    if export is not None:
        report = await export.finish(summary, sheet=bool(source.get("sheet", True)))
    if common.json:
        data(report)
    elif not common.quiet:
        await _sum_up(batch, summary, export)
    return _exit_code(summary, fail_on)


def _export(engine: Engine, batch: Batch, source: dict[str, Any]) -> Export | None:
    from headrace.export import Export

    if "out" not in source:
        return None
    export = Export(batch, Path(source["out"]), engine.blobs)
    export.prepare()
    return export


async def _watch(
    batch: Batch, export: Export | None, progress: Progress, stop: asyncio.Event
) -> Summary:
    from headrace.lifecycle import BATCH_FINAL, BatchState

    loop = asyncio.get_running_loop()
    exported_s = loop.time()
    while True:
        summary = await batch.summary()
        progress.show(summary)
        over = BatchState(summary.state) in BATCH_FINAL
        if over or stop.is_set() or _is_stuck(summary):
            return summary
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
def _signals(stop: asyncio.Event) -> Any:
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


async def _sum_up(batch: Batch, summary: Summary, export: Export | None) -> None:
    from headrace.price import usd

    took = ""
    if summary.finished_at is not None:
        took = f" in {duration((summary.finished_at - summary.created_at).total_seconds())}"
    line(
        f"{summary.succeeded} of {summary.item_count} delivered{took}, "
        f"{summary.cached} from cache, {summary.ended_badly} failed, "
        f"cost {usd(summary.cost_microusd)} · {batch.id} {summary.state}"
    )
    if summary.ended_badly:
        await _tell_failures(batch, summary)
    if summary.state == "paused":
        line(f"  paused; go on with: headrace resume {batch.id}")
    if summary.unknown:
        line(
            f"  {summary.unknown} with an answer never seen: headrace retry {batch.id} --unknown "
            f"(may be paid twice) or headrace cancel {batch.id} (refund)"
        )
    if export is not None:
        line(f"  results: {_near(export.folder)}")
        line(f"  next: headrace show {batch.id} · run again: all from cache")


async def _tell_failures(batch: Batch, summary: Summary) -> None:
    shown = 0
    async for item in batch.items():
        if item.error is None or item.state.value not in ("failed", "refused", "dead"):
            continue
        remedy = f"\n      → {item.error['remedy']}" if item.error.get("remedy") else ""
        line(f"  row {item.row_number} {item.state.value}: {item.error['reason']}{remedy}")
        shown += 1
        if shown == FAILURES_SHOWN:
            break
    if summary.ended_badly > shown:
        line(f"  … and {summary.ended_badly - shown} more in results.csv")
    line(f"  try them again: headrace retry {batch.id} --failed")


def _near(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def _exit_code(summary: Summary, fail_on: FailOn) -> int:
    if summary.open or fail_on == "never":
        return 0
    missing = summary.item_count - summary.succeeded
    if fail_on == "all":
        return 3 if missing and summary.succeeded == 0 else 0
    return 3 if missing else 0


def resume(
    batch: Annotated[str | None, Parameter(help="The batch; by default all that are open.")] = None,
    *,
    fail_on: FailOn = "any",
    common: Common | None = None,
) -> int:
    """Go on with a batch that was paused, interrupted or killed; nothing is done twice."""
    common = common or Common()

    async def work() -> int:
        async with engine_of(common, work=True) as engine:
            ids = [batch] if batch is not None else await _open_batches(engine)
            if not ids:
                line("Nothing is open.")
            codes = []
            for batch_id in ids:
                found = engine.batch(batch_id)
                await found.resume()
                codes.append(await follow(engine, found, common, fail_on))
            return max(codes, default=0)

    return int(on_loop(work()))


async def _open_batches(engine: Engine) -> list[str]:
    from headrace.identity import show_batch_id

    recent = await engine.recent(limit=1000)
    live = [found for found in recent if found.state in ("running", "canary", "finalizing")]
    return [show_batch_id(found.id) for found in reversed(live)]


def retry(
    batch: str,
    *,
    failed: Annotated[bool, Parameter(help="Items that failed.")] = False,
    refused: Annotated[bool, Parameter(help="Items that the provider refused.")] = False,
    dead: Annotated[bool, Parameter(help="Items whose worker died three times.")] = False,
    unknown: Annotated[
        bool, Parameter(help="Items held because an answer was never seen.")
    ] = False,
    fail_on: FailOn = "any",
    common: Common | None = None,
) -> int:
    """Try ended items of a batch once more; by default those that failed."""
    from headrace.lifecycle import ItemState

    common = common or Common()
    wanted = {
        state
        for state, asked in (
            (ItemState.FAILED, failed),
            (ItemState.REFUSED, refused),
            (ItemState.DEAD, dead),
            (ItemState.UNKNOWN, unknown),
        )
        if asked
    } or {ItemState.FAILED}

    async def work() -> int:
        async with engine_of(common, work=True) as engine:
            found = engine.batch(batch)
            opened = await found.retry(wanted)
            if not common.json and not common.quiet:
                line(f"Trying {opened} again.")
            return await follow(engine, found, common, fail_on)

    return int(on_loop(work()))


def watch(batch: str, *, common: Common | None = None) -> int:
    """Show a batch live, without taking part in its work."""
    common = common or Common()

    async def work() -> int:
        async with engine_of(common, work=False) as engine:
            found = engine.batch(batch)
            stop = asyncio.Event()
            with _signals(stop), Progress(common.quiet or common.json, engine.clock) as progress:
                summary = await _watch(found, None, progress, stop)
            if not common.json:
                await _sum_up(found, summary, None)
            return _exit_code(summary, "any")

    return int(on_loop(work()))


def estimate(
    input: Annotated[str, Parameter(help="CSV, JSONL or OpenAI batch JSONL.")],  # noqa: A002
    *,
    recipe: Annotated[str, Parameter(name=["--recipe", "-r"])],
    reading: Reading | None = None,
    common: Common | None = None,
) -> int:
    """Say what a run would cost at most and how much of it is cached, buying nothing."""
    from headrace.estimate import estimate_rows

    common, reading = common or Common(), reading or Reading()

    async def work() -> int:
        with _open(input, reading, common) as source:
            async with engine_of(common, work=False) as engine:
                folders = tuple(Path(name) for name in _folders(input, reading.photos))
                quote = await estimate_rows(engine, source, recipe, source.columns, folders)
        if common.json:
            data(quote.to_json())
        else:
            for text in quote.lines():
                line(text)
        return 0

    return int(on_loop(work()))
