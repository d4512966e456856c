"""What commands share: the options that all take, the engine they open, how they print."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

if TYPE_CHECKING:
    from headrace.config import Config
    from headrace.engine import Engine


@Parameter(name="*")
@dataclass(frozen=True)
class Common:
    """Options of every command."""

    home: Annotated[
        str | None, Parameter(help="Folder of the embedded database and the blobs.")
    ] = None
    config: Annotated[Path | None, Parameter(help="Settings file instead of ./headrace.toml.")] = (
        None
    )
    json: Annotated[bool, Parameter(help="Data on standard output as JSON.")] = False
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], help="No progress.")] = False

    def repeated(self) -> str:
        """Return the options that a command shown to people needs to find the same place."""
        told = {"--home": self.home, "--config": self.config}
        return "".join(f" {name} {shlex.quote(str(at))}" for name, at in told.items() if at)

    def settings(self, **flags: Any) -> Config:
        """Return the settings in force; raises ``ConfigError``."""
        from headrace.config import load_config

        return load_config(self.config, flags={"home": self.home, **flags})


@asynccontextmanager
async def engine_of(common: Common | None, *, work: bool, **flags: Any) -> AsyncIterator[Engine]:
    """Open the engine that the options ask for, quiet about what it settles by itself."""
    from headrace.cli.heap import settle_heap
    from headrace.engine import open_engine
    from headrace.log_lines import secrets_in, write_logs

    write_logs()
    config = (common or Common()).settings(**flags)
    write_logs(config.log.format, secrets_in(config.providers))
    async with open_engine(config, work=work) as engine:
        settle_heap()
        yield engine


def data(value: Any) -> None:
    """Print a JSON document on standard output."""
    print(json.dumps(value, ensure_ascii=False, default=str))


def line(text: str = "") -> None:
    """Print a line for people on standard output."""
    print(text)


def table(head: list[str], rows: list[list[str]]) -> None:
    """Print a table for people; plain aligned columns where the output is no terminal."""
    if not sys.stdout.isatty():
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        for row in [head, *rows]:
            print(
                "  ".join(
                    cell.ljust(width) for cell, width in zip(row, widths, strict=True)
                ).rstrip()
            )
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(*head, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)
