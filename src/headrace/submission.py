"""From rows to a batch that can be written: recipe, columns, price, digest, items."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from headrace.cache import CacheMode
from headrace.complaint import rounds_of
from headrace.config import Run
from headrace.errors import InputError, UsageError
from headrace.held import encode_json
from headrace.nearest import did_you_mean
from headrace.outcome import CallFailed
from headrace.plan import CLASSES
from headrace.price import FREE, Price, dearest, read_usd
from headrace.provider import CrashClass, Provider
from headrace.recipe import Recipe
from headrace.request import Request
from headrace.source import BadRow, Row
from headrace.stage import Stage, StageInput, providers_of, requests_of
from headrace.store.batches import NewBatch
from headrace.store.new_items import NewItem

_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
"""A NUL as JSON writes it; a backslash before it that is itself escaped does not count."""

CANARY_ROWS_MIN = 50
"""A batch of fewer rows has no canary unless somebody asks for one."""

LOOK_FIRST_CANARY = 3
"""The canary of who wants to look first where the settings name none."""

DEADLINE_S_MAX = 30 * 86_400.0
UNKNOWN_POLICIES = ("retry", "hold", "refund")


@dataclass(frozen=True)
class Terms:
    """How a batch is to be treated; every field has a default that suits most.

    ``unknown`` is the policy for calls whose answer was never seen, where the provider
    offers nothing better: buy again (once), hold for a person, or refund. ``strict``
    refuses the whole batch at the first row that cannot be used.

    ``canary`` rows run alone first, and the batch is paused if they fail; ``None`` leaves
    it to the settings, 0 is none. With ``look_first`` the batch is paused after its canary
    in any case. ``cost_cap_microusd`` is the most that its calls may cost. ``on_demand``:
    somebody waits for its one row.

    ``deadline_s``, from now, is until when all should be done: where that leaves time, providers'
    batch APIs are used, at half price. It is an aim; nothing is dropped when it has passed.
    """

    name: str | None = None
    tenant_id: str = "default"
    class_name: str = "batch"
    cache: str = "reuse"
    unknown: str = "retry"
    strict: bool = False
    canary: int | None = None
    look_first: bool = False
    cost_cap_microusd: int | None = None
    idempotency_key: str | None = None
    folders: tuple[str, ...] = ()
    on_demand: bool = False
    source: Mapping[str, Any] = field(default_factory=dict)
    deadline_s: float | None = None

    def check(self) -> None:
        """Raise ``UsageError`` for a word that is none of the known ones, or a bad number."""
        if self.deadline_s is not None and not 0 < self.deadline_s <= DEADLINE_S_MAX:
            raise UsageError("a deadline is within 30 days", remedy="As in 24h, 90m or 2d.")
        for number, what in ((self.canary, "canary"), (self.cost_cap_microusd, "cost cap")):
            if number is not None and number < 0:
                raise UsageError(f"{number} is not a {what}", remedy="Use 0 or more.")
        for word, known, what in (
            (self.class_name, CLASSES, "class"),
            (self.cache, tuple(mode.value for mode in CacheMode), "cache mode"),
            (self.unknown, UNKNOWN_POLICIES, "policy for unknown answers"),
        ):
            if word not in known:
                raise UsageError(f"{word!r} is not a {what}", remedy=did_you_mean(word, known))


def price_of(stages: Sequence[Stage]) -> Price:
    """Return the most that one item can cost: each stage's dearest model, as often as asked."""
    total = FREE
    for stage, rounds in zip(stages, rounds_of(stages), strict=True):
        asked = asked_by(stage)
        if asked:
            price = dearest(
                provider.price(Request(provider.name, model, "", {})) for provider, model in asked
            )
            most = price.cost_microusd_max
            total += Price(
                price.credits_microcredits * rounds, None if most is None else most * rounds
            )
    return total


def asked_by(stage: Stage) -> list[tuple[Provider, str]]:
    """Return whom a stage may ask for what model; an empty one where rows or files decide."""
    if stage.models is not None:
        return [(choice.provider, choice.model) for choice in stage.models.choices]
    return [(provider, "") for provider in providers_of(stage)]


def guarded(terms: Terms, stages: Iterable[Stage], run: Run) -> tuple[Terms, int]:
    """Fill in from the settings what the terms leave to them.

    Returns with the terms how many rows a batch must have for its canary. A canary that
    nobody asked for is for batches that call somebody: what is computed on this machine
    costs nothing when it fails.
    """
    asked = bool(terms.canary) or terms.look_first
    canary = run.canary if terms.canary is None else terms.canary
    if terms.look_first:
        canary = canary or LOOK_FIRST_CANARY
    elif not asked and not any(_calls_somebody(stage) for stage in stages):
        canary = 0
    cap = terms.cost_cap_microusd
    if cap is None and run.max_cost_usd is not None:
        cap = read_usd(str(run.max_cost_usd))
    return replace(terms, canary=canary, cost_cap_microusd=cap), 0 if asked else CANARY_ROWS_MIN


def _calls_somebody(stage: Stage) -> bool:
    return any(one.crash_class is not CrashClass.PURE for one in providers_of(stage))


def new_batch(
    batch_id: UUID,
    recipe: Recipe,
    stages: list[Stage],
    columns: list[str] | None,
    terms: Terms,
    digest: bytes | None,
    canary_items_min: int = 0,
) -> NewBatch:
    """Return the batch to be written; raises ``UsageError`` and ``RecipeError``."""
    terms.check()
    used: set[str] = set().union(*(stage.columns() for stage in stages))
    recipe.check_columns(columns, used, str(terms.source.get("input", "input")))
    source = dict(terms.source) | {"folders": list(terms.folders)}
    return NewBatch(
        id=batch_id,
        tenant_id=terms.tenant_id,
        name=terms.name or recipe.name,
        class_name=terms.class_name,
        recipe_name=recipe.name,
        recipe_version=recipe.version,
        recipe=encode_json(recipe.body).decode(),
        columns=None if columns is None else encode_json(columns).decode(),
        cache_mode=terms.cache,
        unknown_policy=terms.unknown,
        idempotency_key=terms.idempotency_key,
        request_digest=digest,
        reserve_microcredits=price_of(stages).credits_microcredits,
        source=encode_json(source).decode(),
        canary=terms.canary or 0,
        canary_items_min=canary_items_min,
        look_first=terms.look_first,
        cost_cap_microusd=terms.cost_cap_microusd,
        on_demand=terms.on_demand,
        deadline_s=terms.deadline_s,
    )


def request_digest(recipe: Recipe, terms: Terms, rows_sha256: str) -> bytes:
    """Return what tells one submit under an idempotency key from another."""
    told = [recipe.version.hex(), terms.cache, terms.unknown, terms.class_name, rows_sha256]
    return hashlib.sha256("\n".join(told).encode()).digest()


def requestable(
    rows: Iterable[Row | BadRow | Mapping[str, Any]], stage: Stage, terms: Terms
) -> Iterator[Row | BadRow | Mapping[str, Any]]:
    """Pass rows on whose request at the first stage can be built: its photo is there, say.

    Raises ``InputError`` at the first row where it cannot. Photos are not decoded.
    """
    folders = tuple(Path(folder) for folder in terms.folders)
    for number, row in enumerate(rows, 1):
        if stage.provider is not None and not isinstance(row, BadRow):
            values = dict(row.values if isinstance(row, Row) else row)
            try:
                requests_of(
                    stage, StageInput(values, {}, {}, None, number, terms.name or "", folders)
                )
            except CallFailed as error:
                outcome = error.outcome
                reason = outcome.reason.removeprefix(f"row {number}: ")
                bad = InputError(reason, place=f"row {number}", remedy=outcome.remedy)
                bad.row = number
                raise bad from error
        yield row


def items_of(
    rows: Iterable[Row | BadRow | Mapping[str, Any]], required: tuple[str, ...], strict: bool
) -> Iterator[NewItem]:
    """Turn rows into items; a row that cannot be used becomes an item that failed at once.

    With ``strict`` such a row raises ``InputError`` instead, and nothing is submitted.
    """
    encode = msgspec.json.Encoder().encode
    for number, row in enumerate(rows, 1):
        if isinstance(row, BadRow):
            if strict:
                raise row.as_error()
            yield _bad(encode(row.values), row.reason, row.remedy, row.place)
            continue
        values = row.values if isinstance(row, Row) else row
        try:
            text = _checked(encode, values, number, required)
        except InputError as bad:
            bad.row = number
            if strict:
                raise
            yield _bad(_salvaged(encode, values), bad.message, bad.remedy, bad.place)
        else:
            yield NewItem(text.decode())


_UNWRITABLE = (UnicodeEncodeError, TypeError, OverflowError, RecursionError)


def _checked(
    encode: Callable[[Any], bytes],
    values: Mapping[str, Any],
    number: int,
    required: tuple[str, ...],
) -> bytes:
    """Return a row as JSON; raises ``InputError`` with what is wrong with it."""
    try:
        text = encode(values)
    except _UNWRITABLE as error:
        raise InputError(
            f"a cell cannot be written as JSON: {error}",
            place=f"row {number}",
            remedy="Use text, numbers, booleans, lists and objects, not nested too deep.",
        ) from error
    missing = [name for name in required if values.get(name) in (None, "")]
    if missing or (b"\\u0000" in text and _NUL.search(text) is not None):
        raise _lacks(number, missing)
    return text


def _salvaged(encode: Callable[[Any], bytes], values: Mapping[str, Any]) -> bytes:
    """Return what can be shown of a bad row in the results."""
    try:
        return _NUL.sub(rb"\1", encode(values))
    except _UNWRITABLE:
        return b"{}"


def _lacks(number: int, missing: list[str]) -> InputError:
    if not missing:
        return InputError(
            "a cell holds a NUL character",
            place=f"row {number}",
            remedy="Remove the character; PostgreSQL and most programs cannot hold it.",
        )
    columns = ", ".join(map(repr, missing))
    return InputError(
        f"required column {columns} is empty",
        place=f"row {number}",
        remedy="Fill the cell, or make the column optional in the recipe.",
    )


def _bad(inputs: bytes, reason: str, remedy: str, place: str) -> NewItem:
    error = {"code": "invalid_input", "reason": f"{place}: {reason}", "remedy": remedy}
    return NewItem(inputs.decode(), encode_json(error).decode())
