"""Which tools a simulated model calls, and with what.

It calls where the choice wants it to, and with a choice of its own where the last word is a
person's and holds ``[call NAME]``, once for each time. ``[talk]`` in it lets the model say
something before it calls.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from headrace.made_up import made_up

AUTO, REQUIRED, NONE = "auto", "required", "none"
TALK = "[talk]"
CHARS_PER_TOKEN = 4
_CALL = re.compile(r"\[call ([A-Za-z0-9_.:-]+)\]")


@dataclass(frozen=True, slots=True)
class Wish:
    """What a request says of tools, whatever its API.

    ``schemas`` are those of the parameters by name. ``choice`` is AUTO, REQUIRED, NONE, or with
    ``named`` the only one that may be called. ``last`` is a person's last word, empty where
    the last message is the result of a tool.
    """

    schemas: Mapping[str, Any]
    choice: str = AUTO
    named: str = ""
    last: str = ""
    is_single: bool = False

    @property
    def talks(self) -> bool:
        """Tell whether the model says something before it calls."""
        return TALK in self.last

    def calls(self, number: int) -> list[tuple[str, dict[str, Any]]]:
        """Return the calls of answer ``number``: names and arguments."""
        if self.choice == NONE or not self.schemas or self.named not in ("", *self.schemas):
            return []
        wanted = [name for name in _CALL.findall(self.last) if name in self.schemas]
        if self.named:
            wanted = [self.named]
        elif self.choice == REQUIRED and not wanted:
            wanted = [next(iter(self.schemas))]
        return [
            (name, _arguments(self.schemas[name], f"simulated-{number}-{place}"))
            for place, name in enumerate(wanted[:1] if self.is_single else wanted)
        ]


def _arguments(schema: Any, word: str) -> dict[str, Any]:
    made = made_up(schema if isinstance(schema, dict) else {"type": "object"}, word)
    return made if isinstance(made, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; nothing for what is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def schemas_of(functions: Iterable[Mapping[str, Any]], field: str) -> dict[str, Any]:
    """Return the schemas of functions by name; ``field`` is where they stand."""
    named = ((one.get("name"), one.get(field)) for one in functions)
    return {name: schema for name, schema in named if isinstance(name, str)}


def tools_tokens(tools: Any) -> int:
    """Return the tokens that definitions of tools take."""
    return -(-len(msgspec.json.encode(tools)) // CHARS_PER_TOKEN) if tools else 0
