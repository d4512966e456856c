"""What is said to Black Forest Labs and what it says back, as values; nothing is sent here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from yarl import URL

from headrace.outcome import OutcomeKind, failed
from headrace.providers.remote.cell_numbers import Kind, cell_value, wrong_cell

CREDIT_MICROUSD = 10_000
"""A credit is a cent."""
CREDITS_MAX = 1_000_000
COUNT_MAX = 2**53
ENDED = frozenset(("ready", "request moderated", "content moderated", "error"))
"""The states of a task that is over; every other one goes on."""
NOT_FOUND = "task not found"
COST = "cost_microusd="
DIGITS_MAX = 15

KINDS: dict[str, Kind] = {
    "width": int,
    "height": int,
    "seed": int,
    "steps": int,
    "safety_tolerance": int,
    "guidance": float,
    "image_prompt_strength": float,
    "finetune_strength": float,
    "top": int,
    "bottom": int,
    "left": int,
    "right": int,
    "prompt_upsampling": bool,
    "raw": bool,
}
_FIXED = {
    "webhook_url": "with it the answer has no address to look at",
    "webhook_secret": "there is no webhook",
}
_MODEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}", re.A)
_ID = re.compile(r"[\w-]{1,200}", re.A)

encode = msgspec.json.Encoder().encode


def is_model(name: str) -> bool:
    """Tell whether a text can be the name of a model."""
    return _MODEL.fullmatch(name) is not None


def wrong_param(name: str, value: Any) -> str:
    """Return what is wrong with a parameter, empty when nothing is."""
    if name in _FIXED:
        return f"{name!r} cannot be set: {_FIXED[name]}"
    kind = KINDS.get(name)
    return "" if kind is None or value is None else wrong_cell(name, value, kind)


def body_of(params: Mapping[str, Any]) -> bytes:
    """Return the body that submits a task; raises ``CallFailed`` for a wrong param."""
    body = {}
    for name, value in params.items():
        wrong = wrong_param(name, value)
        if wrong:
            raise failed(OutcomeKind.INVALID, wrong, remedy="Change the stage's params.")
        kind = KINDS.get(name)
        body[name] = value
        if kind is not None and isinstance(value, str):
            body[name] = cell_value(value, kind)
    try:
        return encode(body)
    except (OverflowError, TypeError, ValueError, RecursionError) as error:
        raise failed(OutcomeKind.INVALID, f"the params cannot be sent: {error}") from None


# -- what a task says ---------------------------------------------------------------------------


def id_of(told: Mapping[str, Any]) -> str | None:
    """Return a task's id, ``None`` for what cannot be one."""
    found = told.get("id")
    return found if isinstance(found, str) and _ID.fullmatch(found) else None


def state_of(told: Mapping[str, Any]) -> str:
    """Return a task's state in lower case, empty when it tells none."""
    state = told.get("status")
    return state.strip().lower() if isinstance(state, str) else ""


def has_ended(told: Mapping[str, Any]) -> bool:
    """Tell whether a task is over."""
    return state_of(told) in ENDED


def is_missing(told: Mapping[str, Any]) -> bool:
    """Tell whether the answer is that there is no such task."""
    return state_of(told) == NOT_FOUND


def cost_of(told: Mapping[str, Any]) -> int | None:
    """Return the cost that a submit tells, in micro-USD, ``None`` when it tells none."""
    credits = told.get("cost")
    if isinstance(credits, bool) or not isinstance(credits, int | float):
        return None
    if not 0 <= credits <= CREDITS_MAX:
        return None
    return round(credits * CREDIT_MICROUSD)


def with_cost(url: URL, cost_microusd: int | None) -> str:
    """Return a polling address that remembers the cost, in its fragment, which is never sent.

    The cost is told once, in the answer to the submit; a worker that goes on after a crash
    knows no more than the id and the address.
    """
    kept = None if cost_microusd is None else f"{COST}{cost_microusd}"
    return str(url.with_fragment(kept))


def remembered_cost(address: str) -> int | None:
    """Return the cost that a polling address remembers, ``None`` when it has none."""
    _, found, digits = address.partition(f"#{COST}")
    is_whole = digits.isascii() and digits.isdigit() and len(digits) <= DIGITS_MAX
    return int(digits) if found and is_whole else None


def facts_of(submitted: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a task tells of itself: the seed, the size, megapixels in and out."""
    facts: dict[str, Any] = {}
    for name in ("seed", "width", "height"):
        value = result.get(name)
        if type(value) is int and abs(value) < COUNT_MAX:
            facts[name] = value
    for name in ("input_mp", "output_mp"):
        told = submitted.get(name)
        is_number = isinstance(told, int | float) and not isinstance(told, bool)
        if told is not None and is_number and 0 < told < COUNT_MAX:
            facts[name] = told
    return facts
