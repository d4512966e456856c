"""Trims an OpenAPI file to the paths that are called here.

    python -m tests.referees.trimmed_openapi openai.yaml openai-trimmed.json /models /responses …

Prose, examples and everything that no kept path refers to are left out, so that Prism starts
in seconds. What goes in is YAML or JSON, perhaps packed with gzip; JSON comes out.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

PROSE = frozenset(
    {"description", "summary", "example", "examples", "externalDocs", "title", "tags"}
)


def trimmed(spec: dict[str, Any], paths: list[str]) -> dict[str, Any]:
    """Return the part of ``spec`` that ``paths`` need."""
    kept = {path: _without_prose(spec["paths"][path]) for path in paths}
    kept = {path: {"post": how["post"]} if "post" in how else how for path, how in kept.items()}
    parts: dict[str, dict[str, Any]] = {}
    open_refs = [*_refs(kept)]
    while open_refs:
        _, kind, name = open_refs.pop().removeprefix("#/").split("/")
        if name in parts.setdefault(kind, {}):
            continue
        parts[kind][name] = _without_prose(spec["components"][kind][name])
        open_refs += _refs(parts[kind][name])
    if "securitySchemes" in spec["components"]:
        parts["securitySchemes"] = _without_prose(spec["components"]["securitySchemes"])
    info = {name: spec["info"][name] for name in ("title", "version", "license")}
    kept_keys = {key: spec[key] for key in ("openapi", "security") if key in spec}
    return {**kept_keys, "info": info, "paths": kept, "components": parts}


def _without_prose(value: Any, named: bool = False) -> Any:
    """Return ``value`` without prose; inside of ``properties`` the names are data."""
    if isinstance(value, dict):
        kept = {
            key: _without_prose(part, key in ("properties", "parameters", "schemas"))
            for key, part in value.items()
            if named or not (key in PROSE or str(key).startswith("x-"))
        }
        return kept if named else _modern(kept)
    return [_without_prose(part) for part in value] if isinstance(value, list) else value


def _modern(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in words that Prism can judge by.

    It cannot read the old ``nullable`` in OpenAPI 3.1, and then lets any body pass without a
    word. Alternatives that say ``oneOf`` overlap in OpenAI's description: any may hold.
    """
    if "oneOf" in schema:
        schema.pop("discriminator", None)
        schema["anyOf"] = [*schema.get("anyOf", []), *schema.pop("oneOf")]
    if not schema.pop("nullable", False):
        return schema
    if "enum" in schema:
        schema["enum"] = [*schema["enum"], None]
    if isinstance(schema.get("type"), str):
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for part in value.values():
            yield from _refs(part)
    elif isinstance(value, list):
        for part in value:
            yield from _refs(part)


def main(source: str, out: str, *paths: str) -> None:
    """Read, trim and write."""
    raw = Path(source).read_bytes()
    text = gzip.decompress(raw) if source.endswith(".gz") else raw
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    spec = trimmed(yaml.load(text, loader), [*paths])
    Path(out).write_text(json.dumps(spec, separators=(",", ":"), default=str) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
