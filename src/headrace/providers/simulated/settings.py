"""The settings of the simulated provider, read from a config table with checks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import NormalDist
from typing import Any

from headrace.errors import ConfigError
from headrace.nearest import did_you_mean
from headrace.outcome import OutcomeKind
from headrace.provider import CrashClass

_NORMAL = NormalDist()
BODIES = ("text", "json", "image", "video")


@dataclass(frozen=True)
class LogNormal:
    """A latency that varies: half of the calls are below ``median_s``; ``sigma`` 0.5 is usual."""

    median_s: float
    sigma: float = 0.5

    def at(self, share: float) -> float:
        """Return the latency that ``share`` of all calls stay below."""
        share = min(max(share, 1e-6), 1.0 - 1e-6)
        return self.median_s * math.exp(self.sigma * _NORMAL.inv_cdf(share))


@dataclass(frozen=True)
class SimulatedSettings:
    """How the simulated provider behaves; the default answers at once, with a little text.

    ``failures`` gives the share of calls that end in each outcome. Refused and invalid
    depend on the request's content, the others on the call's key and how often this process
    sent it, all on ``seed``: the same call ends the same way in every run. ``retry_after_share``
    of rate limits, spent quotas and overloads name a wait of ``retry_after_s``. ``size_px`` and
    ``body_bytes`` shape image bodies; ``body_bytes`` also lengthens text and films.
    """

    latency_s: float | LogNormal = 0.0
    crash_class: CrashClass = CrashClass.BLIND
    failures: dict[OutcomeKind, float] = field(default_factory=dict)
    retry_after_share: float = 1.0
    retry_after_s: float = 1.0
    body: str = "text"
    size_px: tuple[int, int] = (256, 256)
    body_bytes: int = 0
    price_microcredits: int = 0
    cost_microusd: int = 0
    concurrency: int = 64
    models: tuple[str, ...] = ()
    log_path: Path | None = None
    seed: int = 0


def read_settings(name: str, table: dict[str, Any]) -> SimulatedSettings:
    """Return the settings of ``[providers.<name>]``; raises ``ConfigError`` with the remedy."""
    place = f"[providers.{name}]"
    known = [entry.name for entry in fields(SimulatedSettings)]
    kept: dict[str, Any] = {}
    for key, value in table.items():
        if key == "kind":
            continue
        if key not in known:
            raise ConfigError(f"unknown key {key!r}", place=place, remedy=did_you_mean(key, known))
        kept[key] = _READERS[key](value, f"{place} {key}")
    settings = SimulatedSettings(**kept)
    if sum(settings.failures.values()) > 1.0 + 1e-9:
        raise ConfigError("the shares of failures sum to more than 1", place=f"{place} failures")
    return settings


def _number(value: Any, place: str, most: float = math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ConfigError(f"not a number between 0 and {most:g}: {value!r}", place=place)
    return float(value)


def _share(value: Any, place: str) -> float:
    return _number(value, place, 1.0)


def _count(value: Any, place: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ConfigError(f"not a whole number of zero or more: {value!r}", place=place)
    return value


def _at_least_one(value: Any, place: str) -> int:
    if _count(value, place) < 1:
        raise ConfigError(f"must be 1 or more, not {value!r}", place=place)
    return int(value)


def _latency(value: Any, place: str) -> float | LogNormal:
    if not isinstance(value, dict):
        return _number(value, place)
    known = ("median_s", "sigma")
    for key in value:
        if key not in known:
            raise ConfigError(f"unknown key {key!r}", place=place, remedy=did_you_mean(key, known))
    if "median_s" not in value:
        raise ConfigError(
            "median_s is missing", place=place, remedy="{ median_s = 2.0, sigma = 0.5 }"
        )
    return LogNormal(**{key: _number(item, f"{place}.{key}") for key, item in value.items()})


def _crash_class(value: Any, place: str) -> CrashClass:
    by_word = {word: member for member in CrashClass for word in (member.value, member.name)}
    found = by_word.get(value) or by_word.get(str(value).upper())
    if found is None:
        remedy = "Use pure, A (keyed), B (listed), C (polled) or D (blind)."
        raise ConfigError(f"{value!r} is not a crash class", place=place, remedy=remedy)
    return found


def _failures(value: Any, place: str) -> dict[OutcomeKind, float]:
    if not isinstance(value, dict):
        raise ConfigError(
            f"not a table: {value!r}", place=place, remedy="{ rate_limited = 0.05, refused = 0.01 }"
        )
    words = [kind.value for kind in OutcomeKind if kind is not OutcomeKind.SUCCESS]
    for key in value:
        if key not in words:
            remedy = did_you_mean(key, words)
            raise ConfigError(f"{key!r} is not an outcome", place=place, remedy=remedy)
    return {OutcomeKind(key): _share(item, f"{place}.{key}") for key, item in value.items()}


def _body(value: Any, place: str) -> str:
    if value not in BODIES:
        remedy = did_you_mean(str(value), BODIES)
        raise ConfigError(f"{value!r} is not a body", place=place, remedy=remedy)
    return str(value)


def _size(value: Any, place: str) -> tuple[int, int]:
    parts = value.lower().split("x") if isinstance(value, str) else value
    try:
        width, height = (int(part) for part in parts)
    except (TypeError, ValueError):
        raise ConfigError(f"{value!r} is not a size", place=place, remedy='"512x512"') from None
    if not (1 <= width <= 8192 and 1 <= height <= 8192):
        raise ConfigError(f"{value!r} is not between 1 and 8192 px a side", place=place)
    return width, height


def _models(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) for name in value):
        raise ConfigError(f"not a list of names: {value!r}", place=place)
    return tuple(value)


def _path(value: Any, place: str) -> Path | None:
    if value in (None, ""):
        return None
    if not isinstance(value, str | Path):
        raise ConfigError(f"not a path: {value!r}", place=place)
    return Path(value)


_READERS = {
    "latency_s": _latency,
    "crash_class": _crash_class,
    "failures": _failures,
    "retry_after_share": _share,
    "retry_after_s": _number,
    "body": _body,
    "size_px": _size,
    "body_bytes": _count,
    "price_microcredits": _count,
    "cost_microusd": _count,
    "concurrency": _at_least_one,
    "models": _models,
    "log_path": _path,
    "seed": _count,
}
