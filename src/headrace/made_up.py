"""Answers made up to fit a JSON Schema, so that a rehearsal gets through a stage that asks."""

from __future__ import annotations

from typing import Any

_DEPTH_MAX = 32
_PARTS_MAX = 1000
_CHARS_MAX = 10_000


def schema_of(response_format: Any) -> dict[str, Any] | None:
    """Return the schema that a chat's ``response_format`` asks for, in either of its forms.

    ``None`` where it asks for none; ``{}``, which everything fits, for any JSON object.
    """
    if not isinstance(response_format, dict):
        return None
    kind = response_format.get("type")
    told = response_format.get("schema")
    if kind == "json_schema":
        inner = response_format.get("json_schema")
        told = inner.get("schema") if isinstance(inner, dict) else None
    if kind not in ("json_schema", "json_object"):
        return None
    return told if isinstance(told, dict) else {"type": "object"}


def made_up(schema: Any, word: str) -> Any:
    """Return a value that fits the plain parts of ``schema``: types, lengths, required keys.

    ``word`` (lower-case letters, digits and hyphens) goes into its texts. Patterns and
    combinations other than "the first of these" are not solved, and a schema that asks
    for very much gets less.
    """
    return _Maker().value(schema, word, 0)


class _Maker:
    """Makes one value, of a bounded number of parts."""

    def __init__(self) -> None:
        self._left = _PARTS_MAX

    def value(self, schema: Any, word: str, depth: int) -> Any:
        self._left -= 1
        if not isinstance(schema, dict) or depth > _DEPTH_MAX or self._left < 0:
            return None
        told = [schema[key] for key in ("const", "default") if key in schema]
        told += _some(schema.get("enum"))
        if told:
            return told[0]
        choices = [one for key in ("anyOf", "oneOf", "allOf") for one in _some(schema.get(key))]
        if choices:
            return self.value(choices[0], word, depth + 1)
        return self._of_kind(_kind(schema), schema, word, depth)

    def _of_kind(self, kind: str, schema: dict[str, Any], word: str, depth: int) -> Any:
        if kind == "object":
            parts = schema.get("properties")
            parts = parts if isinstance(parts, dict) else {}
            return {
                str(name): self.value(parts.get(name, {}), word, depth + 1)
                for name in _some(schema.get("required"))
            }
        if kind == "array":
            items = schema.get("items", {})
            least = max(1, _count(schema.get("minItems"), 1))
            found: list[Any] = []
            while len(found) < least and self._left > 0:
                found.append(self.value(items, f"{word}-{len(found) + 1}", depth + 1))
            return found
        return _plain(kind, schema, word)


def _some(value: Any) -> list[Any]:
    return value[:_PARTS_MAX] if isinstance(value, list) else []


def _count(value: Any, default: int) -> int:
    return value if type(value) is int and value >= 0 else default


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        return str(next((one for one in kind if one != "null"), "null"))
    return str(kind)


def _plain(kind: str, schema: dict[str, Any], word: str) -> Any:
    if kind in ("integer", "number"):
        least = schema.get("minimum", 1)
        return least if type(least) in (int, float) else 1
    if kind in ("boolean", "null"):
        return True if kind == "boolean" else None
    text = "https://example.com/" + word if schema.get("format") == "uri" else word
    least = min(_count(schema.get("minLength"), 0), _CHARS_MAX)
    text += f"-{word}" * max(0, -(-(least - len(text)) // (len(word) + 1)))
    return text[: _count(schema.get("maxLength"), _CHARS_MAX)].rstrip("-")
