"""The files that a recipe names: a voice, a brand's rules, a schema; read once, kept with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.errors import RecipeError

FILE_BYTES_MAX = 256 * 1024
FILES_MAX = 32


def with_files(
    body: dict[str, Any], own: Path, shelves: Sequence[Path], place: str
) -> dict[str, Any]:
    """Return a recipe's tree with the text of each file of its ``[files]`` in it.

    A recipe names files relative to its folder ``own``; one of the same name on a shelf
    wins, so that a built-in recipe is fitted by putting a file into ``recipes/``. The
    text, not the path, is what the recipe's version is taken of. Raises ``RecipeError``
    for a file that is not there, leads outside, is too large or not UTF-8.
    """
    table = body.get("files")
    if not table:
        return body
    here = f"{place} [files]"
    if not isinstance(table, dict) or len(table) > FILES_MAX:
        raise RecipeError(
            f"files must be a table of {FILES_MAX} at most", place=here, remedy='voice = "voice.md"'
        )
    read = {
        name: value if is_read(value) else _find(name, value, [*shelves, own], here)
        for name, value in table.items()
    }
    return body | {"files": read}


def is_read(value: Any) -> bool:
    """Tell whether a value of ``[files]`` is a file's text already."""
    return (
        isinstance(value, dict)
        and value.keys() == {"name", "text"}
        and all(isinstance(part, str) for part in value.values())
    )


def read_file(path: Path, place: str) -> dict[str, str]:
    """Return a file's name and text as the recipe keeps them; raises ``RecipeError``."""
    try:
        with path.open("rb") as file:
            body = file.read(FILE_BYTES_MAX + 1)
        if len(body) > FILE_BYTES_MAX:
            raise RecipeError(f"{path} is larger than {FILE_BYTES_MAX // 1024} KiB", place=place)
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{path} is not UTF-8 text (byte {error.start})",
            place=place,
            remedy="Save it as UTF-8.",
        ) from error
    except OSError as error:
        raise RecipeError(
            f"{path} cannot be read: {error.strerror}",
            place=place,
            remedy="Correct the path, or add the file.",
        ) from error
    if "\0" in text:
        raise RecipeError(f"{path} holds a NUL character", place=place, remedy="Remove it.")
    return {"name": path.name, "text": text.replace("\r\n", "\n")}


def _find(name: str, value: Any, shelves: Sequence[Path], place: str) -> dict[str, str]:
    if not isinstance(value, str) or not value:
        raise RecipeError(
            f"{name} = {value!r} is no file name", place=place, remedy=f'{name} = "{name}.md"'
        )
    if Path(value).is_absolute():
        raise RecipeError(
            f"{name} = {value!r} is not relative to the recipe",
            place=place,
            remedy=f"Name such a file when running: --set files.{name}={value}",
        )
    for shelf in shelves:
        path = (shelf / value).resolve()
        if path.is_relative_to(shelf.resolve()) and path.is_file():
            return read_file(path, place)
    looked = ", ".join(str(shelf) for shelf in dict.fromkeys(shelves))
    raise RecipeError(
        f"there is no file {value!r} for {name!r}",
        place=place,
        remedy=f"Put it into one of these folders (links may not leave it): {looked}.",
    )
