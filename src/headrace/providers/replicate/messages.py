"""What is said to Replicate and what it says back, as values; nothing is sent here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from headrace.outcome import OutcomeKind, failed
from headrace.price_table import Usage
from headrace.providers.remote.cell_numbers import Kind, cell_value, wrong_cell

OUTPUT_INDEX = "output_index"
"""The one param that is ours: which file of several is the item's result."""

FILES_MAX = 1000
DEPTH_MAX = 8
NODES_MAX = 100_000
METRICS_MAX = 50
WORD_CHARS_MAX = 150
COUNT_MAX = 2**53
URL_CHARS_MAX = 8192
# A model's inputs are its own; these are numbers wherever they are met.
NUMBERS: dict[str, Kind] = {
    "seed": int,
    "width": int,
    "height": int,
    "num_outputs": int,
    "num_inference_steps": int,
    "num_frames": int,
    "steps": int,
    "output_quality": int,
    "max_tokens": int,
    "max_new_tokens": int,
    "top_k": int,
    "top_p": float,
    "temperature": float,
    "guidance": float,
    "guidance_scale": float,
    "prompt_strength": float,
    OUTPUT_INDEX: int,
}
ENDED = frozenset(("succeeded", "failed", "canceled", "aborted"))
"""The states of a prediction that is over; every other one goes on."""

_NAME = r"[A-Za-z0-9][\w.-]{0,99}"
_MODEL = re.compile(rf"({_NAME}/{_NAME})(?::([0-9A-Za-z]{{1,64}}))?", re.A)
_DEPLOYMENT = re.compile(rf"deployments/({_NAME}/{_NAME})", re.A)
_VERSION = re.compile(r"[0-9a-f]{64}")
_ID = re.compile(r"[\w-]{1,200}", re.A)
_ADDRESS = re.compile(r"https?://[^\s/?#]+(?:[/?#]\S*)?", re.I)
_DATA = re.compile(r"data:[\w.+-]+/[\w.+-]+[^\s,]{0,200},", re.I | re.A)
_SHOWN = ("seed", "width", "height")
_COUNTS = ("num_outputs", "num_images", "number_of_images", "max_images")

encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Target:
    """Where a prediction is created: a path below ``base_url``, and the version to name there."""

    path: str
    version: str | None = None


def target_of(model: str) -> Target | None:
    """Return where a model's predictions are created, ``None`` for what is no name of one.

    ``owner/name`` is an official model; ``owner/name:version`` or the version alone any
    other; ``deployments/owner/name`` a deployment.
    """
    deployment = _DEPLOYMENT.fullmatch(model)
    if deployment is not None:
        return Target(f"deployments/{deployment[1]}/predictions")
    if _VERSION.fullmatch(model):
        return Target("predictions", model)
    named = _MODEL.fullmatch(model)
    if named is None:
        return None
    if named[2] is not None:
        return Target("predictions", model)
    return Target(f"models/{named[1]}/predictions")


def wrong_param(name: str, value: Any) -> str:
    """Return what is wrong with a parameter, empty when nothing is."""
    kind = NUMBERS.get(name)
    if kind is None or value is None:
        return ""
    if name == OUTPUT_INDEX and (cell_value(value, int) or 0) < 0:
        return f"{OUTPUT_INDEX} = {value!r} is below zero: the first output is 0"
    return wrong_cell(name, value, kind)


def body_of(target: Target, params: Mapping[str, Any], webhook: str = "") -> bytes:
    """Return the body that creates a prediction; raises ``CallFailed`` for a wrong param.

    ``webhook`` is the address that is told when it has ended, empty for none.
    """
    given = {}
    for name, value in params.items():
        wrong = wrong_param(name, value)
        if wrong:
            raise failed(OutcomeKind.INVALID, wrong, remedy="Change the stage's params.")
        if name != OUTPUT_INDEX:
            kind = NUMBERS.get(name)
            is_text = kind is not None and isinstance(value, str)
            given[name] = cell_value(value, kind) if kind is not None and is_text else value
    body: dict[str, Any] = {"input": given}
    if target.version is not None:
        body["version"] = target.version
    if webhook:
        body |= {"webhook": webhook, "webhook_events_filter": ["completed"]}
    try:
        return encode(body)
    except (OverflowError, TypeError, ValueError, RecursionError) as error:
        raise failed(OutcomeKind.INVALID, f"the params cannot be sent: {error}") from None


def most_of(params: Mapping[str, Any]) -> Usage | None:
    """Return the most images that a prediction gives, ``None`` where their number is unclear."""
    most = 1
    for name in _COUNTS:
        if name in params:
            number = cell_value(params[name], int)
            if not isinstance(number, int) or not 1 <= number <= FILES_MAX:
                return None
            most = max(most, number)
    return Usage(images=most)


def index_of(params: Mapping[str, Any]) -> int:
    """Return which output is the item's result: ``output_index``, the first by default."""
    return int(cell_value(params.get(OUTPUT_INDEX, 0), int) or 0)


# -- what a prediction says ---------------------------------------------------------------------


def id_of(prediction: Mapping[str, Any]) -> str | None:
    """Return a prediction's id, ``None`` for what cannot be one."""
    found = prediction.get("id")
    return found if isinstance(found, str) and is_id(found) else None


def is_id(name: str) -> bool:
    """Tell whether a text can be a prediction's id, so that an address can be made of it."""
    return _ID.fullmatch(name) is not None


def never_ran(prediction: Mapping[str, Any]) -> bool:
    """Tell whether a prediction was stopped before its work began: nothing is billed then."""
    if prediction.get("status") not in ("canceled", "aborted") or "created_at" not in prediction:
        return False
    usage = usage_of(prediction.get("metrics"))
    return prediction.get("started_at") is None and not usage.get("predict_time_ms")


def has_ended(prediction: Mapping[str, Any]) -> bool:
    """Tell whether a prediction is over."""
    state = prediction.get("status")
    return isinstance(state, str) and state.lower() in ENDED


def facts_of(prediction: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a prediction tells of itself: model, seed, size, and what it used.

    ``usage`` are the metrics that are whole numbers, as they are named; those that are
    times become whole milliseconds: ``predict_time`` is ``predict_time_ms``.
    """
    facts: dict[str, Any] = {}
    model, version = prediction.get("model"), prediction.get("version")
    if _is_word(model):
        exact = _is_word(version) and version != "hidden"
        facts["model"] = f"{model}:{version}" if exact else model
    given = prediction.get("input")
    for name in _SHOWN:
        if isinstance(given, dict) and _is_count(given.get(name)):
            facts[name] = given[name]
    usage = usage_of(prediction.get("metrics"))
    if usage:
        facts["usage"] = usage
    return facts


def usage_of(metrics: Any) -> dict[str, int]:
    """Return the metrics of a prediction as whole numbers."""
    usage: dict[str, int] = {}
    for name, value in list(metrics.items())[:METRICS_MAX] if isinstance(metrics, dict) else ():
        if isinstance(value, bool) or not isinstance(value, int | float) or not _is_word(name):
            continue
        if name.endswith("_time") and 0 <= value < 1e12:
            usage[f"{name}_ms"] = round(value * 1000)
        elif isinstance(value, int) and _is_count(value):
            usage[name] = value
    return usage


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= WORD_CHARS_MAX and value.isprintable()


def _is_count(value: Any) -> bool:
    return type(value) is int and abs(value) < COUNT_MAX


@dataclass(frozen=True, slots=True)
class Output:
    """What a prediction gave: the addresses of files, or a text with its media type."""

    files: tuple[str, ...] = ()
    text: bytes = b""
    media_type: str = ""


def output_of(value: Any) -> Output | None:
    """Return what an output holds, ``None`` when it holds nothing.

    A text, or a list of texts (its pieces), is a text, unless all of them are addresses.
    An object or list with addresses anywhere inside is those files; any other is JSON.
    """
    if value is None or value == "" or value == [] or value == {}:
        return None
    pieces = value if isinstance(value, list) else [value]
    if all(isinstance(piece, str) for piece in pieces):
        told = [piece for piece in pieces if piece]
        if told and all(is_address(piece) for piece in told):
            return Output(files=tuple(told[:FILES_MAX]))
        text = "".join(told).encode("utf-8", "replace")
        return Output(text=text, media_type="text/plain") if text.strip() else None
    files = tuple(islice(_addresses(value), FILES_MAX))
    if files:
        return Output(files=files)
    return Output(text=_json(value), media_type="application/json")


def _json(value: Any) -> bytes:
    # Not msgspec: what a model says may hold numbers of any length.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def is_address(text: str) -> bool:
    """Tell whether a text is one address, and nothing else."""
    if len(text) <= URL_CHARS_MAX and _ADDRESS.fullmatch(text) is not None:
        return True
    return _DATA.match(text) is not None


def _addresses(value: Any) -> Iterator[str]:
    """Yield the addresses inside of a value, in their order; of a huge one, only the first."""
    left, seen = [(value, 0)], 0
    while left and seen < NODES_MAX:
        inner, depth = left.pop()
        seen += 1
        if isinstance(inner, str):
            if is_address(inner):
                yield inner
        elif depth < DEPTH_MAX and isinstance(inner, dict | list):
            parts = islice(inner.values() if isinstance(inner, dict) else inner, NODES_MAX)
            left.extend((part, depth + 1) for part in reversed([*parts]))
