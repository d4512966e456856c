"""YAML front matter: any JSON value written so that no text of it can end or change the rest."""

from __future__ import annotations

import math
import re
from typing import Any

from headrace.errors import InputError

FENCE = "---"
_DEPTH_MAX = 16
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# Words that YAML 1.1 reads as something else than the text they are.
_NOT_PLAIN = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"])
# What may stand in a quoted text as it is: printable, and no line break of any kind.
_ESCAPED = re.compile('[^\\x20-\\x7e\u00a1-\u2027\u202f-\ud7ff\ue000-\ufefe\uff00-\ufffd]|["\\\\]')
_DIRECTING = re.compile("[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\u2028\u2029]")
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
# Control characters draw nothing; line ends and tabs stay.
_CONTROLS = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]")


def page(front: dict[str, Any], body: str) -> str:
    """Return a Markdown page: the front matter between its fences, then ``body``.

    Every text of ``front`` is one quoted line, so that ``---``, line ends and control
    characters in it stay inside. ``body`` keeps its lines; its control characters go.
    Raises ``InputError`` for what YAML cannot hold.
    """
    lines = [FENCE, *(_pair(key, value, 0) for key, value in front.items()), FENCE, ""]
    text = _CONTROLS.sub("", body.replace("\r\n", "\n").replace("\r", "\n")).strip()
    return "\n".join([*lines, text, ""])


def _pair(key: str, value: Any, depth: int) -> str:
    name = key if _PLAIN_KEY.fullmatch(key) and key.lower() not in _NOT_PLAIN else quoted(key)
    return f"{name}: {_flow(value, depth)}"


def _flow(value: Any, depth: int) -> str:
    if depth > _DEPTH_MAX:
        raise InputError("a front matter is nested too deeply", remedy="Flatten it.")
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item, depth + 1) for item in value) + "]"
    if isinstance(value, dict):
        pairs = (f"{quoted(key)}: {_flow(item, depth + 1)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        text = repr(value)
        # YAML 1.1 takes 1e+20 for a text: a number with an exponent needs a point.
        return text if "." in text or "e" not in text else text.replace("e", ".0e")
    raise InputError(f"{value!r} cannot stand in a front matter")


def quoted(text: str) -> str:
    """Return ``text`` as one line in double quotes, as YAML 1.1 and 1.2 both read it."""
    escaped = _ESCAPED.sub(_escape, text)
    return f'"{_DIRECTING.sub(_escape, escaped)}"'


def _escape(found: re.Match[str]) -> str:
    char = found.group()
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
