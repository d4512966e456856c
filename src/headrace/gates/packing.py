"""A pacer as a few kilobytes of bytes and back: the shared state of a lane between its steps.

Fields go by position, with a print of all their names in front: bytes of a release whose
fields are others are not read, and the lane then starts from what it has learned. What
is too large for a row is for one process ``alone``: its field's metadata says what is
written instead.
"""

from __future__ import annotations

import hashlib
import types
import typing
from collections import deque
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from functools import cache
from operator import attrgetter
from typing import Any

import msgspec

from headrace.limits import Dimension, Limit, Quota
from headrace.pacing import Pacer

VERSION = 2
"""To be raised when fields keep their names and change their meaning."""

Build = Callable[[Any], Any]


class _Plan:
    """How one dataclass is written and read."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        hints = typing.get_type_hints(kind)
        known = fields(kind)
        self.get = attrgetter(*(one.name for one in known), "__class__")
        builds = [_builder(hints[one.name], _length(one)) for one in known]
        self.length = len(builds)
        self.alone = [
            (at, one.metadata["alone"]) for at, one in enumerate(known) if "alone" in one.metadata
        ]
        self.deep = [(at, build) for at, build in enumerate(builds) if build is not None]
        self.names = f"{kind.__name__}({', '.join(f'{f.name}: {f.type}' for f in known)})"

    def plain(self, value: Any) -> list[Any]:
        told = list(self.get(value))
        told.pop()  # the class, asked for so that one field alone comes as a tuple too
        for at, instead in self.alone:
            told[at] = instead
        for at, _ in self.deep:
            told[at] = plain(told[at])
        return told

    def build(self, values: Any) -> Any:
        if type(values) is not list or len(values) != self.length:
            raise ValueError(f"{self.kind.__name__} has other fields")
        for at, build in self.deep:
            values[at] = build(values[at])
        return self.kind(*values)


_plans: dict[type, _Plan] = {}


def _plan(kind: type) -> _Plan:
    found = _plans.get(kind)
    if found is None:
        found = _plans[kind] = _Plan(kind)
    return found


def _length(one: Any) -> int | None:
    """Return how many entries a field's deque keeps."""
    made = one.default_factory() if one.default_factory is not MISSING else None
    return made.maxlen if isinstance(made, deque) else None


def _builder(hint: Any, length: int | None) -> Build | None:
    """Return how a value of a type is made from what was read; ``None``: it is one."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _optional([one for one in inner if one is not type(None)])
    if origin is deque:
        return _many(lambda found: deque(found, length), _builder(inner[0], None))
    if origin in (list, tuple):
        return _many(origin, _builder(inner[0], None))
    if origin is dict:
        return _mapping(inner[0], _builder(inner[1], None))
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return hint
    if is_dataclass(hint):
        return _plan(typing.cast("type", hint)).build
    if hint in (int, float, str, bool):
        return None
    raise TypeError(f"no way to pack a {hint}")


def _optional(kinds: list[Any]) -> Build | None:
    build = _builder(kinds[0], None)
    if build is None or len(kinds) > 1:
        return None
    return lambda value: None if value is None else build(value)


def _many(make: Callable[[Any], Any], build: Build | None) -> Build:
    if build is None:
        return make
    return lambda values: make([build(value) for value in values])


def _mapping(key: type, build: Build | None) -> Build:
    def read(values: Any) -> Any:
        return {key(k): v if build is None else build(v) for k, v in values.items()}

    return read


def plain(value: Any) -> Any:
    """Return a value as msgpack has it: dataclasses as lists of their fields."""
    kind = type(value)
    if kind in (float, int, str, bool) or value is None:
        return value
    if kind in (deque, list, tuple):
        return [plain(one) for one in value]
    if kind is dict:
        return {plain(k): plain(v) for k, v in value.items()}
    if isinstance(value, StrEnum):
        return value.value
    return _plan(kind).plain(value)


def pack_pacer(pacer: Pacer) -> list[Any]:
    """Return a pacer's state; its quota is not part of it."""
    return [plain(value) for name, value in vars(pacer).items() if name != "quota"]


def unpack_pacer(values: list[Any], quota: Quota) -> Pacer:
    """Return a pacer that goes on where another stood; raises ``ValueError``, ``TypeError``."""
    pacer = Pacer(quota, 0.0)
    told = vars(pacer)
    names = [name for name in told if name != "quota"]
    for name, value in zip(names, values, strict=True):
        told[name] = _restored(name, told[name], value)
    return pacer


def _restored(name: str, fresh: Any, value: Any) -> Any:
    if name == "rates":
        build = _plan(_rate_kind()).build
        return {Dimension(key): build(rate) for key, rate in value.items()}
    if is_dataclass(fresh):
        return _plan(type(fresh)).build(value)
    if isinstance(fresh, deque):
        return deque(value, fresh.maxlen)
    return value


@cache
def _rate_kind() -> type:
    """Return what the pace of a rate is kept in."""
    told = Quota(limits=(Limit(Dimension.REQUESTS, 1.0, 1.0),))
    return type(Pacer(told, 0.0).rates[Dimension.REQUESTS])


@cache
def shape() -> str:
    """Return the print of this release's fields: all names that are written, in their order."""
    pacer = Pacer(Quota(), 0.0)
    kinds = [type(value) for value in vars(pacer).values() if is_dataclass(value)]
    for kind in (_rate_kind(), *kinds):
        _plan(kind)
    shapes = [_plans[kind].names for kind in sorted(_plans, key=lambda one: one.__name__)]
    text = f"{VERSION} {list(vars(pacer))} {shapes}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]


_encoder, _decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder()


def pack(*parts: Any) -> bytes:
    """Return plain parts as bytes, the print of this release in front."""
    return _encoder.encode([shape(), *parts])


def unpack(data: bytes) -> list[Any] | None:
    """Return the parts; ``None`` when another release wrote them, or they are damaged."""
    try:
        found = _decoder.decode(data)
    except msgspec.MsgspecError:
        return None
    if type(found) is not list or not found or found[0] != shape():
        return None
    return found[1:]
