"""One tree of settings: defaults, then headrace.toml, then HEADRACE_* variables, then flags."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from headrace.errors import ConfigError
from headrace.nearest import did_you_mean
from headrace.observe_settings import Log, Metrics, observe_rules
from headrace.plan import CLASSES
from headrace.price import USD_MAX
from headrace.provenance_settings import ProvenanceSettings
from headrace.storage_settings import Http, Storage, storage_rules
from headrace.upkeep_settings import Retention, Webhooks, retention_rules

FILE = "headrace.toml"
PREFIX = "HEADRACE_"
FREE_TABLES = ("providers", "recipes", "policy", "schedules")
"""Tables whose keys are the user's own names; each adapter checks what is inside."""
GATES = ("auto", "local", "postgres")

# Kubernetes sets these in every container beside a service that is named headrace.
_SERVICE_VARIABLE = re.compile(r"HEADRACE_(SERVICE_(HOST|PORT)|PORT)(_.*)?")
_SECRET_NAME = re.compile(r".*(key|token|secret|password)")
_SPOKEN = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text (in quotes)",
    "object": "a table",
    "bool": "true or false",
}

IGNORED_VARIABLES = (
    "HEADRACE_CRASH_AT",
    "HEADRACE_TRACEBACK",
    "HEADRACE_CONFIG",
    "HEADRACE_MASTER_KEY",
)


class Worker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How this process takes part in the work.

    ``shards_held`` shards at a time, of ``shard_items_max`` items at most; a worker whose
    heartbeat is missing for ``heartbeat_s`` seconds (10 or more) loses its shards;
    ``call_timeout_s`` bounds one call to a provider; ``gate`` says who shares the quota:
    ``local`` (this process), ``postgres`` (all on the same database), or ``auto``:
    ``postgres`` where ``database_url`` is set. ``classes`` are those of the batches that it
    works on, between commas; all without any.
    """

    shards_held: int = 4
    shard_items_max: int = 500
    heartbeat_s: float = 10.0
    call_timeout_s: float = 600.0
    gate: str = "auto"
    classes: str = ""

    @property
    def taken(self) -> list[str]:
        """The classes by themselves, none where it takes all."""
        return [name.strip() for name in self.classes.split(",") if name.strip()]


class Retry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Attempts per stage, the first included, and the bounds of the waits between them."""

    attempts: int = 5
    base_s: float = 2.0
    cap_s: float = 32.0


class Cache(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long a result is reused, and the mode of a run that names none."""

    ttl_s: float = 86_400.0
    mode: str = "reuse"


class Run(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run does that does not say otherwise.

    ``canary`` rows run alone first (0: none); ``max_cost_usd`` is the most that the calls
    of one batch may cost.
    """

    canary: int = 3
    max_cost_usd: float | None = None


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Bounds on input: bytes of one field, rows of one batch.

    ``bodies_bytes_max`` are the bytes of answers that are held in memory whole at once; by
    default a quarter of the memory that the process may use. ``waiting_max`` results of one
    tenant may be waited for at once by calls on demand.
    """

    field_bytes_max: int = 1_048_576
    rows_max: int = 10_000_000
    bodies_bytes_max: int | None = None
    waiting_max: int = 1000


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every setting. ``home`` holds the embedded database and, unless told otherwise, the blobs.

    ``database_url`` points at a PostgreSQL of your own, and where that goes through a pooler
    ``database_direct_url`` at the server behind it; ``blob_url`` at a folder,
    ``s3://``, ``gs://`` or ``az://``; ``cache_url`` at a Redis or Valkey that holds copies of
    cached results; ``prices`` names a file of list prices that count
    before our own; ``policy`` says what may not be generated (``headrace.policy_table``
    reads it); ``schedules`` what they may read; ``providers`` has a table for each provider,
    ``recipes`` one for each recipe whose settings are other than its file says.
    """

    home: str = ".headrace"
    database_url: str | None = None
    database_direct_url: str | None = None
    blob_url: str | None = None
    cache_url: str | None = None
    prices: str | None = None
    worker: Worker = Worker()
    retry: Retry = Retry()
    cache: Cache = Cache()
    run: Run = Run()
    limits: Limits = Limits()
    webhooks: Webhooks = Webhooks()
    retention: Retention = Retention()
    http: Http = Http()
    provenance: ProvenanceSettings = ProvenanceSettings()
    storage: Storage = Storage()
    metrics: Metrics = Metrics()
    log: Log = Log()
    policy: dict[str, Any] = {}
    schedules: dict[str, Any] = {}
    providers: dict[str, dict[str, Any]] = {}
    recipes: dict[str, dict[str, Any]] = {}


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
    tree = _Tree()
    found = _file(path, env)
    if found is not None:
        tree.add(_read(found), str(found))
    for name in sorted(env):
        if name.startswith(PREFIX) and env[name] != "" and not _is_foreign(name):
            keys = tuple(name.removeprefix(PREFIX).lower().split("__"))
            tree.add(_nest(keys, _literal(env[name], keys)), name)
    for name, value in (flags or {}).items():
        if value is not None:
            tree.add(_nest(tuple(name.split(".")), value), f"--{name}")
    return _build(tree)


def _is_foreign(name: str) -> bool:
    """Whether a variable with our prefix is nevertheless no setting."""
    return name in IGNORED_VARIABLES or _SERVICE_VARIABLE.fullmatch(name) is not None


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


class _Tree:
    """Settings put together from several places, each remembering where it was set last."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._places: dict[tuple[str, ...], str] = {}

    def add(self, more: dict[str, Any], place: str) -> None:
        """Lay settings over those before; raises ``ConfigError`` for one that is not known."""
        self._merge(self.values, more, place, ())

    def _merge(
        self, branch: dict[str, Any], more: dict[str, Any], place: str, above: tuple[str, ...]
    ) -> None:
        known = _fields(above)
        for key, value in more.items():
            here = (*above, key)
            if known is not None and key not in known:
                raise ConfigError(
                    f"unknown setting {'.'.join(here)!r}{_line(place, here)}",
                    place=place,
                    remedy=did_you_mean(key, known),
                )
            self._places[here] = place
            if isinstance(value, dict) and _is_table(here):
                if not isinstance(branch.setdefault(key, {}), dict):
                    branch[key] = {}
                self._merge(branch[key], value, place, here)
            else:
                branch[key] = value

    def place_of(self, name: str) -> str:
        """Return where a setting, by dotted name, was set last: file and line, variable or flag."""
        keys = tuple(name.split("."))
        while keys and keys not in self._places:
            keys = keys[:-1]
        place = self._places.get(keys, "settings")
        return place + _line(place, keys)

    def value_of(self, name: str) -> Any:
        """Return the value set for a dotted name, or the nearest one above it."""
        value: Any = self.values
        for key in name.split("."):
            if not isinstance(value, dict) or key not in value:
                break
            value = value[key]
        return value


def _fields(keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Return the settings of a table with their types; ``None`` where the names are free."""
    if keys and keys[0] in FREE_TABLES:
        return None
    kind: Any = Config
    for key in keys:
        kind = {field.name: field.type for field in msgspec.structs.fields(kind)}[key]
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


def _is_table(keys: tuple[str, ...]) -> bool:
    if keys[0] in FREE_TABLES:
        return True
    kind = (_fields(keys[:-1]) or {}).get(keys[-1])
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _line(place: str, keys: tuple[str, ...]) -> str:
    """Return `` (line N)`` where ``place`` is a file in which the setting can be found."""
    try:
        lines = Path(place).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ""
    table: tuple[str, ...] = ()
    for number, line in enumerate(lines, 1):
        head = re.match(r"\s*\[+([^\]]+)\]", line)
        if head:
            table = tuple(part.strip(" \t\"'") for part in head[1].split("."))
        name, equals, _ = line.partition("=")
        named = tuple(part.strip(" \t\"'") for part in name.split("."))
        here = (*table, *named) if equals and not head else table
        if keys and here[: len(keys)] == keys:
            return f" (line {number})"
    return ""


def _nest(keys: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(keys):
        value = {key: value}
    return dict(value)


def _literal(text: str, keys: tuple[str, ...]) -> Any:
    """Read a variable as a TOML value where it is one (numbers, true, false), else as text.

    A setting that is a text stays one, and so does what is named like a key or a password.
    """
    if keys[0] in FREE_TABLES:
        is_text = _SECRET_NAME.fullmatch(keys[-1]) is not None
    else:
        is_text = len(keys) == 1 and "str" in str((_fields(()) or {}).get(keys[0]))
    try:
        value = text if is_text else tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, int | float | bool | list) else text


def _build(tree: _Tree) -> Config:
    try:
        config = msgspec.convert(tree.values, Config)
    except msgspec.ValidationError as error:
        raise _type_error(tree, str(error)) from error
    _check(config, tree)
    return config


def _type_error(tree: _Tree, said: str) -> ConfigError:
    """Return what to tell of a value of the wrong type: its name, the value, what is wanted."""
    found = re.search(r"`\$\.([\w.]+)", said)
    wanted = re.search(r"Expected `(\w+)", said)
    if found is None or wanted is None:
        return ConfigError(said, place="settings", remedy="See 'headrace init'.")
    name, value = found[1], tree.value_of(found[1])
    shown = type(value).__name__ if isinstance(value, dict) else repr(value)
    return ConfigError(
        f"{name} = {shown[:60]} is not {_SPOKEN.get(wanted[1], wanted[1])}",
        place=tree.place_of(name),
        remedy="'headrace init' writes a file that explains each setting.",
    )


def _bodies_rule(most: int | None) -> tuple[bool, str, Any, str]:
    return most is None or most >= 1_000_000, "limits.bodies_bytes_max", most, "1000000 or more"


def _above_0(name: str, value: float) -> tuple[bool, str, Any, str]:
    return value > 0, name, value, "above 0"


def _mode_rule(mode: str) -> tuple[bool, str, Any, str]:
    return mode in ("reuse", "refresh", "off"), "cache.mode", mode, "reuse, refresh or off"


def _rules(config: Config) -> tuple[tuple[bool, str, Any, str], ...]:
    worker = config.worker
    items, timeout_s = worker.shard_items_max, worker.call_timeout_s
    return (
        (worker.shards_held >= 2, "worker.shards_held", worker.shards_held, "2 or more"),
        (1 <= items <= 5000, "worker.shard_items_max", items, "1 to 5000"),
        (worker.heartbeat_s >= 10, "worker.heartbeat_s", worker.heartbeat_s, "10 or more"),
        (timeout_s > 0, "worker.call_timeout_s", timeout_s, "above 0"),
        (worker.gate in GATES, "worker.gate", worker.gate, "auto, local or postgres"),
        (set(worker.taken) <= set(CLASSES), "worker.classes", worker.classes, ",".join(CLASSES)),
        (1 <= config.retry.attempts <= 100, "retry.attempts", config.retry.attempts, "1 to 100"),
        (config.retry.base_s >= 0, "retry.base_s", config.retry.base_s, "0 or more"),
        (config.retry.cap_s >= 0, "retry.cap_s", config.retry.cap_s, "0 or more"),
        (config.cache.ttl_s > 0, "cache.ttl_s", config.cache.ttl_s, "above 0"),
        _mode_rule(config.cache.mode),
        (0 <= config.run.canary <= 1000, "run.canary", config.run.canary, "0 to 1000"),
        (
            config.run.max_cost_usd is None or 0 <= config.run.max_cost_usd < USD_MAX,
            "run.max_cost_usd",
            config.run.max_cost_usd,
            "0 or more",
        ),
        _bodies_rule(config.limits.bodies_bytes_max),
        *retention_rules(config.retention),
        *observe_rules(config.metrics, config.log),
        _above_0("limits.field_bytes_max", config.limits.field_bytes_max),
        _above_0("limits.rows_max", config.limits.rows_max),
        _above_0("limits.waiting_max", config.limits.waiting_max),
    )


def _check(config: Config, tree: _Tree) -> None:
    rules = (*_rules(config), *storage_rules(config.storage, config.http))
    for holds, name, value, wanted in rules:
        if not holds:
            raise ConfigError(
                f"{name} = {value!r} is out of range",
                place=tree.place_of(name),
                remedy=f"Set it to {wanted}.",
            )


def default_config_text() -> str:
    """Return a commented ``headrace.toml`` in which every setting stands with its default."""
    return (Path(__file__).parent / "headrace.default.toml").read_text(encoding="utf-8")
