"""The ``write`` stage: names the public file of an item, safely on every file system."""

from __future__ import annotations

import re

from headrace.artifact import EXTENSIONS
from headrace.errors import HeadraceError
from headrace.provider import Provider
from headrace.recipe import StageSpec, Template
from headrace.request import Request
from headrace.stage import Models, Named, StageInput
from headrace.stages.filling import invalid, need_texts, values_of
from headrace.stages.settings import Providers, Settings

KNOWN = ("file",)
NAME_BYTES_MAX = 180

_UNSAFE = re.compile(
    r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+'
)
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_ENDINGS = {f".{extension}" for extension in EXTENSIONS.values()} | {".jpeg"}


def safe_name(text: str, fallback: str) -> str:
    """Return ``text`` as a file name without folder or extension, ``fallback`` when none is left.

    Path separators, control and direction characters and what Windows forbids become
    ``_``; leading dots, a known extension and bytes past the cap go; device names of
    Windows get a ``_`` before them.
    """
    name = _UNSAFE.sub("_", text.encode("utf-8", "ignore").decode("utf-8")).strip()
    dot = name.rfind(".")
    if dot > 0 and name[dot:].lower() in _ENDINGS:
        name = name[:dot]
    name = name.encode()[:NAME_BYTES_MAX].decode("utf-8", "ignore").strip(". ")
    if not name.strip("_ ."):
        return fallback
    return f"_{name}" if _DEVICES.fullmatch(name) else name


class Write:
    """Gives the item's public file name; done on the spot."""

    kind = "write"
    provider: Provider | None = None
    cacheable = False
    models: Models | None = None

    def __init__(self, name: str, file: Template) -> None:
        self.name = name
        self._file = file
        self._stages = frozenset(file.stages)

    def columns(self) -> set[str]:
        """Return the columns that the file name reads."""
        return set(self._file.columns)

    def request(self, given: StageInput) -> Request:
        """Refuse: this stage calls nobody."""
        raise TypeError("a write stage makes no request; ask apply()")

    def apply(self, given: StageInput) -> Named:
        """Return the file name; the row number in it has six digits, so that files sort."""
        if self._stages:
            need_texts(self._stages, given)
        number = f"{given.row_number:06d}"
        values = values_of(given)
        values["row_number"] = number
        try:
            return Named(safe_name(self._file.fill(values), number))
        except HeadraceError as error:
            raise invalid(error, given) from error


def build_write(spec: StageSpec, providers: Providers) -> Write:
    """Return the stage that ``spec`` describes; raises ``RecipeError``."""
    settings = Settings(spec, KNOWN)
    return Write(spec.name, settings.template("file", "{{ row_number }}"))
