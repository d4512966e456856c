"""JSON as models write it: perhaps in a code fence, perhaps not JSON at all."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

JSON_CHARS_MAX = 256 * 1024
_FENCE = re.compile(r"\A\s*```[A-Za-z]*[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL)


class NotJsonError(ValueError):
    """A text is not the JSON that was asked for; the message says where and why."""


def read_json(text: str) -> Any:
    """Return the value of a JSON text, a code fence around it taken off.

    Raises ``NotJsonError`` for anything else: NaN and keys that stand twice included,
    because what reads it next may understand them in another way.
    """
    if len(text) > JSON_CHARS_MAX:
        raise NotJsonError(f"it has more than {JSON_CHARS_MAX:,} characters")
    fenced = _FENCE.match(text)
    inner = fenced.group(1) if fenced else text.lstrip("\ufeff")
    try:
        return json.loads(inner, parse_constant=_constant, object_pairs_hook=_object)
    except RecursionError:
        raise NotJsonError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise NotJsonError(f"it is not JSON ({error.msg}, {place})") from None


def _constant(word: str) -> NoReturn:
    raise NotJsonError(f"it holds {word}, which is no JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise NotJsonError(f"the key {twice[:80]!r} stands twice")
    return made
