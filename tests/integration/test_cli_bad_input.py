"""Bad input at the command line: a clear error with place and remedy, and nothing is lost."""

from __future__ import annotations

import csv
import json
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Folder

HEAD = "sku,title,photo\n"
GOOD = "A,Wheel,\n"
LOOP = "#for a in range(100000) { for b in range(100000) { let c = a * b } }\n"
ENDLESS = "#while true { let a = 1 }\n"
SLOW_RECIPE = """
[columns]
required = ["title"]
[[stages]]
name = "card"
kind = "render"
template = "{template}"
[stages.inputs]
title = "{{{{ title }}}}"
"""


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size, with next to no data."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 999))
        + chunk(b"IEND", b"")
    )


class Desk(Folder):
    """A folder with an input, in which commands are run."""

    def __init__(self, folder: Path, database_url: str) -> None:
        super().__init__(folder, database_url)
        (folder / "bomb.png").write_bytes(png(30_000, 30_000))
        (folder / "words.jpg").write_text("not an image")

    def file(self, name: str, content: str | bytes) -> None:
        """Write a file of the folder."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    async def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run ``headrace`` with ``words``; nothing that went wrong is unexpected."""
        done = await self.ran(*words)
        assert "Traceback" not in done.stdout, done.stdout
        assert "unexpected" not in done.stderr, done.stderr
        return done

    async def run(self, *more: str, recipe: str = "product-card") -> tuple[int, str]:
        """Run the input; return the exit code, and all that was said."""
        done = await self("run", "in.csv", "--recipe", recipe, *more)
        return done.returncode, done.stdout + done.stderr

    async def batches(self) -> int:
        """How many batches there are."""
        return len(json.loads((await self("batches", "--json")).stdout))

    def results(self) -> list[dict[str, str]]:
        """The rows of the results file."""
        (path,) = self.folder.glob("out/*/results.csv")
        with path.open(newline="") as file:
            return list(csv.DictReader(file))


@pytest.fixture
def desk(tmp_path: Path, database_url: str) -> Desk:
    return Desk(tmp_path, database_url)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ["in.csv", "the file is empty", "names the columns"]),
        (HEAD.encode(), ["in.csv", "no rows", "Add a row"]),
        (b"sku,title,title\nA,b,c\n", ["line 1", "columns 2 and 3", "'title'", "Rename"]),
        ((HEAD + GOOD).encode() + b"B,M\xfchle,\n", ["line 3", "0xfc", "--encoding cp1252"]),
        (png(3, 3), ["in.csv", "PNG picture", "table of rows"]),
        (b"sku,name\nA,Wheel\n", ["in.csv", "needs the column 'title'", "sku"]),
        (b"sku,titel\nA,Wheel\n", ["needs the column 'title'", "Did you mean 'titel'?"]),
    ],
    ids=["empty", "header only", "duplicate", "encoding", "picture", "column", "near column"],
)
async def test_an_input_that_cannot_be_read_is_refused_whole(
    desk: Desk, content: bytes, words: list[str]
) -> None:
    """Exit 2 with file, place and remedy; nothing was submitted."""
    desk.file("in.csv", content)
    code, said = await desk.run()
    assert code == 2
    assert [word for word in words if word not in said] == [], said
    assert await desk.batches() == 0


@pytest.mark.parametrize(
    "content",
    [b"\xef\xbb\xbf" + (HEAD + GOOD).encode(), (HEAD + GOOD).encode("utf-16")],
    ids=["utf-8", "utf-16"],
)
async def test_a_byte_order_mark_is_understood(desk: Desk, content: bytes) -> None:
    """It is no part of the first column's name."""
    desk.file("in.csv", content)
    code, said = await desk.run()
    assert code == 0, said
    assert desk.results()[0]["sku"] == "A"


ROWS = {
    "nul": ("B,Mi\0ll,\n", ["row 2", "line 3", "NUL", "Remove it"], True),
    "short": ("B,Mill\n", ["row 2", "line 3", "'photo'", "2 cells", "Add the cells"], True),
    "long": ("B,Mill,,x\n", ["row 2", "line 3", "4 cells", "Quote cells"], True),
    "huge": ("B," + "x" * 10_000_000 + ",\n", ["row 2", "line 3", "longer than", "Shorten"], True),
    "quote": (
        'B,"Mill,\n',
        ["row 2", "line 3", "'title'", "never closes", "Close the quote"],
        True,
    ),
    "blank": ("B,,\n", ["row 2", "'title' is empty", "Fill the cell"], True),
    "no photo": ("B,Mill,gone.jpg\n", ["row 2", "'gone.jpg' is not there", "add the file"], True),
    "outside": ("B,Mill,../x.jpg\n", ["row 2", "outside the allowed", "Keep photos"], True),
    "bomb": ("B,Mill,bomb.png\n", ["row 2", "'bomb.png' would unpack", "smaller size"], False),
    "no image": ("B,Mill,words.jpg\n", ["row 2", "'words.jpg' is not a PNG", "Save it"], False),
}


@pytest.mark.parametrize(("row", "words", "seen_at_once"), ROWS.values(), ids=ROWS.keys())
async def test_a_bad_row_says_why_and_the_good_one_is_delivered(
    desk: Desk, row: str, words: list[str], seen_at_once: bool
) -> None:
    """Exit 3 with row, place and remedy, in the results too; ``--strict`` submits nothing."""
    desk.file("in.csv", HEAD + GOOD + row)
    if seen_at_once:
        code, said = await desk.run("--strict")
        assert code == 2, said
        assert [word for word in words if word not in said] == [], said
        assert await desk.batches() == 0
    code, said = await desk.run()
    assert code == 3, said
    assert [word for word in words if word not in said] == [], said
    good, bad = desk.results()
    assert (good["headrace_state"], bad["headrace_state"]) == ("succeeded", "failed")
    assert len(list(desk.folder.glob(f"out/*/{good['headrace_file']}"))) == 1
    assert bad["headrace_error"]
    assert bad["headrace_remedy"]


@pytest.mark.parametrize(
    ("body", "words"),
    [(LOOP, ["row 1", "1 s"]), (ENDLESS, ["row 1", "loop.typ:1:7", "always true"])],
    ids=["long", "endless"],
)
async def test_a_template_that_loops_costs_its_row_only_time(
    desk: Desk, body: str, words: list[str]
) -> None:
    """The limit of time ends it, or the typesetter sees it; either says where."""
    desk.file("headrace.toml", "[providers.template]\ntimeout_s = 1\n[retry]\nattempts = 1\n")
    desk.file("templates/loop.typ", body)
    desk.file("templates/loop.toml", "width_px = 100\nheight_px = 100\n[parameters.title]\n")
    desk.file("loop.toml", SLOW_RECIPE.format(template="loop"))
    desk.file("in.csv", HEAD + GOOD)
    code, said = await desk.run(recipe="loop.toml")
    assert code == 3, said
    assert [word for word in words if word not in said] == [], said


async def test_a_column_that_a_template_lacks_is_named(desk: Desk) -> None:
    """A recipe that reads a column nobody has stops before anything is bought."""
    desk.file("odd.toml", SLOW_RECIPE.format(template="square").replace("{{ title", "{{ tittle"))
    desk.file("in.csv", HEAD + GOOD)
    code, said = await desk.run(recipe="odd.toml")
    assert code == 2, said
    assert "'tittle'" in said
    assert "Did you mean 'title'?" in said
    assert await desk.batches() == 0


async def test_a_file_in_the_way_of_the_output_is_named(desk: Desk) -> None:
    """Said before anything is bought."""
    desk.file("in.csv", HEAD + GOOD)
    desk.file("taken", "a file")
    code, said = await desk.run("--out", "taken")
    assert code in (2, 6), said
    assert "taken" in said
    assert "→" in said
    assert await desk.batches() == 0


def settings(text: str) -> Callable[[Desk], None]:
    """Write settings."""
    return lambda desk: desk.file("headrace.toml", text)


@pytest.mark.parametrize(
    ("prepare", "words", "code", "told"),
    [
        (
            settings("[retry]\natempts = 3\n"),
            (),
            5,
            ["line 2", "atempts", "Did you mean 'attempts'?"],
        ),
        (settings("[providers.x]\nkind = 'simulatd'\n"), (), 5, ["[providers.x]", "'simulated'"]),
        (settings(""), ("--recipe", "produkt-card"), 2, ["Did you mean 'product-card'?"]),
    ],
    ids=["setting", "provider", "recipe"],
)
async def test_a_wrong_word_is_answered_with_the_right_one(
    desk: Desk, prepare: Callable[[Desk], None], words: tuple[str, ...], code: int, told: list[str]
) -> None:
    """It says "did you mean", with the exit code of its kind."""
    prepare(desk)
    desk.file("in.csv", HEAD + GOOD)
    desk.file(
        "x.toml", '[[stages]]\nname = "a"\nkind = "generate"\nmodel = "x:any"\nprompt = "p"\n'
    )
    done = await desk("run", "in.csv", *(words or ("--recipe", "x.toml")))
    assert done.returncode == code, done.stderr
    assert [word for word in told if word not in done.stderr] == [], done.stderr
