"""Style presets: a file of names and texts, of which a row's column picks one."""

from __future__ import annotations

import tomllib
from typing import Any

from headrace.nearest import did_you_mean
from headrace.outcome import OutcomeKind, failed
from headrace.stages.settings import Settings

DEFAULT = "default"
STYLE_CHARS_MAX = 4000


class Styles:
    """Puts the text of a preset where the row names it: ``{{ style }}`` is then that text.

    An empty cell takes the preset called ``default`` where there is one.
    """

    def __init__(self, presets: dict[str, str], column: str) -> None:
        self._presets = presets
        self._column = column

    def fill(self, values: dict[str, Any], row_number: int) -> None:
        """Put the preset's text into ``values``; raises ``CallFailed`` for an unknown name."""
        name = str(values.get(self._column) or "").strip()
        if not name:
            values[self._column] = self._presets.get(DEFAULT, "")
            return
        found = self._presets.get(name.casefold())
        if found is None:
            raise failed(
                OutcomeKind.INVALID,
                f"row {row_number}: there is no style {name[:80]!r}",
                remedy=did_you_mean(name, self._presets),
            )
        values[self._column] = found


def read_styles(settings: Settings) -> Styles | None:
    """Return the presets that ``styles`` names among the recipe's files, ``None`` without.

    Raises ``RecipeError``.
    """
    if "styles" not in settings:
        return None
    text, place = settings.file("styles")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise settings.wrong(f"{place} is not valid TOML: {error}") from error
    presets: dict[str, str] = {}
    for name, value in table.items():
        if not isinstance(value, str) or not 0 < len(value.strip()) <= STYLE_CHARS_MAX:
            raise settings.wrong(
                f"the style {name!r} of {place} is no text",
                f'Write {name} = "…", of 1 to {STYLE_CHARS_MAX:,} characters.',
            )
        presets[name.casefold()] = value.strip()
    if not presets:
        raise settings.wrong(f"{place} holds no style", 'Write plain = "on white, soft light".')
    return Styles(presets, settings.text("style_column", "style"))
