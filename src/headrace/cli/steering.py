"""``pause``, ``cancel``, ``batches``, ``show``, ``recipes``, ``init``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter, validators

from headrace.cli.following import tell_failure
from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table
from headrace.cli.pausing import pause_lines
from headrace.cli.progress import cost_of, progress_line, wait_lines

if TYPE_CHECKING:
    from headrace.store.batches import Summary


def pause(batch: str, *, common: Common | None = None) -> int:
    """Let nothing more of a batch start; what is in flight finishes."""

    async def work() -> int:
        async with engine_of(common, work=False) as engine:
            moved = await engine.batch(batch).pause()
        if common is not None and common.json:
            data({"batch": batch, "paused": moved})
        else:
            line(f"{batch} is paused." if moved else f"{batch} is not running.")
        return 0

    return int(on_loop(work()))


def cancel(batch: str, *, common: Common | None = None) -> int:
    """Cancel a batch: nothing more starts, and the credits of what has not go back."""

    async def work() -> int:
        async with engine_of(common, work=False) as engine:
            cancelled = await engine.batch(batch).cancel()
        if common is not None and common.json:
            data({"batch": batch, "cancelled": cancelled or 0})
        else:
            line(f"{batch} had ended." if cancelled is None else f"{cancelled} items cancelled.")
        return 0

    return int(on_loop(work()))


def batches(
    *,
    limit: Annotated[
        int, Parameter(help="How many, the latest first.", validator=validators.Number(gte=1))
    ] = 20,
    common: Common | None = None,
) -> int:
    """List the batches, the latest first."""

    async def work() -> int:
        from headrace.identity import show_batch_id

        async with engine_of(common, work=False) as engine:
            found = await engine.recent(limit)
        if common is not None and common.json:
            data([_json(summary) for summary in found])
            return 0
        if not found:
            line("No batch yet. Try: headrace run examples/products.csv --recipe product-card")
            return 0
        table(
            ["batch", "name", "state", "done", "cached", "failed", "cost", "created (UTC)"],
            [
                [
                    show_batch_id(s.id),
                    s.name,
                    s.state if s.pause is None else f"{s.state}: {s.pause.code.value}",
                    f"{s.done}/{s.item_count}",
                    str(s.cached),
                    str(s.ended_badly),
                    cost_of(s),
                    f"{s.created_at:%Y-%m-%d %H:%M}",
                ]
                for s in found
            ],
        )
        return 0

    return int(on_loop(work()))


def _json(summary: Summary) -> dict[str, Any]:
    from headrace.export import report_of
    from headrace.identity import show_batch_id

    return report_of(summary, show_batch_id(summary.id))


def show(
    batch: str,
    *,
    row: Annotated[int | None, Parameter(help="One row, with all it went through.")] = None,
    common: Common | None = None,
) -> int:
    """Show a batch: its counts, and the rows that failed with their reasons."""
    common = common or Common()

    async def work() -> int:
        async with engine_of(common, work=False) as engine:
            found = engine.batch(batch)
            summary = await found.summary()
            _check_row(row, summary)
            items = [item async for item in found.items((row or 1) - 2) if _wanted(item, row)]
            attempts = await found.attempts(row - 1) if row is not None else []
            notes = await pause_lines(found, summary, common.repeated())
            notes += wait_lines(await found.waits(), engine.clock.now())
        if common.json:
            data(
                _json(summary) | {"rows": [_row_json(item) for item in items], "attempts": attempts}
            )
            return 0
        line(f"{summary.name} · {batch} · recipe {summary.recipe_name} · {summary.state}")
        line(progress_line(summary, None))
        for text in notes:
            line(text)
        for item in items:
            tell_failure(item)
            for text in _origins(item) if row is not None else ():
                line(text)
        _tell_attempts(attempts)
        return 0

    def _wanted(item: Any, row: int | None) -> bool:
        if row is not None:
            return bool(item.row_number == row)
        return item.state.value in ("failed", "refused", "dead", "unknown", "waiting")

    return int(on_loop(work()))


def _check_row(row: int | None, summary: Summary) -> None:
    from headrace.errors import UsageError

    if row is not None and not 1 <= row <= summary.item_count:
        raise UsageError(
            f"there is no row {row}", remedy=f"The batch has rows 1 to {summary.item_count}."
        )


def _tell_attempts(attempts: list[dict[str, Any]]) -> None:
    for attempt in attempts:
        line(
            f"  attempt {attempt['number']} {attempt['provider']} {attempt['state']} "
            f"{attempt['outcome'] or ''} {attempt['latency_ms'] or 0} ms"
        )


def _origins(item: Any) -> list[str]:
    """Return where each of an item's artifacts came from, a line for each."""
    from headrace.provenance import origin_line

    return [
        f"  {stage}: {origin_line(artifact.origin)}"
        for stage, artifact in item.outputs.items()
        if artifact.origin is not None
    ]


def _row_json(item: Any) -> dict[str, Any]:
    return {
        "row": item.row_number,
        "state": item.state.value,
        "file": item.file,
        "cached": item.cached,
        "attempts": item.attempts,
        "made": {stage: made.to_json() for stage, made in item.made.items()},
        "inputs": item.inputs,
        "outputs": {stage: made.to_json() for stage, made in item.outputs.items()},
        "artifact": item.artifact.to_json() if item.artifact is not None else None,
        "error": item.error,
    }


def recipes(*, common: Common | None = None) -> int:
    """List the recipes that are at hand."""
    from headrace.recipe import find_recipe, recipe_names

    home = Path((common or Common()).settings().home)
    folders = (Path("recipes"), home / "recipes")
    found = [find_recipe(name, folders) for name in recipe_names(folders)]
    if common is not None and common.json:
        data(
            [{"name": r.name, "description": r.description, "required": r.required} for r in found]
        )
    else:
        table(
            ["recipe", "needs", "what it makes"],
            [[r.name, ", ".join(r.required), r.description] for r in found],
        )
    return 0


def init(*, common: Common | None = None) -> int:
    """Write a commented headrace.toml into the current folder."""
    from headrace.config import FILE, default_config_text
    from headrace.errors import ConfigError

    path = (common.config if common is not None else None) or Path(FILE)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(default_config_text())
    except FileExistsError:
        raise ConfigError(
            "the file is there already", place=str(path), remedy="Edit it, or move it away first."
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot be written: {error.strerror}", place=str(path)) from error
    if common is not None and common.json:
        data({"written": str(path)})
        return 0
    line(f"{path} written; every setting stands in it with its default.")
    return 0
