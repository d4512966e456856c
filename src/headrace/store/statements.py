"""SQL statements by name: one to a file under ``sql/``, read when first asked for."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from headrace.errors import NotFoundError
from headrace.nearest import did_you_mean

ROOT = Path(__file__).parent / "sql"


@cache
def load(name: str) -> str:
    """Return a statement, such as ``load("items/settle.sql")``.

    Raises NotFoundError when there is no such file.
    """
    path = ROOT / name
    if not path.is_file() or path.suffix != ".sql":
        raise NotFoundError(
            f"no SQL statement named {name!r}",
            place=str(ROOT),
            remedy=did_you_mean(name, names()),
        )
    return path.read_text(encoding="utf-8")


def names() -> list[str]:
    """Return the names of all statements, sorted."""
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.sql"))
