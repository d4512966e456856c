"""What a batch leaves behind: a true results file, safe names, and a folder filled by links."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import unicodedata
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.artifact import Artifact
from headrace.blob import Blobs, open_blobs
from headrace.errors import HeadraceError, InputError, StorageError, UsageError
from headrace.reports import OWN_COLUMNS, FileNames, OutputFolder, ResultRow, ResultsWriter
from headrace.reports.cells import cell_text, millionths, safe_cell
from headrace.reports.filenames import STEM_BYTES_MAX
from headrace.reports.results import input_names, write_report
from headrace.source import Row
from headrace.sources import open_source


async def each(rows: list[ResultRow]) -> AsyncIterator[ResultRow]:
    for row in rows:
        yield row


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


DONE = ResultRow(
    1,
    {"sku": "a", "name": "Oak, \n table"},
    "succeeded",
    file="a.png",
    sha256="00" * 32,
    media_type="image/png",
    size_bytes=12,
    attempts=2,
    cost_microusd=40_000,
    microcredits=1_000_000,
)
BAD = ResultRow(2, {"sku": "b"}, "invalid", error="1 cell, but the header has 2", remedy="Add it.")


async def test_rows_stand_beside_their_results(tmp_path: Path) -> None:
    """The input's columns come first and unchanged, then ours; a bad row has its reason."""
    path = tmp_path / "results.csv"
    assert await ResultsWriter(path, ["sku", "name"]).write(each([DONE, BAD])) == 2
    first, second = read_csv(path)
    assert list(first) == ["sku", "name", *OWN_COLUMNS]
    assert first["name"] == "Oak, \n table"
    assert first["headrace_cost_usd"] == "0.04"
    assert (first["headrace_credits"], first["headrace_cached"]) == ("1", "false")
    assert (second["name"], second["headrace_state"]) == ("", "invalid")
    assert second["headrace_error"].startswith("1 cell")


async def test_estimates_and_unknown_costs_stand_apart(tmp_path: Path) -> None:
    """An estimate has a column of its own; a cost that nobody told is empty, not zero."""
    rows = [
        ResultRow(1, {}, "succeeded", cost_microusd=7, cost_estimate_microusd=1_100),
        ResultRow(2, {}, "succeeded", cost_estimate_microusd=1_100),
        ResultRow(3, {}, "succeeded", cost_unknown=2),
        ResultRow(4, {}, "succeeded", cached=True),
    ]
    await ResultsWriter(tmp_path / "results.csv", []).write(each(rows))
    found = [
        [
            row[f"headrace_{name}"]
            for name in ("cost_usd", "cost_estimate_usd", "calls_of_unknown_cost")
        ]
        for row in read_csv(tmp_path / "results.csv")
    ]
    assert found == [
        ["0.000007", "0.0011", "0"],
        ["", "0.0011", "0"],
        ["", "0", "2"],
        ["0", "0", "0"],
    ]
    await ResultsWriter(tmp_path / "results.jsonl", [], kind="jsonl").write(each(rows))
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["headrace_cost_usd"] for line in lines] == [0.000007, None, None, 0.0]


async def test_jsonl_keeps_values_exact(tmp_path: Path) -> None:
    """JSONL keeps nesting, numbers and text that a spreadsheet must not see."""
    path = tmp_path / "results.jsonl"
    row = ResultRow(7, {"a": [1, {"b": None}], "t": "=1+1"}, "succeeded", cost_microusd=1)
    await ResultsWriter(path, ["a", "t"], kind="jsonl").write(each([row]))
    line = json.loads(path.read_text())
    assert (line["a"], line["t"], line["headrace_row"]) == ([1, {"b": None}], "=1+1", 7)
    assert line["headrace_cost_usd"] == 0.000001
    with pytest.raises(UsageError):
        ResultsWriter(path, [], kind="xlsx")


async def test_results_fed_in_again_keep_both(tmp_path: Path) -> None:
    """Columns of an earlier results file do not hide ours, nor are they lost."""
    columns = ["sku", "headrace_state", "input_headrace_state"]
    assert input_names(columns) == [
        "sku",
        "input_input_headrace_state",
        "input_headrace_state",
    ]
    path = tmp_path / "results.csv"
    row = ResultRow(1, {"sku": "a", "headrace_state": "failed"}, "succeeded")
    await ResultsWriter(path, ["sku", "headrace_state"]).write(each([row]))
    found = read_csv(path)[0]
    assert (found["headrace_state"], found["input_headrace_state"]) == ("succeeded", "failed")


async def test_the_old_results_stay_until_the_new_are_whole(tmp_path: Path) -> None:
    """A writer that fails on the way leaves the earlier file and no other."""
    path = tmp_path / "results.csv"
    path.write_text("old")
    with pytest.raises(ValueError, match="ascend"):
        await ResultsWriter(path, ["sku"]).write(each([BAD, DONE]))
    assert [p.name for p in tmp_path.iterdir()] == ["results.csv"]
    assert path.read_text() == "old"


async def test_report_is_whole_or_not_there(tmp_path: Path) -> None:
    """The report is indented JSON; a folder that is gone is a storage error."""
    await write_report(tmp_path / "report.json", {"rows": 2, "name": "Küche"})
    assert json.loads((tmp_path / "report.json").read_text()) == {"rows": 2, "name": "Küche"}
    with pytest.raises(StorageError):
        await write_report(tmp_path / "gone" / "report.json", {})


FORMULAS = [
    ("=1+1", "'=1+1"),
    ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
    ("-2+3", "'-2+3"),
    ("@SUM(A1)", "'@SUM(A1)"),
    ("\t=1", "'\t=1"),
    ("\r=1", "'\r=1"),
    ("\n=1", "'\n=1"),
    ("＝1", "'＝1"),
    ("-5", "-5"),
    ("+3.25", "+3.25"),
    ("-1,5 %", "-1,5 %"),
    ("-1e-7", "-1e-7"),
    ("-", "'-"),
    ("plain", "plain"),
    ("", ""),
]


@pytest.mark.parametrize(("text", "safe"), FORMULAS)
def test_no_cell_is_a_formula(text: str, safe: str) -> None:
    """Text that a spreadsheet would execute is text in it; plain numbers stay numbers."""
    assert safe_cell(text) == safe


async def test_raw_results_are_exact(tmp_path: Path) -> None:
    """Whoever reads the file by program can have it without the apostrophes."""
    rows = [ResultRow(1, {"a": "=1+1"}, "succeeded")]
    for raw, expected in ((False, "'=1+1"), (True, "=1+1")):
        await ResultsWriter(tmp_path / "r.csv", ["a"], raw=raw).write(each(rows))
        assert read_csv(tmp_path / "r.csv")[0]["a"] == expected


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0"), (1, "0.000001"), (-1_500_000, "-1.5"), (12_345_678_900_000, "12345678.9")],
)
def test_amounts_are_exact(amount: int, text: str) -> None:
    """Money is written digit by digit, never through a float."""
    assert millionths(amount) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "true"), (1.5, "1.5"), ({"a": ["ü"]}, '{"a":["ü"]}'), ("x", "x")],
)
def test_values_become_cells(value: Any, text: str) -> None:
    """Any JSON value has one text in a cell."""
    assert cell_text(value) == text


CELL = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=10)


@settings(max_examples=80, deadline=None)
@given(cells=st.lists(st.tuples(CELL, CELL), min_size=1, max_size=5))
def test_raw_results_read_back_as_input(
    tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]
) -> None:
    """What the writer writes, our own reader reads: retrying from a results file is exact."""
    path = tmp_path_factory.mktemp("out") / "results.csv"
    rows = [
        ResultRow(n, dict(zip("ab", pair, strict=True)), "succeeded")
        for n, pair in enumerate(cells, 1)
    ]
    asyncio.run(ResultsWriter(path, ["a", "b"], raw=True).write(each(rows)))
    with open_source(path) as source:
        found = [row.values for row in source if isinstance(row, Row)]
    assert [(row["a"], row["b"]) for row in found] == cells


def test_names_are_decided_by_row_order() -> None:
    """The first row keeps the name, later ones count on; a second run gives the same."""
    wanted = ["a", "A", "a", "a-2", None, "cafe\u0301", "café", "report", "a"]
    expected = ["a", "A-2", "a-3", "a-2-2", "000005", "cafe\u0301", "café-2", "report-2", "a-4"]
    for _ in range(2):
        names = FileNames()
        assert [names.assign(row, stem) for row, stem in enumerate(wanted, 1)] == expected


@pytest.mark.parametrize(
    "stem", ["", "..", ".", "../a", "a/b", "a\\b", "a\0", "a\nb", "c:d", " a", "a.", "x" * 191]
)
def test_names_never_leave_the_folder(stem: str) -> None:
    """A stem that is a path, hides, or is too long is refused with a remedy."""
    with pytest.raises(InputError) as caught:
        FileNames().assign(1, stem)
    assert caught.value.remedy


@settings(max_examples=200)
@given(stems=st.lists(st.text(st.sampled_from("aAéß\u0301.- 日"), max_size=80), max_size=30))
def test_names_stay_apart_whatever_is_wanted(stems: list[str]) -> None:
    """Accepted names differ even where case and accents do not count, and fit any file system."""
    names, given_names = FileNames(), []
    for row, stem in enumerate(stems, 1):
        try:
            given_names.append(names.assign(row, stem))
        except InputError:
            continue
    folded = [unicodedata.normalize("NFC", name).casefold() for name in given_names]
    assert len(set(folded)) == len(folded)
    assert all(len(name.encode()) <= STEM_BYTES_MAX for name in given_names)


async def test_long_names_are_cut_between_characters() -> None:
    """Where the counting suffix does not fit, the name loses whole characters."""
    names, stem = FileNames(), "é" * 95
    assert names.assign(1, stem) == stem
    second = names.assign(2, stem)
    assert second == "é" * 94 + "-2"
    assert len(second.encode()) <= STEM_BYTES_MAX


@pytest.fixture
async def blobs(tmp_path: Path) -> AsyncIterator[Blobs]:
    opened = await open_blobs(str(tmp_path / "blobs"))
    yield opened
    await opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    output = OutputFolder(tmp_path / "out" / "b1")
    output.prepare()
    return output


async def test_publishing_links_and_repeats(blobs: Blobs, folder: OutputFolder) -> None:
    """A published file is the blob itself under a second name; doing it again changes nothing."""
    artifact = await blobs.put(os.urandom(20_000), "image/png")
    for _ in range(2):
        assert await folder.publish(artifact, "a", blobs) == "a.png"
    kept = blobs.path(artifact.sha256)
    assert kept is not None
    assert (folder.folder / "a.png").samefile(kept)
    assert not list(folder.folder.glob("*.part"))


async def test_inline_and_remote_artifacts_are_copied(folder: OutputFolder, tmp_path: Path) -> None:
    """Bodies from the database and from object stores arrive as files of their own."""
    remote = await open_blobs("memory://", tmp_path / "spool")
    stored = await remote.put(b"far away", "text/plain")
    assert await folder.publish(stored, "far", remote) == "far.txt"
    inline = Artifact(stored.sha256, "text/markdown", 8, b"far away")
    assert await folder.publish(inline, "near", remote) == "near.md"
    assert (folder.folder / "far.txt").read_bytes() == b"far away"
    assert (folder.folder / "near.md").read_bytes() == b"far away"
    await remote.close()


async def test_links_fall_back_to_copies(
    blobs: Blobs, folder: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another file system, or a file with too many links, is answered with a copy."""
    artifact = await blobs.put(b"body" * 5000, "image/png")

    def refuse(_self: Path, _target: Path) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    await folder.publish(artifact, "a", blobs)
    assert (folder.folder / "a.png").read_bytes() == b"body" * 5000
    assert (folder.folder / "a.png").stat().st_nlink == 1


async def test_a_new_result_replaces_the_old(blobs: Blobs, folder: OutputFolder) -> None:
    """A second run with another result puts it under the same name."""
    for body in (b"old", b"new"):
        await folder.publish(await blobs.put(body, "image/png"), "a", blobs)
    assert (folder.folder / "a.png").read_bytes() == b"new"
    old, new = [await blobs.put(body, "image/png") for body in (b"old", b"new")]
    assert await blobs.read(old.sha256) == b"old"
    assert await blobs.read(new.sha256) == b"new"


async def test_files_of_others_are_not_replaced(blobs: Blobs, tmp_path: Path) -> None:
    """In a folder that headrace did not fill, a file of the same name is an error, not lost."""
    (tmp_path / "mine").mkdir()
    mine = tmp_path / "mine" / "a.png"
    mine.write_bytes(b"holiday")
    output = OutputFolder(tmp_path / "mine")
    output.prepare()
    artifact = await blobs.put(b"generated", "image/png")
    with pytest.raises(InputError, match="not headrace's"):
        await output.publish(artifact, "a", blobs)
    assert mine.read_bytes() == b"holiday"
    assert await output.publish(artifact, "b", blobs) == "b.png"


def test_folders_that_cannot_be_written_are_refused_first(tmp_path: Path) -> None:
    """A folder that takes no file is refused before anything is bought."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written") as caught:
        OutputFolder(tmp_path / "file" / "out").prepare()
    assert "--out" in caught.value.remedy
    assert isinstance(caught.value, HeadraceError)
