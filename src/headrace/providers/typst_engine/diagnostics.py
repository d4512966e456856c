"""Turns what Typst says about a template into words for the template's author."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from headrace.nearest import did_you_mean
from headrace.providers.typst_engine.faults import TemplateError

_MISSING_KEY = re.compile(r'dictionary does not contain key "(?P<key>[^"]*)"')
_COPY = re.compile(r"(?:[^\s\"']*/)?t/[0-9a-f]{32}/")
_PLACE = re.compile(r"┌─ (?P<place>\S+:\d+:\d+)")


def explain(
    template: str, message: str, diagnostic: str, hints: Sequence[str], columns: Iterable[str]
) -> TemplateError:
    """Return the error for a failed compile: what, where with source line and caret, remedy."""
    found = _MISSING_KEY.search(message)
    picture = _picture(diagnostic)
    place = _PLACE.search(picture)
    where = place.group("place") if place else f"{template}.typ"
    if found:
        what = f"row has no column {found.group('key')!r}"
        remedy = did_you_mean(found.group("key"), columns)
    elif "failed to download package" in message or "package not found" in message:
        what = "the template imports a package; packages are switched off"
        remedy = "Copy what you need of it into the folder shared/ and import that."
    else:
        what = _own_paths(message)
        remedy = " ".join(_own_paths(hint) for hint in hints if "--root" not in hint)
    text = f"template {template!r}: {what}"
    return TemplateError(f"{text}\n{picture}" if picture else text, place=where, remedy=remedy)


def _picture(diagnostic: str) -> str:
    """Return the excerpt with line numbers and caret, without the words before and after."""
    lines = _own_paths(diagnostic).splitlines()
    kept = [line for line in lines if line[:1] in (" ", "│") or re.match(r"\d+ │", line)]
    return "\n".join(line for line in kept if "= hint:" not in line).rstrip(" │\n")


def _own_paths(text: str) -> str:
    """Return ``text`` with the paths of our private copy shortened to the author's names."""
    return _COPY.sub("", text)
