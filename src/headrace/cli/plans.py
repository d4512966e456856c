"""``plans list | set | show``: what tenants have signed up for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from headrace.cli.main import on_loop
from headrace.cli.options import Common, data, engine_of, line, table

if TYPE_CHECKING:
    from headrace.plan import Plan

NONE = "none"
PlanName = Annotated[str, Parameter(name="PLAN", help="The plan's name.")]


def list_(*, common: Common | None = None) -> int:
    """List the plans with what they allow."""

    async def work() -> int:
        from headrace.store import plans

        async with (
            engine_of(common, work=False) as engine,
            engine.database.acquire() as connection,
        ):
            found = await plans.listed(connection)
        if common is not None and common.json:
            data([plan.to_json() for plan in found])
        else:
            head = list(found[0].to_json())
            table(head, [[_cell(value) for value in plan.to_json().values()] for plan in found])
        return 0

    return int(on_loop(work()))


def show(name: PlanName, *, common: Common | None = None) -> int:
    """Show a plan."""

    async def work() -> int:
        from headrace.store import plans

        async with (
            engine_of(common, work=False) as engine,
            engine.database.acquire() as connection,
        ):
            _tell(await plans.find(connection, name), common)
        return 0

    return int(on_loop(work()))


def set_(
    name: PlanName,
    *,
    class_: Annotated[
        str | None, Parameter(name="--class", help="The best of its batches' classes.")
    ] = None,
    weight: Annotated[str | None, Parameter(help="Its share beside others, 1 to 100.")] = None,
    daily_items: Annotated[str | None, Parameter(help="Items a day, or none.")] = None,
    daily_credits: Annotated[str | None, Parameter(help="Credits a day, or none.")] = None,
    batches: Annotated[str | None, Parameter(help="Batches at a time, or none.")] = None,
    pixels: Annotated[
        str | None, Parameter(help="Pixels that a request may name, or none.")
    ] = None,
    waiting: Annotated[str | None, Parameter(help="Requests on demand at a time, or none.")] = None,
    calls: Annotated[
        str | None, Parameter(help="Calls in flight in each lane at a time, or none.")
    ] = None,
    watermark: Annotated[str | None, Parameter(help="A text on every picture, or none.")] = None,
    common: Common | None = None,
) -> int:
    """Make a plan, or change what is told of the one that is there; ``none`` ends a limit."""
    told = {
        "class": class_,
        "weight": _number("weight", weight),
        "daily_items_max": _number("daily-items", daily_items),
        "daily_microcredits_max": daily_cap(daily_credits, NONE),
        "batches_max": _number("batches", batches),
        "pixels_max": _number("pixels", pixels),
        "waiting_max": _number("waiting", waiting),
        "calls_max": _number("calls", calls),
        "watermark": watermark,
    }
    changes = {
        key: None if value == NONE else value for key, value in told.items() if value is not None
    }

    async def work() -> int:
        from headrace.store import plans

        async with (
            engine_of(common, work=False) as engine,
            engine.database.transaction() as connection,
        ):
            _tell(await plans.put(connection, name, changes, engine.clock.now()), common)
        return 0

    return int(on_loop(work()))


def daily_cap(text: str | None, none: str) -> int | str | None:
    """Return credits as micro-credits; ``none`` and ``None`` as they are. Raises ``UsageError``."""
    from headrace.price import read_credits

    if text is None or text == none:
        return text
    return 0 if text == "0" else read_credits(text)


def _number(name: str, text: str | None) -> int | str | None:
    from headrace.errors import UsageError

    if text is None or text == NONE:
        return text
    digits = text.replace("_", "")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 16):
        raise UsageError(
            f"--{name} {text!r} is not a whole number", remedy=f"Write digits, or {NONE!r}."
        )
    return int(digits)


def _tell(plan: Plan, common: Common | None) -> None:
    if common is not None and common.json:
        data(plan.to_json())
        return
    for key, value in plan.to_json().items():
        line(f"{key:22} {_cell(value) or '(none)'}")


def _cell(value: object) -> str:
    return "" if value is None else str(value)
