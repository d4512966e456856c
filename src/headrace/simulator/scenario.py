"""Reading a scenario: a TOML file or a JSON body into settings, with errors that say what to do."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from headrace.errors import ConfigError
from headrace.limits import Dimension
from headrace.nearest import did_you_mean
from headrace.simulator.settings import (
    CRASH_CLASSES,
    FAULTS,
    FOREVER_S,
    HEADERS,
    LIMITERS,
    MEDIA,
    RETRY_AFTER,
    SHAPES,
    ChangeSettings,
    LimitSettings,
    Settings,
)

DIMENSIONS = tuple(Dimension)
RATES = tuple(one for one in DIMENSIONS if one is not Dimension.CONCURRENCY)


def read_scenario(path: Path) -> dict[str, Any]:
    """Return the tree of a scenario file, unchecked; raises ``ConfigError``."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        remedy = "examples/scenario.toml is one to start from."
        raise ConfigError("there is no such file", place=str(path), remedy=remedy) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file cannot be read: {error}", place=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", place=str(path)) from error


def build_settings(tree: Mapping[str, Any], place: str = "scenario") -> Settings:
    """Return the settings that a tree holds; raises ``ConfigError`` with place and remedy."""
    _check_names(tree, Settings, place, "")
    try:
        settings = msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        remedy = "examples/scenario.toml explains each setting."
        raise ConfigError(_plain(str(error)), place=place, remedy=remedy) from error
    for problem in _problems(settings):
        raise ConfigError(problem[0], place=place, remedy=problem[1])
    return settings


def _plain(said: str) -> str:
    """Return msgspec's words with the setting's name first."""
    found = re.fullmatch(r"(.*) - at `\$\.?([^`]*)`", said)
    return f"{found[2]}: {found[1]}" if found else said


def _check_names(value: Any, kind: Any, place: str, above: str) -> None:
    """Raise for the first key that no table of this type has."""
    struct, many = _struct_of(kind)
    if struct is None:
        return
    for one in value if many and isinstance(value, list | tuple) else [value]:
        if not isinstance(one, Mapping):
            continue
        known = {field.name: field.type for field in msgspec.structs.fields(struct)}
        for key, inner in one.items():
            if key not in known:
                raise ConfigError(
                    f"unknown setting {above}{key!r}",
                    place=place,
                    remedy=did_you_mean(str(key), known),
                )
            _check_names(inner, known[key], place, f"{above}{key}.")


def _struct_of(kind: Any) -> tuple[type[msgspec.Struct] | None, bool]:
    """Return the table that a setting's type holds, and whether there may be many."""
    for one in (kind, *get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return one, one is not kind and Ellipsis in get_args(kind)
    return None, False


Problem = tuple[str, str]


def _problems(settings: Settings) -> Iterable[Problem]:
    """Yield what is wrong, with the remedy."""
    yield from _endless(settings)
    yield from _words(settings)
    yield from _numbers(settings)
    for number, limit in enumerate(settings.limits, 1):
        for said, remedy in _limit_problems(limit):
            yield f"limits, number {number}: {said}", remedy
    yield from _spans(settings)
    yield from _overlaps(settings.changes)
    other = settings.other
    told = any(one.dimension in RATES for one in settings.limits)
    if other is not None and other.rate is None and not told:
        remedy = "Set other.rate (calls per second), or a limit."
        yield "other.share is a share of the limits, and there are none", remedy


def _endless(table: msgspec.Struct, above: str = "") -> Iterable[Problem]:
    """Yield numbers that are none or without end: TOML has both, and no comparison finds a nan.

    Only the end of a span may be ``inf``.
    """
    for field in msgspec.structs.fields(table):
        name, value = above + field.name, getattr(table, field.name)
        if isinstance(value, msgspec.Struct):
            yield from _endless(value, f"{name}.")
            continue
        for number, one in enumerate(value if isinstance(value, tuple) else (value,), 1):
            if isinstance(one, msgspec.Struct):
                yield from _endless(one, f"{name}, number {number}: ")
            elif (field.name, one) != ("until_s", math.inf) and not _is_finite(one):
                remedy = "Set a finite number, or leave out what has no limit."
                yield f"{name} = {one!r} is not a finite number", remedy


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _spans(settings: Settings) -> Iterable[Problem]:
    """Yield spans of time that end before they begin, and changes that would be none."""
    spans = [("changes", "at_s", one.at_s, one.until_s) for one in settings.changes]
    spans += [("faults", "from_s", one.from_s, one.until_s) for one in settings.faults]
    for name, begin, from_s, until_s in spans:
        if until_s <= from_s:
            yield f"{name}: until_s = {until_s:g} is not after {begin}", "Swap the two."
    for change in settings.changes:
        if change.factor <= 0:
            yield f"changes: factor = {change.factor:g} stops the lane", "Use an outage for that."


def _overlaps(changes: Iterable[ChangeSettings]) -> Iterable[Problem]:
    """Yield changes of the same limits that overlap: the end of one would end the other too."""
    ends: dict[str | None, tuple[float, int]] = {}
    for number, one in sorted(enumerate(changes, 1), key=lambda both: both[1].at_s):
        for dimension in ends if one.dimension is None else (None, one.dimension):
            until_s, before = ends.get(dimension, (-math.inf, 0))
            if one.at_s < until_s:
                end = "never" if until_s >= FOREVER_S else f"at {until_s:g} s"
                said = f"number {number} begins at {one.at_s:g} s, number {before} ends {end}"
                yield f"changes: {said}", "Set until_s so that one ends before the next begins."
        ends[one.dimension] = (one.until_s, number)


def _words(settings: Settings) -> Iterable[Problem]:
    """Yield words that are not in their list."""
    told: list[tuple[str, str, Iterable[str]]] = [
        ("retry_after", settings.retry_after, RETRY_AFTER),
        ("headers.kind", settings.headers.kind, HEADERS),
        ("crash_class", settings.crash_class, CRASH_CLASSES),
    ]
    told += [("shapes", shape, SHAPES) for shape in settings.shapes]
    told.append(("output.media", settings.output.media, MEDIA))
    told += [("limits.kind", one.kind, LIMITERS) for one in settings.limits]
    told += [("limits.dimension", one.dimension, DIMENSIONS) for one in settings.limits]
    told += [("faults.kind", one.kind, FAULTS) for one in settings.faults]
    told += [
        ("changes.dimension", one.dimension, DIMENSIONS)
        for one in settings.changes
        if one.dimension is not None
    ]
    for name, word, known in told:
        if word not in known:
            yield f"{name} = {word!r} is not known", did_you_mean(word, known)


def _numbers(settings: Settings) -> Iterable[Problem]:
    """Yield numbers out of their range."""
    latency, output, other = settings.latency, settings.output, settings.other
    at_least: list[tuple[str, float | None, float]] = [
        ("latency.median_s", latency.median_s, 0.0),
        ("latency.sigma", latency.sigma, 0.0),
        ("latency.cold_calls", latency.cold_calls, 0.0),
        ("latency.cold_s", latency.cold_s, 0.0),
        ("latency.refusal_s", latency.refusal_s, 0.0),
        ("latency.slots", latency.slots, 1.0),
        ("latency.queue_max", latency.queue_max, 0.0),
        ("output.image_bytes", output.image_bytes, 0.0),
        ("output.film_bytes", output.film_bytes, 0.0),
        ("output.text_tokens", output.text_tokens, 1.0),
        ("output.ttl_s", output.ttl_s, 0.0),
        ("busy_wait_s", settings.busy_wait_s, 0.0),
        ("budget_calls", settings.budget_calls, 0.0),
        ("polls_per_min", settings.polls_per_min, 1.0),
        ("body_bytes_max", settings.body_bytes_max, 1.0),
        ("log_calls_max", settings.log_calls_max, 0.0),
        ("headers.factor", settings.headers.factor, 1e-6),
    ]
    at_least += [("snapshots_s", at_s, 0.0) for at_s in settings.snapshots_s]
    at_least += [("faults.share", one.share, 0.0) for one in settings.faults]
    at_least += [("faults.hang_s", one.hang_s, 0.0) for one in settings.faults]
    if other is not None:
        at_least += [("other.rate", other.rate, 1e-6), ("other.share", other.share, 1e-6)]
        at_least += [("other.holds_s", other.holds_s, 0.0)]
    for name, value, least in at_least:
        if value is not None and not least <= value < math.inf:
            yield f"{name} = {value!r} is out of range", f"Set it to {least:g} or more."
    for one in settings.faults:
        if one.share > 1:
            yield f"faults.share = {one.share:g} is more than all calls", "Use 0 to 1."
    if other is not None and other.share > 1:
        yield f"other.share = {other.share:g} is more than everything", "Use 0 to 1."


def _limit_problems(limit: LimitSettings) -> Iterable[Problem]:
    positive: dict[str, Callable[[], bool]] = {
        "amount": lambda: limit.amount > 0,
        "window_s": lambda: limit.span_s > 0,
        "burst": lambda: limit.burst is None or limit.burst > 0,
        "sub_s": lambda: limit.sub_s > 0,
    }
    for name, holds in positive.items():
        if not holds():
            yield f"{name} = {getattr(limit, name)!r} is out of range", "Set it above 0."
    is_rate = limit.dimension != Dimension.CONCURRENCY
    if is_rate and limit.kind == "concurrency":
        yield f"{limit.dimension} cannot be limited by concurrency", 'dimension = "concurrency"'
    if not is_rate and limit.amount != int(limit.amount):
        yield f"amount = {limit.amount!r} calls at a time", "Use a whole number."
    if limit.penalty_s < 0:
        yield f"penalty_s = {limit.penalty_s!r} is out of range", "Set it to 0 or more."
