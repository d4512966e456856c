"""One tree of settings: defaults, then headrace.toml, then HEADRACE_* variables, then flags."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import ConfigError
from headrace.nearest import did_you_mean

FILE = "headrace.toml"
PREFIX = "HEADRACE_"
FREE_TABLES = ("providers",)
"""Tables whose keys are the user's own names; each adapter checks what is inside."""

IGNORED_VARIABLES = ("HEADRACE_CRASH_AT", "HEADRACE_TRACEBACK", "HEADRACE_CONFIG")


class Worker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How this process takes part in the work.

    ``shards_held`` shards at a time, of ``shard_items_max`` items at most; a worker whose
    heartbeat is missing for ``heartbeat_s`` seconds (10 or more) loses its shards;
    ``call_timeout_s`` bounds one call to a provider.
    """

    shards_held: int = 4
    shard_items_max: int = 500
    heartbeat_s: float = 10.0
    call_timeout_s: float = 600.0


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Attempts per stage, the first included, and the bounds of the waits between them."""

    attempts: int = 5
    base_s: float = 2.0
    cap_s: float = 32.0


class Cache(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a result is reused, and the mode of a run that names none."""

    ttl_s: float = 86_400.0
    mode: str = "reuse"


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on input: bytes of one field, rows of one batch."""

    field_bytes_max: int = 1_048_576
    rows_max: int = 10_000_000


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting. ``home`` holds the embedded database and, unless told otherwise, the blobs.

    ``database_url`` points at a PostgreSQL of your own; ``blob_url`` at a folder,
    ``s3://``, ``gs://`` or ``az://``; ``providers`` has a table for each provider.
    """

    home: str = ".headrace"
    database_url: str | None = None
    blob_url: str | None = None
    worker: Worker = Worker()
    retry: Retry = Retry()
    cache: Cache = Cache()
    limits: Limits = Limits()
    providers: dict[str, dict[str, Any]] = {}


def load_config(
    path: Path | str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Config:
    """Return the settings in force.

    ``path`` names a file that must be there; without one, ``HEADRACE_CONFIG`` or the
    ``headrace.toml`` of the current folder is read if there is one. ``flags`` are
    settings by dotted name; ``None`` values are not set. Raises ``ConfigError`` naming
    the place, the value and the remedy.
    """
    env = os.environ if environment is None else environment
    tree: dict[str, Any] = {}
    found = _file(path, env)
    if found is not None:
        _merge(tree, _read(found), str(found), ())
    for name in sorted(env):
        if name.startswith(PREFIX) and name not in IGNORED_VARIABLES and env[name] != "":
            keys = tuple(name.removeprefix(PREFIX).lower().split("__"))
            _merge(tree, _nest(keys, _literal(env[name])), name, ())
    for name, value in (flags or {}).items():
        if value is not None:
            _merge(tree, _nest(tuple(name.split(".")), value), f"--{name}", ())
    return _build(tree, str(found or "settings"))


def _file(path: Path | str | None, env: Mapping[str, str]) -> Path | None:
    named = path or env.get("HEADRACE_CONFIG")
    if named:
        if not Path(named).is_file():
            raise ConfigError(
                "there is no such file", place=str(named), remedy="'headrace init' writes one."
            )
        return Path(named)
    here = Path(FILE)
    return here if here.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the file cannot be read: {error}", place=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", place=str(path)) from error


def _known(keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the known keys at a place of the tree with their types; ``None``: all are free."""
    if keys and keys[0] in FREE_TABLES:
        return None
    kind: Any = Config
    for key in keys:
        kind = next(field.type for field in msgspec.structs.fields(kind) if field.name == key)
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _merge(tree: dict[str, Any], more: Any, place: str, keys: tuple[str, ...]) -> None:
    known = _known(keys)
    for key, value in more.items():
        here = (*keys, key)
        if known is not None and key not in known:
            raise ConfigError(
                f"unknown setting {'.'.join(here)!r}{_line(place, key)}",
                place=place,
                remedy=did_you_mean(key, known),
            )
        table = known is None or (
            isinstance(known[key], type) and issubclass(known[key], msgspec.Struct)
        )
        if (table or key in FREE_TABLES) and isinstance(value, dict):
            branch = tree.setdefault(key, {})
            if isinstance(branch, dict):
                _merge(branch, value, place, here)
                continue
        tree[key] = value


def _line(place: str, key: str) -> str:
    """Return `` (line N)`` where ``place`` is a file that has the key at the start of a line."""
    try:
        lines = Path(place).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for number, line in enumerate(lines, 1):
        if line.lstrip().lstrip("[").startswith(key):
            return f" (line {number})"
    return ""


def _nest(keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def _literal(text: str) -> Any:
    """Read a variable as a TOML value where it is one (numbers, true, false), else as text."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, int | float | bool | list) else text


def _build(tree: dict[str, Any], place: str) -> Config:
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(
            str(error),
            place=place,
            remedy="'headrace init' writes a file that explains each setting.",
        ) from error
    _check(config, place)
    return config


def _check(config: Config, place: str) -> None:
    rules = (
        (
            config.worker.shards_held >= 2,
            "worker.shards_held",
            config.worker.shards_held,
            "2 or more",
        ),
        (
            1 <= config.worker.shard_items_max <= 5000,
            "worker.shard_items_max",
            config.worker.shard_items_max,
            "1 to 5000",
        ),
        (
            config.worker.heartbeat_s >= 10,
            "worker.heartbeat_s",
            config.worker.heartbeat_s,
            "10 or more",
        ),
        (
            config.worker.call_timeout_s > 0,
            "worker.call_timeout_s",
            config.worker.call_timeout_s,
            "above 0",
        ),
        (1 <= config.retry.attempts <= 100, "retry.attempts", config.retry.attempts, "1 to 100"),
        (config.retry.base_s >= 0, "retry.base_s", config.retry.base_s, "0 or more"),
        (config.retry.cap_s >= 0, "retry.cap_s", config.retry.cap_s, "0 or more"),
        (config.cache.ttl_s > 0, "cache.ttl_s", config.cache.ttl_s, "above 0"),
        (
            config.cache.mode in ("reuse", "refresh", "off"),
            "cache.mode",
            config.cache.mode,
            "reuse, refresh or off",
        ),
        (
            config.limits.field_bytes_max > 0,
            "limits.field_bytes_max",
            config.limits.field_bytes_max,
            "above 0",
        ),
        (config.limits.rows_max > 0, "limits.rows_max", config.limits.rows_max, "above 0"),
    )
    for holds, name, value, wanted in rules:
        if not holds:
            raise ConfigError(
                f"{name} = {value!r} is out of range", place=place, remedy=f"Set it to {wanted}."
            )


def default_config_text() -> str:
    """Return a commented ``headrace.toml`` in which every setting stands with its default."""
    return (Path(__file__).parent / "headrace.default.toml").read_text(encoding="utf-8")
