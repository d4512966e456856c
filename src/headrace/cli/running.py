"""``run``, ``estimate``, ``resume``, ``retry``, ``watch``: a batch from its input to its folder."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter, validators

from headrace.cli.following import (
    FailOn,
    exit_code,
    follow,
    stop_signals,
    sum_up,
    watch_batch,
)
from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line
from headrace.cli.progress import Progress

if TYPE_CHECKING:
    from headrace.engine import Engine
    from headrace.recipe import Recipe
    from headrace.source import Source
    from headrace.submission import Terms
    from headrace.watching import Batch


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
    limit: Annotated[
        int | None, Parameter(help="Only the first N rows.", validator=validators.Number(gte=1))
    ] = None


MaxCost = Annotated[
    str | None,
    Parameter(help="The most that its calls may cost, in US dollars; then it is paused."),
]


@Parameter(name="*")
@dataclass(frozen=True)
class Guards:
    """What stops a run before it has cost too much."""

    canary: Annotated[
        int | None,
        Parameter(
            help="So many first rows run alone; 0 for none.", validator=validators.Number(gte=0)
        ),
    ] = None
    look_first: Annotated[
        bool, Parameter(negative="", help="Pause after the first rows, to look at them.")
    ] = False
    max_cost: MaxCost = None


Input = Annotated[
    str,
    Parameter(
        help="CSV, JSONL or OpenAI batch JSONL; - for standard input.", allow_leading_hyphen=True
    ),
]
RecipeName = Annotated[
    str, Parameter(name=["--recipe", "-r"], help="A recipe's name, or a .toml file.")
]
Changes = Annotated[
    list[str] | None,
    Parameter(
        name="--set",
        negative="",
        help="STAGE.SETTING=VALUE laid over the recipe, as in outline.model=openai:gpt-5-mini.",
    ),
]
Out = Annotated[Path, Parameter(name=["--out", "-o"], help="Where the results go.")]
Name = Annotated[str | None, Parameter(help="The batch's name; the folder in OUT has it too.")]
CacheWord = Annotated[
    Literal["reuse", "refresh", "off"] | None, Parameter(help="Finished results.")
]
UnknownWord = Annotated[
    Literal["retry", "hold", "refund"], Parameter(help="Calls whose answer was never seen.")
]


def run(
    input: Input,  # noqa: A002 - the word of the help page
    *,
    recipe: RecipeName,
    out: Out = Path("out"),
    changes: Changes = None,
    name: Name = None,
    cache: CacheWord = None,
    unknown: UnknownWord = "retry",
    strict: Annotated[bool, Parameter(help="Stop at the first row that cannot be used.")] = False,
    idempotency_key: Annotated[
        str | None, Parameter(help="The same key is the same batch.")
    ] = None,
    contact_sheet: Annotated[bool, Parameter(help="Draw contact-sheet.png.")] = True,
    fail_on: Annotated[FailOn, Parameter(help="Which failed rows make the exit code 3.")] = "any",
    deadline: Annotated[
        str | None,
        Parameter(help="By when it should be done, as in 24h: time for providers' batches."),
    ] = None,
    guards: Guards | None = None,
    reading: Reading | None = None,
    common: Common | None = None,
) -> int:
    """Turn every row of INPUT into a result, durably, with live progress."""
    from headrace.recipe_changes import read_changes
    from headrace.spans import read_span
    from headrace.submission import Terms

    common, reading, guards = common or Common(), reading or Reading(), guards or Guards()
    label = name or (Path(input).stem if input != "-" else "stdin")
    folder = (out / label).absolute()
    terms = Terms(
        name=label,
        cache=cache or common.settings().cache.mode,
        unknown=unknown,
        strict=strict,
        canary=guards.canary,
        look_first=guards.look_first,
        cost_cap_microusd=_cap(guards.max_cost),
        idempotency_key=idempotency_key,
        folders=_folders(input, reading.photos),
        source={"input": _whole(input), "out": str(folder), "sheet": contact_sheet},
        deadline_s=None if deadline is None else read_span(deadline, "--deadline"),
    )

    async def work() -> int:
        _check_folder(folder)
        with _open(input, reading, common) as source:
            async with engine_of(common, work=True) as engine:
                found = engine.recipe(recipe, read_changes(changes or []))
                _check_owner(folder, input, found.name)
                batch = await _submit(engine, source, found, terms, reading.limit)
                return await follow(engine, batch, common, fail_on)

    return int(on_loop(work()))


def _cap(max_cost: str | None) -> int | None:
    from headrace.price import read_usd

    return read_usd(max_cost) if max_cost is not None else None


def _whole(input: str) -> str:  # noqa: A002
    """Return the input as it is recorded: the whole path, so that no two are mistaken."""
    return input if input == "-" else str(Path(input).absolute())


def _folders(input: str, photos: Path | None) -> tuple[str, ...]:  # noqa: A002
    own = Path(input).absolute().parent if input != "-" else Path.cwd()
    folders = [own, own / "photos"]
    if photos is not None:
        folders.insert(0, photos.absolute())
    return tuple(str(folder) for folder in folders)


def _check_folder(folder: Path) -> None:
    from headrace.reports import OutputFolder

    OutputFolder(folder).prepare()


def _check_owner(folder: Path, input: str, recipe: str) -> None:  # noqa: A002
    """Raise ``InputError`` where the folder holds the results of another input or recipe."""
    import json

    from headrace.errors import InputError

    try:
        report = json.loads((folder / "report.json").read_bytes())
        before = (str(report["input"]), str(report["recipe"]))
    except (OSError, ValueError, TypeError, KeyError):
        return
    if before != (_whole(input), recipe):
        raise InputError(
            f"the folder holds the results of {before[0]} under {before[1]}",
            place=str(folder),
            remedy="Give this run a name of its own with --name, or another folder with --out.",
        )


def _open(input: str, reading: Reading, common: Common) -> Source:  # noqa: A002
    from headrace.engine import open_source
    from headrace.source import Limits

    limits = common.settings().limits
    return open_source(
        input,
        encoding=reading.encoding,
        delimiter=reading.delimiter,
        limits=Limits(field_chars_max=limits.field_bytes_max, rows_max=limits.rows_max),
    )


async def _submit(
    engine: Engine, source: Source, recipe: Recipe, terms: Terms, limit: int | None
) -> Batch:
    from itertools import islice

    from headrace.submission import request_digest

    rows = islice(source, limit) if limit is not None else source
    digest = None
    if terms.idempotency_key is not None:
        digest = request_digest(recipe, terms, _sha256(source.name))
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


def resume(
    batch: Annotated[str | None, Parameter(help="The batch; by default all that are open.")] = None,
    *,
    max_cost: MaxCost = None,
    fail_on: FailOn = "any",
    common: Common | None = None,
) -> int:
    """Go on with a batch that was paused, interrupted or killed; nothing is done twice."""
    from headrace.errors import UsageError

    common, cap = common or Common(), _cap(max_cost)
    if batch is None and cap is not None:
        raise UsageError(
            "--max-cost is the cap of one batch", remedy="Name the batch: headrace resume BATCH."
        )

    async def work() -> int:
        async with engine_of(common, work=True) as engine:
            ids = [batch] if batch is not None else await _open_batches(engine)
            codes = []
            for batch_id in ids:
                found = engine.batch(batch_id)
                await found.resume(cap)
                codes.append(await follow(engine, found, common, fail_on))
                now = await found.summary()
                if now.state != "paused" and now.open > now.unknown:
                    break  # a person said stop, and meant all of them
            return max(codes, default=0)

    return int(on_loop(work()))


async def _open_batches(engine: Engine) -> list[str]:
    """Return the open batches, the oldest first; where there is none, say what is paused."""
    from headrace.identity import show_batch_id

    recent = await engine.recent(limit=1000)
    live = [one for one in recent if one.state in ("running", "canary", "finalizing")]
    if not live:
        line("Nothing is open.")
        for paused in recent:
            if paused.state == "paused":
                line(f"  paused: headrace resume {show_batch_id(paused.id)}  ({paused.name})")
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
            with (
                stop_signals(stop),
                Progress(common.quiet or common.json, engine.clock) as progress,
            ):
                summary = await watch_batch(found, None, progress, stop)
            if not common.json:
                await sum_up(found, summary, None, common)
            return exit_code(summary, "any")

    return int(on_loop(work()))


def estimate(
    input: Annotated[  # noqa: A002
        str, Parameter(help="CSV, JSONL or OpenAI batch JSONL.", allow_leading_hyphen=True)
    ],
    *,
    recipe: Annotated[str, Parameter(name=["--recipe", "-r"])],
    changes: Changes = None,
    max_cost: MaxCost = None,
    reading: Reading | None = None,
    common: Common | None = None,
) -> int:
    """Say what a run would cost at most and how much of it is cached, buying nothing."""
    from headrace.estimate import estimate_rows
    from headrace.recipe_changes import read_changes

    common, reading = common or Common(), reading or Reading()
    cap = _cap(max_cost)

    async def work() -> int:
        with _open(input, reading, common) as source:
            async with engine_of(common, work=False) as engine:
                folders = tuple(Path(name) for name in _folders(input, reading.photos))
                found = engine.recipe(recipe, read_changes(changes or []))
                quote = await estimate_rows(engine, source, found, source.columns, folders)
        if common.json:
            data(quote.to_json())
        else:
            for text in quote.lines(cap):
                line(text)
        return 0

    return int(on_loop(work()))
